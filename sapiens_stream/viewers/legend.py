"""The legend: which classes are in the pictures, their colours and their shares."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sapiens_stream.classes import MAX_CLASSES, ClassSet
from sapiens_stream.viewers.lettering import fitted, line_height, text_width, write
from sapiens_stream.viewers.theme import DIM, GAP, INK, TRACK, Colour, Rect, UInt8Array, fill
from sapiens_stream.viewers.window.shared_frames import SharedView

_EVERY = 0.25  # seconds between two counts: figures that change faster cannot be read
_LINGER = 2.0  # seconds that a class stays in the list after it was last seen, lest the list jump


class Legend:
    """Counts the classes of what is shown, and lists them."""

    def __init__(self, classes: ClassSet) -> None:
        self._classes = classes
        self._counted_at = float("-inf")
        self._shares = np.zeros(MAX_CLASSES)
        self._seen_at = np.full(MAX_CLASSES, float("-inf"))

    @property
    def seen(self) -> list[int]:
        """The classes in the list, ascending, background left out."""
        recent = np.flatnonzero(self._seen_at >= self._counted_at - _LINGER)
        return [int(index) for index in recent if 0 < index < len(self._classes)]

    def count(self, pictures: Sequence[SharedView], now: float) -> None:
        """Counts the pixels of all pictures that are not stale."""
        if now - self._counted_at < _EVERY:
            return
        pixels = np.zeros(MAX_CLASSES)
        for picture in pictures:
            if picture.class_map is not None and picture.trouble is None:
                pixels += cv2.calcHist([picture.class_map], [0], None, [MAX_CLASSES], [0, MAX_CLASSES]).ravel()
        self._counted_at = now
        self._shares = pixels / max(pixels.sum(), 1)
        self._seen_at[pixels > 0] = now

    def draw(self, canvas: UInt8Array, box: Rect, size: int, only: int | None) -> None:
        """Lists what fits into the box, a line a class; with `only` the others are dimmed."""
        seen, step = self.seen, line_height(size)
        room = max(box.height // step, 1)
        listed = seen if len(seen) <= room else seen[: room - 1]
        for line, index in enumerate(listed):
            self._line(canvas, Rect(box.x, box.y + line * step, box.width, step), size, index, only in (None, index))
        if len(listed) < len(seen):
            more = f"and {len(seen) - len(listed)} more"
            write(canvas, more, box.x, box.y + len(listed) * step, size, DIM)
        if not seen:
            write(canvas, "nobody in sight", box.x, box.y, size, DIM)

    def _line(self, canvas: UInt8Array, box: Rect, size: int, index: int, lit: bool) -> None:
        colour: Colour = self._classes.colours[index] if lit else TRACK
        ink = INK if lit else DIM
        swatch = Rect(box.x, box.y + (box.height - size) // 2, size, size)
        fill(canvas, swatch, colour)
        share = f"{self._shares[index] * 100:.1f} %"
        right = text_width(share, size)
        write(canvas, share, box.x + box.width - right, box.y, size, DIM)
        left = size + GAP
        name = self._classes.names[index].replace("_", " ")
        name = fitted(name, size, box.width - left - right - GAP)
        write(canvas, name, box.x + left, box.y, size, ink)
