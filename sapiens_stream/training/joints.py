"""The joints of left and right limbs, which a network learns beside the classes: they tell sides under clothes, too.

The renderer knows where they are. In a picture they are discs; the layer that finds them is left out of the weights
that ship.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

# float32 and uint8: OpenCV's stubs cannot tell.
FloatArray = npt.NDArray[Any]
UInt8Array = npt.NDArray[Any]

BONES = ("upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot")
"""The bones that begin at a shoulder, elbow, wrist, hip, knee and ankle."""
JOINTS = tuple(f"{bone}.{side}" for side in "LR" for bone in BONES)
RADIUS = 0.06
"""Metres."""
NO_JOINT, UNKNOWN = 0, 255
"""Codes of a pixel; joint k of JOINTS has k + 1."""
MIRRORED = np.arange(256, dtype=np.uint8)
"""[code]: the code with left and right swapped."""
MIRRORED[1 : len(JOINTS) + 1] = np.roll(MIRRORED[1 : len(JOINTS) + 1], len(BONES))


def seen_joints(heads: Mapping[str, npt.NDArray[np.float64]], camera: npt.NDArray[np.float64]) -> FloatArray:
    """(joints, 3) float32 of the JOINTS in a picture: x and y as shares of its width and height, and the radius as a
    share of its height; 0 behind the camera.

    `heads` (3,) each are where bones begin; `camera` (4, 4) takes the world to clip space.
    """
    clip = np.array([(*heads[name], 1.0) for name in JOINTS]) @ camera.T
    before = clip[:, 3] > 1e-3
    depth = np.where(before, clip[:, 3], 1.0)
    x, y = clip[:, 0] / depth / 2 + 0.5, 0.5 - clip[:, 1] / depth / 2
    radius = RADIUS * np.linalg.norm(camera[1, :3]) / depth / 2
    return np.where(before[:, None], np.stack([x, y, radius], 1), 0).astype(np.float32)


def mirrored_joints(joints: FloatArray) -> FloatArray:
    """The (joints, 3) of the picture mirrored."""
    return np.roll(joints * (-1, 1, 1) + (1, 0, 0), len(BONES), 0).astype(np.float32)


def joints_within(joints: FloatArray, size: tuple[int, int], box: tuple[int, int, int, int]) -> FloatArray:
    """The (joints, 3) of a picture of `size`, (height, width), in a box of it: top, bottom, left, right, which may
    reach beyond the picture."""
    (height, width), (top, bottom, left, right) = size, box
    pixels = joints * (width, height, height) - (left, top, 0)
    return (pixels / (right - left, bottom - top, bottom - top)).astype(np.float32)


def joint_plane(joints: FloatArray | None, to_plane: FloatArray, high: float, shape: tuple[int, int]) -> UInt8Array:
    """(H, W) codes of somebody's joints, the nearer ones before the farther; UNKNOWN everywhere if they are not known.

    `to_plane` (2, 3) takes shares of the person's box to pixels of the plane, in which the box is `high` pixels high.
    """
    plane = np.full(shape, UNKNOWN if joints is None else NO_JOINT, np.uint8)
    if joints is not None:
        places = joints[:, :2] @ to_plane[:, :2].T + to_plane[:, 2]
        for index in np.argsort(joints[:, 2]):
            radius, (x, y) = joints[index, 2] * high, places[index]
            if radius > 0 and -radius < x < shape[1] + radius and -radius < y < shape[0] + radius:
                cv2.circle(plane, (round(x), round(y)), max(1, round(radius)), int(index) + 1, -1)
    return plane


def unknown_joints(targets: UInt8Array) -> UInt8Array:
    """(H, W) codes for targets of which no joints are known: there are none where nobody is."""
    return np.where(targets == 0, NO_JOINT, UNKNOWN).astype(np.uint8)


class JointFinder(nn.Module):
    """Says of a layer's output where joints are: (N, joints + 1, H, W) logits, those of no joint first."""

    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__()
        self.find = nn.Conv2d(channels, len(JOINTS) + 1, 1)
        self._features: list[torch.Tensor] = []
        layer.register_forward_hook(self._listen)

    def _listen(self, layer: nn.Module, inputs: Any, features: torch.Tensor) -> None:
        self._features = [features]

    def loss(self, codes: torch.Tensor) -> torch.Tensor:
        """Of what the layer gave last, of the first pictures in the batch, with their (N, H, W) uint8 codes.

        Cross-entropy, in which pixels with a joint weigh as much together as those without.
        """
        features = self._features.pop()[: len(codes)]
        logits = self.find(features.to(self.find.weight.dtype)).float()
        codes = F.interpolate(codes[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()
        known, joint = codes != UNKNOWN, (codes != UNKNOWN) & (codes != NO_JOINT)
        costs = F.cross_entropy(logits, torch.where(known, codes, NO_JOINT), reduction="none")
        shares = ((costs * kind).sum() / kind.sum().clamp(min=1) for kind in (joint, known & ~joint))
        return sum(shares, costs.new_zeros(())) / 2
