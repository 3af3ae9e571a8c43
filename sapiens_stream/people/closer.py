"""A second look at each person, as large as the model takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sapiens_stream.frame import Frame, PersonBox
from sapiens_stream.inference.closer import Look
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.people.boxes_file import BoxesFile
from sapiens_stream.people.crops import look_at
from sapiens_stream.people.detection import Detector, detector_for, largest_first
from sapiens_stream.people.paste import pasted
from sapiens_stream.people.track import Track, overlap
from sapiens_stream.settings import MOST_PEOPLE

_UPRIGHT = (4, 3)
"""The aspect of a person's crop, where the model has none of its own."""
_ALIKE = 0.7  # of two boxes, above which they are one
_LIVE_SECONDS = 0.03  # for the second looks at a live frame: about the time to the next one


class CloserToPeople:
    """Has the model look again at each person whom it saw small, and puts what it saw into the whole picture's logits.

    Of a live frame the nearest people come first, and no more of them than the time to the next frame allows.
    """

    def __init__(self, model: Model, spec: InputSpec, detector: Detector, *, tracked: bool) -> None:
        self._threshold = model.threshold
        self._spec = spec
        self._detector = detector
        self._tracked = tracked
        self._track = Track()
        self._boxes: WeakKeyDictionary[Frame, tuple[PersonBox, ...]] = WeakKeyDictionary()

    def looks(self, batch: PendingBatch, seconds: float | None) -> Sequence[Sequence[Look]]:
        new = [frame not in self._boxes for frame in batch.frames]
        if any(new):  # a frame comes here again where memory was short
            for frame, found, is_new in zip(batch.frames, self._detector.find(batch), new, strict=True):
                if is_new:
                    grown = self._track.grown(frame, found) if self._tracked else found
                    self._boxes[frame] = _distinct(grown)
        return [self._looks_at(alone, seconds) for alone in batch.each()]

    def joined(self, alone: PendingBatch, looks: Sequence[Look], logits: Sequence[Tensor]) -> PendingBatch:
        return pasted(alone, looks, logits, self._threshold) if looks else alone

    def boxes(self, frame: Frame) -> tuple[PersonBox, ...]:
        return self._boxes.get(frame, ())

    def _looks_at(self, alone: PendingBatch, seconds: float | None) -> list[Look]:
        frame = alone.frames[0]
        looks = [look for person in self._boxes[frame] if (look := look_at(person, alone, self._spec))]
        if frame.arrived is not None:
            looks = looks[: max(1, int(_LIVE_SECONDS / seconds)) if seconds else 1]
        return looks


def closer_for(model: Model, options: InferenceOptions) -> Callable[[torch.device], CloserToPeople] | None:
    """What makes the second looks that the options ask for, on a device; None where they ask for none.

    Raises InputError for a file of boxes that cannot be read.
    """
    if not options.looks_for_people:
        return None
    boxes = BoxesFile(Path(options.boxes)) if options.boxes is not None else None
    return partial(_closer, model, model.input if options.compile else model.input_for(_UPRIGHT), boxes)


def _closer(model: Model, spec: InputSpec, boxes: BoxesFile | None, device: torch.device) -> CloserToPeople:
    return CloserToPeople(model, spec, detector_for(model, device, boxes), tracked=boxes is None)


def _distinct(people: Sequence[PersonBox]) -> tuple[PersonBox, ...]:
    """Each person once, the largest first, and no more than there may be."""
    kept: list[PersonBox] = []
    for person in largest_first(people):
        if len(kept) < MOST_PEOPLE and all(overlap(person, other) < _ALIKE for other in kept):
            kept.append(person)
    return tuple(kept)
