"""A batch on its way: its frames, and their logits on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.class_map import class_maps
from sapiens_stream.inference.preprocess import Placement
from sapiens_stream.inference.streams import Span
from sapiens_stream.models.model import InputSpec


@dataclass(frozen=True)
class PendingBatch:
    """Frames whose logits, (N, C, h, w), are computed, or being computed."""

    frames: Sequence[Frame]
    spec: InputSpec
    places: Sequence[Placement]
    logits: Tensor
    finite: Tensor
    """bool (), on the device: whether all of the logits are."""
    dtype: torch.dtype
    span: Span
    carried: Sequence[int] = ()
    """Of each frame, how many frames before it the one was whose logits were carried to it, 0 if they are its own;
    empty where all are."""
    sources: Sequence[Frame] = ()
    """Of each frame, the one whose logits, and people, were carried to it; empty where all are their own."""
    finishing: Sequence[Callable[[Tensor], Tensor]] = ()
    """Of each frame, what its class map goes through at last, in their order and perhaps again; empty where nothing."""

    def each(self) -> list[PendingBatch]:
        """Every frame in a batch of its own; nothing is copied."""
        return [
            replace(
                self,
                frames=[frame],
                places=[self.places[index]],
                logits=self.logits[index : index + 1],
                carried=self.carried[index : index + 1],
                sources=self.sources[index : index + 1],
                finishing=self.finishing[index : index + 1],
            )
            for index, frame in enumerate(self.frames)
        ]

    def class_maps(self, threshold: float) -> list[Tensor]:
        """(H, W) uint8 on the device for each frame, in order; frames of one size are done together."""
        alike: dict[tuple[tuple[int, int], Placement], list[int]] = {}
        for index, (frame, place) in enumerate(zip(self.frames, self.places, strict=True)):
            alike.setdefault((frame.size, place), []).append(index)
        found: dict[int, Tensor] = {}
        for (size, place), indices in alike.items():
            whole = len(indices) == len(self.frames)
            logits = self.logits if whole else torch.stack([self.logits[index] for index in indices])
            seen = class_maps(
                logits,
                (place.seen.height, place.seen.width),
                threshold=threshold,
                region=place.region(self.spec, (logits.shape[2], logits.shape[3])),
            )
            found.update(zip(indices, (_in_picture(each, place, size) for each in seen), strict=True))
        maps = [found[index] for index in range(len(self.frames))]
        return [finish(each) for finish, each in zip(self.finishing, maps, strict=True)] if self.finishing else maps


def _in_picture(seen: Tensor, place: Placement, size: tuple[int, int]) -> Tensor:
    """The class map of the part that the model saw, in one of the whole picture."""
    if tuple(seen.shape) == size:
        return seen
    whole = seen.new_zeros(size)
    whole[place.seen.slices] = seen
    return whole
