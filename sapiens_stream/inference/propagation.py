"""Class maps carried along to newer pictures by optical flow, for a model that is slower than the camera.

Each pixel of the new picture takes the class of the place that it came from in the picture that was inferred. There are
three guesses at that place: the flow straight from one picture to the other, the flow added up from picture to picture,
and no motion at all. Per pixel that one counts whose surroundings look most like it there. On real clips this is
nearer to what the model says than either flow alone, or than a flow that is checked forward and backward with the
unmoved classes where that fails; `python -m benchmarks.propagation` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import Frame, IdArray, Segmentation, UInt8Array
from sapiens_stream.inference.flow import Field as Field
from sapiens_stream.inference.flow import Flow

Values = TypeVar("Values", UInt8Array, IdArray)
"""Of a map, whose 0 is nobody: classes or people."""

LONG_SIDE = 320
"""Pixels of the pictures between which flow is computed; it takes a millisecond at that size."""

_SHORTEST = 16  # the flow needs some pixels to look at
_LUMA_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "nv12", "nv21")
_WINDOW = (7, 7)  # pixels that must look alike
_MARGIN = 2  # low-resolution pixels around what was foreground


@dataclass
class _Track:
    """A picture that was inferred, or is being inferred, and the flow from the newest to it, step by step."""

    grey: UInt8Array
    steps: Field | None = None
    """None while the picture is itself the newest, or before the first step."""


class MaskPropagator:
    """Carries class maps of one camera along to its newest pictures. Not for several threads at once."""

    def __init__(self) -> None:
        self._flow = Flow(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._tracks: dict[int, _Track] = {}
        self._last: tuple[int, UInt8Array] | None = None
        self._carried: Field | None = None

    def carry(self, inferred: Segmentation, frame: Frame, *, following: Sequence[Frame] = ()) -> UInt8Array:
        """(H, W) uint8: the class map of `inferred` as it is in `frame`, a later picture of the same size.

        `following` are the pictures whose class maps may be carried next: steps are added up for them meanwhile. From
        one call to the next `frame` goes forward.
        """
        self._step(frame.index, low_resolution(frame))
        base = self._track(inferred.frame)
        usable = (each for each in following if each.index <= frame.index and each.size == frame.size)
        self._tracks = {inferred.frame.index: base} | {each.index: self._track(each) for each in usable}
        self._carried = self._field(base)
        return moved(inferred.class_map, self._carried)

    def carry_people(self, person_map: IdArray) -> IdArray:
        """(H, W) uint16: whose each pixel is, carried as the last class map was; of the same picture as that."""
        assert self._carried is not None
        return moved(person_map, self._carried)

    def _field(self, base: _Track) -> Field:
        """Per pixel the flow, or none, by which the surroundings in both pictures differ least."""
        assert self._last is not None
        newest = self._last[1]
        field = self._flow(newest, base.grey)
        best = _difference(newest, _taken(base.grey, field))
        others = [(np.zeros_like(field), base.grey)]
        if base.steps is not None:
            others.append((base.steps, _taken(base.grey, base.steps)))
        for other, taken in others:
            difference = _difference(newest, taken)
            cv2.copyTo(other, cv2.compare(difference, best, cv2.CMP_LT), field)
            best = np.asarray(cv2.min(difference, best), np.uint8)
        return field

    def _step(self, index: int, grey: UInt8Array) -> None:
        """Takes the flow to the picture before, and adds it to every track."""
        if self._last is not None and self._last[1].shape != grey.shape:
            self._last = None
            self._tracks.clear()
        if self._last is not None:
            step = self._flow(grey, self._last[1]) if self._tracks else None
            for track in self._tracks.values():
                assert step is not None
                track.steps = step if track.steps is None else _added(step, track.steps)
        self._last = (index, grey)

    def _track(self, frame: Frame) -> _Track:
        """The track of a frame; a new one starts at the newest picture."""
        if frame.index not in self._tracks:
            assert self._last is not None
            index, newest = self._last
            if frame.index == index:
                track = _Track(newest)
            else:
                grey = low_resolution(frame)
                track = _Track(grey, self._flow(newest, grey))
            self._tracks[frame.index] = track
        return self._tracks[frame.index]


def low_resolution(frame: Frame, long_side: int = LONG_SIDE) -> UInt8Array:
    """(h, w) uint8: the upright picture in grey, its longer side at most `long_side`."""
    decoded = frame.decoded
    if isinstance(decoded, av.VideoFrame) and decoded.format.name in _LUMA_FIRST:
        luma = decoded.planes[0]
        grey = np.frombuffer(memoryview(luma), np.uint8).reshape(luma.height, luma.line_size)[:, : luma.width]
        return frame.upright(_small(grey, long_side))
    return _small(np.asarray(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), np.uint8), long_side)


def _small(grey: UInt8Array, long_side: int) -> UInt8Array:
    height, width = grey.shape
    scale = min(1.0, long_side / max(height, width))
    size = max(_SHORTEST, round(width * scale)), max(_SHORTEST, round(height * scale))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def moved(values: Values, field: Field) -> Values:
    """A map of classes or people, (H, W), with each pixel's taken from where `field`, (h, w, 2), says it was."""
    height, width = values.shape
    rows, columns = field.shape[:2]
    result = np.zeros_like(values)
    # Only where foreground can come to lie is the picture's full size worth the while.
    foreground = cv2.resize((values > 0) * np.uint8(255), (columns, rows), interpolation=cv2.INTER_AREA)
    there = cv2.dilate(_taken(np.asarray(foreground, np.uint8), field), np.ones((2 * _MARGIN + 1,) * 2, np.uint8))
    x, y, w, h = cv2.boundingRect(there)
    if not w:
        return result
    left, right = x * width // columns, -(-(x + w) * width // columns)
    top, bottom = y * height // rows, -(-(y + h) * height // rows)
    places = _zoomed(field, (height, width), (top, left, bottom, right))
    result[top:bottom, left:right] = _remapped(values, places, cv2.INTER_NEAREST)
    return result


