"""A picture and its matte as the numbers that a file holds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.colour.conversion import array_of, converted
from sapiens_stream.colour.light import chromaticities, light_of
from sapiens_stream.colour.matrix import from_codes
from sapiens_stream.colour.meaning import BT601, BT709, BT2020, LIMITED_RANGE, SDR_WHITE, Colour
from sapiens_stream.colour.original import Original
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
    """(H, W, 3) RGB, SDR, upright: uint16 for a `deep` picture, else uint8."""
    if deep and (original := _original(frame)) is not None:
        return _signal(original.pixels) if original.is_light else original.pixels
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


def linear_of(frame: Frame) -> tuple[npt.NDArray[np.float32], tuple[float, ...]]:
    """(H, W, 3) linear RGB, upright, 1 being SDR white, and the x and y of its red, green, blue and white.

    HDR goes beyond 1, and so does the light of OpenEXR, which is as it was stored.
    """
    if (original := _original(frame)) is not None:
        corners = original.chromaticities or chromaticities(BT709)
        return original.pixels if original.is_light else _linear(65536)[original.pixels], corners
    decoded = frame.decoded
    if isinstance(decoded, av.VideoFrame) and frame.colour.bits > 8:
        planar = _planar(decoded)
        colour = colour_of(planar)
        parts = planes_of(planar)
        codes = np.dstack([frame.upright(each).astype(np.float32) for each in parts])
        signal = np.clip(from_codes(codes.astype(np.float64), colour), 0, 1)
        light = light_of(signal, frame.colour.transfer) / SDR_WHITE
        return light.astype(np.float32), chromaticities(frame.colour.primaries)
    primaries = BT709 if frame.colour.beyond_sdr else frame.colour.primaries
    return _linear(256)[rgb_of(frame, deep=False)], chromaticities(primaries)


def _original(frame: Frame) -> Original | None:
    """Upright; None where the frame has all there is, or its file holds another picture by now."""
    original = frame.original() if frame.original is not None else None
    if original is None:
        return None
    pixels = frame.upright(original.pixels)
    return replace(original, pixels=pixels) if pixels.shape[:2] == frame.size else None


def _signal(light: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """What light is in sRGB (IEC 61966-2-1), what is brighter than 1 as 1."""
    light = np.clip(np.nan_to_num(light, nan=0.0), 0, 1)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(65535 * signal), np.uint16)


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


@cache
def _linear(levels: int) -> npt.NDArray[np.float32]:
    """The light of each level of SDR."""
    return np.asarray(light_of(np.arange(levels) / (levels - 1), 2) / SDR_WHITE, np.float32)
