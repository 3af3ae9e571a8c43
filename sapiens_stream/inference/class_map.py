"""Logits to a class map of the picture's size: equal to bilinear interpolation followed by argmax, but cheaper.

A bilinear value is a convex combination of the four logits at the corners of its cell, so

* where one class has the largest logit at all four corners, it wins everywhere between them, and
* a class that another exceeds at all four corners wins nowhere between them.

So only the pixels of cells whose corners disagree are interpolated, and only for the classes that can win there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream.inference.cells import Axis, axis

Region = tuple[float, float, float, float]
"""top, left, height, width of a part of the logits, in logits."""

# Pixels a logit; below, a cell has too few pixels for all this to pay.
_SMALL = 2
# Numbers in the largest array of a step. On the CPU it is what torch does not yet split over threads: to start and join
# them for such small steps costs more than they save, and many times more where others want the cores too.
_CHUNK = 32767
_CHUNK_DEVICE = 1 << 25


def class_map(logits: Tensor, size: tuple[int, int], *, threshold: float = 0.0, region: Region | None = None) -> Tensor:
    """The winning class of each pixel, (H, W) uint8 on the device of the logits.

    `logits` is (C, h, w) floating point, C at most 256; `size` is (H, W). The result is that of
    `F.interpolate(logits.float()[None], size, mode="bilinear", align_corners=False).argmax(1)`: of classes that tie,
    the first. With one channel it is 1 where the interpolated logit is above `threshold`, else 0.

    `region` is the part of the logits that the picture occupies, all of it by default; with whole numbers it is the
    same as cutting that part out of the logits first, and logits that are partly outside are not looked at. Nothing of
    the picture's size but the result is held.
    """
    [result] = class_maps(logits[None], size, threshold=threshold, region=region)
    return result


def class_maps(
    logits: Tensor, size: tuple[int, int], *, threshold: float = 0.0, region: Region | None = None
) -> Sequence[Tensor]:
    """The class map of each picture of a batch, N times (H, W): `logits` is (N, C, h, w), the rest as in `class_map`.

    On a device the pictures are laid one below the other, so that a batch takes as few kernels as one of them, and the
    host waits once.
    """
    if logits.device.type == "cpu":
        return [_stacked(each[:, None], size, threshold, region)[0] for each in logits]
    return _stacked(logits.transpose(0, 1), size, threshold, region).unbind()


def _stacked(planes: Tensor, size: tuple[int, int], threshold: float, region: Region | None) -> Tensor:
    """(N, H, W) class maps of (C, N, h, w) logits."""
    planes = planes.detach().to(torch.float32, memory_format=torch.contiguous_format)
    if planes.shape[0] == 1:
        planes = torch.cat((torch.zeros_like(planes), planes - threshold))
    _, pictures, rows, columns = planes.shape
    logits = planes.contiguous().flatten(1, 2)  # one below the other, (C, N * h, w)
    if region is None and math.prod(size) <= _SMALL * rows * columns:
        values = F.interpolate(planes.transpose(0, 1), size=size, mode="bilinear", align_corners=False)
        return argmax(values.transpose(0, 1).flatten(1, 2)).view(pictures, *size)
    top, left, height, width = region or (0.0, 0.0, float(rows), float(columns))
    grid = _Grid(
        axis(rows, size[0], top, height, logits.device, pictures=pictures),
        axis(columns, size[1], left, width, logits.device),
    )
    return _filled(logits, grid).view(pictures, *size)


def _filled(logits: Tensor, grid: _Grid) -> Tensor:
    """The class of each pixel of a grid over (C, h, w) logits."""
    winners = argmax(logits)
    corners = [winners.index_select(0, y).index_select(1, x) for y in grid.rows.ends for x in grid.columns.ends]
    disagree = (corners[0] != corners[1]) | (corners[0] != corners[2]) | (corners[0] != corners[3])
    cells = disagree.flatten().nonzero().flatten()

    result = corners[0].gather(1, grid.columns.cell.expand(len(disagree), -1)).index_select(0, grid.rows.cell)
    if not len(cells):
        return result
    # Pruning finds little where neighbours have nothing in common.
    if logits.device.type == "cpu" and len(cells) < disagree.numel() / 2:
        _fill_pruned(result, logits, winners, grid, cells)
    elif logits.device.type == "cpu":
        _fill(result, logits, grid, cells)
    else:
        _fill_at_once(result, logits, grid, cells)
    return result


def argmax(logits: Tensor) -> Tensor:
    """argmax over the classes as uint8; a class at a time is many times faster than `Tensor.argmax` on a CPU."""
    if logits.device.type != "cpu":
        return logits.argmax(0).to(torch.uint8)
    winners = []
    for part in torch.split(logits.flatten(1), _CHUNK, dim=1):
        contest = _Contest(part[0], 0)
        for index in range(1, len(part)):
            contest.enter(part[index], index)
        winners.append(contest.winner.to(torch.uint8))
    return torch.cat(winners).view(logits.shape[1:])


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


@dataclass(frozen=True)
class _Grid:
    """The cells between the logits, counted row by row."""

    rows: Axis
    columns: Axis

    @property
    def block(self) -> int:
        """Pixels of the largest cell."""
        return self.rows.block * self.columns.block

    def corners(self, cells: Tensor, width: int) -> list[Tensor]:
        """(cells,) four times: the flat indices into logits of that width."""
        row, column = cells // self.columns.cells, cells % self.columns.cells
        return [
            y.index_select(0, row) * width + x.index_select(0, column)
            for y in self.rows.ends
            for x in self.columns.ends
        ]

    def write(self, result: Tensor, cells: Tensor, labels: Tensor) -> None:
        """Puts labels, (block rows, block columns, cells), into a class map."""
        row = self.rows.pixel.index_select(1, cells // self.columns.cells)
        column = self.columns.pixel.index_select(1, cells % self.columns.cells)
        pixels = row[:, None] * result.shape[1] + column
        result.view(-1).scatter_(0, pixels.flatten(), labels.to(torch.uint8).flatten())


class _Blocks:
    """Interpolates all pixels of some cells."""

    def __init__(self, grid: _Grid, cells: Tensor) -> None:
        row, column = cells // grid.columns.cells, cells % grid.columns.cells
        self._upper, self._lower = (weight.index_select(1, row)[:, None] for weight in grid.rows.weight)
        self._left, self._right = (weight.index_select(1, column) for weight in grid.columns.weight)

    def __call__(self, corners: Sequence[Tensor]) -> Tensor:
        """Logits at the four corners, (..., n), of the first n cells, to (..., block rows, block columns, n)."""
        count = corners[0].shape[-1]
        left, right = self._left[:, :count], self._right[:, :count]
        a, b, c, d = (corner[..., None, :] for corner in corners)
        # This order of rounding is F.interpolate's own.
        above = torch.addcmul(b * right, a, left)[..., None, :, :]
        below = torch.addcmul(d * right, c, left)[..., None, :, :]
        return torch.addcmul(below * self._lower[..., :count], above, self._upper[..., :count])


def _fill_at_once(result: Tensor, logits: Tensor, grid: _Grid, cells: Tensor) -> None:
    """All classes in one step: few kernels to launch, and nothing that makes the host wait."""
    planes = logits.flatten(1)
    for chunk in torch.split(cells, max(1, _CHUNK_DEVICE // (grid.block * len(logits)))):
        values = [planes.index_select(1, corner) for corner in grid.corners(chunk, logits.shape[2])]
        grid.write(result, chunk, _Blocks(grid, chunk)(values).argmax(0))


def _fill(result: Tensor, logits: Tensor, grid: _Grid, cells: Tensor) -> None:
    """A class at a time."""
    planes = logits.flatten(1)
    for chunk in torch.split(cells, max(1, _CHUNK // grid.block)):
        corners, blocks = grid.corners(chunk, logits.shape[2]), _Blocks(grid, chunk)
        contest = _Contest(blocks([planes[0].index_select(0, corner) for corner in corners]), 0)
        for index in range(1, len(logits)):
            contest.enter(blocks([planes[index].index_select(0, corner) for corner in corners]), index)
        grid.write(result, chunk, contest.winner)


def _fill_pruned(result: Tensor, logits: Tensor, winners: Tensor, grid: _Grid, cells: Tensor) -> None:
    """In each cell only the classes that can win there, two mostly, in turns; cells with more of them come first."""
    parts = torch.split(cells, max(1, _CHUNK // len(logits)))
    possible = torch.cat([_possible(logits, winners, grid.corners(part, logits.shape[2])) for part in parts])
    counts, order = possible.sum(1).sort(descending=True)
    classes = possible.index_select(0, order).nonzero()[:, 1]
    starts = counts.cumsum(0) - counts
    plane = logits[0].numel()
    size = max(1, _CHUNK // grid.block)
    for chunk, count, start in zip(
        *(torch.split(each, size) for each in (cells.index_select(0, order), counts, starts)), strict=True
    ):
        corners, blocks = grid.corners(chunk, logits.shape[2]), _Blocks(grid, chunk)
        contest: _Contest | None = None
        for turn in range(int(count[0])):
            label = classes.index_select(0, start[: int((count > turn).sum())] + turn)
            places = [label * plane + corner[: len(label)] for corner in corners]
            value = blocks([logits.view(-1).index_select(0, place) for place in places])
            if contest is None:
                contest = _Contest(value, label.float())
            else:
                contest.enter(value, label.float())
        assert contest is not None
        grid.write(result, chunk, contest.winner)


def _possible(logits: Tensor, winners: Tensor, corners: Sequence[Tensor]) -> Tensor:
    """(cells, C) bool: false for a class that is below one corner's winner at all four corners."""
    values = [logits.flatten(1).index_select(1, corner) for corner in corners]
    leads = []
    for here, corner in enumerate(corners):
        winner = winners.view(-1).index_select(0, corner).long()[None]
        # At its own corner the winner is ahead anyway.
        others = [value - value.gather(0, winner) for there, value in enumerate(values) if there != here]
        leads.append(torch.maximum(torch.maximum(others[0], others[1]), others[2]))
    lead = torch.minimum(torch.minimum(leads[0], leads[1]), torch.minimum(leads[2], leads[3]))
    return (lead < 0).logical_not_().T.contiguous()
