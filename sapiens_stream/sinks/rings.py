"""The rings around what hangs together in a class map, from its runs: point by point those of OpenCV's findContours.

A ring has the class on its left: it goes down the left ends of runs and up the right ones, from each end to the next,
and where runs part, meet, begin or end, along a run to its other end or to a neighbour's. Most runs have just one below
them that touches them, corners included, which has just them above it. Such runs make a column. Rings are put together
from whole columns, of which there are a few hundred in a 4K picture of people, and all points are worked out at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sapiens_stream.runs import Runs

Ring = npt.NDArray[np.int32]
_Indices = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]


def find_rings(runs: Runs, size: tuple[int, int]) -> dict[int, list[Ring]]:
    """The rings of each class that is there, each (N, 2) of x, y; `size` is the picture's (height, width).

    In findContours' order with RETR_CCOMP: what lies lowest first, and each piece before its holes.
    """
    if not len(runs):
        return {}
    columns = _columns(runs, size[0])
    walk = _walk(columns, *_turns(runs, columns, size))
    outlines = _outlines(*_path(runs, columns, walk))
    classes = runs.value[columns.top[walk.columns]].tolist()
    of_class: dict[int, list[Ring]] = {}
    for first, *holes in reversed(walk.pieces):
        rings = of_class.setdefault(classes[first], [])
        rings.append(outlines[first])
        if holes:
            rings += [outlines[hole] for hole in reversed(holes)]
    return of_class


@dataclass(frozen=True, eq=False)
class _Columns:
    """Runs below each other; (M,) each. `top` and `bottom` are the first and last, `step` lies between neighbours.

    The left ends of column k are called its flank k, from the top down, the right ends its flank M + k, from the
    bottom up.
    """

    top: _Indices
    bottom: _Indices
    step: _Indices
    rows: _Indices


def _columns(runs: Runs, height: int) -> _Columns:
    row = runs.value * np.int32(height + 1) + runs.row
    first = np.append(0, np.flatnonzero(row[1:] != row[:-1]) + 1)  # runs of a row
    count = np.append(first[1:], len(runs)) - first
    row = row[first]
    alike = np.append((count[1:] == count[:-1]) & (row[1:] == row[:-1] + 1), False)
    below = np.minimum(np.arange(len(runs)) + np.repeat(count, count), len(runs) - 1)
    left_below, right_below = runs.left[below], runs.right[below]
    single = (left_below <= runs.right) & (right_below >= runs.left)
    apart = (right_below[:-1] < runs.left[1:]) & (left_below[1:] > runs.right[:-1])
    apart[first[1:] - 1] = True  # the last of a row has none to its right
    single[:-1] &= apart
    alike[np.searchsorted(first, np.flatnonzero(~single), side="right") - 1] = False

    # Rows that are alike make as many columns as they have runs.
    begin = np.flatnonzero(np.append(True, ~alike[:-1]))
    end = np.append(begin[1:], len(first)) - 1
    step = count[begin]
    place = np.arange(step.sum()) - np.repeat(np.cumsum(step) - step, step)
    return _Columns(
        top=np.repeat(first[begin], step) + place,
        bottom=np.repeat(first[end], step) + place,
        step=np.repeat(step, step),
        rows=np.repeat(end - begin + 1, step),
    )


def _turns(runs: Runs, columns: _Columns, size: tuple[int, int]) -> tuple[_Indices, _Indices, _Indices]:
    """The flank that follows each of the 2 M, and where rings may have their first pixel, from the top.

    That is given as k where the piece of column k may begin, as M + k where the hole on its right may.
    """
    height, width = size[0] + 1, size[1] + 2  # with room, so that neither rows nor classes touch
    number = np.arange(len(columns.top))
    corners = []
    for end in (columns.top, columns.bottom):
        row = (runs.value[end] * np.int64(height) + runs.row[end]) * width
        corners += [row + runs.left[end], row + runs.right[end] - 1]
    top_left, top_right, bottom_left, bottom_right = corners
    last = len(number) - 1

    # Down from a left end: the first run below, unless another one before this touches that, too.
    below = np.searchsorted(top_right, bottom_left + (width - 1))
    touches = below <= last
    below = np.minimum(below, last)
    touches &= top_left[below] <= bottom_right + (width + 1)
    first_above = np.searchsorted(bottom_right, top_left - (width + 1))
    before = len(number) + number - 1
    down = np.where(touches, np.where(first_above[below] == number, below, before), before + 1)

    # Up from a right end: the last run above, unless another one behind this touches that, too.
    above = np.searchsorted(bottom_left, top_right - (width - 1), side="right") - 1
    touches = above >= 0
    above = np.maximum(above, 0)
    touches &= bottom_right[above] >= top_left - (width + 1)
    last_below = np.searchsorted(top_left, bottom_right + (width + 1), side="right") - 1
    up = np.where(touches, np.where(last_below[above] == number, len(number) + above, number + 1), number)

    pieces, holes = np.flatnonzero(up == number), np.flatnonzero(up == number + 1)
    order = np.argsort(np.concatenate([top_left[pieces], top_right[holes]]), kind="stable")
    return down, up, np.concatenate([pieces, len(number) + holes])[order]


@dataclass(frozen=True, eq=False)
class _Walk:
    """Rings as flanks, one ring after the other, the numbers of a piece's rings, and a column of each ring.

    A hole's ring begins with the topmost end of a flank that it ends with: that is flank 2 M + k.
    """

    flanks: _Indices
    ends: _Indices
    pieces: list[list[int]]
    columns: list[int]


def _walk(columns: _Columns, down: _Indices, up: _Indices, begins: _Indices) -> _Walk:
    count = len(columns.top)
    following = np.concatenate([down, up]).tolist()
    ring_of = [-1] * len(following)
    flanks: list[int] = []
    ends: list[int] = []
    pieces: list[list[int]] = []
    piece_of: list[int] = []
    first_columns: list[int] = []
    for begin in begins.tolist():
        column = begin % count
        is_hole = begin >= count
        flank = column + is_hole
        if ring_of[flank] >= 0:
            continue
        ring = len(ends)
        if is_hole:
            flanks.append(2 * count + column)
            piece = piece_of[ring_of[column]]
            pieces[piece].append(ring)
        else:
            piece = len(pieces)
            pieces.append([ring])
        while ring_of[flank] < 0:
            ring_of[flank] = ring
            flanks.append(flank)
            flank = following[flank]
        ends.append(len(flanks))
        piece_of.append(piece)
        first_columns.append(column)
    return _Walk(np.array(flanks), np.array(ends), pieces, first_columns)


def _path(runs: Runs, columns: _Columns, walk: _Walk) -> tuple[Ring, _Flags, _Indices, _Indices]:
    """The run ends that rings pass: (N, 2) of x, y, whether they are right ones; each ring's first and last."""
    count = len(columns.top)
    first_flanks = np.append(0, walk.ends[:-1])
    rows = np.concatenate([columns.rows, columns.rows, np.ones(count, np.int64)])[walk.flanks]
    rows[walk.ends - 1] -= walk.flanks[first_flanks] >= 2 * count
    step = np.concatenate([columns.step, -columns.step, columns.step])[walk.flanks]
    begin = np.concatenate([columns.top, columns.bottom + len(runs), columns.top + len(runs)])[walk.flanks]
    end = np.cumsum(rows)
    at = np.repeat(begin - step * (end - rows), rows)
    at += np.repeat(step, rows) * np.arange(len(at))

    points = np.empty((2, len(runs), 2), np.int32)
    points[0, :, 0], points[1, :, 0] = runs.left, runs.right - 1
    points[:, :, 1] = runs.row
    whole = points.view(np.int64).reshape(-1)  # a point at a time
    return whole[at].view(np.int32).reshape(-1, 2), at >= len(runs), (end - rows)[first_flanks], end[walk.ends - 1] - 1


