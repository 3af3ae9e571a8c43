"""Results as painted yuv420p frames, as a video encoder takes them."""

from __future__ import annotations

from collections.abc import Callable

import av
import cv2
import numpy as np

from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.painting import Painter, Planes

_BT601 = 5  # H.273's number, FFmpeg's AVCOL_SPC_BT470BG
_FULL_RANGE = 2
_LIMITED_RANGE = 1
_PLANAR = ("yuv420p", "yuvj420p")


class FramePainter:
    """Paints results in their YUV planes, upright, all in one size: that of the first, `size`, (height, width).

    An odd height or width is made even, as 4:2:0 video must be, by doubling the last line or column. What is decoded to
    another format than 8-bit 4:2:0 is brought to it first; the matrix and the range of the source are kept,
    and RGB becomes BT.601 in limited range.
    """

    def __init__(self, painter: Painter, size: tuple[int, int], warn: Callable[[str], None]) -> None:
        self._painter = painter
        self._size = size
        self._warn = warn
        self._warned = False

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of the painted frames."""
        height, width = self._size
        return height + height % 2, width + width % 2

    def paint(self, result: Segmentation) -> av.VideoFrame:
        """A new yuv420p frame of the `padded` size, tagged with the source's colours; without a time."""
        frame, class_map = result.frame, result.class_map
        if frame.size != self._size:
            self._warn_of(frame)
            class_map = np.asarray(cv2.resize(class_map, self._size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
        decoded = self._planar(frame)
        height, width = self._size
        painted = av.VideoFrame(width + width % 2, height + height % 2, "yuv420p")
        full_range = decoded.color_range == _FULL_RANGE or decoded.format.name == "yuvj420p"
        whole = _planes(painted)
        self._painter.paint_planes(
            Planes(*(_upright(frame, plane) for plane in _planes(decoded))),
            class_map,
            matrix=decoded.colorspace,
            full_range=full_range,
            out=whole._replace(y=whole.y[:height, :width]),
        )
        whole.y[height:, :width] = whole.y[height - 1 : height, :width]
        whole.y[:, width:] = whole.y[:, width - 1 : width]
        painted.colorspace = decoded.colorspace
        painted.color_range = _FULL_RANGE if full_range else decoded.color_range
        painted.color_primaries = decoded.color_primaries
        painted.color_trc = decoded.color_trc
        return painted

    def _planar(self, frame: Frame) -> av.VideoFrame:
        """The decoded picture in 8-bit 4:2:0, scaled if it is of another size, as it lies."""
        decoded = frame.decoded
        if not isinstance(decoded, av.VideoFrame):
            decoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(decoded), "rgb24")
        height, width = self._size[::-1] if frame.quarter_turns % 2 else self._size
        if decoded.format.name in _PLANAR and (decoded.height, decoded.width) == (height, width):
            return decoded
        if not (decoded.format.is_rgb or decoded.format.has_palette):
            return decoded.reformat(width, height, "yuv420p")
        return decoded.reformat(
            width, height, "yuv420p", dst_colorspace=_BT601, src_color_range=_FULL_RANGE, dst_color_range=_LIMITED_RANGE
        )

    def _warn_of(self, frame: Frame) -> None:
        if not self._warned:
            height, width = self._size
            self._warn(
                f"{frame.name} is {frame.size[1]}x{frame.size[0]}, the first frame was {width}x{height}: scaled to that"
            )
        self._warned = True


def _upright(frame: Frame, plane: UInt8Array) -> UInt8Array:
    return frame.upright(plane) if frame.quarter_turns % 4 or frame.mirrored else plane


def _planes(frame: av.VideoFrame) -> Planes:
    """The frame's own memory."""
    return Planes(
        *(
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width]
            for plane in frame.planes
        )
    )
