"""The runs of a class map: the pixels of one class that lie side by side in a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WORDS = 1 << 15
"""Words of eight pixels looked at together: maps that are all noise take no more memory."""

_BLOCK, _SAMPLED = 1 << 16, 509
"""Words in which anybody is looked for at once, and one of how many is looked at first."""

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int64]
_Sides = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Runs:
    """Pixels of one class in a row, from `left` to before `right`; by class, row and column. None is background.

    Attributes:
        value: (N,) the class of each.
        row, left, right: (N,) pixels.
    """

    value: _Bytes
    row: _Sides
    left: _Sides
    right: _Sides

    def __len__(self) -> int:
        return len(self.value)


def find_runs(class_map: _Bytes) -> Iterator[Runs]:
    """The runs of (H, W) uint8, in as many pieces as keep memory small; each lies below the one before."""
    pixels = np.ascontiguousarray(class_map).reshape(-1)
    for value, start, end in _along(pixels):
        yield _in_rows(value, start, end, class_map.shape[1])


def join_runs(pieces: Sequence[Runs]) -> Runs:
    """All runs of pieces, each of which lies below the one before."""
    if len(pieces) == 1:
        return pieces[0]
    value = np.concatenate([each.value for each in pieces] or [np.empty(0, np.uint8)])
    row, left, right = (
        np.concatenate([np.empty(0, np.int32), *sides])
        for sides in (
            [each.row for each in pieces],
            [each.left for each in pieces],
            [each.right for each in pieces],
        )
    )
    order = np.argsort(value, kind="stable")
    return Runs(value[order], row[order], left[order], right[order])


def _along(pixels: _Bytes) -> Iterator[tuple[_Bytes, _Places, _Places]]:
    """The value, start and end of the runs of equal pixels, row after row as if they were one, in a few pieces."""
    if not pixels.size:
        return
    words = pixels[: pixels.size // 8 * 8].view("<u8")
    paired = max(0, len(words) - 1)
    differing = _differing(words, pixels[1 : 8 * paired + 1].view("<u8"))
    value, start = pixels[:1], np.zeros(1, np.int64)
    for first in range(0, len(differing), _WORDS):
        if first:
            yield value[:-1], start[:-1], start[1:]
            value, start = value[-1:], start[-1:]
        at = differing[first : first + _WORDS]
        own = words[at]
        after = (own >> 8 | words[at + 1] << 56).view(np.uint8)
        begins = np.flatnonzero(own.view(np.uint8) != after)
        value = np.concatenate([value, after[begins]])
        start = np.concatenate([start, at[begins >> 3] * 8 + (begins & 7) + 1])
    rest = np.flatnonzero(pixels[8 * paired + 1 :] != pixels[8 * paired : -1]) + 8 * paired + 1
    value, start = np.concatenate([value, pixels[rest]]), np.concatenate([start, rest])
    yield value, start, np.append(start[1:], pixels.size)


def _differing(words: npt.NDArray[np.uint64], behind: npt.NDArray[np.uint64]) -> _Places:
    """Where words differ from those of a pixel further on: there a run begins at the second to ninth pixel of a word.

    Numpy gathers what is not aligned slowly.
    """
    found = [
        np.flatnonzero(words[first:last] != behind[first:last]) + first for first, last in _occupied(words, len(behind))
    ]
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.int64), *found])


def _occupied(words: npt.NDArray[np.uint64], count: int) -> Iterator[tuple[int, int]]:
    """The parts of the first `count` words in which there is anybody: to look for that takes half as long."""
    begin = None
    for first in range(0, count, _BLOCK):
        block = words[first : first + _BLOCK + 1]  # with that which the last one is compared to
        if block[::_SAMPLED].any() or block.max():
            begin = first if begin is None else begin
        elif begin is not None:
            yield begin, first
            begin = None
    if begin is not None:
        yield begin, count


def _in_rows(value: _Bytes, start: _Places, end: _Places, width: int) -> Runs:
    """Those that are of a class, cut at the ends of the rows."""
    of_class = np.flatnonzero(value)
    of_class = of_class[np.argsort(value[of_class], kind="stable")]
    value, start, end = value[of_class], start[of_class], end[of_class]
    row, last = start // width, (end - 1) // width
    left, right = start - row * width, end - last * width
    if not np.array_equal(row, last):
        count = last - row + 1
        run = np.repeat(np.arange(len(count)), count)
        rows = row[run] + np.arange(len(run)) - (np.cumsum(count) - count)[run]
        left = np.where(rows == row[run], left[run], 0)
        right = np.where(rows == last[run], right[run], width)
        value, row = value[run], rows
    return Runs(value, row.astype(np.int32), left.astype(np.int32), right.astype(np.int32))
