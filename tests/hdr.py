"""Makes frames and videos whose light is known, HDR among them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from sapiens_stream.colour.matrix import to_codes
from sapiens_stream.colour.meaning import FULL_RANGE, LIMITED_RANGE, Colour
from sapiens_stream.colour.planes import planes_of
from sapiens_stream.colour.tone_map import from_sdr

PQ = Colour(matrix=9, primaries=9, transfer=16, bits=10, peak=1000.0)
HLG = Colour(matrix=9, primaries=9, transfer=18, bits=10, peak=1000.0)
WIDE = Colour(matrix=9, primaries=9, transfer=14, bits=10)
SDR = Colour(matrix=1, primaries=1, transfer=1, bits=10)
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
"""A mastering display of P3, 0.005 to 1000 cd/m2, as x265 takes it."""

_LOSSLESS = {"libx265": {"x265-params": "lossless=1:log-level=error", "preset": "ultrafast"}}


def video_frame(codes: np.ndarray, colour: Colour, subsampling: str = "420") -> av.VideoFrame:
    """A frame of code values, (H, W, 3) of Y, Cb, Cr, tagged; chroma is the mean of the pixels under a sample."""
    height, width = codes.shape[:2]
    frame = av.VideoFrame(width, height, f"yuv{subsampling}p" + (f"{colour.bits}le" if colour.bits > 8 else ""))
    for index, plane in enumerate(planes_of(frame)):
        values = cv2.resize(codes[..., index], plane.shape[::-1], interpolation=cv2.INTER_AREA)
        plane[:] = np.clip(np.rint(values), 0, 2**colour.bits - 1)
    frame.colorspace, frame.color_primaries, frame.color_trc = colour.matrix, colour.primaries, colour.transfer
    frame.color_range = FULL_RANGE if colour.full_range else LIMITED_RANGE
    return frame


def shot(rgb: np.ndarray, colour: Colour, subsampling: str = "420") -> av.VideoFrame:
    """A frame that shows an SDR picture, uint8 RGB, in another colour: white at 203 cd/m2."""
    return video_frame(to_codes(from_sdr(rgb / 255, colour), colour), colour, subsampling)


def write(
    path: Path, frames: Iterable[av.VideoFrame], codec: str = "ffv1", *, rotation: int = 0, **options: str
) -> Path:
    """Encodes frames with their tags, without loss unless `options` say otherwise."""
    with av.open(str(path), "w") as container:
        stream: Any = None
        for index, frame in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=25, options=_LOSSLESS.get(codec, {}) | options)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                for tag in ("colorspace", "color_primaries", "color_trc", "color_range"):
                    setattr(stream.codec_context, tag, getattr(frame, tag))
                if rotation:
                    stream.set_display_rotation(rotation)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
