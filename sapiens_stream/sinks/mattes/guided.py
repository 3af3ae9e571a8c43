"""A matte refined along the edges of its picture.

The guided filter (He, Sun, Tang, 2013) with colour as its guide: in each window the matte is taken to be an affine
function of the colours, `a . rgb + b`, by least squares with `a` held small, and the functions of all windows that a
pixel lies in are averaged. So it is constant where the picture is smooth, and changes where the picture does. As in the
fast variant (He, Sun, 2015) the functions are found in a smaller picture and applied to the whole one.

What is filtered is not sure of itself over many pixels, and the filter leaves a part of that. So the matte is made
steeper before and after, around a half: `python -m benchmarks.matte` measures what that gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A pass of the filter: the radius of its windows, pixels of the smaller picture, and what follows it."""

    radius: int
    steeper: float
    """Times around a half, once filtered."""


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """How a matte is refined.

    Args:
        side: pixels of the longer side of the smaller picture; one that is no larger is taken as it is.
        smooth: the square of a difference of brightness, 0 to 1, that is taken for noise.
        steeper: times around a half, before the first step.
        steps: the passes; only the last one is applied to the whole picture.
    """

    side: int
    smooth: float
    steeper: float
    steps: tuple[Step, ...]

    def __call__(self, picture: UInt8Array, matte: Floats) -> Floats:
        """(H, W, 3) uint8 and (H, W) float32, 0 to 1, to (H, W) float32, 0 to 1."""
        height, width = matte.shape
        scale = min(1.0, self.side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
        channels = [np.ascontiguousarray(small[..., channel]) for channel in range(3)]
        target = _steeper(np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.float32), self.steeper)
        for step in self.steps[:-1]:
            *slopes, offset = self._fitted(channels, target, step.radius)
            target = _steeper(_applied(channels, slopes, offset), step.steeper)
        last = self.steps[-1]
        functions = [
            cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR)
            for each in self._fitted(channels, target, last.radius)
        ]
        whole = [cv2.extractChannel(picture, channel) for channel in range(3)]
        slopes = [np.asarray(each) / np.float32(255) for each in functions[:3]]
        return _steeper(_applied(whole, slopes, functions[3]), last.steeper)

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


def _applied(guide: Sequence[npt.NDArray[Any]], slopes: Sequence[npt.NDArray[Any]], offset: npt.ArrayLike) -> Floats:
    result = np.array(offset, np.float32)
    for channel, slope in zip(guide, slopes, strict=True):
        result += slope * channel
    return result


def _steeper(matte: Floats, times: float) -> Floats:
    """Of values beside 0 to 1 too; the result lies within."""
    return np.asarray(np.clip((matte - np.float32(0.5)) * np.float32(times) + np.float32(0.5), 0, 1), np.float32)
