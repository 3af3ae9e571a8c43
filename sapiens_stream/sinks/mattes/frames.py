"""Results as frames with an alpha channel, or of the matte alone, as a video encoder takes them."""

from __future__ import annotations

from collections.abc import Callable

import av
import cv2
import numpy as np

from sapiens_stream.colour.conversion import converted
from sapiens_stream.colour.meaning import FULL_RANGE, LIMITED_RANGE
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.sinks.mattes.edges import Floats, MatteMaker
from sapiens_stream.sinks.mattes.pixels import (
    Pixels,
    levels,
    luma_levels,
    premultiplied_planes,
    rgb_of,
    with_alpha,
)
from sapiens_stream.sinks.video.painted_frames import PlanarFrames, tag, upright

_RGB = 0
"""The matrix of what is stored as RGB."""
_WITHOUT_ALPHA = {"yuva444p10le": "yuv444p10le", "yuva420p": "yuv420p"}


class MatteFrames(PlanarFrames):
    """Makes frames in one of the pixel formats of `mattes.kinds`, upright, all in the size of the `first`.

    With `alone` it is the matte alone; else the picture with the matte as its alpha, straight or `premultiplied`.
    """

    def __init__(
        self,
        maker: MatteMaker,
        first: Frame,
        warn: Callable[[str], None],
        *,
        format: str,
        alone: bool,
        premultiplied: bool,
        limited: bool = False,
    ) -> None:
        super().__init__(first, warn, format=_WITHOUT_ALPHA.get(format, format), limited=limited)
        self._maker = maker
        self._encoded = format
        self._alone = alone
        self._premultiplied = premultiplied

    def paint(self, result: Segmentation) -> av.VideoFrame:
        matte = self._maker(result)
        if result.frame.size != self._size:
            self._warn_of(result.frame)
            how = cv2.INTER_NEAREST if self._maker.edge == "hard" else cv2.INTER_LINEAR
            matte = np.asarray(cv2.resize(matte, self._size[::-1], interpolation=how), np.float32)
        if self._alone:
            return self._grey(matte)
        if self._encoded in _WITHOUT_ALPHA:
            return self._planes(result.frame, matte)
        return self._rgba(result.frame, matte)

    def _grey(self, matte: Floats) -> av.VideoFrame:
        if self._encoded.startswith("gray"):
            deep = self._encoded != "gray"
            grey = levels(matte, np.uint16 if deep else np.uint8)
            made = av.VideoFrame.from_ndarray(grey, "gray16le" if deep else "gray")
            made = converted(made, self._encoded)
            made.color_range = FULL_RANGE
            return made
        if self._encoded == "rgb24":
            made = av.VideoFrame.from_ndarray(np.dstack([levels(matte, np.uint8)] * 3), "rgb24")
            made.colorspace, made.color_range = _RGB, FULL_RANGE
            return made
        height, width = self._size
        made = av.VideoFrame(width, height, self._encoded)
        bits = made.format.components[0].bits
        luma, *chroma = _arrays(made)
        luma[:] = luma_levels(matte, bits)
        for plane in chroma:
            plane[:] = 1 << (bits - 1)
        made.color_range = LIMITED_RANGE
        return made

    def _planes(self, frame: Frame, matte: Floats) -> av.VideoFrame:
        decoded = self._planar(frame)
        colour = colour_of(decoded)
        height, width = self._size
        made = av.VideoFrame(width, height, self._encoded)
        *planes, alpha = _arrays(made)
        for out, plane in zip(planes, _arrays(decoded), strict=True):
            out[:] = upright(frame, plane)
        alpha[:] = np.rint(matte * np.float32(2**colour.bits - 1))
        if self._premultiplied:
            premultiplied_planes(planes, matte, colour)
        tag(made, decoded, colour)
        return made

    def _rgba(self, frame: Frame, matte: Floats) -> av.VideoFrame:
        rgb = rgb_of(frame, deep=self._encoded == "rgba64be")
        if rgb.shape[:2] != self._size:
            rgb = np.asarray(cv2.resize(rgb, self._size[::-1], interpolation=cv2.INTER_AREA))
        rgba = with_alpha(rgb, matte, premultiplied=self._premultiplied)
        if self._encoded == "argb":
            made = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgba[..., [3, 0, 1, 2]]), "argb")
        elif self._encoded == "rgba":
            made = av.VideoFrame.from_ndarray(rgba, "rgba")
        else:
            made = converted(av.VideoFrame.from_ndarray(rgba, "rgba64le"), "rgba64be")
        shown = frame.sdr
        if isinstance(shown, av.VideoFrame):
            colour = colour_of(shown)
            made.color_primaries, made.color_trc = colour.primaries, colour.transfer
        made.colorspace, made.color_range = _RGB, FULL_RANGE
        return made


def _arrays(frame: av.VideoFrame) -> list[Pixels]:
    """The own memory of a planar frame, with its alpha if it has one."""
    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    return [
        np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes
    ]
