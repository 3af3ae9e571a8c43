"""What is downloaded of probabilities beside the class map: one plane of chosen classes, or the likeliest of each cell.

All of it is in the logits' own resolution: probabilities of all classes in the picture's size would be gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import UInt8Array
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.settings import FOREGROUND
from sapiens_stream.soft import CERTAIN, AlphaPlane, Extent, RankedPlanes

Soft = tuple[AlphaPlane | None, RankedPlanes | None]

_SIGN = 1 << 15


@dataclass(frozen=True)
class Probabilities:
    """Makes of logits what was asked for; `alpha` are ids of classes, `ranks` how many classes of each cell."""

    alpha: tuple[int, ...] | None
    ranks: int

    def planes(self, batch: PendingBatch, threshold: float) -> list[Tensor]:
        """uint8 on the device, in the order in which `read` takes them: of a batch, not of a frame."""
        likely = _scores(batch.logits, threshold).softmax(1)
        planes = []
        if self.alpha is not None:
            planes.append(_as_bytes(_summed(likely, self.alpha)))
        if self.ranks:
            values, ids = likely.topk(min(self.ranks, likely.shape[1]), dim=1)
            planes += [ids.to(torch.uint8), _as_bytes(values)]
        return planes

    def read(self, batches: Sequence[PendingBatch], arrays: Iterator[UInt8Array]) -> Iterator[Soft]:
        """What `planes` gave of some batches, downloaded, frame by frame."""
        for batch in batches:
            alpha = _from_bytes(next(arrays)) if self.alpha is not None else None
            ids, values = (next(arrays), _from_bytes(next(arrays))) if self.ranks else (None, None)
            for place, extent in enumerate(_extents(batch)):
                yield (
                    AlphaPlane(alpha[place], extent, frozenset(self.alpha or ())) if alpha is not None else None,
                    RankedPlanes(ids[place], values[place], extent) if ids is not None and values is not None else None,
                )


def probabilities_for(options: InferenceOptions, classes: ClassSet) -> Probabilities | None:
    """What the options ask for of a model with these classes; None for nothing.

    Raises UsageError for a class that the model does not have.
    """
    if options.alpha_of is None and not options.ranks:
        return None
    alpha: tuple[int, ...] | None = None
    if options.alpha_of == FOREGROUND:
        alpha = tuple(range(1, len(classes)))
    elif options.alpha_of is not None:
        alpha = tuple(dict.fromkeys(classes.ids(options.alpha_of)))
        if not alpha:
            raise UsageError("alpha_of names no class")
    return Probabilities(alpha, options.ranks)


def _scores(logits: Tensor, threshold: float) -> Tensor:
    """(N, C, h, w) float32; of one channel, those of background and foreground."""
    logits = logits.float()
    return logits if logits.shape[1] > 1 else torch.cat((torch.zeros_like(logits), logits - threshold), 1)


def _summed(likely: Tensor, classes: tuple[int, ...]) -> Tensor:
    """(N, h, w): of the classes, or what the others leave if they are fewer."""
    others = tuple(each for each in range(likely.shape[1]) if each not in classes)
    if others and len(others) < len(classes):
        return 1 - _summed(likely, others)
    # A list of ids would be copied up from ordinary memory, and the host wait for it.
    total = likely[:, classes[0]]
    for each in classes[1:]:
        total = total + likely[:, each]
    return total


def _as_bytes(likely: Tensor) -> Tensor:
    """(..., w) probabilities to (..., 2w) uint8, the bytes of 16-bit integers; not every device has unsigned ones."""
    levels = (likely.clamp(0, 1) * CERTAIN).round_().sub_(_SIGN)
    return levels.to(torch.int16).contiguous().view(torch.uint8)


def _from_bytes(array: UInt8Array) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return array.view(np.uint16) ^ np.uint16(_SIGN)


def _extents(batch: PendingBatch) -> Iterator[Extent]:
    height, width = batch.logits.shape[2:]
    for frame, place in zip(batch.frames, batch.places, strict=True):
        seen = place.seen
        yield Extent(
            size=frame.size,
            seen=(seen.top, seen.left, seen.height, seen.width),
            region=place.region(batch.spec, (height, width)) or (0.0, 0.0, float(height), float(width)),
        )
