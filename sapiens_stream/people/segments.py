"""Which person each pixel of the foreground belongs to, in one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import PersonBox, UInt8Array
from sapiens_stream.people.apart import apart
from sapiens_stream.people.foreground import Foreground
from sapiens_stream.people.track import shared

_REACH = 1.3  # halves of a box's sides, from its middle, that a person may extend to
_WITHIN = 0.7  # of a box, that lies in a larger one: it may be a part of the same person


def people_of(
    foreground: Foreground, heads: UInt8Array, boxes: Sequence[PersonBox], size: tuple[int, int]
) -> tuple[UInt8Array, list[float]]:
    """(h, w): for each cell of `foreground` the number of a person, from 1 on, 0 for nobody; and a score for each.

    `heads` is not 0 where heads are, (h, w); `boxes` are of the picture of `size` (H, W). People who touch are told
    apart by their heads, or by their boxes where those are more.
    """
    by_box = told_apart(foreground.mask.view(np.uint8), boxes, size)
    boxed = foreground.take(by_box)
    numbers = boxed.astype(np.intp)
    seen = heads & foreground.mask.view(np.uint8)
    if seen.any():
        pieces = np.asarray(cv2.connectedComponents(foreground.mask.view(np.uint8))[1], np.int32)
        piece, headed = foreground.take(pieces), foreground.take(apart(pieces, seen))
        count = int(pieces.max()) + 1
        in_box = np.bincount(piece, weights=boxed > 0, minlength=count) > 0
        more = _counted(piece, boxed, _whole(boxed, boxes), count) > _counted(
            piece, headed, foreground.take(seen) > 0, count
        )
        numbers = np.where(more[piece], numbers, np.where(in_box[piece] & (headed > 0), headed + 255, 0))
    found = np.flatnonzero(np.bincount(numbers, minlength=1)[1:])[:255] + 1
    table = np.zeros(int(numbers.max(initial=0)) + 1, np.uint8)
    table[found] = np.arange(1, len(found) + 1)
    owner = foreground.spread(table[numbers])
    votes = foreground.votes(owner, by_box, 256)
    scores = [boxes[best].score if boxes else 0.0 for best in votes[:, 1:].argmax(axis=1).tolist()]
    return owner, scores


def _counted(
    pieces: npt.NDArray[np.int32], numbers: npt.NDArray[Any], marked: npt.NDArray[np.bool_], count: int
) -> npt.NDArray[np.intp]:
    """(count,): how many of the numbers each piece has that are marked there; each number counts in one piece."""
    there = marked & (numbers > 0)
    codes, sizes = np.unique(numbers[there].astype(np.int64) * count + pieces[there], return_counts=True)
    order = np.argsort(sizes)
    largest = dict(zip((codes[order] // count).tolist(), (codes[order] % count).tolist(), strict=True))
    return np.bincount(np.array(list(largest.values()), np.intp), minlength=count)


def _whole(owner: UInt8Array, boxes: Sequence[PersonBox]) -> npt.NDArray[np.bool_]:
    """Where the owner's box is not mostly within a larger one, which may be a part of the same person."""
    apart_ = np.zeros(256, bool)
    for number, box in enumerate(boxes[:255], 1):
        larger = (other for other in boxes if other.area > box.area)
        apart_[number] = all(shared(box, other) <= _WITHIN * box.area for other in larger)
    return np.asarray(apart_[owner], np.bool_)


def told_apart(foreground: UInt8Array, boxes: Sequence[PersonBox], size: tuple[int, int]) -> UInt8Array:
    """(h, w): for each pixel of `foreground`, (h, w), not 0 where anybody is, the place in `boxes` and 1; 0: nobody.

    `boxes` are of the picture of `size` (H, W). A pixel is that box's in whose middle it lies most; a piece of which no
    pixel is in any box is the nearest one's with which it touches, or else nobody's.
    """
    height, width = foreground.shape
    owner = np.zeros((height, width), np.uint8)
    nearest = np.full((height, width), np.inf, np.float32)
    down, across = height / size[0], width / size[1]
    rows = (np.arange(height, dtype=np.float32) + 0.5)[:, None]
    columns = (np.arange(width, dtype=np.float32) + 0.5)[None]
    for number, box in enumerate(boxes[:255], 1):
        x, y = (box.left + box.width / 2) * across, (box.top + box.height / 2) * down
        half_width, half_height = max(0.5, box.width / 2 * across), max(0.5, box.height / 2 * down)
        part = _part(y, half_height * _REACH, height), _part(x, half_width * _REACH, width)
        distance = np.maximum(np.abs(columns[:, part[1]] - x) / half_width, np.abs(rows[part[0]] - y) / half_height)
        closer = distance < np.minimum(nearest[part], _REACH)
        nearest[part][closer] = distance[closer]
        owner[part][closer] = number
    owner[foreground == 0] = 0
    _give_away_what_is_left(owner, foreground)
    return owner


def _part(middle: float, reach: float, pixels: int) -> slice:
    first = min(max(0, int(middle - reach)), pixels)
    return slice(first, max(first, min(pixels, int(middle + reach) + 1)))


def _give_away_what_is_left(owner: UInt8Array, foreground: UInt8Array) -> None:
    """What lies beyond all boxes belongs to whom the most of its piece belongs to."""
    left = (foreground != 0) & (owner == 0)
    if not left.any():
        return
    count, pieces = cv2.connectedComponents((foreground != 0).astype(np.uint8))
    pieces = np.asarray(pieces, np.intp)
    votes = np.bincount((pieces * 256 + owner).ravel(), minlength=count * 256).reshape(count, 256)
    votes[:, 0] = 0
    owner[left] = votes.argmax(axis=1).astype(np.uint8)[pieces[left]]
