"""How sure a model is of its classes, as it downloads beside a class map: in its logits' own resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

UInt16Array = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]

CERTAIN = 65535
"""The number that stands for a probability of 1."""

_WHOLE = 1e-6  # a cell is within a region in spite of the region's rounding


@dataclass(frozen=True)
class Extent:
    """Where planes of (h, w) cells lie in a picture.

    Args:
        size: (height, width) of the picture, pixels.
        seen: (top, left, height, width) of the part of the picture that they show, pixels.
        region: (top, left, height, width) of the cells that show it.
    """

    size: tuple[int, int]
    seen: tuple[int, int, int, int]
    region: tuple[float, float, float, float]

    def enlarged(self, plane: npt.NDArray[Any]) -> Floats:
        """A plane, (h, w), interpolated to the picture's size as float32; 0 where the model saw nothing of it.

        Pixels lie between cells as they do for the class map: bilinear, without aligned corners.
        """
        top, left, height, width = self.seen
        own = np.asarray(plane, np.float32)
        if self.region == (0.0, 0.0, *map(float, own.shape)):
            part = np.asarray(cv2.resize(own, (width, height), interpolation=cv2.INTER_LINEAR))
        else:
            rows = _between(own.shape[0], height, self.region[0], self.region[2])
            columns = _between(own.shape[1], width, self.region[1], self.region[3])
            part = _mixed(_mixed(own, rows).T, columns).T
        if self.size == (height, width):
            return np.ascontiguousarray(part)
        whole = np.zeros(self.size, np.float32)
        whole[top : top + height, left : left + width] = part
        return whole


@dataclass(frozen=True, eq=False)
class AlphaPlane:
    """The summed probability of some classes: `values`, (h, w) uint16, 65535 being 1; `classes` are their ids."""

    values: UInt16Array
    extent: Extent
    classes: frozenset[int]

    def full(self) -> Floats:
        """(H, W) float32, 0 to 1, in the picture's size."""
        return self.extent.enlarged(self.values) / np.float32(CERTAIN)


@dataclass(frozen=True, eq=False)
class RankedPlanes:
    """The likeliest classes of each cell, the likeliest first.

    `ids` is (k, h, w) uint8, `values` their probabilities, (k, h, w) uint16, 65535 being 1.
    """

    ids: npt.NDArray[np.uint8]
    values: UInt16Array
    extent: Extent

    def found(self) -> list[int]:
        """The ids of the classes that are among them anywhere."""
        return [int(each) for each in np.flatnonzero(np.bincount(self.ids[self.values > 0], minlength=1))]

    def full(self, class_id: int) -> Floats:
        """(H, W) float32, 0 to 1, in the picture's size: the probability of a class."""
        own = np.where(self.ids == class_id, self.values, 0).sum(0, dtype=np.uint32)
        return self.extent.enlarged(own) / np.float32(CERTAIN)


_Between = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]
"""For each pixel along a side the two cells that it lies between, and what the second weighs."""


def _between(cells: int, pixels: int, start: float, length: float) -> _Between:
    # Cells that lie partly outside of the region would bring in what is beside the picture.
    first = min(math.ceil(start - _WHOLE), cells - 1)
    last = max(min(math.floor(start + length + _WHOLE), cells) - 1, first)
    place = (length / pixels * (np.arange(pixels) + 0.5) - 0.5 + start).clip(first, last)
    low = np.floor(place).astype(np.int64)
    return low, np.minimum(low + 1, last), (place - low).astype(np.float32)


def _mixed(plane: Floats, between: _Between) -> Floats:
    """The rows of a plane, interpolated."""
    low, high, weight = between
    return plane[low] * (1 - weight)[:, None] + plane[high] * weight[:, None]
