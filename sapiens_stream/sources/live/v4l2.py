"""What a Linux camera can send, asked of its driver (linux/videodev2.h)."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

Ask = Callable[[int, bytearray], object]
"""`fcntl.ioctl` of an open device: fills in the structure; OSError where there is no more of what is asked for."""

_ENUM_FORMATS, _FORMAT = 0xC0405602, struct.Struct("=3I32s5I")
_ENUM_SIZES, _SIZE = 0xC02C564A, struct.Struct("=3I6I2I")
_ENUM_INTERVALS, _INTERVAL = 0xC034564B, struct.Struct("=5I6I2I")
_VIDEO_CAPTURE = 1
_DISCRETE = 1  # of both sizes and intervals: one; others are the ends of a range
_MOST = 256  # entries; a driver that never says "no more" must not be asked for ever


@dataclass(frozen=True)
class CameraMode:
    """A way in which a camera can send. `size` is (height, width); `rates` are frames a second, the highest first.

    Of a range of sizes or rates, its two ends are given.
    """

    pixel_format: str
    size: tuple[int, int]
    rates: tuple[Fraction, ...]


def camera_modes(device: str) -> tuple[CameraMode, ...]:
    """The modes of a device such as /dev/video0. Raises OSError where it cannot be asked."""
    from fcntl import ioctl  # there is none on Windows

    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        return tuple(modes(lambda request, argument: ioctl(descriptor, request, argument)))
    finally:
        os.close(descriptor)


def modes(ask: Ask) -> Iterator[CameraMode]:
    """The modes, format by format, in the driver's order."""
    formats = _entries(ask, _ENUM_FORMATS, _FORMAT, lambda index: (index, _VIDEO_CAPTURE, 0, b"", *5 * [0]))
    for _, _, _, _, code, *_ in formats:
        for size in _sizes(ask, code):
            yield CameraMode(_four_letters(code), size, _rates(ask, code, size))


def _sizes(ask: Ask, code: int) -> Iterator[tuple[int, int]]:
    for _, _, kind, *numbers in _entries(ask, _ENUM_SIZES, _SIZE, lambda index: (index, code, *9 * [0])):
        if kind == _DISCRETE:
            width, height = numbers[:2]
            yield height, width
        else:
            least_width, most_width, _, least_height, most_height = numbers[:5]
            yield least_height, least_width
            yield most_height, most_width
            return


def _rates(ask: Ask, code: int, size: tuple[int, int]) -> tuple[Fraction, ...]:
    height, width = size
    rates = set()
    intervals = _entries(ask, _ENUM_INTERVALS, _INTERVAL, lambda index: (index, code, width, height, *9 * [0]))
    for *_, kind, n0, d0, n1, d1, _, _, _, _ in intervals:
        ends = [(n0, d0)] if kind == _DISCRETE else [(n0, d0), (n1, d1)]
        rates |= {Fraction(denominator, numerator) for numerator, denominator in ends if numerator}
        if kind != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _entries(
    ask: Ask, request: int, layout: struct.Struct, question: Callable[[int], tuple[object, ...]]
) -> Iterator[tuple[int, ...]]:
    for index in range(_MOST):
        buffer = bytearray(layout.pack(*question(index)))
        try:
            ask(request, buffer)
        except OSError:
            return
        yield layout.unpack(buffer)


def _four_letters(code: int) -> str:
    """As `ffmpeg` and `v4l2-ctl` write it; the highest bit tells big-endian."""
    return (code & 0x7FFFFFFF).to_bytes(4, "little").decode("latin-1").strip()
