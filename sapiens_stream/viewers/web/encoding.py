"""Screens as bytes: the message that the page paints by itself, and painted JPEGs for everything else."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import av
import cv2
import numpy as np
import orjson
from isal import isal_zlib

from sapiens_stream.colour.conversion import converted
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.painting import Painter
from sapiens_stream.viewers.viewer import CameraView, Screen

_JPEG_QUALITY = 80
_DEFLATE_LEVEL = 1  # a class map is long runs: more effort gains next to nothing


@dataclass(frozen=True, eq=False)
class EncodedView:
    """A camera's picture for the page: JPEG, and the class ids, deflated (RFC 1950), a byte a pixel of the same size.

    `serial` tells one from another; `areas` holds (class id, share of the picture) of the classes in it.
    """

    serial: int
    width: int
    height: int
    jpeg: bytes
    class_map: bytes
    areas: tuple[tuple[int, float], ...]


@dataclass(frozen=True, eq=False)
class EncodedScreen:
    """A screen whose pictures were encoded, once for all viewers."""

    screen: Screen
    pictures: tuple[EncodedView | None, ...]

    @property
    def serials(self) -> dict[int, int]:
        """The serial of each camera's picture, by the camera's place."""
        return {place: picture.serial for place, picture in enumerate(self.pictures) if picture}

    def message(self, known: Mapping[int, int]) -> bytes:
        """For a viewer who has the pictures of these serials already: those are not sent again.

        The length of a JSON header (uint32, little-endian), the header, and for each view that has `jpeg` in it its
        JPEG and its class map, one after the other, as many bytes as its `jpeg` and `class_map` say.
        """
        views = []
        parts = []
        for place, (view, picture) in enumerate(zip(self.screen.views, self.pictures, strict=True)):
            described = {"camera": view.camera, "carried": view.carried, "trouble": view.trouble}
            if picture:
                described["areas"] = picture.areas
            if picture and known.get(place) != picture.serial:
                described |= {
                    "width": picture.width,
                    "height": picture.height,
                    "jpeg": len(picture.jpeg),
                    "class_map": len(picture.class_map),
                }
                parts += [picture.jpeg, picture.class_map]
            views.append(described)
        header = orjson.dumps(
            {
                "views": views,
                "figures": self.screen.figures,
                "recording": self.screen.recording,
                "paused": self.screen.paused,
            }
        )
        return b"".join((struct.pack("<I", len(header)), header, *parts))


class ScreenEncoder:
    """Encodes screens for the page; a picture that is still the same as in the screen before is not encoded again."""

    def __init__(self, max_width: int) -> None:
        self._max_width = max_width
        self._last: dict[int, tuple[Segmentation, EncodedView]] = {}
        self._serial = 0

    def encode(self, screen: Screen) -> EncodedScreen:
        return EncodedScreen(screen, tuple(self._picture(place, view) for place, view in enumerate(screen.views)))

    def _picture(self, place: int, view: CameraView) -> EncodedView | None:
        if view.latest is None:
            return None
        segmentation, picture = self._last.get(place, (None, None))
        if picture is None or segmentation is not view.latest:
            self._serial += 1
            bgr, class_map = shrunk(view.latest, self._max_width)
            height, width = class_map.shape
            picture = EncodedView(
                self._serial,
                width,
                height,
                _jpeg(bgr),
                isal_zlib.compress(class_map, _DEFLATE_LEVEL),
                _areas(class_map),
            )
            self._last[place] = view.latest, picture
        return picture


class PaintedEncoder:
    """Encodes one camera's picture, painted, as JPEG; empty before its first."""

    def __init__(self, place: int, painter: Painter, max_width: int) -> None:
        self._place = place
        self._painter = painter
        self._max_width = max_width

    def encode(self, screen: Screen) -> bytes:
        latest = screen.views[self._place].latest if self._place < len(screen.views) else None
        if latest is None:
            return b""
        bgr, class_map = shrunk(latest, self._max_width)
        painted = self._painter.paint(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), class_map)
        return _jpeg(np.asarray(cv2.cvtColor(painted, cv2.COLOR_RGB2BGR), np.uint8))


def shrunk(result: Segmentation, max_width: int) -> tuple[UInt8Array, UInt8Array]:
    """(h, w, 3) BGR, as OpenCV encodes, and (h, w) class ids, uint8, upright, w at most `max_width`; never enlarged.

    Pixels that are meant to be seen wider or narrower than high are made square.
    """
    frame = result.frame
    height, width = frame.seen_size
    if width > max_width:
        height, width = max(1, round(height * max_width / width)), max_width
    as_it_lies = (width, height) if frame.quarter_turns % 2 == 0 else (height, width)
    class_map = np.ascontiguousarray(_resized(result.class_map, (width, height), cv2.INTER_NEAREST))
    return frame.upright(_small_bgr(frame, as_it_lies)), class_map


def _small_bgr(frame: Frame, size: tuple[int, int]) -> UInt8Array:
    """The decoded picture in this size, (width, height), as it lies."""
    if isinstance(frame.sdr, av.VideoFrame):  # in one step, in half the time of RGB in full size and a resize
        return np.asarray(converted(frame.sdr, "bgr24", size[::-1], interpolation="AREA").to_ndarray(), np.uint8)
    return np.asarray(cv2.cvtColor(_resized(frame.sdr, size, cv2.INTER_AREA), cv2.COLOR_RGB2BGR), np.uint8)


def _resized(array: UInt8Array, size: tuple[int, int], interpolation: int) -> UInt8Array:
    if array.shape[1::-1] == size:
        return array
    return np.asarray(cv2.resize(array, size, interpolation=interpolation), np.uint8)


def _jpeg(bgr: UInt8Array) -> bytes:
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def _areas(class_map: UInt8Array) -> tuple[tuple[int, float], ...]:
    pixels = cv2.calcHist([class_map], [0], None, [256], [0, 256]).ravel()
    return tuple((int(index), round(float(pixels[index]) / class_map.size, 5)) for index in np.flatnonzero(pixels))
