"""Which classes a class map holds, how many pixels of each, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import MAX_CLASSES, ClassSet

Box = tuple[int, int, int, int]
"""x, y, width, height, pixels."""

_Ints = npt.NDArray[np.int64]

_WORDS = 1 << 15
"""Words of eight pixels looked at together: maps that are all noise take no more memory."""
_RUNS_KEPT = 1 << 17
"""Above which parts are not looked for; people who fill a 4K picture have some 40,000 runs."""
_TILES = 64
"""Along the longer side of a picture; parts are told apart by the tiles between them."""
_ROOM = 4
"""A box with that many times the pixels of its class may have parts, if it is not small anyway."""
_SMALL = 1 << 16


@dataclass(frozen=True)
class Label:
    """A class that was found in a picture.

    Args:
        id: of the class, its value in the class map.
        name: of the class.
        pixels: how many it has.
        fraction: of the picture's pixels, 0 to 1.
        bbox: x, y, width, height of the box around it, pixels.

    >>> [(label.name, label.fraction, label.bbox) for label in result.labels][0]
    ('Face_Neck', 0.0321, (171, 75, 107, 117))
    """

    id: int
    name: str
    pixels: int
    fraction: float
    bbox: Box
    """x, y, width, height of the box around it, pixels."""


def find_labels(class_map: npt.NDArray[np.uint8], classes: ClassSet) -> tuple[Label, ...]:
    """The classes of a class map, (H, W) uint8, by id; the background, 0, is left out."""
    return Extents(class_map).labels(classes)


class Extents:
    """Where each class of a class map, (H, W) uint8, is; the background, 0, is left out.

    Found by the runs of equal pixels along the rows, of which there are few, and those by words of eight pixels.

    Attributes:
        pixels: how many each class has, by id.
        boxes: x, y, width, height of the box around each, by id.
    """

    def __init__(self, class_map: npt.NDArray[np.uint8]) -> None:
        self._height, self._width = class_map.shape
        pixels = np.zeros(MAX_CLASSES, np.int64)
        edges = _Edges(self._height, self._width)
        self._kept: list[_Runs] = []
        kept = 0
        for value, start, end in _runs(np.ascontiguousarray(class_map).reshape(-1)):
            pixels += np.bincount(value, weights=end - start, minlength=MAX_CLASSES).astype(np.int64)
            runs = _in_rows(value, start, end, self._width)
            edges.add(runs)
            kept += len(runs.value)
            if kept <= _RUNS_KEPT:
                self._kept.append(runs)
        if kept > _RUNS_KEPT:
            self._kept.clear()
        ids = (np.flatnonzero(pixels[1:]) + 1).tolist()
        self.pixels: dict[int, int] = dict(zip(ids, pixels[ids].tolist(), strict=True))
        self.boxes: dict[int, Box] = dict(zip(ids, edges.boxes(ids), strict=True))

    def labels(self, classes: ClassSet) -> tuple[Label, ...]:
        """The classes that are there, by id."""
        size = self._height * self._width
        return tuple(
            Label(index, classes.names[index], pixels, pixels / size, self.boxes[index])
            for index, pixels in self.pixels.items()
        )

    def parts(self, index: int) -> list[Box]:
        """Boxes that hold all of a class between them, none of which touches what another holds of it."""
        return self._parts.get(index) or [self.boxes[index]]

    @cached_property
    def _parts(self) -> dict[int, list[Box]]:
        """Of the classes that have much room in their boxes, as those of people who stand apart."""
        roomy = [
            index
            for index, (_, _, width, height) in self.boxes.items()
            if width * height > max(_SMALL, _ROOM * self.pixels[index])
        ]
        if not roomy or not self._kept:
            return {}
        tile = -(-max(self._height, self._width) // _TILES)
        rows, columns = self._height // tile + 2, self._width // tile + 2  # the last of each stays empty
        line_of = np.full(MAX_CLASSES, -1)
        line_of[roomy] = np.arange(len(roomy)) * rows
        cells = np.zeros(len(roomy) * rows * columns, np.int64)
        for runs in self._kept:
            line = line_of[runs.value]
            asked = np.flatnonzero(line >= 0)
            begin = (line[asked] + runs.row[asked] // tile) * columns
            cells += np.bincount(begin + runs.left[asked] // tile, minlength=len(cells))
            cells -= np.bincount(begin + (runs.right[asked] - 1) // tile + 1, minlength=len(cells))
        taken = (np.cumsum(cells) > 0).astype(np.uint8).reshape(-1, columns)
        parts: dict[int, list[Box]] = {index: [] for index in roomy}
        for x, line, width, height, _ in cv2.connectedComponentsWithStats(taken)[2][1:].tolist():
            number, y = divmod(line, rows)
            parts[roomy[number]].append((x, y, width, height))
        return {
            index: [_in_pixels(part, tile, self.boxes[index]) for part in _apart(found)]
            for index, found in parts.items()
        }


class _Edges:
    """How far each class reaches, as more and more of it is seen."""

    def __init__(self, height: int, width: int) -> None:
        self._top, self._bottom = np.full(MAX_CLASSES, height), np.zeros(MAX_CLASSES, np.int64)
        self._left, self._right = np.full(MAX_CLASSES, width), np.zeros(MAX_CLASSES, np.int64)

    def add(self, runs: _Runs) -> None:
        """`runs` lie below those that were added before."""
        if not len(runs.value):
            return
        by_class = np.argsort(runs.value, kind="stable")
        value = runs.value[by_class]
        first = np.flatnonzero(np.append(True, value[1:] != value[:-1]))
        last = np.append(first[1:], len(value)) - 1
        ids = value[first]
        self._top[ids] = np.minimum(self._top[ids], runs.row[by_class[first]])
        self._bottom[ids] = runs.row[by_class[last]] + 1
        self._left[ids] = np.minimum(self._left[ids], np.minimum.reduceat(runs.left[by_class], first))
        self._right[ids] = np.maximum(self._right[ids], np.maximum.reduceat(runs.right[by_class], first))

    def boxes(self, ids: list[int]) -> list[Box]:
        """Around each of these."""
        left, top = self._left[ids], self._top[ids]
        sides = np.stack([left, top, self._right[ids] - left, self._bottom[ids] - top], axis=1)
        return [(x, y, width, height) for x, y, width, height in sides.tolist()]


@dataclass(frozen=True)
class _Runs:
    """Pixels of one class in a row, from `left` to before `right`."""

    value: npt.NDArray[np.uint8]
    row: _Ints
    left: _Ints
    right: _Ints


def _runs(pixels: npt.NDArray[np.uint8]) -> Iterator[tuple[npt.NDArray[np.uint8], _Ints, _Ints]]:
    """The value, start and end of the runs of equal pixels, row after row as if they were one, in a few pieces."""
    if not pixels.size:
        return
    whole = (pixels.size - 1) // 8 * 8
    words, following = pixels[:whole].view(np.uint64), pixels[1 : whole + 1].view(np.uint64)
    differing = np.flatnonzero(words != following)  # a run begins at the second to ninth pixel of such a word
    rest = np.flatnonzero(pixels[whole:-1] != pixels[whole + 1 :]) + whole + 1
    value, start = pixels[:1], np.zeros(1, np.int64)
    for first in range(0, len(differing) + 1, _WORDS):
        at = differing[first : first + _WORDS]
        after = following[at].view(np.uint8)
        begins = np.flatnonzero(words[at].view(np.uint8) != after)
        value = np.concatenate([value, after[begins]])
        start = np.concatenate([start, at[begins >> 3] * 8 + (begins & 7) + 1])
        if first + _WORDS > len(differing):
            value, start = np.concatenate([value, pixels[rest]]), np.concatenate([start, rest])
            yield value, start, np.append(start[1:], pixels.size)
        else:
            yield value[:-1], start[:-1], start[1:]
            value, start = value[-1:], start[-1:]


def _in_rows(value: npt.NDArray[np.uint8], start: _Ints, end: _Ints, width: int) -> _Runs:
    """Those that are of a class, cut at the ends of the rows."""
    of_class = np.flatnonzero(value)
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
    return _Runs(value, row, left, right)


def _apart(boxes: list[Box]) -> list[Box]:
    """Boxes that lie in one another made one."""
    apart: list[Box] = []
    for box in boxes:
        while others := [each for each in apart if _meet(box, each)]:
            apart = [each for each in apart if each not in others]
            box = _around([box, *others])
        apart.append(box)
    return apart


def _meet(one: Box, other: Box) -> bool:
    return (
        one[0] < other[0] + other[2]
        and other[0] < one[0] + one[2]
        and one[1] < other[1] + other[3]
        and other[1] < one[1] + one[3]
    )


def _around(boxes: list[Box]) -> Box:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top


def _in_pixels(part: Box, tile: int, box: Box) -> Box:
    """A part in tiles, as far as it lies in the box of its class."""
    left, top = max(part[0] * tile, box[0]), max(part[1] * tile, box[1])
    right = min((part[0] + part[2]) * tile, box[0] + box[2])
    bottom = min((part[1] + part[3]) * tile, box[1] + box[3])
    return left, top, right - left, bottom - top