# Chain codes as OpenCV has them, counter-clockwise from the right.
_E, _NE, _N, _NW, _W, _SW, _S, _SE, _NOWHERE = range(9)
_FAR = 3
"""Steps aside, above which ways do not differ."""
_KINDS = 2 * _FAR + 1
_NEAR, _AFAR = 256, 512


def _ways() -> npt.NDArray[np.uint16]:
    """How a way from an end to the next begins (times 16) and arrives, and whether it bends near its begin and its end.

    By whether it is a right end, whether the way stays in the row, and its steps to the right, -3 to 3.
    """
    ways = np.empty((2, 2, _KINDS), np.uint16)
    for place, steps in enumerate(range(-_FAR, _FAR + 1)):
        down = {-1: (_SW, _SW), 0: (_S, _S), 1: (_SE, _SE)}.get(steps, (_SW, _W) if steps < 0 else (_E, _SE))
        along = (_SW, _NW) if steps < -1 else (_E, _E) if steps > 0 else (_NOWHERE, _NOWHERE)
        for stays, (leaves, arrives), is_far in ((0, down, steps > 1), (1, along, steps < -2)):
            bends = _NEAR * (steps < -1) + _AFAR * is_far  # two steps along: one bend is the other
            ways[0, stays, place] = 16 * leaves + arrives + bends
            if leaves != _NOWHERE:  # up a right end is down a left one, turned by half
                leaves, arrives = (leaves + 4) % 8, (arrives + 4) % 8
            ways[1, stays, -1 - place] = 16 * leaves + arrives + bends
    return ways.reshape(-1)


