"""Logits as probabilities, which can be mixed, and back; and their way along a motion."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream.inference.class_map import argmax
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Placement
from sapiens_stream.inference.propagation import Field, destinations
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


def winners(likely: Tensor) -> Tensor:
    """(1, 1, h, w) float32: the likeliest class of each place, of probabilities or logits."""
    return argmax(likely[0]).float()[None, None]


def likeliest(likely: Tensor) -> Tensor:
    """(n,) float32: the likeliest class of each place, of (C, n) probabilities."""
    return argmax(likely[:, None])[0].float()


def margins(likely: Tensor) -> Tensor:
    """(n,): by how much the likeliest class of each place is ahead of the next, of (C, n) probabilities."""
    first = likely.amax(0)
    return first - likely.masked_fill(likely == first, 0).amax(0)


def of_places(planes: Tensor, places: Tensor) -> Tensor:
    """(1, N, n): what (1, N, h, w) holds at places that are counted row by row."""
    return planes.flatten(2).index_select(2, places)


class Way:
    """Takes what lies in the logits of one frame to the places of another, along the motion from that to this."""

    def __init__(self, motion: Motion, batch: PendingBatch) -> None:
        """`batch` is the frame, alone, to whose places it is taken."""
        height, width = batch.logits.shape[2:]
        device = batch.logits.device
        matrix, scale = _to_field(motion.field, batch.frames[0].size, batch.places[0], batch.spec, (height, width))
        unmoved, step = _on_grid(height, width, *scale)
        there = np.add(np.multiply(_seen(motion.field, matrix, (height, width)), step), unmoved)
        self._grid = torch.from_numpy(there)[None].to(device)
        self._sure = torch.from_numpy(_seen(motion.sure, matrix, (height, width)))[None, None].to(device)

    @cached_property
    def sure(self) -> Tensor:
        """(1, 1, h, w) float32: how far the way is to be trusted, 0 to 1."""
        return self._sure.to(torch.float32).div_(255)

    def __call__(self, planes: Tensor, mode: str = "bilinear") -> Tensor:
        """(1, N, h, w) of the other frame, as they lie in this one."""
        return F.grid_sample(planes, self._grid, mode, padding_mode="border", align_corners=False)

    def to_places(self, planes: Tensor, places: Tensor) -> Tensor:
        """(1, N, n): the same at some places alone, which are counted row by row."""
        grid = self._grid.flatten(1, 2).index_select(1, places)[:, None]
        return F.grid_sample(planes, grid, "bilinear", padding_mode="border", align_corners=False)[:, :, 0]

    def sure_at(self, places: Tensor) -> Tensor:
        """(n,) float32: how far it is to be trusted there."""
        return self._sure.flatten().index_select(0, places).to(torch.float32).div_(255)


@lru_cache(maxsize=16)
def _on_grid(height: int, width: int, across: float, down: float) -> tuple[Field, Field]:
    """(height, width, 2), -1 to 1 over the logits: each place, and what one of a field's pixels is."""
    size = np.array([width, height], np.float32)
    unmoved = (destinations(np.zeros((height, width, 2), np.float32)) + np.float32(0.5)) / size * 2 - 1
    step = np.broadcast_to(np.array([across, down], np.float32) / size * 2, unmoved.shape)
    return unmoved, np.ascontiguousarray(step)  # as large, which is many times faster to multiply with


def _to_field(
    field: Field, size: tuple[int, int], place: Placement, spec: InputSpec, logits: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
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
    return matrix, (1 / across, 1 / down)


def _seen(plane: npt.NDArray[Any], matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[Any]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE))
