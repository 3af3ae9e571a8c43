"""Class maps of a model that is slow: some frames are inferred, those between take theirs from both sides."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.clip import together
from sapiens_stream.people.motion import Pair, pair_of
from sapiens_stream.people.probabilities import Way, logits_of, probabilities

_CHANGED = 0.5  # of the picture that the flow lost, summed since a frame was inferred: another is
_UNSURE = 0.05  # of the weight, where the flow does not lead back


@dataclass(eq=False)
class _Waiting:
    """A frame that has not been handed on. Between two inferred ones it has the motions from them to it."""

    frame: Frame
    place: int
    """In the clip."""
    left: Future[Pair] | None = None
    right: Future[Pair] | None = None


@dataclass(frozen=True, eq=False)
class _Key:
    """A frame that was inferred, alone, and its probabilities, (1, C, h, w) float32."""

    batch: PendingBatch
    likely: Tensor
    place: int


class Every:
    """A refiner that has each `every`-th frame inferred, and others where the picture has changed.

    The former go by the frames' numbers in the clip, so that a part of it has the same ones; the latter are the frames
    on both sides of a cut, and the last. The probabilities of the rest are those of the inferred frames before and
    after, brought along the optical flow to them; the nearer weighs more, and what leads there and back. `threshold` is
    the model's own.
    """

    def __init__(self, every: int, threshold: float) -> None:
        self._every = every
        self._threshold = threshold
        self._waiting: deque[_Waiting] = deque()
        self._between: list[_Waiting] = []
        """The frames since the last that is inferred."""
        self._newest: Frame | None = None
        """Of those that are inferred, and of those that were taken at all."""
        self._taken: Frame | None = None
        self._lost = 0.0
        self._number = -1
        """Of the last frame, in the clip; on from there where a source does not count."""
        self._count = 0
        self._left: _Key | None = None
        self._inferred = self._carried = 0

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        wanted: list[Frame] = []
        for frame in frames:
            step = None if self._taken is None else pair_of(frame, self._taken).result()
            cut = step is None or step.cut or (self._taken is not None and self._taken.size != frame.size)
            if cut and self._between:
                wanted.append(self._infer(self._between.pop()))
            self._lost += 0.0 if step is None else step.lost
            waiting = _Waiting(frame, self._count)
            self._count += 1
            self._waiting.append(waiting)
            self._taken = frame
            if cut:
                self._newest = None
            before, self._number = self._number, max(frame.index, self._number + 1)
            due = before // self._every != self._number // self._every
            if cut or due or self._lost > _CHANGED:
                wanted.append(self._infer(waiting))
            else:
                assert self._newest is not None
                waiting.left = pair_of(frame, self._newest)
                self._between.append(waiting)
        return wanted

    def last(self) -> Sequence[Frame]:
        return [self._infer(self._between.pop())] if self._between else []

    def refine(self, batch: PendingBatch) -> list[PendingBatch]:
        ready: list[PendingBatch] = []
        left, place = self._left, 0
        for each in batch.each():
            first = place
            while self._waiting[place].frame is not each.frames[0]:
                place += 1
            key = _Key(each, probabilities(each.logits, self._threshold), self._waiting[place].place)
            for between in range(first, place):
                assert left is not None
                ready.append(self._carry(self._waiting[between], left, key))
            ready.append(each)
            left, place = key, place + 1
        ready = together(ready)
        for _ in range(place):
            self._waiting.popleft()
        self._left = left
        self._inferred += len(batch.frames)
        self._carried += place - len(batch.frames)
        return ready

    def rest(self) -> list[PendingBatch]:
        return []

    def record(self) -> dict[str, Any]:
        """For the run record: how many frames were inferred, and how many have theirs from others."""
        return {"every": {"inferred": self._inferred, "carried": self._carried}}

    def _infer(self, waiting: _Waiting) -> Frame:
        """The frame is to be inferred; those before it can take from it then."""
        for each in self._between:
            each.right = pair_of(waiting.frame, each.frame)
        self._between.clear()
        self._newest, self._lost = waiting.frame, 0.0
        return waiting.frame

    def _carry(self, waiting: _Waiting, left: _Key, right: _Key) -> PendingBatch:
        """A frame between two that were inferred."""
        assert waiting.left is not None and waiting.right is not None
        age = waiting.place - left.place
        own = replace(left.batch, frames=[waiting.frame], carried=[age], sources=left.batch.frames)
        share = age / (right.place - left.place)
        likely = None
        for key, motion, weight in (
            (left, waiting.left.result().forth, 1 - share),
            (right, waiting.right.result().back, share),
        ):
            way = Way(motion, own)
            part = way(key.likely) * (way.sure.clamp_min(_UNSURE) * weight)
            likely = part if likely is None else likely.add_(part)
        assert likely is not None
        return replace(own, logits=logits_of(likely, left.batch.logits.shape[1], self._threshold))
