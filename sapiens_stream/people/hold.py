"""Class maps of a camera that hold still: a place keeps its class until another is clearly ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.flicker import Flickers, compared
from sapiens_stream.people.motion import Pair, pair_of
from sapiens_stream.people.probabilities import Way, as_scores, of_scores, winners

AHEAD = 0.25
"""By how much another class must be likelier than the one that a place had; where it had none, that is not held:
people whom the model finds in some frames alone would be held away."""


@dataclass(frozen=True, eq=False)
class Held:
    """A frame that was inferred, alone, with the logits of its class map."""

    batch: PendingBatch
    classes: Tensor
    """(1, 2, h, w) float32: the class of each place, as the model had it and as it is held."""
    counts: Sequence[tuple[Tensor, Tensor]] = ()
    """Of both, how many foreground places the frame before has too, and how many of these changed."""


class Hold:
    """What one camera's last class map says of its next. The classes go along with the motion, and end at a cut."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._newest: Frame | None = None
        self._pairs: dict[int, tuple[Frame, Future[Pair]]] = {}
        """By the id of a frame that is on its way, the frame before it, and the motion between them."""
        self._last: Held | None = None
        self._flickers = Flickers()

    def take(self, frame: Frame) -> None:
        """A frame that is inferred next; the motion to it is computed meanwhile."""
        if self._newest is not None:
            self._pairs[id(frame)] = self._newest, pair_of(frame, self._newest)
        self._newest = frame

    def held(self, batch: PendingBatch) -> Held:
        """A frame, alone, with the logits of its class map; changes nothing."""
        scores = as_scores(batch.logits, self._threshold)
        alone = winners(scores)
        way = self._way(batch, scores)
        if way is not None and self._last is not None:
            before = way(self._last.classes[:, 1:], "nearest").long()
            whole = scores.logsumexp(1, keepdim=True)
            held = (way.sure > 0.5) & (before > 0)
            likely = (scores.gather(1, before) - whole).exp().add_(held, alpha=AHEAD)
            scores = scores.scatter(1, before, likely.log_().add_(whole))
            batch = replace(batch, logits=of_scores(scores, batch.logits.shape[1], self._threshold))
            classes = torch.cat((alone, winners(scores)), 1)
            return Held(batch, classes, compared(classes, self._last.classes, way))
        return Held(batch, alone.expand(-1, 2, -1, -1))

    def keep(self, held: Held) -> None:
        """The frame that was held is the last one now."""
        if self._last is not None:  # whose counts a device has by now
            self._flickers.count(self._last.counts)
        self._last = held
        self._pairs.pop(id(held.batch.frames[0]), None)

    @property
    def flickers(self) -> Flickers:
        """How much it flickered till now, without what was held and with it."""
        last, found = self._last, self._flickers.copy()
        found.count(last.counts if last is not None else ())
        return found

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
        for hold, held in zip(own, found, strict=True):
            hold.keep(held)
        self._done += len(batch.frames)
        return [held.batch for held in found]

    def rest(self) -> list[PendingBatch]:
        return []

    def lose(self, frames: Sequence[Frame]) -> None:
        """Frames that were taken do not come."""
        for hold, frame in zip(self._holds, frames, strict=True):
            hold.lose(frame)

    def record(self) -> dict[str, Any]:
        return {}