def _zoomed(field: Field, size: tuple[int, int], box: tuple[int, int, int, int]) -> Field:
    """Where the pixels in `box` (top, left, bottom, right) of a picture of `size` lay, (x, y), by a smaller field."""
    across, down = size[1] / field.shape[1], size[0] / field.shape[0]
    # The field's pixels are the centres of cells; a row of cells more on each side reaches beyond the picture's edge.
    wider = np.asarray(cv2.copyMakeBorder(field, 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.float32)
    centres = (destinations(wider) - np.float32(0.5)) * np.array((across, down), np.float32) - np.float32(0.5)
    top, left, bottom, right = box
    matrix = np.array([[1 / across, 0, (left + 0.5) / across + 0.5], [0, 1 / down, (top + 0.5) / down + 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(centres, matrix, (right - left, bottom - top), flags=flags), np.float32)


def _added(newer: Field, older: Field) -> Field:
    """The flow over two steps."""
    return newer + np.asarray(_remapped(older, destinations(newer), cv2.INTER_LINEAR), np.float32)


def _taken(picture: UInt8Array, field: Field) -> UInt8Array:
    """An older picture as the newer one would be if nothing had changed but by motion."""
    return np.asarray(_remapped(picture, destinations(field), cv2.INTER_LINEAR), np.uint8)


def _remapped(picture: npt.NDArray[Any], places: Field, interpolation: int) -> npt.NDArray[Any]:
    return cv2.remap(picture, places, None, interpolation, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


def _difference(one: UInt8Array, other: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.boxFilter(cv2.absdiff(one, other), -1, _WINDOW), np.uint8)


def destinations(field: Field, out: Field | None = None) -> Field:
    """Where it leads from each pixel; in `out`, which may be the field itself, if that is given."""
    return np.add(_grid(*field.shape[:2]), field, out=out)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> Field:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.dstack([columns, rows])
