"""A second look at each person, as large as the model takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sapiens_stream.frame import Frame, PersonBox
from sapiens_stream.inference.closer import Look
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.turns import Turn
from sapiens_stream.models.detectors import DETECTORS, require
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.people.boxes_file import BoxesFile
from sapiens_stream.people.boxes_given import told_of
from sapiens_stream.people.choice import Choice
from sapiens_stream.people.crops import look_at
from sapiens_stream.people.detection import Before, Detector, detector_for, largest_first, wait
from sapiens_stream.people.paste import pasted
from sapiens_stream.people.track import Track, overlap
from sapiens_stream.settings import MOST_PEOPLE

_UPRIGHT = (4, 3)
"""The aspect of a person's crop, where the model has none of its own."""
_ALIKE = 0.7  # of two boxes, above which they are one
_LIVE_SECONDS = 0.03  # for the second looks at a live frame: about the time to the next one


@dataclass(frozen=True)
class Seen:
    """What was found in the frames of one engine, on all its devices."""

    track: Track | None = None
    """None: boxes are as they are given."""
    choice: Choice | None = None
    given: BoxesFile | None = None
    boxes: WeakKeyDictionary[Frame, tuple[PersonBox, ...]] = field(default_factory=WeakKeyDictionary)


class CloserToPeople:
    """Has the model look again at each person whom it saw small, and puts what it saw into the whole picture's logits.

    Of a live frame the nearest people come first, and no more of them than the time to the next frame allows.

    What it goes by of the frames before is in `seen`, which those of all devices share, as their detectors share a
    `Before`.
    """

    def __init__(self, model: Model, spec: InputSpec, detector: Detector, seen: Seen) -> None:
        self._threshold = model.threshold
        self._spec = spec
        self._detector = detector
        self._track, self._choice, self._boxes = seen.track, seen.choice, seen.boxes
        self._given = seen.given

    def looks(self, batch: PendingBatch, seconds: float | None, turn: Turn) -> Sequence[Sequence[Look]]:
        if self._choice is not None:
            wait(batch, turn)
        if self._choice is not None and all(self._choice.is_off(frame) for frame in batch.frames):
            return [[] for _ in batch.frames]
        new = [frame not in self._boxes for frame in batch.frames]
        if any(new):  # a frame comes here again where memory was short
            people = self._detector.find(batch, turn)
            wait(batch, turn)
            for frame, found, is_new in zip(batch.frames, people, new, strict=True):
                if is_new:
                    grown = self._track.grown(frame, found) if self._track is not None else found
                    self._boxes[frame] = _distinct(grown)
                    if self._choice is not None:
                        self._choice.see(frame, self._boxes[frame])
        return [self._looks_at(alone, seconds) for alone in batch.each()]

    def joined(self, alone: PendingBatch, looks: Sequence[Look], logits: Sequence[Tensor]) -> PendingBatch:
        return pasted(alone, looks, logits, self._threshold) if looks else alone

    def boxes(self, frame: Frame) -> tuple[PersonBox, ...] | None:
        return self._boxes.get(frame, None if self._choice is not None else ())

    def record(self) -> dict[str, Any]:
        if self._given is not None:
            return told_of(self._given.path)
        return {} if self._choice is None else {"people": self._choice.chosen}

    def _looks_at(self, alone: PendingBatch, seconds: float | None) -> list[Look]:
        frame = alone.frames[0]
        looks = [look for person in self._boxes[frame] if (look := look_at(person, alone, self._spec))]
        if frame.arrived is not None:
            looks = looks[: max(1, int(_LIVE_SECONDS / seconds)) if seconds else 1]
        return looks


def closer_for(
    model: Model, options: InferenceOptions, note: Callable[[str], None] = lambda sentence: None
) -> Callable[[torch.device], CloserToPeople] | None:
    """What makes the second looks that the options ask for, on a device; None where they ask for none.

    `note` is called with what "auto" chose. Raises InputError for a file of boxes that cannot be read, ModelError for a
    detector whose weights are not on disk.
    """
    if not options.looks_for_people:
        return None
    boxes = BoxesFile(Path(options.boxes)) if options.boxes is not None else None
    if options.people in DETECTORS:
        require(options.people)
    spec = model.input_for(_UPRIGHT)
    choice = Choice(note) if options.people == "auto" else None
    seen = Seen(Track() if boxes is None else None, choice, boxes)
    return partial(_closer, model, spec, boxes, options.people, seen, Before())


def _closer(
    model: Model,
    spec: InputSpec,
    boxes: BoxesFile | None,
    people: str,
    seen: Seen,
    before: Before,
    device: torch.device,
) -> CloserToPeople:
    return CloserToPeople(model, spec, detector_for(model, device, boxes, people, before), seen)


def _distinct(people: Sequence[PersonBox]) -> tuple[PersonBox, ...]:
    """Each person once, the largest first, and no more than there may be."""
    kept: list[PersonBox] = []
    for person in largest_first(people):
        if len(kept) < MOST_PEOPLE and all(overlap(person, other) < _ALIKE for other in kept):
            kept.append(person)
    return tuple(kept)
