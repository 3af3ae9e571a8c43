"""Class maps of a camera that hold still: a place keeps its class until another is clearly ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.motion import Pair, pair_of
from sapiens_stream.people.probabilities import Way, as_scores, of_scores, winners

AHEAD = 0.25
"""By how much another class must be likelier than the one that a place had."""


@dataclass(frozen=True, eq=False)
class _Held:
    """The last frame that was inferred, alone, and the class of each place, (1, 1, h, w) float32."""

    batch: PendingBatch
    classes: Tensor


class Hold:
    """What one camera's last class map says of its next. The classes go along with the motion, and end at a cut."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._newest: Frame | None = None
        self._pairs: dict[int, tuple[Frame, Future[Pair]]] = {}
        """By the id of a frame that is on its way, the frame before it, and the motion between them."""
        self._last: _Held | None = None

    def take(self, frame: Frame) -> None:
        """A frame that is inferred next; the motion to it is computed meanwhile."""
        if self._newest is not None:
            self._pairs[id(frame)] = self._newest, pair_of(frame, self._newest)
        self._newest = frame

    def held(self, batch: PendingBatch) -> tuple[PendingBatch, Tensor]:
        """A frame, alone, with the logits of its class map, and the class of each place; changes nothing."""
        scores = as_scores(batch.logits, self._threshold)
        way = self._way(batch, scores)
        if way is not None and self._last is not None:
            before = way(self._last.classes, "nearest").long()
            whole = scores.logsumexp(1, keepdim=True)
            likely = (scores.gather(1, before) - whole).exp().add_(way.sure > 0.5, alpha=AHEAD)
            scores = scores.scatter(1, before, likely.log_().add_(whole))
            batch = replace(batch, logits=of_scores(scores, batch.logits.shape[1], self._threshold))
        return batch, winners(scores)

    def keep(self, batch: PendingBatch, classes: Tensor) -> None:
        """The frame that was held is the last one now."""
        self._last = _Held(batch, classes)
        self._pairs.pop(id(batch.frames[0]), None)

    def lose(self, frame: Frame) -> None:
        """A frame that was taken does not come."""
        self._pairs.pop(id(frame), None)

    def _way(self, batch: PendingBatch, scores: Tensor) -> Way | None:
        """From the last frame to this one, if it is the one before, of the same scene."""
        last, found = self._last, self._pairs.get(id(batch.frames[0]))
        if last is None or found is None or found[0] is not last.batch.frames[0]:
            return None
        alike = last.batch.places == batch.places
        if not alike or last.batch.frames[0].size != batch.frames[0].size or (pair := found[1].result()).cut:
            return None
        return Way(pair.forth, batch)


class Holds:
    """The refiner of a batch of one frame of each of some cameras; `holds` are theirs."""

    def __init__(self, holds: Sequence[Hold]) -> None:
        self._holds = holds
        self._done = 0

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        for hold, frame in zip(self._holds, frames, strict=True):
            hold.take(frame)
        return frames

    def last(self) -> Sequence[Frame]:
        return []

    def refine(self, batch: PendingBatch) -> list[PendingBatch]:
        own = self._holds[self._done : self._done + len(batch.frames)]
        found = [hold.held(each) for hold, each in zip(own, batch.each(), strict=True)]
        for hold, (each, classes) in zip(own, found, strict=True):
            hold.keep(each, classes)
        self._done += len(batch.frames)
        return [each for each, _ in found]

    def rest(self) -> list[PendingBatch]:
        return []

    def lose(self, frames: Sequence[Frame]) -> None:
        """Frames that were taken do not come."""
        for hold, frame in zip(self._holds, frames, strict=True):
            hold.lose(frame)

    def record(self) -> dict[str, Any]:
        return {}
