"""Class maps that hold still: a frame's neighbours have a say in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.clip import Seen, motion_between, together, way_between
from sapiens_stream.people.clock import period_of
from sapiens_stream.people.flicker import Flickers, compared
from sapiens_stream.people.kept import Kept
from sapiens_stream.people.motion import Pair
from sapiens_stream.people.probabilities import Way, logits_of, probabilities
from sapiens_stream.people.steps import Steps

REMEMBERED = Fraction(1)
"""Seconds of a clip, over which class maps keep what they had: a chunk of it has to know no more of what is before."""
_HEARD = 2.0


class Steady:
    """A refiner that mixes each frame's probabilities with those of the frames within `reach` before and after it.

    They come along the optical flow, from where it leads there and back, and never over a cut. They weigh twice as much
    as the frame itself is uncertain, 1 - margin^2: what is certain stays as it is. And one that sees nobody weighs less
    the surer the frame is of somebody: who is small is missed in many frames, and seen where nobody is in few.

    In the class maps that are made of them a pixel keeps its class from frame to frame while that is about as likely as
    another, each second of the clip anew. `threshold` is the model's.
    """

    def __init__(self, reach: int, threshold: float) -> None:
        self._reach = reach
        self._threshold = threshold
        self._steps = Steps(reach)
        self._coming: deque[Sequence[Future[Pair]]] = deque()
        self._frames: list[Seen] = []
        """Those that still have a say, in order; the first `_done` of them are handed on."""
        self._done = 0
        self._before: _Mixed | None = None
        """The last frame that was handed on."""
        self._flickers = Flickers()

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
        found, last = self._flickers.copy(), self._before
        if last is not None and last.kept is not None:
            found.handed_on.count(*last.kept.counts)
        return found.record()

    def _hand_on(self, frames: list[Seen], end: int) -> list[PendingBatch]:
        """The frames up to `end` that were not yet; all else is changed once nothing can fail any more."""
        ready, counts, before = [], [], self._before
        for place in range(self._done, end):
            ways = self._ways(frames, place)
            way = ways.get(place - 1)
            mixed = self._with_kept(_mixed(frames, place, ways, self._threshold), before, frames, place, way)
            if before is not None and way is not None:
                counts += compared(mixed.winners, before.winners, way)
            before = mixed
            ready.append(mixed.batch)
        ready = together(ready)
        numbers = [(int(places), int(changed)) for places, changed in counts]
        first = max(0, end - self._reach)
        self._frames, self._done, self._before = frames[first:], max(0, end) - first, before
        for places, changed in numbers:
            self._flickers.without.count(places, changed)
        return ready

    def _with_kept(
        self, mixed: _Mixed, before: _Mixed | None, frames: Sequence[Seen], place: int, way: Way | None
    ) -> _Mixed:
        """With what its class map keeps of that before it."""
        motion = None
        if before is not None and place and _remembers(before.batch.frames[0], mixed.batch.frames[0]):
            motion = motion_between(frames, place, place - 1)
        last = before.kept if before is not None else None
        flicker = self._flickers.handed_on
        kept = Kept(mixed.batch, mixed.likely, last, motion, way=way, flicker=flicker)
        return replace(mixed, batch=replace(mixed.batch, finishing=[kept]), kept=kept)

    def _ways(self, frames: Sequence[Seen], place: int) -> dict[int, Way]:
        """From those of a frame's neighbours that have a say in it, by their places."""
        around = range(max(0, place - self._reach), min(len(frames), place + self._reach + 1))
        ways = ((other, way_between(frames, place, other)) for other in around if other != place)
        return {other: way for other, way in ways if way is not None}


@dataclass(frozen=True, eq=False)
class _Mixed:
    """A frame with its neighbours' say in it."""

    batch: PendingBatch
    likely: Tensor
    """(1, C, h, w): the probabilities of its classes."""
    winners: Tensor
    """(1, 1, h, w): the likeliest class of each place, as the model had it."""
    kept: Kept | None = None


def _remembers(before: Frame, frame: Frame) -> bool:
    return before.index < frame.index and period_of(before, REMEMBERED) == period_of(frame, REMEMBERED)


def _mixed(frames: Sequence[Seen], place: int, ways: Mapping[int, Way], threshold: float) -> _Mixed:
    own = frames[place]
    doubts, batch, all_likely = own.doubts, own.batch, own.likely
    if ways and len(doubts.places):
        likely = doubts.likely.clone()
        for other, way in ways.items():
            theirs = way.to_places(frames[other].likely, doubts.places)
            heard = way.sure_at(doubts.places) * doubts.unsure * (1 - theirs[0, 0] * doubts.somebody)
            likely.addcmul_(theirs, heard, value=_HEARD)
        likely.div_(likely.sum(1, keepdim=True))
        logits = batch.logits.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        logits.flatten(2).index_copy_(2, doubts.places, logits_of(likely, logits.shape[1], threshold))
        all_likely = own.likely.clone()
        all_likely.flatten(2).index_copy_(2, doubts.places, likely)
        batch = replace(batch, logits=logits)
    return _Mixed(batch, all_likely, own.winners.view(1, 1, *batch.logits.shape[2:]))