_WAYS = _ways()


def _outlines(points: Ring, is_right: _Flags, first: _Indices, last: _Indices) -> list[Ring]:
    """The corners of the rings that pass these points, the bends between them included."""
    steps = np.empty_like(points)
    np.subtract(points[1:], points[:-1], out=steps[:-1])
    steps[last] = points[first] - points[last]
    aside, stays = steps[:, 0], steps[:, 1] == 0
    place = np.minimum(np.maximum(aside, -_FAR), _FAR) + np.int64(_FAR)
    place += (stays + 2 * is_right.view(np.int8)) * np.int8(_KINDS)
    way = _WAYS[place]
    leaves, arrives = (way >> 4) & 15, way & 15

    # A run of one pixel has both its ends in one, and the second stands for both.
    nowhere = np.flatnonzero(leaves == _NOWHERE)
    ring = np.searchsorted(first, nowhere, side="right") - 1
    arrives[nowhere] = arrives[np.where(first[ring] == nowhere, last[ring], nowhere - 1)]
    came = np.empty_like(arrives)
    came[1:] = arrives[:-1]
    came[first] = arrives[last]
    shown = np.empty((len(points), 3), np.bool_)
    shown[:, 0] = leaves != came
    shown[nowhere, 0] = False
    alone = nowhere[arrives[nowhere] == _NOWHERE]
    shown[alone[~is_right[alone]], 0] = True
    shown[:, 1], shown[:, 2] = way & _NEAR, way & _AFAR

    place = np.flatnonzero(shown)
    at = place // 3  # by a constant it is far faster than divmod
    kind = place - 3 * at
    outline = points.view(np.int64)[at, 0].view(np.int32).reshape(-1, 2)
    near, far = np.flatnonzero(kind == 1), np.flatnonzero(kind == 2)
    turn = 1 - 2 * is_right[at[near]].astype(np.int32)
    outline[near, 0] -= turn
    outline[near, 1] += turn
    of = at[far]
    turn = 1 - 2 * is_right[of].astype(np.int32)
    outline[far, 0] += aside[of] + np.where(stays[of], turn, -turn)
    outline[far, 1] += np.where(stays[of], turn, 0)
    ends = np.searchsorted(at, last, side="right").tolist()
    return [outline[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
