"""People's boxes from frame to frame of a clip, along the motion, where nobody looks for them anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sapiens_stream.frame import Frame, PersonBox
from sapiens_stream.people.motion import pair_of
from sapiens_stream.people.track import overlap

_MIDDLE = 0.25  # of a box's width and height, to each side of its middle: mostly the person
_SAME = 0.2  # of two boxes, above which they are one person's: intersection over union


class Followed:
    """Where the people of the last frame are in the next."""

    def __init__(self) -> None:
        self._last: tuple[Frame, Sequence[PersonBox]] | None = None

    def to(self, frame: Frame) -> list[PersonBox] | None:
        """The last frame's boxes as they lie in this one; None where it is of another scene."""
        if self._last is None or self._last[0].size != frame.size:
            return None
        last, boxes = self._last
        pair = pair_of(frame, last).result()
        if pair.cut:
            return None
        field = pair.back.field
        down, across = (pixels / cells for pixels, cells in zip(frame.size, field.shape, strict=False))
        moved = []
        for box in boxes:
            x, y = (box.left + box.width / 2) / across, (box.top + box.height / 2) / down
            rows = _around(y, box.height / down * _MIDDLE, field.shape[0])
            columns = _around(x, box.width / across * _MIDDLE, field.shape[1])
            right, below = np.median(field[rows, columns].reshape(-1, 2), axis=0).tolist()
            moved.append(replace(box, left=box.left + right * across, top=box.top + below * down))
        return moved

    def with_those_seen(
        self, frame: Frame, gone: Sequence[PersonBox] | None, seen: Sequence[PersonBox]
    ) -> list[PersonBox]:
        """The boxes of a frame, which is the last now: those that `to` gave, and of those seen in it the others."""
        height, width = frame.size
        boxes = [
            box
            for box in gone or ()
            if box.left < width and box.top < height and box.left + box.width > 0 and box.top + box.height > 0
        ]
        boxes += [box for box in seen if all(overlap(box, other) <= _SAME for other in boxes)]
        self._last = frame, boxes
        return boxes


def _around(middle: float, reach: float, cells: int) -> slice:
    first = min(max(0, round(middle - reach)), cells - 1)
    return slice(first, max(first + 1, min(cells, round(middle + reach) + 1)))
