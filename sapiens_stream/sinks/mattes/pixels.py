"""A picture and its matte as the numbers that a file holds."""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.colour.conversion import array_of, converted
from sapiens_stream.colour.light import light_of
from sapiens_stream.colour.matrix import from_codes
from sapiens_stream.colour.meaning import BT601, BT2020, LIMITED_RANGE, SDR_WHITE, Colour
from sapiens_stream.colour.planes import planes_of
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.frame import Frame
from sapiens_stream.sinks.mattes.edges import Floats, to_levels

Pixels = npt.NDArray[Any]
_FULL = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
_LUMA = {8: (16, 219), 10: (64, 876)}


def levels(matte: Floats, dtype: type[np.uint8] | type[np.uint16]) -> Pixels:
    """(H, W), 0 to 1, as whole numbers up to the most that there are."""
    return to_levels(matte, _FULL[np.dtype(dtype)]).astype(dtype)


def luma_levels(matte: Floats, bits: int) -> npt.NDArray[np.uint16]:
    """(H, W), 0 to 1, as luma of limited range."""
    black, span = _LUMA[bits]
    return np.asarray(to_levels(matte, span) + np.uint16(black), np.uint16)


def rgb_of(frame: Frame, *, deep: bool) -> Pixels:
    """(H, W, 3) RGB, SDR, upright: uint16 for a `deep` picture whose source has more than 8 bits, else uint8."""
    decoded = frame.decoded
    if deep and isinstance(decoded, av.VideoFrame) and frame.colour.bits > 8 and not frame.colour.beyond_sdr:
        return frame.upright(array_of(_with_all_chroma(decoded), "rgb48le"))
    shown = frame.sdr
    if isinstance(shown, av.VideoFrame):
        shown = array_of(_with_all_chroma(shown), "rgb24")
    rgb = frame.upright(shown)
    return rgb.astype(np.uint16) * np.uint16(257) if deep else rgb


def with_alpha(rgb: Pixels, matte: Floats, *, premultiplied: bool) -> Pixels:
    """(H, W, 4) RGBA of the numbers of `rgb`; where `premultiplied`, black where nothing is opaque."""
    alpha = levels(matte, rgb.dtype.type)
    if premultiplied:
        most = np.float32(_FULL[rgb.dtype])
        rgb = np.rint(rgb * (alpha / most)[..., None]).astype(rgb.dtype)
    return np.asarray(np.dstack([rgb, alpha]))


def premultiplied_planes(planes: list[Pixels], matte: Floats, colour: Colour) -> None:
    """Y, Cb and Cr, in place, towards black where the matte is not 1."""
    unit = 2 ** (colour.bits - 8)
    blacks = (0 if colour.full_range else 16 * unit, 128 * unit, 128 * unit)
    for plane, black in zip(planes, blacks, strict=True):
        share = (
            matte if plane.shape == matte.shape else cv2.resize(matte, plane.shape[::-1], interpolation=cv2.INTER_AREA)
        )
        plane[:] = np.rint((plane.astype(np.float32) - black) * share + black)


def linear_of(frame: Frame) -> tuple[npt.NDArray[np.float32], int]:
    """(H, W, 3) linear RGB, upright, 1 being SDR white, and the number of its primaries in H.273; HDR goes beyond."""
    decoded = frame.decoded
    if isinstance(decoded, av.VideoFrame) and frame.colour.bits > 8:
        planar = _planar(decoded)
        colour = colour_of(planar)
        parts = planes_of(planar)
        codes = np.dstack([frame.upright(each).astype(np.float32) for each in parts])
        signal = np.clip(from_codes(codes.astype(np.float64), colour), 0, 1)
        light = light_of(signal, frame.colour.transfer) / SDR_WHITE
        return light.astype(np.float32), frame.colour.primaries
    return _LINEAR[rgb_of(frame, deep=False)], 1 if frame.colour.beyond_sdr else frame.colour.primaries


def _with_all_chroma(decoded: av.VideoFrame) -> av.VideoFrame:
    """With a sample of chroma for each pixel, interpolated; on its way to RGB swscale repeats them, in stairs."""
    form = decoded.format
    subsampled = form.chroma_width(2) < 2 or form.chroma_height(2) < 2
    whole = "yuv444p" if form.components[0].bits == 8 else "yuv444p16le"
    return converted(decoded, whole, interpolation="BICUBIC") if subsampled else decoded


def _planar(decoded: av.VideoFrame) -> av.VideoFrame:
    if decoded.format.is_rgb or decoded.format.has_palette:
        matrix = BT2020 if colour_of(decoded).beyond_sdr else BT601
        planar = converted(decoded, "yuv444p10le", dst_colorspace=matrix, dst_color_range=LIMITED_RANGE)
        planar.colorspace, planar.color_range = matrix, LIMITED_RANGE
        return planar
    return converted(decoded, "yuv444p10le")


_LINEAR = (light_of(np.arange(256) / 255, 2) / SDR_WHITE).astype(np.float32)
