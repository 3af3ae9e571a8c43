"""A matte refined along the edges of its picture.

The guided filter (He, Sun, Tang, 2013) with colour as its guide: in each window the matte is taken to be an affine
function of the colours, `a . rgb + b`, by least squares with `a` held small, and the functions of all windows that a
pixel lies in are averaged. So it is constant where the picture is smooth, and changes where the picture does. As in the
fast variant (He, Sun, 2015) the functions are found in a smaller picture and applied to the whole one.

What is filtered is not sure of itself over many pixels, and the filter leaves a part of that. So the matte is made
steeper before and after, around a half; `python -m benchmarks.matte` measures what that gains. Where it was sure it
stays as it was: an edge of the picture beside a person is none of the person's. So only what lies around the unsure
pixels is filtered at all, which are few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


_UNSURE = 0.02, 0.1
"""How far a matte is from 0 or 1 where the filter begins to count, and where it alone does."""
_ROW = 1024  # pixels that are looked up at once; OpenCV's sides have an end


@dataclass(frozen=True, kw_only=True)
class Step:
    """A pass of the filter.

    Args:
        side: pixels of the longer side of the picture that it is made in; one that is no larger is taken as it is.
        radius: of its windows, pixels of that.
        steeper: times around a half, once filtered.
    """

    side: int
    radius: int
    steeper: float

    def scale(self, height: int, width: int) -> float:
        """What the sides of a picture are multiplied by."""
        return min(1.0, self.side / max(height, width))


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """How a matte is refined.

    Args:
        smooth: the square of a difference of brightness, 0 to 1, that is taken for noise.
        steeper: times around a half, before the first step.
        steps: the passes; only the last one is applied to the whole picture.
        blur: of a matte that is 0 and 1 alone, over how many pixels of the last step's picture it is unsure on either
            side of its edges.
    """

    smooth: float
    steeper: float
    steps: tuple[Step, ...]
    blur: int

    def of_mask(self, picture: UInt8Array, mask: Floats) -> Floats:
        """As below, of a matte that is 0 and 1 alone."""
        half = max(1, round(self.blur / self.steps[-1].scale(*mask.shape)))
        side = 2 * half + 1
        return self(picture, np.asarray(cv2.blur(mask, (side, side), borderType=cv2.BORDER_REPLICATE)))

    def __call__(self, picture: UInt8Array, matte: Floats) -> Floats:
        """(H, W, 3) uint8 and (H, W) float32, 0 to 1, to (H, W) float32, 0 to 1."""
        least, all_of_it = _UNSURE
        unsure = cv2.inRange(matte, np.array(least), np.array(1 - least))
        result = np.asarray(cv2.threshold(matte, 0.5, 1, cv2.THRESH_BINARY)[1], np.float32)
        x, y, width, height = cv2.boundingRect(unsure)
        if not width:
            return result
        margin = sum(2 * step.radius / step.scale(*matte.shape) for step in self.steps)
        box = (y - margin, y + height + margin), (x - margin, x + width + margin)
        columns, rows = np.asarray(cv2.findNonZero(unsure), np.int32).reshape(-1, 2).T
        found = self._filtered(picture, matte, box, rows, columns)
        before, sure = matte[rows, columns], result[rows, columns]
        share = np.clip((np.minimum(before, 1 - before) - np.float32(least)) / np.float32(all_of_it - least), 0, 1)
        result[rows, columns] = sure + share * (found - sure)
        return result

    def _filtered(
        self,
        picture: UInt8Array,
        matte: Floats,
        box: tuple[tuple[float, float], tuple[float, float]],
        rows: npt.NDArray[np.int32],
        columns: npt.NDArray[np.int32],
    ) -> Floats:
        """The filtered matte at some pixels, of which no more is looked at than what is in the box."""
        largest = max(step.scale(*matte.shape) for step in self.steps)
        guide = _resized(picture, matte.shape, largest)
        target, times = matte, self.steeper
        for step in self.steps:
            scale = step.scale(*matte.shape)
            target = _steeper(_resized(target, matte.shape, scale), times)
            place = tuple(
                slice(max(0, int(first * own / whole)), min(own, math.ceil(last * own / whole)))
                for (first, last), own, whole in zip(box, target.shape, matte.shape, strict=True)
            )
            small = _resized(guide, matte.shape, scale)[place]
            channels = [cv2.extractChannel(small, each) / np.float32(255) for each in range(3)]
            functions = self._fitted(channels, target[place], step.radius)
            if step is not self.steps[-1]:
                target[place] = _steeper(_applied(channels, functions[:3], functions[3]), step.steeper)
                times = 1.0
        row, column = (
            np.float32(small / whole) * (each.astype(np.float32) + np.float32(0.5)) - np.float32(0.5 + where.start)
            for small, whole, each, where in zip(target.shape, matte.shape, (rows, columns), place, strict=True)
        )
        own = _looked_up(np.asarray(cv2.merge(functions), np.float32), row, column)
        colours = picture[rows, columns].astype(np.float32) / np.float32(255)
        return _steeper(np.asarray((own[:, :3] * colours).sum(1) + own[:, 3], np.float32), self.steps[-1].steeper)

    def _fitted(self, guide: Sequence[Floats], target: Floats, radius: int) -> list[npt.NDArray[Any]]:
        """The averaged functions of the windows: three of `a`, and `b`."""

        def mean_of(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
            side = 2 * radius + 1
            return np.asarray(cv2.boxFilter(plane, cv2.CV_32F, (side, side), borderType=cv2.BORDER_REFLECT))

        red, green, blue = guide
        mean, (mean_r, mean_g, mean_b) = mean_of(target), [mean_of(each) for each in guide]
        with_target = [
            mean_of(each * target) - own * mean for each, own in zip(guide, (mean_r, mean_g, mean_b), strict=True)
        ]
        noise = np.float32(self.smooth)
        rr = mean_of(red * red) - mean_r * mean_r + noise
        gg = mean_of(green * green) - mean_g * mean_g + noise
        bb = mean_of(blue * blue) - mean_b * mean_b + noise
        rg = mean_of(red * green) - mean_r * mean_g
        rb = mean_of(red * blue) - mean_r * mean_b
        gb = mean_of(green * blue) - mean_g * mean_b
        # The inverse of the symmetric matrix ((rr, rg, rb), (rg, gg, gb), (rb, gb, bb)) by its cofactors.
        first = (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb)
        second = (first[1], rr * bb - rb * rb, rb * rg - rr * gb)
        third = (first[2], second[2], rr * gg - rg * rg)
        determinant = rr * first[0] + rg * first[1] + rb * first[2]
        slopes = [
            (row[0] * with_target[0] + row[1] * with_target[1] + row[2] * with_target[2]) / determinant
            for row in (first, second, third)
        ]
        offset = mean - slopes[0] * mean_r - slopes[1] * mean_g - slopes[2] * mean_b
        return [mean_of(each) for each in (*slopes, offset)]


def _resized(plane: npt.NDArray[Any], size: tuple[int, ...], scale: float) -> npt.NDArray[Any]:
    """To so much of a size."""
    height, width = (max(1, round(side * scale)) for side in size)
    if plane.shape[:2] == (height, width):
        return plane
    how = cv2.INTER_AREA if plane.shape[0] > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (width, height), interpolation=how))


def _looked_up(planes: Floats, rows: Floats, columns: Floats) -> Floats:
    """(N, C): planes, (h, w, C), interpolated at N places."""
    count = len(rows)
    padded = -(-count // _ROW) * _ROW
    places = [np.resize(each, padded).reshape(-1, _ROW) for each in (columns, rows)]
    found = [
        cv2.remap(planes, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for x, y in zip(*(np.array_split(each, -(-len(each) // _ROW)) for each in places), strict=True)
    ]
    return np.concatenate([each.reshape(-1, planes.shape[2]) for each in found])[:count]


def _applied(guide: Sequence[npt.NDArray[Any]], slopes: Sequence[npt.NDArray[Any]], offset: npt.ArrayLike) -> Floats:
    result = np.array(offset, np.float32)
    for channel, slope in zip(guide, slopes, strict=True):
        result += slope * channel
    return result


def _steeper(matte: Floats, times: float) -> Floats:
    """Of values beside 0 to 1 too; the result lies within."""
    return np.asarray(np.clip((matte - np.float32(0.5)) * np.float32(times) + np.float32(0.5), 0, 1), np.float32)
