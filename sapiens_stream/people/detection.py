"""Where people are in a picture: boxes from a first, coarse map, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from sapiens_stream.frame import Frame, PersonBox
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Placement
from sapiens_stream.inference.turns import Turn
from sapiens_stream.models.detectors import DETECTORS
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.people.apart import apart
from sapiens_stream.people.boxes_file import BoxesFile
from sapiens_stream.people.first_look import BuiltinLook, LookedAt, Sighting
from sapiens_stream.people.followed import Followed
from sapiens_stream.people.torchvision_boxes import TorchvisionBoxes

_JOIN = 40  # parts of a person that are this share of the map's side apart belong together
_SMALLEST = 6  # cells; less is more often nobody


class Detector(Protocol):
    """Finds the people of each frame of a batch, or of each of its frames alone."""

    def find(self, batch: PendingBatch, turn: Turn) -> list[list[PersonBox]]:
        """The boxes of each frame, without padding; `turn` is the batch's, for what follows from the frames before."""


@dataclass(frozen=True)
class Before:
    """What is remembered of the frames before, whichever device they were on."""

    looked_at: LookedAt = field(default_factory=LookedAt)
    followed: Followed = field(default_factory=Followed)


class FromMap:
    """Takes them from the map that the built-in model makes of a picture.

    If that is the model that is run anyway, `own`, it has seen the whole picture already. Of a clip's large pictures a
    few are looked at in parts; whom those show is followed along the motion to the next. Of a live picture no more is
    looked at than the whole, since there is no time.
    """

    def __init__(self, device: torch.device, own: Model | None, before: Before) -> None:
        self._own = own
        self._look = BuiltinLook(device, before.looked_at)
        self._followed = before.followed

    def find(self, batch: PendingBatch, turn: Turn) -> list[list[PersonBox]]:
        each = batch.each()
        if self._own is None:
            wholes = [self._look.whole(alone.frames[0]) for alone in each]
        else:
            wholes = [(alone.logits, alone.places[0], alone.spec) for alone in each]
        wait(batch, turn)
        return [self._of(alone.frames[0], whole) for alone, whole in zip(each, wholes, strict=True)]

    def _of(self, frame: Frame, whole: tuple[Tensor, Placement, InputSpec]) -> list[PersonBox]:
        if frame.arrived is not None:
            return boxes_in(self._look.sighting(frame, whole, closer=False), frame.size)
        gone = None if self._look.is_due(frame) else self._followed.to(frame)
        seen = self._look.sighting(frame, whole, closer=gone is None)
        return self._followed.with_those_seen(frame, gone, boxes_in(seen, frame.size))


def wait(batch: PendingBatch, turn: Turn) -> None:
    """Until the frames before have been looked at; photos have nothing to do with each other."""
    if not all(frame.is_photo for frame in batch.frames):
        turn.wait()


class FromFile:
    """Takes them from a file, by the frames' names or numbers."""

    def __init__(self, boxes: BoxesFile) -> None:
        self._boxes = boxes

    def find(self, batch: PendingBatch, _turn: Turn) -> list[list[PersonBox]]:
        return [self._boxes.of(frame) for frame in batch.frames]


def detector_for(model: Model, device: torch.device, boxes: BoxesFile | None, people: str, before: Before) -> Detector:
    """The file's boxes, or those of a detector of torchvision's, or of the built-in model's map."""
    if boxes is not None:
        return FromFile(boxes)
    if people in DETECTORS:
        return TorchvisionBoxes(people, device)
    return FromMap(device, model if model.kind == "builtin" else None, before)


def boxes_in(seen: Sighting, size: tuple[int, int]) -> list[PersonBox]:
    """A box for each piece of a picture of `size` (H, W), or for each of its heads, the largest first."""
    sure = seen.sure
    height, width = sure.shape
    mask = (sure > 0).astype(np.uint8)
    reach = max(1, round(max(height, width) / _JOIN / 2))
    near = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    if not near.any():
        return []
    pieces = apart(np.asarray(cv2.connectedComponents(near)[1], np.int32), seen.heads & mask)
    count = int(pieces.max()) + 1
    rows, columns = np.nonzero(mask)
    piece = pieces[rows, columns]
    cells = np.bincount(piece, minlength=count)
    weight = np.bincount(piece, weights=sure[rows, columns], minlength=count)
    left, top = np.full(count, width), np.full(count, height)
    right, bottom = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for first, last, along in ((left, right, columns), (top, bottom, rows)):
        np.minimum.at(first, piece, along)
        np.maximum.at(last, piece, along + 1)
    down, across = size[0] / height, size[1] / width
    found = [
        PersonBox(
            left=float(left[each]) * across,
            top=float(top[each]) * down,
            width=float(right[each] - left[each]) * across,
            height=float(bottom[each] - top[each]) * down,
            score=round(float(weight[each] / cells[each]) / 255, 4),
        )
        for each in range(1, count)
        if cells[each] >= _SMALLEST
    ]
    return largest_first(found)


def largest_first(people: Sequence[PersonBox]) -> list[PersonBox]:
    """The nearest, by their size, before those farther away."""
    return sorted(people, key=lambda person: -person.area)
