"""The model's second look: parts of a frame that it sees again from nearer, joined to what it saw of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from sapiens_stream.frame import Frame, PersonBox
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Placement
from sapiens_stream.inference.turns import Turn
from sapiens_stream.models.model import InputSpec


@dataclass(frozen=True, eq=False)
class Look:
    """A frame, or a part of it, as the model gets it."""

    frame: Frame
    spec: InputSpec
    place: Placement


class Closer(Protocol):
    """Says what of each frame is worth a closer look, and joins what the model sees there. One for each device.

    A worker calls it in its own thread, `looks` and `joined` with their work queued on the stream of the class maps.
    Memory may be short in both: they are called again after they have raised.
    """

    def looks(self, batch: PendingBatch, seconds: float | None, turn: Turn) -> Sequence[Sequence[Look]]:
        """The parts of each frame of a batch, finite, that the model is to see again; `seconds` is what a look takes.

        That is None before the first one. What depends on the frames before waits for `turn`, which ends afterwards.
        """

    def joined(self, alone: PendingBatch, looks: Sequence[Look], logits: Sequence[Tensor]) -> PendingBatch:
        """A frame alone with the logits, each (C, h, w), of the looks at it."""

    def boxes(self, frame: Frame) -> tuple[PersonBox, ...] | None:
        """Where people were looked for in a frame that went through `looks`; None where it was chosen not to."""

    def record(self) -> dict[str, Any]:
        """What it chose, for the run record."""
