"""The runs of a class map: the pixels of one class that lie side by side in a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WORDS = 1 << 15
"""Words of eight pixels looked at together: maps that are all noise take no more memory."""

_SAMPLED = 509
"""One of how many words is looked at to see whether there is anybody."""

_Bytes = npt.NDArray[np.uint8]
_Words = npt.NDArray[np.uint64]
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
    width, size = class_map.shape[1], pixels.size
    if size % 8:  # of few pictures
        pixels = np.append(pixels, np.repeat(pixels[-1:], -size % 8))
    words = pixels.view("<u8")
    if not (words[::_SAMPLED].any() or words.any()):
        return
    pieces = _begins(words)
    value, start = next(pieces)
    for value_behind, start_behind in pieces:
        yield _in_rows(value, np.append(start, start_behind[0]), width)
        value, start = value_behind, start_behind
    yield _in_rows(value, np.append(start, size), width)


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


def _begins(words: _Words) -> Iterator[tuple[_Bytes, _Places]]:
    """The values of the runs of equal pixels, row after row as if they were one, and where they begin, in pieces."""
    bounds = np.concatenate([[0], np.flatnonzero(words[1:] != words[:-1]) + 1, [len(words)]])
    for first in range(0, len(bounds) - 1, _WORDS):
        for value, start in _in_words(words, bounds[first : first + _WORDS + 1]):
            if len(value):
                yield value, start


def _in_words(words: _Words, bounds: _Places) -> Iterator[tuple[_Bytes, _Places]]:
    """The same of some of the words, which are alike from each of the bounds to before the next."""
    own = words[bounds[:-1]]
    before = np.empty_like(own)
    before[1:] = own[:-1]
    before[0] = words[bounds[0] - 1] if bounds[0] else ~(own[0] << 56)  # at the very first pixel a run begins
    differing = own << 8
    differing |= before >> 56
    differing ^= own  # each pixel and the one before it
    length = np.diff(bounds)
    again = (differing > 255) & (length > 1)
    if again.any():
        # What comes again after eight pixels, as stripes do: runs begin in words that are like the one before.
        count = np.where(again, length, 1)
        end = np.cumsum(count)
        at = np.repeat(bounds[:-1] - (end - count), count) + np.arange(end[-1])
        bounds = np.append(at, bounds[-1])
        for first in range(0, len(at), _WORDS):
            yield from _in_words(words, bounds[first : first + _WORDS + 1])
        return
    some = np.flatnonzero(differing != 0)  # every second
    begins = np.flatnonzero(differing[some].view(np.uint8) != 0)
    yield own[some].view(np.uint8)[begins], bounds[some][begins >> 3] * 8 + (begins & 7)


def _in_rows(value: _Bytes, bounds: _Places, width: int) -> Runs:
    """Those that are of a class, cut at the ends of the rows."""
    of_class = np.argsort(value, kind="stable")[len(value) - np.count_nonzero(value) :]
    value, start, end = value[of_class], bounds[of_class], bounds[of_class + 1]
    row = start // width
    left = start - row * width
    right = left + (end - start)
    if len(right) and right.max() > width:
        last = (end - 1) // width
        count = last - row + 1
        run = np.repeat(np.arange(len(count)), count)
        rows = row[run] + np.arange(len(run)) - (np.cumsum(count) - count)[run]
        left = np.where(rows == row[run], left[run], 0)
        right = np.where(rows == last[run], (end - last * width)[run], width)
        value, row = value[run], rows
    return Runs(value, row.astype(np.int32), left.astype(np.int32), right.astype(np.int32))
