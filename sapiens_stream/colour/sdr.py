"""Pictures that are HDR or of a wide gamut as SDR of BT.709, fast enough for video.

The exact way from one to the other, `tone_map.to_sdr`, takes seconds for a picture. It is a function of three numbers,
Y, Cb and Cr, so it is tabulated: exactly for a grey pixel, by Y alone; for all others the table holds how far they are
from that grey, which changes little from one Y to the next, so that a 256th of the range is as near as Y has to be
known, and chroma is interpolated. That distance is looked up once for each sample of chroma, as chroma is stored: in
most videos for every second pixel of every second line. What comes out is video of the same kind, 8-bit Y'CbCr of
BT.709 in limited range, from which everything else follows as from any other video.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.colour.conversion import array_of, converted
from sapiens_stream.colour.matrix import from_codes, to_codes
from sapiens_stream.colour.meaning import BT709, BT2020, FULL_RANGE, LIMITED_RANGE, Colour
from sapiens_stream.colour.planes import Plane, Planes, planes_of
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.colour.tone_map import from_sdr, to_sdr

UInt8Array = npt.NDArray[np.uint8]

_SDR = Colour(matrix=BT709, primaries=BT709, transfer=BT709)
_PLANAR = re.compile(r"yuvj?(420|422|444)p(\d+le)?")
_FORMATS = {(1, 1): "yuv444p", (1, 2): "yuv422p", (2, 1): "yuv440p", (2, 2): "yuv420p"}  # by subsampling
_LUMA_STEPS = 256
_CHROMA_CELLS = 32
_TABLES = 4  # that are kept, of 3 MB each
_FRACTIONS = 64  # of a level, in which luma is added up
_BAND_ROWS = 16  # of chroma: what is made of them on the way stays in the cache


def sdr_frame(frame: av.VideoFrame, fit: Callable[[Plane], Plane] = lambda plane: plane) -> av.VideoFrame:
    """An HDR or wide-gamut frame as an SDR screen shows it: a new one of 8 bits in BT.709, without a time.

    It has as much chroma as there was, but for RGB, which becomes 4:4:4. `fit` is what each plane goes through first,
    to be smaller or turned.
    """
    planar, colour = _planar(frame, colour_of(frame))
    return sdr_of(Planes(*(fit(plane) for plane in planes_of(planar))), colour)


def sdr_of(planes: Planes, colour: Colour) -> av.VideoFrame:
    """The same of planes."""
    height, width = planes.y.shape
    shown = av.VideoFrame(width, height, _FORMATS[planes.subsampling])
    _table(colour).convert(planes, planes_of(shown))
    shown.colorspace = shown.color_primaries = shown.color_trc = BT709
    shown.color_range = LIMITED_RANGE
    return shown


def frame_in(shown: av.VideoFrame, colour: Colour, form: str) -> av.VideoFrame:
    """An SDR frame of BT.709 in the HDR or wide-gamut `colour`, white at 203 cd/m2, in the planar format `form`.

    By the exact way, which takes a second for 1920x1080: for the few frames that are unlike the rest of their clip.
    """
    rgb = array_of(shown, "rgb24")
    made = av.VideoFrame(shown.width, shown.height, form)
    codes = np.empty(rgb.shape, np.float32)
    for rows in (slice(top, top + _BAND_ROWS) for top in range(0, len(rgb), _BAND_ROWS)):
        codes[rows] = to_codes(from_sdr(rgb[rows] / 255, colour), colour)
    for channel, plane in enumerate(planes_of(made)):
        part = cv2.resize(codes[..., channel], plane.shape[::-1], interpolation=cv2.INTER_AREA)
        plane[:] = np.clip(np.rint(part), 0, 2**colour.bits - 1)
    made.colorspace, made.color_primaries, made.color_trc = colour.matrix, colour.primaries, colour.transfer
    made.color_range = FULL_RANGE if colour.full_range else LIMITED_RANGE
    return made


def _planar(frame: av.VideoFrame, colour: Colour) -> tuple[av.VideoFrame, Colour]:
    """The frame in a planar Y'CbCr format, and what its numbers then mean."""
    form = frame.format
    if _PLANAR.fullmatch(form.name):
        return frame, colour
    bits = 8 if colour.bits == 8 else 10 if colour.bits <= 10 else 12
    depth = f"{bits}le" if bits > 8 else ""
    if form.is_rgb or form.has_palette:
        planar = converted(
            frame,
            f"yuv444p{depth}",
            dst_colorspace=BT2020,
            src_color_range=FULL_RANGE,
            dst_color_range=LIMITED_RANGE,
        )
        return planar, replace(colour, matrix=BT2020, full_range=False, bits=bits)
    chroma = form.chroma_width(frame.width) < frame.width, form.chroma_height(frame.height) < frame.height
    subsampling = {(False, False): "444", (True, False): "422"}.get(chroma, "420")
    return converted(frame, f"yuv{subsampling}p{depth}"), replace(colour, bits=bits)


