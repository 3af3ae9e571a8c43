"""Random networks whose class maps look like people's.

Random weights cost what trained ones do, but their class maps are noise: nearly every cell lies at a boundary, and
outlines, JSON and class maps then cost many times what real ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from sapiens_stream import Segmenter
from sapiens_stream.frame import UInt8Array
from sapiens_stream.models.model import Model

_ABOVE = 40.0
"""What the classes of the person are raised by: well above a random network's logits."""


def with_people(model: Model, picture: UInt8Array) -> Model:
    """The network of 28 classes with the logits of a picture, (H, W, 3) uint8 RGB, added to its own.

    Where the built-in model sees a class in the picture, that class's logit is raised, smoothly over its border.
    """
    seen = Segmenter("builtin", device="cpu")(picture).class_map
    height, width = model.logits_size
    planes = []
    for label in range(len(model.classes)):
        plane = (seen == label).astype(np.float32)
        planes.append(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA))
    raised = _ABOVE * torch.from_numpy(np.stack(planes))[None]

    return replace(model, place=lambda device, dtype: _Raised(model.place(device, dtype), raised.to(device, dtype)))


class _Raised(nn.Module):
    """A module, since only those are compiled."""

    def __init__(self, network: Callable[[Tensor], Tensor], raised: Tensor) -> None:
        super().__init__()
        self._network, self._raised = network, raised

    def forward(self, pixels: Tensor) -> Tensor:
        return self._network(pixels) + self._raised
