"""Blending class colours over a picture: in RGB to the bit as the original program does, or in a video's YUV planes."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.colour.matrix import to_codes
from sapiens_stream.colour.meaning import UNSPECIFIED, Colour
from sapiens_stream.colour.planes import Plane, Planes
from sapiens_stream.colour.tone_map import from_sdr
from sapiens_stream.errors import UsageError
from sapiens_stream.settings import OPACITY, is_number

__all__ = ["Painter", "Planes"]

UInt8Array = npt.NDArray[np.uint8]

# cv2.addWeighted rounds: a little more than half a level less makes that a truncation. The little is far above
# float32's noise at 255 and below the smallest step of usual opacities; `Painter` checks that it does.
_TRUNCATE = -0.5 + 1e-4
_STRIP_ROWS = 16  # float64 strips that stay in the cache: 13 ms at 1080p against 87 for the whole picture at once


class Painter:
    """Paints each pixel with the colour of its class: `pixel * (1 - opacity) + colour * opacity`.

    The background is painted with its colour too, unless `keep_background`. Classes outside `only` (ids; None: all)
    are painted as background. Raises UsageError for an opacity outside 0..1.
    """

    def __init__(
        self,
        classes: ClassSet,
        *,
        opacity: float = OPACITY,
        keep_background: bool = False,
        only: tuple[int, ...] | None = None,
    ) -> None:
        if not is_number(opacity) or not 0 <= opacity <= 1:
            raise UsageError(f"opacity is {opacity!r}; it is a number from 0 to 1")
        opacity = float(opacity)
        self.classes = classes
        self.opacity = opacity
        self.keep_background = keep_background
        wanted = np.ones(256, bool) if only is None else np.isin(np.arange(256), only)
        wanted[0] = False
        self._foreground = wanted.astype(np.uint8) * np.uint8(255)
        self._palette = np.where(wanted[:, None], classes.palette, classes.palette[0])
        self._colour_map = self._palette.reshape(256, 1, 3)
        # The two products of the original's formula, rounded as it rounds them.
        self._pixel_part = np.arange(256) * (1 - opacity)
        self._colour_part = (self._palette * opacity).reshape(256, 1, 3)
        self._weighting_is_exact = self._check_weighting()
        self._yuv_palette = cache(self._make_yuv_palette)

    def paint(self, rgb: UInt8Array, class_map: UInt8Array) -> UInt8Array:
        """(H, W, 3) RGB and (H, W) class ids -> (H, W, 3) RGB, a new array, all uint8.

        Equal to the bit to `(rgb * (1 - opacity) + colours * opacity).astype(np.uint8)` in float64.
        """
        if self._weighting_is_exact:
            painted = self._weigh(rgb, cv2.applyColorMap(class_map, self._colour_map))
        else:
            painted = self._add_in_float64(rgb, class_map)
        if self.keep_background:
            cv2.copyTo(rgb, self._background(class_map), painted)
        return painted

    def paint_planes(
        self,
        planes: Planes,
        class_map: UInt8Array,
        *,
        matrix: int = UNSPECIFIED,
        primaries: int = UNSPECIFIED,
        transfer: int = UNSPECIFIED,
        full_range: bool = False,
        bits: int = 8,
        out: Planes | None = None,
    ) -> Planes:
        """The same blend without leaving YUV; `class_map` is (H, W). Written to `out` if given.

        What the numbers mean is said as in `Colour`. A `matrix` that has no luma weights counts as BT.601, which is how
        swscale reads an untagged video. In an HDR or wide-gamut picture the classes have the colours that they have
        elsewhere, white at 203 cd/m2. In 8 bits, within 2 levels of painting in RGB and converting, wherever the
        picture's YUV has an RGB and its chroma is even under one sample.
        """
        if out is None:
            out = Planes(*(np.empty_like(plane) for plane in planes))
        palette = self._yuv_palette(
            Colour(matrix=matrix, primaries=primaries, transfer=transfer, full_range=full_range, bits=bits)
        )
        cv2.addWeighted(planes.y, 1 - self.opacity, cv2.LUT(class_map, palette[0]), self.opacity, 0, dst=out.y)
        if self.keep_background:
            cv2.copyTo(planes.y, self._background(class_map), out.y)
        even = _evened(class_map, planes.u.shape)
        size = planes.u.shape[::-1]
        painted_part = None
        if self.keep_background:
            painted_part = np.asarray(_shrunk(cv2.LUT(even, self._foreground), size), planes.u.dtype)
        for plane, row, target in zip(planes[1:], palette[1:], out[1:], strict=True):
            colours = _shrunk(cv2.LUT(even, row), size)
            if painted_part is None:
                cv2.addWeighted(plane, 1 - self.opacity, colours, self.opacity, 0, dst=target)
            else:  # of the four pixels under a sample some may be kept, whose colour is 0 in `colours`
                covered = cv2.multiply(plane, painted_part, scale=self.opacity / 255)
                cv2.addWeighted(cv2.subtract(plane, covered), 1, colours, self.opacity, 0, dst=target)
        return out

    def _background(self, class_map: UInt8Array) -> UInt8Array:
        return np.asarray(cv2.bitwise_not(cv2.LUT(class_map, self._foreground)), np.uint8)

    def _weigh(self, rgb: UInt8Array, colours: npt.ArrayLike) -> UInt8Array:
        weighed = cv2.addWeighted(rgb, 1 - self.opacity, np.asarray(colours), self.opacity, _TRUNCATE)
        return np.asarray(weighed, np.uint8)

    def _check_weighting(self) -> bool:
        """Whether cv2.addWeighted gives what float64 does, for each value and colour there is."""
        values = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
        values = np.broadcast_to(values, (256, 256, 3)).copy()
        colours = np.broadcast_to(self._palette, (256, 256, 3)).copy()
        return np.array_equal(self._weigh(values, colours), self._exact(values, colours))

    def _exact(self, rgb: UInt8Array, colours: UInt8Array) -> UInt8Array:
        return (rgb * (1 - self.opacity) + colours * self.opacity).astype(np.uint8)

    def _add_in_float64(self, rgb: UInt8Array, class_map: UInt8Array) -> UInt8Array:
        painted = np.empty_like(rgb)
        for top in range(0, len(rgb), _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            pixels = cv2.LUT(rgb[rows], self._pixel_part)
            colours = cv2.LUT(cv2.merge([class_map[rows]] * 3), self._colour_part)
            np.add(pixels, colours, out=painted[rows], casting="unsafe")
        return painted

    def _make_yuv_palette(self, colour: Colour) -> Plane:
        """(3, 256) Y, U, V by class; the chroma of kept background is 0, as it weighs nothing in its block."""
        yuv = to_codes(from_sdr(self._palette / 255, colour), colour).T
        if self.keep_background:
            yuv[1:, self._foreground == 0] = 0
        return np.clip(np.rint(yuv), 0, 2**colour.bits - 1).astype(np.uint8 if colour.bits == 8 else np.uint16)


def _evened(class_map: UInt8Array, chroma: tuple[int, ...]) -> UInt8Array:
    """An odd last line or column doubled, where a sample of chroma is for two."""
    rows, columns = (-side % of for side, of in zip(class_map.shape, chroma, strict=True))
    return np.asarray(cv2.copyMakeBorder(class_map, 0, rows, 0, columns, cv2.BORDER_REPLICATE), np.uint8)


def _shrunk(plane: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[Any]:
    """Means of the blocks that lie under each of (width, height) samples of chroma."""
    return np.asarray(cv2.resize(np.asarray(plane), size, interpolation=cv2.INTER_AREA))
