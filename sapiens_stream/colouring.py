"""What an overlay's colours tell, classes or people, and the ids written beside heads."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.colour.matrix import to_codes
from sapiens_stream.colour.meaning import Colour
from sapiens_stream.colour.planes import Planes
from sapiens_stream.colour.tone_map import from_sdr
from sapiens_stream.frame import Person, Segmentation, UInt8Array
from sapiens_stream.settings import COLOUR_BY, ColourBy

_COLOURS = 254
_NOBODYS = _COLOURS + 1
_HEAD = {"Face_Neck", "Hair", "Eyeglass", "Lower_Lip", "Upper_Lip", "Lower_Teeth", "Upper_Teeth", "Tongue"}
_LETTERS = 1 / 28  # of the picture's height
_SMALLEST = 10  # pixels of a letter's height
_FACE = cv2.FONT_HERSHEY_SIMPLEX


def _people() -> ClassSet:
    """Neighbours in number are far apart in hue; those of one hue differ in lightness."""
    colours = [
        colorsys.hls_to_rgb(each * 0.6180339887 % 1.0, (0.5, 0.65, 0.38)[each % 3], 0.85) for each in range(_COLOURS)
    ]
    names = ("Background", *(f"Person_{each}" for each in range(1, _COLOURS + 1)), "Nobody_in_particular")
    rounded = (tuple(round(255 * part) for part in colour) for colour in colours)
    return ClassSet("people", names, ((50, 50, 50), *rounded, (128, 128, 128)))  # type: ignore[arg-type]


PEOPLE = _people()
"""The colours of people by their ids, and from the 255th on again; the last is of foreground that is nobody's."""


@dataclass(frozen=True)
class Mark:
    """An id beside a head: x and y of the text's upper left corner, and the height of its letters, pixels."""

    text: str
    x: int
    y: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Colouring:
    """How results are shown: by "class" or by "person", with `ids` beside heads or without.

    Of the classes only those of `only` (ids; None: all) are shown.
    """

    by: ColourBy = COLOUR_BY
    ids: bool = False
    only: tuple[int, ...] | None = None

    def classes(self, own: ClassSet) -> ClassSet:
        """What the colours stand for: the model's `own` classes, or people."""
        return own if self.by == "class" else PEOPLE

    @property
    def painted(self) -> tuple[int, ...] | None:
        """Which of these are painted."""
        return self.only if self.by == "class" else None

    def seen(self, result: Segmentation) -> Segmentation:
        """The same with the class map to be painted; by person, with numbers of `PEOPLE`."""
        if self.by == "class":
            return result
        shown = result.class_map > 0 if self.only is None else np.isin(result.class_map, self.only)
        if result.person_map is None:
            numbers = np.where(shown, np.uint8(_NOBODYS), np.uint8(0))
        else:
            wrapped = (result.person_map - 1) % _COLOURS + 1
            numbers = np.where(result.person_map > 0, wrapped, _NOBODYS).astype(np.uint8)
            numbers[~shown] = 0
        return replace(result, class_map=numbers, classes=PEOPLE)

    def marks(self, result: Segmentation, size: tuple[int, int] | None = None) -> list[Mark]:
        """What is to be written on the picture, or on it brought to `size`, (height, width); none without ids."""
        if not self.ids or not result.people:
            return []
        height, width = size or result.frame.size
        scale = height / result.frame.size[0], width / result.frame.size[1]
        letters = max(_SMALLEST, round(height * _LETTERS))
        return [_mark(person, scale, (height, width), letters) for person in result.people]


def _mark(person: Person, scale: tuple[float, float], size: tuple[int, int], letters: int) -> Mark:
    boxes = [label.bbox for label in person.labels if label.name in _HEAD] or [person.bbox]
    left, top = min(box[0] for box in boxes) * scale[1], min(box[1] for box in boxes) * scale[0]
    right = max(box[0] + box[2] for box in boxes) * scale[1]
    text = str(person.id)
    height, width = _letters(text, letters)[0].shape
    x = right if right + width <= size[1] else left - width
    return Mark(text, max(0, min(round(x), size[1] - width)), max(0, min(round(top), size[0] - height)), letters)


def write_on(picture: UInt8Array, marks: Sequence[Mark]) -> None:
    """Writes them on (H, W, 3) RGB, white with a dark edge."""
    for mark in marks:
        _blend([picture[..., channel] for channel in range(3)], mark, ((255, 0),) * 3)


def write_on_planes(planes: Planes, marks: Sequence[Mark], colour: Colour) -> None:
    """The same on the planes of a video's picture, whose numbers mean what `colour` says."""
    if not marks:
        return
    codes = to_codes(from_sdr(np.array([[1.0] * 3, [0.0] * 3]), colour), colour)
    top = 2**colour.bits - 1
    inks = tuple((float(min(white, top)), float(black)) for white, black in np.rint(codes).T)
    for mark in marks:
        _blend(planes, mark, inks)


def _blend(planes: Sequence[npt.NDArray[Any]], mark: Mark, inks: Sequence[tuple[float, float]]) -> None:
    """`inks` are white and black in each plane; planes may be smaller than the first, as those of chroma are."""
    ink, edge = _letters(mark.text, mark.height)
    whole = planes[0].shape
    for plane, (white, black) in zip(planes, inks, strict=True):
        down, across = -(-whole[0] // plane.shape[0]), -(-whole[1] // plane.shape[1])
        top, left = mark.y // down, mark.x // across
        size = max(1, ink.shape[1] // across), max(1, ink.shape[0] // down)
        part = plane[top : top + size[1], left : left + size[0]]
        for mask, value in ((edge, black), (ink, white)):
            weight = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)[: part.shape[0], : part.shape[1]]
            mixed = part + (np.float32(value) - part) * weight
            part[:] = np.rint(mixed).astype(plane.dtype)


@lru_cache(maxsize=1024)
def _letters(text: str, height: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(h, w) 0 to 1 twice: the letters, and the letters with an edge around them."""
    thick = max(1, round(height / 10))
    scale = cv2.getFontScaleFromHeight(_FACE, height, thick)
    (width, _), below = cv2.getTextSize(text, _FACE, scale, thick)
    margin = 2 * thick + 1
    canvas = np.zeros((height + below + 2 * margin, width + 2 * margin), np.uint8)
    cv2.putText(canvas, text, (margin, margin + height), _FACE, scale, 255, thick, cv2.LINE_AA)
    edge = cv2.dilate(canvas, np.ones((2 * thick + 1,) * 2, np.uint8))
    return canvas.astype(np.float32) / np.float32(255), np.asarray(edge, np.float32) / np.float32(255)
