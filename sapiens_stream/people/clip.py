"""The frames of a clip around the one whose class map is made, with their probabilities and the motion between them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.motion import Motion, Pair
from sapiens_stream.people.probabilities import Way, likeliest, margins, of_places

_CERTAIN = 0.999
"""A probability from which on other frames have no say in the class of a place."""


@dataclass(frozen=True, eq=False)
class Doubts:
    """Some places of a frame."""

    places: Tensor
    """(n,) counted row by row."""
    likely: Tensor
    """(1, C, n): the probabilities of their classes."""
    unsure: Tensor
    """(n,) 1 - margin^2, 0 to 1, the margin being that of the likeliest class to the next."""

    @property
    def somebody(self) -> Tensor:
        """(n,) how likely it is that anybody is there."""
        return 1 - self.likely[0, 0]


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame and what the model says of it."""

    batch: PendingBatch
    """The frame alone."""
    likely: Tensor
    """(1, C, h, w) float32: the probabilities of its classes."""
    before: Sequence[Future[Pair]]
    """The pairs that it makes with the frames before it, the nearest first."""

    @cached_property
    def doubts(self) -> Doubts:
        """Where the model is not certain."""
        best = self.likely.amax(1).flatten()
        places = (best < _CERTAIN).nonzero().flatten()
        likely = of_places(self.likely, places)
        return Doubts(places, likely, 1 - margins(likely[0]) ** 2)

    @cached_property
    def winners(self) -> Tensor:
        """(h * w,) float32: the likeliest class of each place."""
        # Few places are people's.
        some = (self.likely[0, 0].flatten() < 0.5).nonzero().flatten()
        classes = likeliest(of_places(self.likely, some)[0])
        return torch.zeros_like(self.likely[0, 0]).flatten().index_copy_(0, some, classes)

    def alike(self, other: Seen) -> bool:
        """Whether both lie in the same way in their logits, which may be finer in one of them."""
        return (
            self.likely.shape[1] == other.likely.shape[1]
            and self.batch.places == other.batch.places
            and self.batch.frames[0].size == other.batch.frames[0].size
        )


def motion_between(frames: Sequence[Seen], one: int, other: int) -> Motion | None:
    """From the frame at `one` to that at `other`; None where there is a cut between them, or they are not alike."""
    first, last = min(one, other), max(one, other)
    if not frames[one].alike(frames[other]):
        return None
    if any(frames[place].before[0].result().cut for place in range(first + 1, last + 1)):
        return None
    pair = frames[last].before[last - first - 1].result()
    return pair.forth if one == last else pair.back


def way_between(frames: Sequence[Seen], one: int, other: int) -> Way | None:
    """What takes the other's planes to the places of the one."""
    motion = motion_between(frames, one, other)
    return None if motion is None else Way(motion, frames[one].batch)


def together(batches: Sequence[PendingBatch]) -> list[PendingBatch]:
    """On a device, frames that are alike in one batch, which takes as few kernels as one of them."""
    joined: list[PendingBatch] = []
    for batch in batches:
        before = joined[-1] if joined else None
        if (
            before is None
            or batch.logits.device.type == "cpu"
            or before.logits.shape[1:] != batch.logits.shape[1:]
            or before.spec != batch.spec
        ):
            joined.append(batch)
            continue
        joined[-1] = replace(
            batch,
            frames=[*before.frames, *batch.frames],
            places=[*before.places, *batch.places],
            logits=torch.cat((before.logits, batch.logits)),
            carried=[*_ages(before), *_ages(batch)],
            sources=[*(before.sources or before.frames), *(batch.sources or batch.frames)],
            finishing=[*before.finishing, *batch.finishing],
        )
    return joined


def _ages(batch: PendingBatch) -> Sequence[int]:
    return batch.carried or [0] * len(batch.frames)
