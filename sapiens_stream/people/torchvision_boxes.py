"""Boxes of people by one of torchvision's detectors, on the device of the model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sapiens_stream.errors import ModelError
from sapiens_stream.frame import Frame, PersonBox, UInt8Array
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.turns import Turn
from sapiens_stream.models.detectors import DETECTORS, require
from sapiens_stream.models.interface import last_line
from sapiens_stream.models.weights import read_weights

_CLASSES = 91  # COCO's, as torchvision numbers them
_PERSON = 1
_SURE = 0.5  # from which a box counts


class TorchvisionBoxes:
    """Finds people with the detector called `name`.

    Raises UsageError where its weights are not on disk, ModelError where they are not those of its network. They are
    read as other checkpoints are: no code of the file runs.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._device = device
        self._network = _network(name).to(device)

    def find(self, batch: PendingBatch, _turn: Turn) -> list[list[PersonBox]]:
        found = []
        for frame in batch.frames:  # one by one: the detector brings each to its own size
            pixels = torch.from_numpy(_as_seen(frame)).to(self._device).permute(2, 0, 1).float() / 255
            [result] = self._network([pixels])
            found.append(_people(result, frame.size[1] / pixels.shape[2]))
        return found


def _as_seen(frame: Frame) -> UInt8Array:
    """(H, W, 3) RGB of square pixels."""
    height, width = frame.size
    canvas = np.empty((height, max(1, round(width * frame.widening)), 3), np.uint8)
    frame.draw((slice(0, height), slice(0, width)), canvas)
    return canvas


def _people(result: dict[str, Tensor], across: float = 1.0) -> list[PersonBox]:
    """Boxes, which are `across` times as wide in the frame."""
    kept = (result["labels"] == _PERSON) & (result["scores"] >= _SURE)
    boxes, scores = result["boxes"][kept].tolist(), result["scores"][kept].tolist()
    people = [
        PersonBox(left * across, top, (right - left) * across, bottom - top, round(score, 4))
        for (left, top, right, bottom), score in zip(boxes, scores, strict=True)
        if right > left and bottom > top
    ]
    return sorted(people, key=lambda person: -person.area)


def _network(name: str) -> nn.Module:
    import torchvision.models.detection as detection

    path = require(name)
    network: nn.Module = getattr(detection, DETECTORS[name].builder)(
        weights=None, weights_backbone=None, num_classes=_CLASSES
    )
    try:
        network.load_state_dict(dict(read_weights(path, "state dict")))
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the weights of {name}: {last_line(error)}") from error
    return network.eval().requires_grad_(False)
