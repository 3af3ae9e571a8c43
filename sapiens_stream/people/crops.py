"""The part of a picture that shows one person as large as the model takes it."""

from __future__ import annotations

import math

from sapiens_stream.frame import PersonBox
from sapiens_stream.inference.closer import Look
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Box, Placement
from sapiens_stream.models.model import InputSpec

PADDING = 1.25
"""Times the box around a person, as Sapiens was trained."""

WORTH_IT = 1.3
"""Times as large as in the whole picture; a person who is not shown that much larger needs no second look, which is as
often wrong where the first was right."""


def look_at(person: PersonBox, alone: PendingBatch, spec: InputSpec) -> Look | None:
    """The look at one person of the frame in `alone`; None where it would show hardly more than the frame did."""
    frame, whole = alone.frames[0], alone.places[0]
    place = crop(person, frame.size, spec, frame.widening)
    if place is None or larger(place, whole) < WORTH_IT:
        return None
    return Look(frame, spec, place)


def crop(person: PersonBox, size: tuple[int, int], spec: InputSpec, widening: float = 1.0) -> Placement | None:
    """The padded box in the input's aspect, moved into a picture of `size` (H, W) as far as that is large enough.

    The picture is meant to be seen `widening` times as wide, and so is the person.
    What is beyond the picture stays the mean colour. None for a box that is beyond it altogether.
    """
    aspect = spec.width / spec.height / widening
    height = max(person.height, person.width / aspect) * PADDING
    width = height * aspect
    right, bottom = person.left + person.width, person.top + person.height
    if min(right, bottom) <= 0 or person.left >= size[1] or person.top >= size[0]:
        return None
    top, seen_top, seen_height = _inside(person.top + person.height / 2 - height / 2, height, size[0])
    left, seen_left, seen_width = _inside(person.left + person.width / 2 - width / 2, width, size[1])
    shown_top, shown_height = _shown(seen_top - top, seen_height, spec.height / height, spec.height)
    shown_left, shown_width = _shown(seen_left - left, seen_width, spec.width / width, spec.width)
    return Placement(
        Box(seen_top, seen_left, seen_height, seen_width), Box(shown_top, shown_left, shown_height, shown_width)
    )


def larger(place: Placement, whole: Placement) -> float:
    """How many times as large the model sees a person as in the whole picture."""

    def scale(each: Placement) -> float:
        return math.sqrt(each.shown.height / each.seen.height * each.shown.width / each.seen.width)

    return scale(place) / scale(whole)


def _inside(start: float, length: float, pixels: int) -> tuple[float, int, int]:
    """A side of the crop moved into the picture: its start, and the first and the number of the pixels it has."""
    if length <= pixels:
        start = min(max(start, 0.0), pixels - length)
    first = max(0, math.floor(start))
    last = min(pixels, math.ceil(start + length))
    return start, first, max(1, last - first)


def _shown(before: float, seen: int, scale: float, pixels: int) -> tuple[int, int]:
    """Where the pixels that are seen lie along a side of the input: the first, and how many."""
    first = min(max(0, round(before * scale)), pixels - 1)
    return first, min(max(1, round(seen * scale)), pixels - first)
