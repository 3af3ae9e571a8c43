"""Logits to a class map of the picture's size: equal to bilinear interpolation followed by argmax, but cheaper.

A bilinear value is a convex combination of the four logits at the corners of its cell, so

* where one class has the largest logit at all four corners, it wins everywhere between them, and
* a class that another exceeds at all four corners wins nowhere between them.

So only the pixels of cells whose corners disagree are interpolated, and only for the classes that can win there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Region = tuple[float, float, float, float]
"""top, left, height, width of a part of the logits, in logits."""

_SMALL = 1.5  # pixels a logit; below, there are too few pixels in a cell for all this to pay
_LONGEST_BLOCK = 32  # pixels a side; bounds what one cell takes, however large the picture
_PRUNED_BLOCK = 4  # pixels
_CHUNK_CELLS = 4096  # keeps the working set of a chunk within a CPU's second-level cache
_CHUNK_PIXELS = {"cpu": 1 << 18, "cuda": 1 << 22}


def class_map(logits: Tensor, size: tuple[int, int], *, threshold: float = 0.0, region: Region | None = None) -> Tensor:
    """The winning class of each pixel, (H, W) uint8 on the device of the logits.

    `logits` is (C, h, w) floating point, C at most 256; `size` is (H, W). The result is that of
    `F.interpolate(logits.float()[None], size, mode="bilinear", align_corners=False).argmax(1)`: of classes that tie,
    the first. With one channel it is 1 where the interpolated logit is above `threshold`, else 0.

    `region` is the part of the logits that the picture occupies, all of it by default; with whole numbers it is the
    same as cutting that part out of the logits first. Nothing of the picture's size but the result is held.
    """
    logits = logits.detach().float()
    if logits.shape[0] == 1:
        logits = torch.cat((torch.zeros_like(logits), logits - threshold))
    logits = logits.contiguous()
    if region is None and math.prod(size) <= _SMALL * logits[0].numel():
        whole = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)
        return _running_argmax(whole[0])
    top, left, height, width = region or (0.0, 0.0, *map(float, logits.shape[1:]))
    rows = _axis(logits.shape[1], size[0], top, height, logits.device)
    columns = _axis(logits.shape[2], size[1], left, width, logits.device)

    winners = _running_argmax(logits)
    corners = [winners.index_select(0, y).index_select(1, x) for y in rows.ends for x in columns.ends]
    result = corners[0].gather(1, columns.cell.expand(rows.cells, -1)).index_select(0, rows.cell)
    settled = torch.ones_like(corners[0], dtype=torch.bool)
    for corner in corners[1:]:
        settled &= corner == corners[0]
    undecided = settled.logical_not_().flatten().nonzero().flatten()
    block = rows.block * columns.block
    # Pruning costs as much as a few pixels a cell, finds little where neighbours have nothing in common, and would make
    # the host wait for CUDA.
    prune = logits.device.type == "cpu" and block >= _PRUNED_BLOCK and len(undecided) < settled.numel() / 2
    cells = max(1, min(_CHUNK_CELLS * 28 // len(logits), _CHUNK_PIXELS.get(logits.device.type, 1 << 20) // block))
    for chunk in torch.split(undecided, cells):
        _decide(result, logits, winners, rows, columns, chunk, prune)
    return result


@dataclass(frozen=True)
class _Axis:
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


@lru_cache(maxsize=16)
def _axis(logits: int, pixels: int, start: float, length: float, device: torch.device) -> _Axis:
    """The formula is that of `F.interpolate` without aligned corners, in its float32 with fused multiply-add.

    Kept for the next frame of the same size: on a device the tables are there already.
    """
    first = math.floor(start)
    last = min(math.ceil(start + length), logits) - 1
    scale = np.float64(np.float32(length) / np.float32(pixels))
    source = (scale * (np.arange(pixels) + 0.5) - 0.5 + (start - first)).astype(np.float32)
    span = np.floor(source)
    source = source.clip(0)
    low = np.minimum(source.astype(np.int64), last - first)
    weight = np.clip(source - low.astype(np.float32), 0, 1)

    pixel = np.arange(pixels)
    begins = np.diff(span, prepend=np.nan) != 0
    run_start = np.maximum.accumulate(np.where(begins, pixel, 0))
    begins |= (pixel - run_start) % _LONGEST_BLOCK == 0
    starts = np.flatnonzero(begins)
    counts = np.diff(starts, append=pixels)
    low = low[starts]
    # An end that has no weight at any pixel of a cell has no say in it.
    high = np.where(np.maximum.reduceat(weight, starts) > 0, np.minimum(low + 1, last - first), low)
    block = starts + np.minimum(np.arange(counts.max())[:, None], counts - 1)

    def put(array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return _Axis(
        cell=put(np.cumsum(begins) - 1),
        ends=(put(low + first), put(high + first)),
        pixel=put(block),
        weight=(put(np.float32(1) - weight[block]), put(weight[block])),
    )


def _running_argmax(logits: Tensor) -> Tensor:
    """argmax over the classes as uint8; a class at a time is many times faster than `Tensor.argmax` on a CPU."""
    if logits.device.type != "cpu":
        return logits.argmax(0).to(torch.uint8)
    contest = _Contest(logits[0], 0)
    for index in range(1, len(logits)):
        contest.enter(logits[index], index)
    return contest.winner.to(torch.uint8)


class _Contest:
    """The largest value so far at each place, and the class that it belongs to; classes enter in ascending order."""

    def __init__(self, value: Tensor, label: Tensor | int) -> None:
        self.best = value.clone()
        # Labels are float32, since comparing into float32 and multiplying is vectorised on a CPU; torch.where on bytes
        # and masked_fill_ are not, and take three to ten times as long.
        self.winner = torch.zeros_like(value) + label
        self._better = torch.empty_like(value)

    def enter(self, value: Tensor, label: Tensor | int) -> None:
        """Compares a further class; a value of fewer places stands for the first of the last dimension."""
        best, winner, better = (each[..., : value.shape[-1]] for each in (self.best, self.winner, self._better))
        torch.gt(value, best, out=better)
        torch.maximum(winner, better.mul_(label), out=winner)
        torch.maximum(best, value, out=best)


def _decide(
    result: Tensor, logits: Tensor, winners: Tensor, rows: _Axis, columns: _Axis, cells: Tensor, prune: bool
) -> None:
    """Interpolates all pixels of the given cells (flat indices), and writes the winners into the result."""
    row, column = cells // columns.cells, cells % columns.cells
    corners = [y[row] * logits.shape[2] + x[column] for y in rows.ends for x in columns.ends]
    values = [logits.flatten(1).index_select(1, corner) for corner in corners]
    turns: Iterator[tuple[Tensor | int, list[Tensor]]]
    if prune:
        order, turns = _possible(values, [winners.flatten()[corner].long() for corner in corners])
        row, column = row[order], column[order]
    else:
        turns = ((index, [value[index] for value in values]) for index in range(len(logits)))
    upper, lower = (weight.index_select(1, row)[:, None] for weight in rows.weight)
    left, right = (weight.index_select(1, column) for weight in columns.weight)

    contest: _Contest | None = None
    for label, (a, b, c, d) in turns:
        count = len(a)
        # This order of rounding is F.interpolate's own.
        above = torch.addcmul(b * right[:, :count], a, left[:, :count])
        below = torch.addcmul(d * right[:, :count], c, left[:, :count])
        value = torch.addcmul(below * lower[..., :count], above, upper[..., :count])
        if contest is None:
            contest = _Contest(value, label)
        else:
            contest.enter(value, label)
    assert contest is not None
    pixels = rows.pixel.index_select(1, row)[:, None] * result.shape[1] + columns.pixel.index_select(1, column)
    result.view(-1).scatter_(0, pixels.flatten(), contest.winner.to(torch.uint8).flatten())


def _possible(
    values: list[Tensor], winners: list[Tensor]
) -> tuple[Tensor, Iterator[tuple[Tensor | int, list[Tensor]]]]:
    """The order in which to take the cells, and the classes that can win there with their logits at the four corners.

    `values` are (C, cells) for each corner, `winners` (cells,). The n-th turn has the n-th class, ascending, that can
    win in each of the first cells; the cells that have fewer come after these.
    """
    leads = []
    for here, winner in enumerate(winners):
        others = [value - value.gather(0, winner[None]) for there, value in enumerate(values) if there != here]
        leads.append(torch.maximum(torch.maximum(others[0], others[1]), others[2]))
    lead = torch.minimum(torch.minimum(leads[0], leads[1]), torch.minimum(leads[2], leads[3]))
    possible = ~(lead < 0)  # a class below a winner at its corner and at the three others can not win
    counts = possible.sum(0)
    order = counts.argsort(descending=True)
    counts = counts[order]
    classes = possible.index_select(1, order).T.nonzero()[:, 1]
    starts = counts.cumsum(0) - counts
    turns = range(int(counts[0]))
    lengths = [int((counts > turn).sum()) for turn in turns]

    def entries() -> Iterator[tuple[Tensor, list[Tensor]]]:
        for turn, length in zip(turns, lengths, strict=True):
            label = classes[starts[:length] + turn]
            place = label * len(order) + order[:length]
            yield label.float(), [value.flatten().gather(0, place) for value in values]

    return order, entries()
