"""The cells of a picture in which anybody is: mostly few of all, and gone over one by one at as little cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Foreground:
    """Those of (h, w) bool; what is asked of other planes of that size is of these cells alone.

    Attributes:
        mask: (h, w).
        cells: (n,) where they are in the flattened plane.
        rows, columns: (n,).
    """

    mask: npt.NDArray[np.bool_]
    cells: npt.NDArray[np.intp]
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> Foreground:
        """Where the mask is True."""
        cells = np.flatnonzero(mask)
        rows = cells // mask.shape[1]
        return cls(mask, cells, rows, cells - rows * mask.shape[1])

    def take(self, plane: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """(n,): what a plane has there."""
        return plane.take(self.cells)

    def spread(self, values: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """(h, w): a plane that has these values, (n,), there, and 0 elsewhere."""
        plane = np.zeros(self.mask.shape, values.dtype)
        plane.reshape(-1)[self.cells] = values
        return plane

    def counts(self, numbers: npt.NDArray[Any], count: int) -> npt.NDArray[np.intp]:
        """(count,): how many of the cells have each number, all of which are below `count`."""
        return np.bincount(self.take(numbers), minlength=count)

    def votes(self, rows: npt.NDArray[Any], columns: npt.NDArray[Any], count: int) -> npt.NDArray[np.intp]:
        """(highest of `rows` + 1, count): how many cells have each number of the one plane and each of the other."""
        own = self.take(rows).astype(np.intp)
        height = int(own.max(initial=0)) + 1
        return np.bincount(own * count + self.take(columns), minlength=height * count).reshape(height, count)

    def boxes(self, numbers: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
        """(count, 4): left, top, right and bottom of the box around the cells of each number; 0 where there are none.

        All numbers are below `count`; 0 is nobody's.
        """
        return boxes_around(self.take(numbers), count, self.rows, self.columns, self.mask.shape)


def boxes_around(
    numbers: npt.NDArray[Any],
    count: int,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    size: tuple[int, ...],
) -> npt.NDArray[np.float64]:
    """As `Foreground.boxes`, of cells of a plane of (h, w) whose numbers, rows and columns are given, (n,) each."""
    boxes = np.zeros((count, 4))
    for axis, (cells, length) in enumerate(((columns, size[1]), (rows, size[0]))):
        there = np.zeros((count, length), np.bool_)
        there[numbers, cells] = True
        boxes[:, axis], boxes[:, axis + 2] = there.argmax(1), length - there[:, ::-1].argmax(1)
    boxes[np.bincount(numbers, minlength=count) == 0] = 0
    boxes[0] = 0
    return boxes
