"""Logits to a class map of the picture's size: equal to bilinear interpolation followed by argmax, but cheaper.

A bilinear value is a convex combination of the four logits at the corners of its cell, so

* where one class has the largest logit at all four corners, it wins everywhere between them, and
* a class that another exceeds at all four corners wins nowhere between them.

So only the pixels of cells whose corners disagree are interpolated, and only for the classes that can win there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream.inference import class_map_cpu
from sapiens_stream.inference.cells import Grid, axis, interpolated

Region = tuple[float, float, float, float]
"""top, left, height, width of a part of the logits, in logits."""

# Pixels a logit; below, a cell has too few pixels for all this to pay.
_SMALL = 2
# Numbers in the largest array of a step on a device.
_CHUNK = 1 << 25


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
    grid = Grid(
        axis(rows, size[0], top, height, logits.device, pictures=pictures),
        axis(columns, size[1], left, width, logits.device),
    )
    fill = class_map_cpu.filled if logits.device.type == "cpu" else _filled
    return fill(logits, grid).view(pictures, *size)


def argmax(logits: Tensor) -> Tensor:
    """argmax over the classes as uint8."""
    if logits.device.type == "cpu":
        return torch.from_numpy(class_map_cpu.argmax(logits.contiguous().numpy()))
    return logits.argmax(0).to(torch.uint8)


def _filled(logits: Tensor, grid: Grid) -> Tensor:
    """The class of each pixel of a grid over (C, h, w) logits; all in few kernels, and the host waits once."""
    winners = argmax(logits)
    corners = [winners.index_select(0, y).index_select(1, x) for y in grid.rows.ends for x in grid.columns.ends]
    disagree = (corners[0] != corners[1]) | (corners[0] != corners[2]) | (corners[0] != corners[3])
    cells = disagree.flatten().nonzero().flatten()
    result = corners[0].gather(1, grid.columns.cell.expand(len(disagree), -1)).index_select(0, grid.rows.cell)
    if not len(cells):
        return result
    planes = logits.flatten(1)
    for chunk in torch.split(cells, max(1, _CHUNK // (grid.block * len(logits)))):
        row, column = chunk // grid.columns.cells, chunk % grid.columns.cells
        values = [
            planes.index_select(1, y.index_select(0, row) * logits.shape[2] + x.index_select(0, column))
            for y in grid.rows.ends
            for x in grid.columns.ends
        ]
        weights = [weight.index_select(1, row) for weight in grid.rows.weight]
        weights += [weight.index_select(1, column) for weight in grid.columns.weight]
        labels = interpolated(values, weights).argmax(0).to(torch.uint8)
        below = grid.rows.pixel.index_select(1, row)[:, None] * result.shape[1]
        pixels = below + grid.columns.pixel.index_select(1, column)
        result.view(-1).scatter_(0, pixels.flatten(), labels.flatten())
    return result
