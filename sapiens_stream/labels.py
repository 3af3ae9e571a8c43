"""Which classes a class map holds, how many pixels of each, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import MAX_CLASSES, ClassSet

_BAND = 1 << 18
"""Pixels looked at together: they stay in the cache, and maps that are all noise take no more memory."""


@dataclass(frozen=True)
class Label:
    """A class that was found in a picture."""

    id: int
    name: str
    pixels: int
    fraction: float
    bbox: tuple[int, int, int, int]
    """x, y, width, height of the box around it, pixels."""


def find_labels(class_map: npt.NDArray[np.uint8], classes: ClassSet) -> tuple[Label, ...]:
    """The classes of a class map, (H, W) uint8, by id; the background, 0, is left out."""
    if not class_map.size:
        return ()
    rows = np.flatnonzero(_any_in_rows(class_map))
    if not len(rows):
        return ()
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(_any_in_columns(class_map[top:bottom]))
    left, right = int(columns[0]), int(columns[-1]) + 1
    found = _Extents(class_map[top:bottom, left:right])
    labels = []
    for index in np.flatnonzero(found.pixels)[1:] if found.pixels[0] else np.flatnonzero(found.pixels):
        x, y = int(found.left[index]), int(found.top[index])
        box = (left + x, top + y, int(found.right[index]) - x, int(found.bottom[index]) - y)
        pixels = int(found.pixels[index])
        labels.append(Label(int(index), classes.names[index], pixels, pixels / class_map.size, box))
    return tuple(labels)


def _any_in_rows(class_map: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether there is a class in each row."""
    words, rest = _words(class_map)
    found: npt.NDArray[np.bool_] = np.bitwise_or.reduce(words, axis=1) != 0
    return found | rest.any(axis=1)


def _any_in_columns(class_map: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Not 0 for each column that a class is in."""
    words, rest = _words(class_map)
    return np.concatenate([np.bitwise_or.reduce(words, axis=0).view(np.uint8), rest.max(axis=0)])


def _words(class_map: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """The columns as words of eight pixels, which are looked at together, and those that are left over."""
    whole = class_map.shape[1] // 8 * 8 if class_map.strides[1] == 1 else 0
    return class_map[:, :whole].view(np.uint64), class_map[:, whole:]


class _Extents:
    """By class: its pixels, and the box around them. Found by its runs along the rows, of which there are few."""

    def __init__(self, class_map: npt.NDArray[np.uint8]) -> None:
        height, width = class_map.shape
        self.pixels = np.zeros(MAX_CLASSES, np.int64)
        self.top, self.bottom = np.full(MAX_CLASSES, height), np.zeros(MAX_CLASSES, np.int64)
        self.left, self.right = np.full(MAX_CLASSES, width), np.zeros(MAX_CLASSES, np.int64)
        rows = max(1, _BAND // width)
        for first in range(0, height, rows):
            self._add(class_map[first : first + rows], first)

    def _add(self, band: npt.NDArray[np.uint8], first: int) -> None:
        begins = np.ones(band.shape, np.bool_)
        np.not_equal(band[:, 1:], band[:, :-1], out=begins[:, 1:])
        start = np.flatnonzero(begins)
        row, left = np.divmod(start, band.shape[1])
        value = band[row, left]
        length = np.empty_like(start)
        np.subtract(start[1:], start[:-1], out=length[:-1])
        length[-1] = band.size - start[-1]
        self.pixels += np.bincount(value, weights=length, minlength=MAX_CLASSES).astype(np.int64)
        row += first
        np.minimum.at(self.top, value, row)
        np.maximum.at(self.bottom, value, row + 1)
        np.minimum.at(self.left, value, left)
        np.maximum.at(self.right, value, left + length)
