"""The class map on a CPU: what is found by index is found by numpy, whose small steps cost a third of torch's.

Interpolation stays torch's, which rounds as `F.interpolate` does. Every step is small enough for one thread: to start
and join others for it costs more than they save, and many times more where others want the cores too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sapiens_stream.inference.cells import Grid, interpolated
from sapiens_stream.threads import SMALL_STEPS

_CHUNK = 32767
"""Numbers in the largest array of a step: what torch does not yet split over threads."""

_Floats = npt.NDArray[np.float32]
_Places = npt.NDArray[np.int64]
_Classes = npt.NDArray[np.uint8]


def argmax(logits: npt.NDArray[Any]) -> _Classes:
    """argmax over the classes, of (C, ...) contiguous numbers: the first of those that tie."""
    planes = logits.reshape(len(logits), -1)
    winners = np.zeros(planes.shape[1], np.uint8)
    for first in range(0, len(winners), _CHUNK):
        part, winner = planes[:, first : first + _CHUNK], winners[first : first + _CHUNK]
        best = np.maximum.reduce(part, axis=0)
        behind, differs = np.ones(len(winner), np.uint8), np.empty(len(winner), np.bool_)
        for plane in part[:-1]:  # counts the classes before the first that is the best
            np.not_equal(plane, best, out=differs)
            np.bitwise_and(behind, differs.view(np.uint8), out=behind)
            np.add(winner, behind, out=winner)
    return winners.reshape(logits.shape[1:])


def filled(logits: Tensor, grid: Grid) -> Tensor:
    """The class of each pixel of a grid over (C, h, w) logits, float32 and contiguous."""
    with SMALL_STEPS:
        return _filled(logits, grid)


def _filled(logits: Tensor, grid: Grid) -> Tensor:
    planes = logits.numpy().reshape(len(logits), -1)
    winners = argmax(logits.numpy())
    (upper, lower), (left, right) = ([end.numpy() for end in side.ends] for side in (grid.rows, grid.columns))
    beside = winners.take(left, axis=1), winners.take(right, axis=1)
    corner = beside[0][upper]
    disagree = corner != beside[1][upper]
    for each in beside:
        disagree |= corner != each[lower]
    result = corner.take(grid.columns.cell.numpy(), axis=1)[grid.rows.cell.numpy()]

    cells = np.flatnonzero(disagree)
    row, column = np.divmod(cells, grid.columns.cells)
    places = np.stack([y[row] * logits.shape[2] + x[column] for y in (upper, lower) for x in (left, right)])
    classes, count = None, np.full(len(cells), len(planes))
    if len(cells) < disagree.size / 2:  # pruning finds little where neighbours have nothing in common
        classes, count, order = _possible(planes, winners.reshape(-1), places)
        row, column, places = row[order], column[order], places[:, order]
    start = np.cumsum(count) - count
    size = max(1, _CHUNK // grid.block)
    for first in range(0, len(cells), size):
        chunk = slice(first, first + size)
        labels = _labels(planes, grid, row[chunk], column[chunk], places[:, chunk], classes, count[chunk], start[chunk])
        below = grid.rows.pixel.numpy().take(row[chunk], axis=1)[:, None] * result.shape[1]
        result.reshape(-1)[below + grid.columns.pixel.numpy().take(column[chunk], axis=1)] = labels
    return torch.from_numpy(result)


def _possible(planes: _Floats, winners: _Classes, places: _Places) -> tuple[_Places, _Places, _Places]:
    """The classes that can win in each cell, two mostly: those of one after the other, how many, and the cells' order.

    Cells with more of them come first. A class is out that is below one corner's winner at all four corners; `places`
    are the corners, (4, cells).
    """
    size = max(1, _CHUNK // len(planes))
    possible = np.empty((places.shape[1], len(planes)), np.bool_)
    for first in range(0, len(possible), size):
        at = places[:, first : first + size]
        values = [planes.take(each, axis=1) for each in at]
        out: npt.NDArray[np.bool_] | None = None
        for here, winner in enumerate(winners[at]):
            # At its own corner the winner is ahead anyway.
            losses = [
                values[there] < planes.reshape(-1).take(winner * np.int64(planes.shape[1]) + at[there])
                for there in range(4)
                if there != here
            ]
            behind = losses[0] & losses[1] & losses[2]
            out = behind if out is None else out | behind
        possible[first : first + size] = ~np.asarray(out).T
    count = np.count_nonzero(possible, axis=1)
    order = np.argsort(-count, kind="stable")
    return np.flatnonzero(possible[order]) % len(planes), count[order], order


def _labels(
    planes: _Floats,
    grid: Grid,
    row: _Places,
    column: _Places,
    places: _Places,
    classes: _Places | None,
    count: _Places,
    start: _Places,
) -> _Classes:
    """The classes of all pixels of some cells, (block rows, block columns, cells).

    `classes` has `count` of each from `start` on, None stands for all of them; cells with more of them come first.
    """
    weights = [
        torch.from_numpy(weight.numpy().take(of, axis=1))
        for side, of in ((grid.rows, row), (grid.columns, column))
        for weight in side.weight
    ]
    labels, best = np.empty((0, 0, 0), np.uint8), np.empty((0, 0, 0), np.float32)
    for turn in range(int(count[0])):
        having = int(np.count_nonzero(count > turn))
        label = np.array(turn) if classes is None else classes[start[:having] + turn]
        corners = torch.from_numpy(planes.reshape(-1).take(label * planes.shape[1] + places[:, :having]))
        values = interpolated(corners.unbind(), [weight[:, :having] for weight in weights]).numpy()
        if turn == 0:
            labels, best = np.broadcast_to(label, values.shape).astype(np.uint8), values
            continue
        best, winner = best[..., :having], labels[..., :having]
        # By products and maxima of bytes, which numpy does many at once; later classes have larger numbers.
        later = np.greater(values, best).view(np.uint8) * label.astype(np.uint8)
        np.maximum(winner, later, out=winner)
        np.maximum(best, values, out=best)
    return labels
