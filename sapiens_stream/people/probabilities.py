"""Logits as probabilities, which can be mixed, and back; and their way along a motion."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Placement
from sapiens_stream.inference.propagation import Field
from sapiens_stream.models.model import InputSpec
from sapiens_stream.people.motion import Motion

_LEAST = 1e-30  # of a probability, so that its logarithm is finite


def probabilities(logits: Tensor, threshold: float) -> Tensor:
    """(1, C, h, w) logits to probabilities in float32; of one channel, above `threshold`, to those of 0 and 1."""
    return as_scores(logits, threshold).softmax(1)


def as_scores(logits: Tensor, threshold: float) -> Tensor:
    """(1, C, h, w) logits in float32; of one channel, to those of 0 and 1."""
    logits = logits.to(torch.float32)
    return logits if logits.shape[1] > 1 else torch.cat((torch.zeros_like(logits), logits - threshold), 1)


def of_scores(scores: Tensor, channels: int, threshold: float) -> Tensor:
    """The way back, to as many channels."""
    return scores if channels > 1 else scores[:, 1:] - scores[:, :1] + threshold


def logits_of(likely: Tensor, channels: int, threshold: float) -> Tensor:
    """The way back: logits that differ from what went in only by what is the same for all classes of a place."""
    return of_scores(likely.clamp_min(_LEAST).log(), channels, threshold)


def leaders(likely: Tensor) -> tuple[Tensor, Tensor]:
    """(1, 1, h, w) float32 twice: the likeliest class of each place, and by how much it is ahead of the next."""
    if likely.device.type != "cpu":
        values, classes = likely.topk(2, dim=1)
        return classes[:, :1].float(), values[:, :1] - values[:, 1:]
    # A class at a time is many times faster than `topk` on a CPU.
    first, second = likely[:, :1].clone(), torch.full_like(likely[:, :1], -torch.inf)
    winner = torch.zeros_like(first)
    for label in range(1, likely.shape[1]):
        value = likely[:, label : label + 1]
        torch.maximum(winner, (value > first).mul(float(label)), out=winner)
        torch.maximum(second, torch.minimum(first, value), out=second)
        torch.maximum(first, value, out=first)
    return winner, first - second


class Way:
    """Takes what lies in the logits of one frame to the places of another, along the motion from that to this."""

    def __init__(self, motion: Motion, batch: PendingBatch) -> None:
        """`batch` is the frame, alone, to whose places it is taken."""
        height, width = batch.logits.shape[2:]
        device = batch.logits.device
        matrix, scale = _to_field(motion.field, batch.frames[0].size, batch.places[0], batch.spec, (height, width))
        moved = _seen(motion.field, matrix, (height, width)) * scale
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        there = (np.dstack([columns, rows]) + moved + np.float32(0.5)) / np.array([width, height], np.float32) * 2 - 1
        self._grid = torch.from_numpy(there)[None].to(device)
        sure = _seen(motion.sure, matrix, (height, width)).astype(np.float32) / np.float32(255)
        self.sure = torch.from_numpy(sure)[None, None].to(device)
        """(1, 1, h, w): how far the way is to be trusted, 0 to 1."""

    def __call__(self, planes: Tensor, mode: str = "bilinear") -> Tensor:
        """(1, N, h, w) of the other frame, as they lie in this one."""
        return F.grid_sample(planes, self._grid, mode, padding_mode="border", align_corners=False)


def _to_field(
    field: Field, size: tuple[int, int], place: Placement, spec: InputSpec, logits: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], Field]:
    """The affine map from logits to the field's pixels, and what a field's pixel is in logits, (x, y)."""
    top, left, height, width = place.region(spec, logits) or (0.0, 0.0, float(logits[0]), float(logits[1]))
    seen = place.seen
    across, down = seen.width / width * field.shape[1] / size[1], seen.height / height * field.shape[0] / size[0]
    matrix = np.array(
        [
            [across, 0, (0.5 - left) * across + seen.left * field.shape[1] / size[1] - 0.5],
            [0, down, (0.5 - top) * down + seen.top * field.shape[0] / size[0] - 0.5],
        ]
    )
    return matrix, np.array([1 / across, 1 / down], np.float32)


def _seen(plane: npt.NDArray[Any], matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[Any]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE))
