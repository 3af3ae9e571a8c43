"""Class maps that hold still: a frame's neighbours have a say in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.clip import Seen, together, way_between
from sapiens_stream.people.flicker import Flicker, compared
from sapiens_stream.people.motion import Pair, pair_of
from sapiens_stream.people.probabilities import leaders, logits_of, probabilities


class Steady:
    """A refiner that mixes each frame's probabilities with those of the frames within `reach` before and after it.

    They come along the optical flow, from where it leads there and back, and never over a cut. They weigh as much as
    the frame itself is uncertain, 1 - margin^2: what is certain stays as it is. `threshold` is the model's.
    """

    def __init__(self, reach: int, threshold: float) -> None:
        self._reach = reach
        self._threshold = threshold
        self._taken: deque[Frame] = deque(maxlen=reach)
        self._coming: deque[Sequence[Future[Pair]]] = deque()
        self._frames: list[Seen] = []
        """Those that still have a say, in order; the first `_done` of them are handed on."""
        self._done = 0
        self._before: tuple[Tensor, Tensor] | None = None
        """The winners of the last frame that was handed on, as the model had them and as they came to be."""
        self._without, self._with = Flicker(), Flicker()

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        for frame in frames:
            self._coming.append([pair_of(frame, earlier) for earlier in reversed(self._taken)])
            self._taken.append(frame)
        return frames

    def last(self) -> Sequence[Frame]:
        return []

    def refine(self, batch: PendingBatch) -> list[PendingBatch]:
        frames = list(self._frames)
        for place, each in enumerate(batch.each()):  # by place, since `take` may add to those that come meanwhile
            frames.append(Seen(each, probabilities(each.logits, self._threshold), self._coming[place]))
        ready = self._hand_on(frames, len(frames) - self._reach)
        for _ in batch.frames:
            self._coming.popleft()
        return ready

    def rest(self) -> list[PendingBatch]:
        return self._hand_on(self._frames, len(self._frames))

    def record(self) -> dict[str, Any]:
        """For the run record: the share of the foreground that changes its class from frame to frame."""
        return {"steady": {"flicker": {"without": self._without.share, "with": self._with.share}}}

    def _hand_on(self, frames: list[Seen], end: int) -> list[PendingBatch]:
        """The frames up to `end` that were not yet; all else is changed once nothing can fail any more."""
        ready, counts, before = [], [], self._before
        for place in range(self._done, end):
            mixed = self._mixed(frames, place)
            was = frames[place].leaders[0]
            now = was, leaders(mixed)[0] if mixed is not None else was
            way = way_between(frames, place, place - 1) if place else None
            if before is not None and way is not None:
                counts.append([compared(*each, way) for each in zip(now, before, strict=True)])
            before = now
            own = frames[place].batch
            if mixed is not None:
                own = replace(own, logits=logits_of(mixed, own.logits.shape[1], self._threshold))
            ready.append(own)
        ready = together(ready)
        numbers = [[(int(places), int(changed)) for places, changed in each] for each in counts]
        first = max(0, end - self._reach)
        self._frames, self._done, self._before = frames[first:], max(0, end) - first, before
        for without, with_ in numbers:
            self._without.count(without)
            self._with.count(with_)
        return ready

    def _mixed(self, frames: Sequence[Seen], place: int) -> Tensor | None:
        """(1, C, h, w): the probabilities of a frame and its neighbours, summed; None where it has no neighbours."""
        around = range(max(0, place - self._reach), min(len(frames), place + self._reach + 1))
        ways = [(other, way_between(frames, place, other)) for other in around if other != place]
        unsure = 1 - frames[place].leaders[1] ** 2
        mixed = None
        for other, way in ways:
            if way is not None:
                mixed = frames[place].likely.clone() if mixed is None else mixed
                mixed.addcmul_(way(frames[other].likely), way.sure * unsure)
        return mixed
