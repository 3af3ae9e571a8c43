"""OpenEXR pictures, whose numbers are light: how large they are, and how a screen shows them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]

_HEADER = 1 << 20  # bytes; what says more of itself is not believed
_WINDOWS = (b"displayWindow\0box2i\0", b"dataWindow\0box2i\0")
_CHANNELS = b"channels\0chlist\0"
_CHROMATICITIES = b"chromaticities\0chromaticities\0"
_MOST_CHANNELS, _MOST_ATTRIBUTES, _MOST_PLACES, _LONGEST_NAME = 1000, 10_000, 1_000_000, 256
_TILED, _DEEP, _SEVERAL_PARTS = 0x02, 0x08, 0x10  # bits of the three bytes behind the version
_STRIP = 1 << 20  # pixels that are converted at a time
_STEPS = 1 << 16


def exr_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) that hold both the picture and what of it is stored; None where the header makes no sense."""
    sides = []
    for window in _WINDOWS:
        at = content.find(window, 0, _HEADER)
        if at < 0 or at + len(window) + 20 > len(content):
            return None
        length, left, top, right, bottom = struct.unpack_from("<5i", content, at + len(window))
        if length != 16:
            return None
        sides.append((bottom - top + 1, right - left + 1))
    return max(each[0] for each in sides), max(each[1] for each in sides)


def layer_of(content: bytes) -> str:
    """The first layer with red, green and blue; "" where the picture itself has colours, or nothing has."""
    names = set(_channels(content))
    layers = sorted(name.removesuffix(".R") for name in names if name.endswith(".R"))
    whole = [each for each in layers if {f"{each}.G", f"{each}.B"} <= names]
    return whole[0] if whole and not {"R", "Y"} & names else ""


def _channels(content: bytes) -> Iterator[str]:
    """Their names, each of which is followed by 16 bytes; without a name the list ends."""
    at = content.find(_CHANNELS, 0, _HEADER)
    if at < 0:
        return
    at += len(_CHANNELS) + 4  # the length of the list
    for _ in range(_MOST_CHANNELS):
        end = content.find(b"\0", at, at + _LONGEST_NAME)
        if end <= at:
            return
        yield content[at:end].decode("latin-1")
        at = end + 17


def is_cut_short(content: bytes) -> bool:
    """Whether some of what the file's table tells of lies beyond its end; a decoder shows black there."""
    flags = int.from_bytes(content[5:8], "little")
    if flags & _DEEP:  # which no decoder here reads
        return False
    at = _end_of_headers(content, several=bool(flags & _SEVERAL_PARTS))
    # Tables of places end where the first of those begins.
    places: list[int] = []
    end = len(content)
    while at + 8 <= end and len(places) < _MOST_PLACES:
        places.append(int.from_bytes(content[at : at + 8], "little"))
        end = min(end, places[-1])
        at += 8
    if not places or not min(places):
        return True
    last = max(places)
    before_size = (16 if flags & _TILED else 4) + (4 if flags & _SEVERAL_PARTS else 0)
    size = int.from_bytes(content[last + before_size : last + before_size + 4], "little")
    return last + before_size + 4 + size > len(content)


def _end_of_headers(content: bytes, *, several: bool) -> int:
    """Where the tables begin: each attribute is a name, a type, its length and so many bytes."""
    at = 8
    for _ in range(_MOST_ATTRIBUTES):
        if content[at : at + 1] == b"\0":  # the end of a part's
            at += 1
            if not several or content[at : at + 1] == b"\0":
                return at + several
        ends = content.find(b"\0", content.find(b"\0", at, at + _LONGEST_NAME) + 1, at + 2 * _LONGEST_NAME)
        if ends < 0:
            break
        at = ends + 5 + int.from_bytes(content[ends + 1 : ends + 5], "little")
    return len(content)


def chromaticities_of(content: bytes) -> tuple[float, ...] | None:
    """x and y of red, green, blue and white, as the header has them; None where it has none."""
    at = content.find(_CHROMATICITIES, 0, _HEADER)
    numbers = content[at + len(_CHROMATICITIES) :][:36]
    if at < 0 or len(numbers) < 36 or numbers[:4] != b"\x20\0\0\0":
        return None
    return struct.unpack("<8f", numbers[4:])


def light(frame: av.VideoFrame) -> npt.NDArray[np.float32]:
    """(H, W, 3) light of a decoded frame, as it is stored."""
    return np.dstack([plane.astype(np.float32) for plane in _channel_planes(frame)])


def shown(frame: av.VideoFrame) -> UInt8Array:
    """(H, W, 3) sRGB of a decoded frame: light from 0 to 1, and what is brighter as 1."""
    red, green, blue = _channel_planes(frame)
    rgb = np.empty((frame.height, frame.width, 3), np.uint8)
    rows = max(1, _STRIP // frame.width)
    for strip in (slice(top, top + rows) for top in range(0, frame.height, rows)):
        for channel, plane in enumerate((red, green, blue)):
            light = np.nan_to_num(plane[strip].astype(np.float32), copy=False, nan=0.0)
            steps = np.rint(np.clip(light, 0, 1) * np.float32(_STEPS - 1)).astype(np.uint16)
            rgb[strip, :, channel] = _signals()[steps]
    return rgb


def _channel_planes(frame: av.VideoFrame) -> list[npt.NDArray[Any]]:
    """Red, green and blue; grey has one plane for all."""
    planes = [_plane(frame, number) for number in range(3 if frame.format.is_rgb else 1)]
    return [planes[2], planes[0], planes[1]] if len(planes) == 3 else planes * 3


def _plane(frame: av.VideoFrame, number: int) -> npt.NDArray[Any]:
    """Of half or single floats, as the file has them."""
    plane = frame.planes[number]
    dtype = np.float16 if frame.format.components[0].bits == 16 else np.float32
    return np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, : plane.width]


@cache
def _signals() -> UInt8Array:
    """What light of 0 to 1, in steps, is in sRGB (IEC 61966-2-1)."""
    light = np.arange(_STEPS) / (_STEPS - 1)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * signal), np.uint8)
