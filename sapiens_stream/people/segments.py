"""Which person each pixel of the foreground belongs to, in one frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sapiens_stream.frame import PersonBox, UInt8Array

_REACH = 1.3  # halves of a box's sides, from its middle, that a person may extend to


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
