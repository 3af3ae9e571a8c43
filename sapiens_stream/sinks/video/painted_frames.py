"""Results as painted planar frames, as a video encoder takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from operator import attrgetter

import av
import cv2
import numpy as np

from sapiens_stream.colour.conversion import converted, lock_of
from sapiens_stream.colour.meaning import BT601, BT709, BT2020, FULL_RANGE, LIMITED_RANGE, UNSPECIFIED, Colour
from sapiens_stream.colour.planes import Plane, Planes, planes_of
from sapiens_stream.colour.sdr import frame_in
from sapiens_stream.colour.tags import colour_of
from sapiens_stream.colouring import Colouring, write_on_planes
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.painting import Painter

_EIGHT_BIT = "yuv420p"
_DEEP = {"p010le": "yuv420p10le"}  # what is painted where an encoder wants its samples interleaved
_SAME = {"yuvj420p": _EIGHT_BIT}
_NOT_BT601 = (BT709, 4, 7, BT2020)  # of the matrices that swscale has; 4 is FCC's, 7 SMPTE 240M's


def painted_format(encoded: str, first: Frame) -> str:
    """The format to paint in for an encoder's `encoded`: of more than 8 bits only where the source has them."""
    if first.colour.bits == 8 or av.VideoFormat(encoded, 16, 16).components[0].bits == 8:
        return _EIGHT_BIT
    return _DEEP.get(encoded, encoded)


class PlanarFrames(ABC):
    """Makes video frames of results, all in the size and the colours of the `first`.

    What is decoded to another format than `format` is brought to it first; the matrix and the range of the source are
    kept, and RGB becomes BT.601 in limited range. In 8 bits, HDR and wide-gamut pictures become SDR of BT.709, and are
    tagged so; in more they stay what they are, but for those of a matrix that encoders and players do not take. With
    `limited`, full range becomes limited.
    """

    def __init__(
        self, first: Frame, warn: Callable[[str], None], *, format: str = _EIGHT_BIT, limited: bool = False
    ) -> None:
        self._size = first.size
        self._warn = warn
        self._warned = False
        self._format = format
        self._limited = limited
        self._colour = colour_of(self._as_shot(first))

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
        """The picture in `format`, scaled if it is of another size, as it lies, in the colours of the first."""
        planar = self._as_shot(frame)
        own = colour_of(planar)
        if _alike(own, self._colour):
            return planar
        size = planar.height, planar.width
        if own.beyond_sdr and isinstance(frame.sdr, av.VideoFrame):
            planar = frame.sdr
            own = colour_of(planar)
        if self._colour.beyond_sdr:
            return frame_in(converted(planar, "yuv444p", size), self._colour, self._format)
        return converted(
            planar,
            self._format,
            size,
            src_colorspace=_swscales(own.matrix),
            dst_colorspace=_swscales(self._colour.matrix),
            src_color_range=FULL_RANGE if own.full_range else LIMITED_RANGE,
            dst_color_range=FULL_RANGE if self._colour.full_range else LIMITED_RANGE,
        )

    def _as_shot(self, frame: Frame) -> av.VideoFrame:
        """The same in its own colours."""
        decoded = frame.decoded if self.deep and frame.colour.plain_matrix else frame.sdr
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
        warned, self._warned = self._warned, True
        if not warned:
            height, width = self._size
            self._warn(
                f"{frame.name} is {frame.size[1]}x{frame.size[0]}, the first frame was {width}x{height}: scaled to that"
            )


class FramePainter(PlanarFrames):
    """Paints results in their YUV planes, upright.

    An odd height or width is made even, as 4:2:0 video must be, by doubling the last line or column.
    """

    def __init__(
        self,
        painter: Painter,
        first: Frame,
        warn: Callable[[str], None],
        *,
        format: str = _EIGHT_BIT,
        limited: bool = False,
        colouring: Colouring | None = None,
    ) -> None:
        super().__init__(first, warn, format=format, limited=limited)
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


def _swscales(matrix: int) -> int:
    """Its number of a matrix."""
    return matrix if matrix in _NOT_BT601 else BT601


def _alike(one: Colour, other: Colour) -> bool:
    """Whether the numbers of both can stand in one video. A matrix that is not told is taken for the other's."""
    if one.beyond_sdr or other.beyond_sdr:
        says = attrgetter("matrix", "primaries", "transfer", "full_range")
        return bool(says(one) == says(other))
    unsaid = UNSPECIFIED in (one.matrix, other.matrix)
    return one.full_range == other.full_range and (unsaid or one.matrix == other.matrix)


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
