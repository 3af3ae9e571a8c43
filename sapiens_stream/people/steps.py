"""How the pictures of a clip move, finer than `motion` tells: from each to the next, and over more made of that."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import cv2
import numpy as np

from sapiens_stream.frame import Frame, UInt8Array
from sapiens_stream.inference.flow import Flow
from sapiens_stream.inference.propagation import low_resolution
from sapiens_stream.people.motion import Pair, added, apart, between, checked, flow_threads, resized

LONG_SIDE = 640
"""Pixels of the pictures. In those of half the size somebody in a street is ten wide, and mixed with what is behind."""
# OpenCV's MEDIUM, but for what takes two thirds of its time and gains little. FAST leaves out the finest scale.
_FINEST_SCALE, _STRIDE, _DESCENTS, _REFINEMENTS = 1, 4, 12, 0

_Picture = Future[UInt8Array]
_local = threading.local()


class Steps:
    """The pairs that the frames of one clip make with those up to `reach` before them.

    Flow is computed from frame to frame alone: over two frames it is added up, which is nearer to the truth than flow
    straight from one to the other, and takes less time.
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._pictures: list[_Picture] = []
        """Of the last frames, the newest first."""
        self._pairs: list[Future[Pair]] = []
        """Of the last frame, the nearest first."""

    def to(self, frame: Frame) -> Sequence[Future[Pair]]:
        """The pairs that the next frame makes, the nearest first; they are computed meanwhile."""
        threads = flow_threads()
        picture = threads.submit(low_resolution, frame, LONG_SIDE)
        pairs: list[Future[Pair]] = []
        for place, earlier in enumerate(self._pictures):
            if place == 0:
                pairs.append(threads.submit(_step, picture, earlier))
            else:
                pairs.append(threads.submit(_over, pairs[0], self._pairs[place - 1], picture, earlier))
        self._pictures, self._pairs = [picture, *self._pictures][: self._reach], pairs
        return pairs


def _step(later: _Picture, earlier: _Picture) -> Pair:
    if not hasattr(_local, "flow"):  # not for several threads at once
        _local.flow = Flow(
            cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
            finest_scale=_FINEST_SCALE,
            stride=_STRIDE,
            descents=_DESCENTS,
            refinements=_REFINEMENTS,
        )
    return between(later.result(), earlier.result(), _local.flow)


def _over(step: Future[Pair], before: Future[Pair], later: _Picture, earlier: _Picture) -> Pair:
    """The pair of two frames, from those that they make with one between them; half as fine, so in less time."""
    first, second, new, old = step.result(), before.result(), later.result(), earlier.result()
    if first.cut or second.cut:
        return apart(new)
    size = max(1, new.shape[1] // 2), max(1, new.shape[0] // 2)
    forth, on, back, further = (
        resized(each.field, size, cv2.INTER_AREA) for each in (first.forth, second.forth, second.back, first.back)
    )
    pictures = (np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA), np.uint8) for each in (new, old))
    return checked(added(forth, on), added(back, further), *pictures)
