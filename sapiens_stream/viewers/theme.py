"""What the preview looks like: colours (RGB) and sizes (pixels) that its parts share."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

GROUND: Colour = (16, 18, 22)
PANEL: Colour = (27, 31, 38)
TRACK: Colour = (45, 51, 61)
INK: Colour = (236, 239, 243)
DIM: Colour = (150, 159, 171)
AMBER: Colour = (255, 184, 56)
RED: Colour = (240, 72, 72)

GAP = 6


class Rect(NamedTuple):
    """A part of the canvas."""

    x: int
    y: int
    width: int
    height: int

    def inset(self, by: int) -> Rect:
        return Rect(self.x + by, self.y + by, max(self.width - 2 * by, 0), max(self.height - 2 * by, 0))

    def of(self, canvas: UInt8Array) -> UInt8Array:
        """The part of the canvas itself, not a copy; smaller where the box leaves the canvas."""
        x, y = max(self.x, 0), max(self.y, 0)
        return canvas[y : max(self.y + self.height, 0), x : max(self.x + self.width, 0)]


def text_size(height: int) -> int:
    """For a canvas of this height: 13 at 480, 20 at 1080, legible from where one sees the whole of it."""
    return min(max(round(8 + height / 90), 12), 26)


def fill(canvas: UInt8Array, box: Rect, colour: Colour) -> None:
    """Fills a box; several times as fast as numpy's broadcast."""
    if box.width > 0 and box.height > 0:
        cv2.rectangle(canvas, box, colour, cv2.FILLED)


def shade(canvas: UInt8Array, box: Rect, strength: float = 0.72) -> None:
    """Darkens a box, so that text on it is legible whatever lies below."""
    part = box.of(canvas)
    if part.size:
        part[:] = cv2.addWeighted(part, 1 - strength, np.full_like(part, GROUND), strength, 0)
