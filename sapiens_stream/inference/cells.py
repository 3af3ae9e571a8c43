"""How a picture's pixels fall into the cells of its logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LONGEST_BLOCK = 32
"""Pixels a side; a longer cell is split, which bounds what one takes, however large the picture."""

_WHOLE = 1e-6  # a logit is within a region in spite of the region's rounding


@dataclass(frozen=True)
class Axis:
    """How the pixels along one side fall into cells: the spans between two neighbouring logits."""

    cell: Tensor
    """(pixels,) the cell a pixel lies in."""
    ends: tuple[Tensor, Tensor]
    """(cells,) twice: the logits at the cell's two ends."""
    pixel: Tensor
    """(block, cells) the pixels of a cell, the last repeated where there are fewer than `block`."""
    weight: tuple[Tensor, Tensor]
    """(block, cells) float32 twice: what each end weighs at a pixel."""

    @property
    def block(self) -> int:
        return len(self.pixel)

    @property
    def cells(self) -> int:
        return len(self.ends[0])


@dataclass(frozen=True)
class Grid:
    """The cells between the logits, counted row by row."""

    rows: Axis
    columns: Axis

    @property
    def block(self) -> int:
        """Pixels of the largest cell."""
        return self.rows.block * self.columns.block


def interpolated(corners: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """All pixels of n cells, (..., block rows, block columns, n), from the logits at their four corners, (..., n).

    `weights` are of the cells' upper and lower ends, (block rows, n), and of their left and right ones.
    """
    a, b, c, d = (corner[..., None, :] for corner in corners)
    upper, lower, left, right = weights
    # This order of rounding is F.interpolate's own.
    above = torch.addcmul(b * right, a, left)[..., None, :, :]
    below = torch.addcmul(d * right, c, left)[..., None, :, :]
    return torch.addcmul(below * lower[:, None], above, upper[:, None])


def axis(logits: int, pixels: int, start: float, length: float, device: torch.device, *, pictures: int = 1) -> Axis:
    """The cells of one side, or of `pictures` of them, one behind the other.

    The formula is that of `F.interpolate` without aligned corners, in its float32 with fused multiply-add.

    Kept for the next frames of the same size: on a device the tables are there already. Each stream has its own, since
    memory that a table gives back may be used again at once on the stream that it was made on.
    """
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    return _axis(logits, pixels, start, length, device, pictures, stream)


@lru_cache(maxsize=32)
def _axis(
    logits: int, pixels: int, start: float, length: float, device: torch.device, pictures: int, _stream: int
) -> Axis:
    # Logits that lie partly outside of the region would bring in what is beside the picture.
    first = min(math.ceil(start - _WHOLE), logits - 1)
    last = max(min(math.floor(start + length + _WHOLE), logits) - 1, first)
    scale = np.float64(np.float32(length) / np.float32(pixels))
    source = (scale * (np.arange(pixels) + 0.5) - 0.5 + (start - first)).astype(np.float32)
    span = np.floor(source)
    source = source.clip(0)
    low = np.minimum(source.astype(np.int64), last - first)
    weight = np.clip(source - low.astype(np.float32), 0, 1)

    pixel = np.arange(pixels)
    begins = np.diff(span, prepend=np.nan) != 0
    run_start = np.maximum.accumulate(np.where(begins, pixel, 0))
    begins |= (pixel - run_start) % LONGEST_BLOCK == 0
    starts = np.flatnonzero(begins)
    counts = np.diff(starts, append=pixels)
    low = low[starts]
    # An end that has no weight at any pixel of a cell has no say in it.
    high = np.where(np.maximum.reduceat(weight, starts) > 0, np.minimum(low + 1, last - first), low)
    block = starts + np.minimum(np.arange(counts.max())[:, None], counts - 1)

    def put(array: npt.NDArray[Any], step: int = 0) -> Tensor:
        """Once for each picture, each time larger by `step`."""
        each = [array + array.dtype.type(step * picture) for picture in range(pictures)]
        return torch.from_numpy(np.ascontiguousarray(np.concatenate(each, axis=-1))).to(device)

    return Axis(
        cell=put(np.cumsum(begins) - 1, len(starts)),
        ends=(put(low + first, logits), put(high + first, logits)),
        pixel=put(block, pixels),
        weight=(put(np.float32(1) - weight[block]), put(weight[block])),
    )
