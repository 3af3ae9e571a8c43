"""Blending class colours over a picture: in RGB to the bit as the original program does, or in a video's YUV planes."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import UsageError

UInt8Array = npt.NDArray[np.uint8]

# cv2.addWeighted rounds: a little more than half a level less makes that a truncation. The little is far above
# float32's noise at 255 and below the smallest step of usual opacities; `Painter` checks that it does.
_TRUNCATE = -0.5 + 1e-4
_STRIP_ROWS = 16  # float64 strips that stay in the cache: 13 ms at 1080p against 87 for the whole picture at once

# Luma weights of red and blue, by the matrix coefficients' number in ITU-T H.273 (FFmpeg's AVColorSpace).
_BT601 = (0.299, 0.114)
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: _BT601,
    6: _BT601,
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),
}


class Planes(NamedTuple):
    """The planes of an 8-bit yuv420p picture: y (H, W); u and v (ceil(H / 2), ceil(W / 2)); uint8."""

    y: UInt8Array
    u: UInt8Array
    v: UInt8Array


class Painter:
    """Paints each pixel with the colour of its class: `pixel * (1 - opacity) + colour * opacity`.

    The background is painted with its colour too, unless `keep_background`. Classes outside `only` (ids; None: all)
    are painted as background. Raises UsageError for an opacity outside 0..1.
    """

    def __init__(
        self,
        classes: ClassSet,
        *,
        opacity: float = 0.5,
        keep_background: bool = False,
        only: tuple[int, ...] | None = None,
    ) -> None:
        if not 0 <= opacity <= 1:
            raise UsageError(f"opacity {opacity} is outside 0 to 1")
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
        matrix: int = 2,
        full_range: bool = False,
        out: Planes | None = None,
    ) -> Planes:
        """The same blend without leaving YUV; `class_map` is (H, W). Written to `out` if given.

        `matrix` is the number of the matrix coefficients in ITU-T H.273; any that is not in its table of
        luma weights counts as BT.601, which is how swscale reads an untagged video. Within 2 levels of painting in
        RGB and converting, wherever the picture's YUV has an RGB and its chroma is even under one sample.
        """
        if out is None:
            out = Planes(*(np.empty(plane.shape, np.uint8) for plane in planes))
        palette = self._yuv_palette(matrix, full_range)
        cv2.addWeighted(planes.y, 1 - self.opacity, cv2.LUT(class_map, palette[0]), self.opacity, 0, dst=out.y)
        if self.keep_background:
            cv2.copyTo(planes.y, self._background(class_map), out.y)
        odd_rows, odd_columns = (side % 2 for side in class_map.shape)
        even = np.asarray(cv2.copyMakeBorder(class_map, 0, odd_rows, 0, odd_columns, cv2.BORDER_REPLICATE), np.uint8)
        painted_part = _halved(cv2.LUT(even, self._foreground)) if self.keep_background else None
        for plane, row, target in zip(planes[1:], palette[1:], out[1:], strict=True):
            colours = _halved(cv2.LUT(even, row))
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

    def _make_yuv_palette(self, matrix: int, full_range: bool) -> UInt8Array:
        """(3, 256) Y, U, V by class; the chroma of kept background is 0, as it weighs nothing in its block."""
        red, blue = _LUMA_WEIGHTS.get(matrix, _BT601)
        rgb = self._palette / 255
        luma = rgb @ (red, 1 - red - blue, blue)
        chroma = np.stack([(rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)])
        luma_span, chroma_span, black = (255, 255, 0) if full_range else (219, 224, 16)
        yuv = np.vstack([luma * luma_span + black, chroma * chroma_span + 128])
        if self.keep_background:
            yuv[1:, self._foreground == 0] = 0
        return np.clip(np.rint(yuv), 0, 255).astype(np.uint8)


def _halved(plane: npt.ArrayLike) -> UInt8Array:
    """Means of 2x2 blocks."""
    plane = np.asarray(plane)
    size = (plane.shape[1] // 2, plane.shape[0] // 2)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
