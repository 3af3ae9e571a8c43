"""Which classes a class map holds, how many pixels of each, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import MAX_CLASSES, ClassSet
from sapiens_stream.runs import Runs, find_runs, join_runs

Box = tuple[int, int, int, int]
"""x, y, width, height, pixels."""

_RUNS_KEPT = 1 << 17
"""People who fill a 4K picture have some 13,000 runs, noise a million."""


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

    Attributes:
        size: of the class map, (height, width).
        pixels: how many each class has, by id.
        boxes: x, y, width, height of the box around each, by id.
        runs: those of all classes; None where there are too many to keep.
    """

    def __init__(self, class_map: npt.NDArray[np.uint8]) -> None:
        self.size: tuple[int, int] = class_map.shape
        edges = _Edges(*self.size)
        pieces: list[Runs] = []
        kept = 0
        for runs in find_runs(class_map):
            edges.add(runs)
            kept += len(runs)
            if kept > _RUNS_KEPT:
                pieces.clear()
            else:
                pieces.append(runs)
        self.runs: Runs | None = join_runs(pieces) if kept <= _RUNS_KEPT else None
        ids = (np.flatnonzero(edges.pixels[1:]) + 1).tolist()
        self.pixels: dict[int, int] = dict(zip(ids, edges.pixels[ids].tolist(), strict=True))
        self.boxes: dict[int, Box] = dict(zip(ids, edges.boxes(ids), strict=True))

    def labels(self, classes: ClassSet) -> tuple[Label, ...]:
        """The classes that are there, by id."""
        height, width = self.size
        return tuple(
            Label(index, classes.names[index], pixels, pixels / (height * width), self.boxes[index])
            for index, pixels in self.pixels.items()
        )


class _Edges:
    """How far each class reaches, and how many pixels it has, as more and more of it is seen."""

    def __init__(self, height: int, width: int) -> None:
        self.pixels = np.zeros(MAX_CLASSES, np.int64)
        self._top, self._bottom = np.full(MAX_CLASSES, height), np.zeros(MAX_CLASSES, np.int64)
        self._left, self._right = np.full(MAX_CLASSES, width), np.zeros(MAX_CLASSES, np.int64)

    def add(self, runs: Runs) -> None:
        """`runs` lie below those that were added before."""
        if not len(runs):
            return
        first = np.append(0, np.flatnonzero(runs.value[1:] != runs.value[:-1]) + 1)
        last = np.append(first[1:], len(runs)) - 1
        ids = runs.value[first]
        self.pixels[ids] += np.add.reduceat(runs.right - runs.left, first, dtype=np.int64)
        self._top[ids] = np.minimum(self._top[ids], runs.row[first])
        self._bottom[ids] = runs.row[last] + 1
        self._left[ids] = np.minimum(self._left[ids], np.minimum.reduceat(runs.left, first))
        self._right[ids] = np.maximum(self._right[ids], np.maximum.reduceat(runs.right, first))

    def boxes(self, ids: list[int]) -> list[Box]:
        """Around each of these."""
        left, top = self._left[ids], self._top[ids]
        sides = np.stack([left, top, self._right[ids] - left, self._bottom[ids] - top], axis=1)
        return [(x, y, width, height) for x, y, width, height in sides.tolist()]
