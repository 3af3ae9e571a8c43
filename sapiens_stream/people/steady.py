"""Class maps that hold still: a frame's neighbours have a say in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.clip import Seen, together, way_between
from sapiens_stream.people.flicker import Flicker, compared
from sapiens_stream.people.motion import Pair
from sapiens_stream.people.probabilities import Way, logits_of, probabilities, top_two
from sapiens_stream.people.steps import Steps


class Steady:
    """A refiner that mixes each frame's probabilities with those of the frames within `reach` before and after it.

    They come along the optical flow, from where it leads there and back, and never over a cut. They weigh as much as
    the frame itself is uncertain, 1 - margin^2: what is certain stays as it is. `threshold` is the model's.
    """

    def __init__(self, reach: int, threshold: float) -> None:
        self._reach = reach
        self._threshold = threshold
        self._steps = Steps(reach)
        self._coming: deque[Sequence[Future[Pair]]] = deque()
        self._frames: list[Seen] = []
        """Those that still have a say, in order; the first `_done` of them are handed on."""
        self._done = 0
        self._before: Tensor | None = None
        """(1, 2, h, w): the winners of the last frame that was handed on, as they were and as they came to be."""
        self._without, self._with = Flicker(), Flicker()

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        self._coming.extend(self._steps.to(frame) for frame in frames)
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
            ways = self._ways(frames, place)
            batch, winners = _mixed(frames, place, ways, self._threshold)
            if before is not None and place - 1 in ways:
                counts.append(compared(winners, before, ways[place - 1]))
            before = winners
            ready.append(batch)
        ready = together(ready)
        numbers = [[(int(places), int(changed)) for places, changed in each] for each in counts]
        first = max(0, end - self._reach)
        self._frames, self._done, self._before = frames[first:], max(0, end) - first, before
        for each in numbers:
            for flicker, (places, changed) in zip((self._without, self._with), each, strict=True):
                flicker.count(places, changed)
        return ready

    def _ways(self, frames: Sequence[Seen], place: int) -> dict[int, Way]:
        """From those of a frame's neighbours that have a say in it, by their places."""
        around = range(max(0, place - self._reach), min(len(frames), place + self._reach + 1))
        ways = ((other, way_between(frames, place, other)) for other in around if other != place)
        return {other: way for other, way in ways if way is not None}


def _mixed(
    frames: Sequence[Seen], place: int, ways: Mapping[int, Way], threshold: float
) -> tuple[PendingBatch, Tensor]:
    """A frame with its neighbours' say in its logits, and its winners, (1, 2, h, w), as they were and as they are."""
    own = frames[place]
    places, mixed, were = own.doubts.places, own.doubts.likely, own.winners
    batch, are = own.batch, were
    if ways and len(places):
        mixed = mixed.clone()
        for other, way in ways.items():
            mixed.addcmul_(way.to_places(frames[other].likely, places), way.sure_at(places) * own.doubts.unsure)
        # What is the same for all classes of a place makes no difference: those that were mixed, and are larger by it,
        # can stand beside those that were not.
        logits = batch.logits.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        logits.flatten(2).index_copy_(2, places, logits_of(mixed, logits.shape[1], threshold))
        batch, are = replace(batch, logits=logits), were.index_copy(0, places, top_two(mixed[0])[0])
    return batch, torch.stack((were, are)).view(1, 2, *batch.logits.shape[2:])