@dataclass(frozen=True, eq=False)
class _Table:
    """Y, Cb, Cr of one `Colour` to those of `_SDR`.

    `greys` is by Y, int16: luma in `_FRACTIONS` of a level. `others` is float32, (256 * 33, 33, 3), by Y in steps and
    Cr, and Cb: what is to be added to that luma, and the two chromas. `bits` is the depth of what is looked up.
    """

    greys: npt.NDArray[np.int16]
    others: npt.NDArray[np.float32]
    bits: int

    def convert(self, planes: Planes, out: Planes) -> None:
        """Writes the converted planes to `out`, uint8, of the same sizes; a band of rows at a time."""
        (height, width), (rows, columns) = planes.y.shape, planes.u.shape
        down, across = planes.subsampling
        y = planes.y
        if (height, width) != (rows * down, columns * across):  # an odd side, whose last chroma is for one line
            y = cv2.copyMakeBorder(y, 0, rows * down - height, 0, columns * across - width, cv2.BORDER_REPLICATE)
        for top in range(0, rows, _BAND_ROWS):
            band = slice(top, min(top + _BAND_ROWS, rows))
            # Interpolated to the lines of luma, the first and the last need the rows beyond.
            wider = slice(max(band.start - 1, 0), min(band.stop + 1, rows))
            lines = y[wider.start * down : wider.stop * down]
            coloured, *chroma = self._look_up(lines, planes.u[wider], planes.v[wider])
            more = cv2.resize(coloured, (columns * across, len(lines)), interpolation=cv2.INTER_LINEAR)
            grey = np.empty(lines.shape, np.int16)
            np.take(self.greys, lines, out=grey, mode="clip")
            luma = cv2.convertScaleAbs(cv2.add(grey, more), alpha=1 / _FRACTIONS)
            first = band.start - wider.start
            target = out.y[band.start * down : band.stop * down]
            target[:] = luma[first * down :][: len(target), :width]
            for plane, each in zip(out[1:], chroma, strict=True):
                plane[band] = each[first:][: band.stop - band.start]

    def _look_up(self, y: Plane, u: Plane, v: Plane) -> tuple[npt.NDArray[np.int16], Plane, Plane]:
        """What is to be added to the luma of grey, and the chromas, in the size of `u`."""
        if y.shape != u.shape:
            y = np.asarray(cv2.resize(y, u.shape[::-1], interpolation=cv2.INTER_AREA))
        cells = np.float32(_CHROMA_CELLS / 2**self.bits)
        across, down = u * cells, v * cells
        down += (y >> (self.bits - 8)) * np.float32(_CHROMA_CELLS + 1)
        found = cv2.remap(self.others, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        more, blue, red = (cv2.extractChannel(found, channel) for channel in range(3))
        return np.asarray(more).astype(np.int16), cv2.convertScaleAbs(blue), cv2.convertScaleAbs(red)


@lru_cache(maxsize=_TABLES)
def _table(colour: Colour) -> _Table:
    unit = 2 ** (colour.bits - 8)
    grey = np.full((2**colour.bits, 3), 128.0 * unit)
    grey[:, 0] = np.arange(len(grey))
    steps = np.arange(_LUMA_STEPS) * unit + (unit - 1) / 2  # the middle of the values that share a step
    chroma = np.arange(_CHROMA_CELLS + 1) * (2.0**colour.bits / _CHROMA_CELLS)
    others = np.empty((_LUMA_STEPS, len(chroma), len(chroma), 3), np.float32)
    for step, luma in enumerate(steps):
        cr, cb = np.meshgrid(chroma, chroma, indexing="ij")
        codes = np.stack([np.full_like(cb, luma), cb, cr], axis=-1)
        others[step] = _exact(codes, colour)
        others[step, ..., 0] -= _exact(np.array([luma, 128 * unit, 128 * unit]), colour)[0]
    others[..., 0] *= _FRACTIONS
    return _Table(
        greys=np.rint(_exact(grey, colour)[:, 0] * _FRACTIONS).astype(np.int16),
        others=others.reshape(-1, len(chroma), 3),
        bits=colour.bits,
    )


def _exact(codes: npt.NDArray[np.float64], colour: Colour) -> npt.NDArray[np.float64]:
    return to_codes(to_sdr(np.clip(from_codes(codes, colour), 0, 1), colour), _SDR)
