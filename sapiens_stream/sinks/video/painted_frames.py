"""Results as painted planar frames, as a video encoder takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import av
import cv2
import numpy as np

from sapiens_stream.colour.conversion import converted, lock_of
from sapiens_stream.colour.meaning import BT601, BT2020, FULL_RANGE, LIMITED_RANGE, Colour
from sapiens_stream.colour.planes import Plane, Planes, planes_of
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.colouring import Colouring, write_on_planes
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.painting import Painter

_EIGHT_BIT = "yuv420p"
_DEEP = {"p010le": "yuv420p10le"}  # what is painted where an encoder wants its samples interleaved
_SAME = {"yuvj420p": _EIGHT_BIT}


def painted_format(encoded: str, first: Frame) -> str:
    """The format to paint in for an encoder's `encoded`.

    Of more than 8 bits only where the source has them, and a matrix that encoders and players take.
    """
    colour = first.colour
    if colour.bits == 8 or not colour.plain_matrix or av.VideoFormat(encoded, 16, 16).components[0].bits == 8:
        return _EIGHT_BIT
    return _DEEP.get(encoded, encoded)


class PlanarFrames(ABC):
    """Makes video frames of results, all in one size: that of the first, `size`, (height, width).

    What is decoded to another format than `format` is brought to it first; the matrix and the range of the source are
    kept, and RGB becomes BT.601 in limited range. In 8 bits, HDR and wide-gamut pictures become SDR of BT.709, and are
    tagged so; in more they stay what they are. With `limited`, full range becomes limited.
    """

    def __init__(
        self, size: tuple[int, int], warn: Callable[[str], None], *, format: str = _EIGHT_BIT, limited: bool = False
    ) -> None:
        self._size = size
        self._warn = warn
        self._warned = False
        self._format = format
        self._limited = limited

    @property
    def deep(self) -> bool:
        """Whether it paints in more than 8 bits."""
        return self._format != _EIGHT_BIT

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self._size

    @abstractmethod
    def paint(self, result: Segmentation) -> av.VideoFrame:
        """A new frame of the `padded` size, tagged with its colours; without a time."""

    def _planar(self, frame: Frame) -> av.VideoFrame:
        """The picture in `format`, scaled if it is of another size, as it lies."""
        decoded = frame.decoded if self.deep else frame.sdr
        if not isinstance(decoded, av.VideoFrame):
            decoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(decoded), "rgb24")
        size = self._size[::-1] if frame.quarter_turns % 2 else self._size
        name = decoded.format.name
        rgb = decoded.format.is_rgb or decoded.format.has_palette
        if self._limited and not rgb and colour_of(decoded).full_range:
            return converted(decoded, self._format, size, src_color_range=FULL_RANGE, dst_color_range=LIMITED_RANGE)
        if _SAME.get(name, name) == self._format and (decoded.height, decoded.width) == size:
            return decoded
        if not rgb:
            return converted(decoded, self._format, size)
        return converted(
            decoded,
            self._format,
            size,
            dst_colorspace=BT2020 if frame.colour.beyond_sdr else BT601,
            src_color_range=FULL_RANGE,
            dst_color_range=LIMITED_RANGE,
        )

    def _warn_of(self, frame: Frame) -> None:
        if not self._warned:
            height, width = self._size
            self._warn(
                f"{frame.name} is {frame.size[1]}x{frame.size[0]}, the first frame was {width}x{height}: scaled to that"
            )
        self._warned = True


class FramePainter(PlanarFrames):
    """Paints results in their YUV planes, upright.

    An odd height or width is made even, as 4:2:0 video must be, by doubling the last line or column.
    """

    def __init__(
        self,
        painter: Painter,
        size: tuple[int, int],
        warn: Callable[[str], None],
        *,
        format: str = _EIGHT_BIT,
        limited: bool = False,
        colouring: Colouring | None = None,
    ) -> None:
        super().__init__(size, warn, format=format, limited=limited)
        self._painter = painter
        self._colouring = colouring or Colouring()

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of the painted frames."""
        height, width = self._size
        return height + height % 2, width + width % 2

    def paint(self, result: Segmentation) -> av.VideoFrame:
        """A new frame of the `padded` size, tagged with its colours; without a time."""
        frame, class_map = result.frame, self._colouring.seen(result).class_map
        if frame.size != self._size:
            self._warn_of(frame)
            class_map = np.asarray(cv2.resize(class_map, self._size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
        decoded = self._planar(frame)
        colour = colour_of(decoded)
        height, width = self.padded
        painted = av.VideoFrame(width, height, self._format)
        whole = planes_of(painted)
        planes = Planes(*(upright(frame, plane) for plane in planes_of(decoded)))
        inside = Planes(*(out[: len(of), : of.shape[1]] for out, of in zip(whole, planes, strict=True)))
        self._painter.paint_planes(
            planes,
            class_map,
            matrix=colour.matrix,
            primaries=colour.primaries,
            transfer=colour.transfer,
            full_range=colour.full_range,
            bits=colour.bits,
            out=inside,
        )
        write_on_planes(inside, self._colouring.marks(result, self._size), colour)
        for out, of in zip(whole, planes, strict=True):
            rows, columns = of.shape
            out[rows:, :columns] = out[rows - 1 : rows, :columns]
            out[:, columns:] = out[:, columns - 1 : columns]
        tag(painted, decoded, colour)
        return painted


def upright(frame: Frame, plane: Plane) -> Plane:
    """A plane of a decoded frame, turned as the picture is seen."""
    return frame.upright(plane) if frame.quarter_turns % 4 or frame.mirrored else plane


def tag(made: av.VideoFrame, decoded: av.VideoFrame, colour: Colour) -> None:
    """Says of a frame that its colours are those of another."""
    made.colorspace = colour.matrix
    with lock_of(decoded):
        made.color_range = FULL_RANGE if colour.full_range else decoded.color_range
    made.color_primaries = colour.primaries
    made.color_trc = colour.transfer
