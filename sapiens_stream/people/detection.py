"""Where people are in a picture: boxes from a first, coarse map, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import torch

from sapiens_stream.frame import PersonBox, UInt8Array
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Placement, draw, normalise, placement
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.people.boxes_file import BoxesFile
from sapiens_stream.people.paste import confidence, foreground

_JOIN = 40  # parts of a person that are this share of the map's side apart belong together
_SMALLEST = 6  # cells; less is more often nobody


class Detector(Protocol):
    """Finds the people of each frame of a batch, or of each of its frames alone."""

    def find(self, batch: PendingBatch) -> list[list[PersonBox]]:
        """The boxes of each frame, without padding."""


class OwnMap:
    """Takes them from what the model itself sees in the whole picture; for the built-in model."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def find(self, batch: PendingBatch) -> list[list[PersonBox]]:
        sure = confidence(batch.logits.float(), self._threshold)[:, 0]
        masks = foreground(batch.logits, self._threshold).mul(sure)
        return [
            boxes_in(np.rint(mask * 255).astype(np.uint8), place, batch.spec)
            for mask, place in zip(masks.cpu().numpy(), batch.places, strict=True)
        ]


class BuiltinMap:
    """Has the built-in model look at the whole picture first; for models that are made for one large person."""

    def __init__(self, device: torch.device) -> None:
        self._model = load_builtin()
        self._device = device
        runner = self._model.runner(device, torch.float32) if self._model.runner is not None else None
        self._forward = runner or self._model.place(device, torch.float32)
        given = self._model.input
        self._mean, self._std = (torch.tensor(each, device=device) for each in (given.mean, given.std))

    def find(self, batch: PendingBatch) -> list[list[PersonBox]]:
        found = []
        for frame in batch.frames:
            spec = self._model.input_for(frame.size)
            place = placement(frame.size, spec, "stretch")
            canvas = np.empty((1, spec.height, spec.width, 3), np.uint8)
            draw(frame, place, spec, canvas[0])
            pixels = torch.from_numpy(canvas).to(self._device)
            logits = self._forward(normalise(pixels, self._mean, self._std, torch.float32))
            sure = confidence(logits, 0.0)[0, 0] * foreground(logits, 0.0)[0]
            found.append(boxes_in(np.rint(sure.cpu().numpy() * 255).astype(np.uint8), place, spec))
        return found


class FromFile:
    """Takes them from a file, by the frames' names or numbers."""

    def __init__(self, boxes: BoxesFile) -> None:
        self._boxes = boxes

    def find(self, batch: PendingBatch) -> list[list[PersonBox]]:
        return [self._boxes.of(frame) for frame in batch.frames]


def detector_for(model: Model, device: torch.device, boxes: BoxesFile | None) -> Detector:
    """The file's boxes, or those of the built-in model's map."""
    if boxes is not None:
        return FromFile(boxes)
    return OwnMap(model.threshold) if model.kind == "builtin" else BuiltinMap(device)


def boxes_in(sure: UInt8Array, place: Placement, spec: InputSpec) -> list[PersonBox]:
    """A box for each piece of a map, (h, w), that says how sure it is of anybody, 0 to 255; the largest first."""
    height, width = sure.shape
    mask = (sure > 0).astype(np.uint8)
    reach = max(1, round(max(height, width) / _JOIN / 2))
    near = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    count, pieces = cv2.connectedComponents(near)
    if count == 1:
        return []
    rows, columns = np.nonzero(mask)
    piece = np.asarray(pieces, np.intp)[rows, columns]
    cells = np.bincount(piece, minlength=count)
    weight = np.bincount(piece, weights=sure[rows, columns], minlength=count)
    left, top = np.full(count, width), np.full(count, height)
    right, bottom = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for first, last, along in ((left, right, columns), (top, bottom, rows)):
        np.minimum.at(first, piece, along)
        np.maximum.at(last, piece, along + 1)
    region = place.region(spec, (height, width)) or (0.0, 0.0, float(height), float(width))
    down, across = place.seen.height / region[2], place.seen.width / region[3]
    found = [
        PersonBox(
            left=place.seen.left + (float(left[each]) - region[1]) * across,
            top=place.seen.top + (float(top[each]) - region[0]) * down,
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
