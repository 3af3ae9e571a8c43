"""PNG, written by a deflate several times as fast as the one in OpenCV: it is the slowest step of all for photos."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from sapiens_stream.frame import UInt8Array

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_PALETTE = (8, 3, 0, 0, 0)  # depth, colour type, compression, filter method, no interlace
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # by the number of channels: grey, RGB, RGBA
_NONE, _UP = 0, 2
_LEVEL = 1


def encode_png(picture: UInt8Array | npt.NDArray[np.uint16], *, text: Mapping[str, str] | None = None) -> bytes:
    """A picture as a PNG (ISO/IEC 15948), lossless: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16.

    Each line is stored as its difference to the line above (the filter "up"): one vector operation, and on photos
    and flat colours alike it leaves little to encode. On a 2160x3840 photo it takes a seventh of the time of
    OpenCV's encoder, and half the space. `text` are keywords, of Latin-1, with what is said of each.
    """
    height, width = picture.shape[:2]
    deep = picture.dtype == np.uint16
    colour_type = _COLOUR_TYPES[picture.shape[2] if picture.ndim == 3 else 1]
    numbers = np.ascontiguousarray(picture, ">u2" if deep else np.uint8)
    pixels = numbers.view(np.uint8).reshape(height, -1)
    lines = np.empty((height, 1 + pixels.shape[1]), np.uint8)
    lines[:, 0] = _UP
    lines[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=lines[1:, 1:])
    said = [_chunk(b"tEXt", f"{key}\0{value}".encode("latin-1", "replace")) for key, value in (text or {}).items()]
    header = (16 if deep else 8, colour_type, 0, 0, 0)
    return _png((height, width), header, lines, *(part for chunk in said for part in chunk))


def encode_palette_png(class_map: UInt8Array, palette: UInt8Array) -> bytes:
    """An (H, W) uint8 class map as a PNG of these very numbers, shown in the colours of `palette`, (N, 3) uint8 RGB."""
    height, width = class_map.shape
    lines = np.empty((height, 1 + width), np.uint8)
    lines[:, 0] = _NONE
    lines[:, 1:] = class_map
    return _png((height, width), _EIGHT_BIT_PALETTE, lines, *_chunk(b"PLTE", palette.tobytes()))


def _png(size: tuple[int, int], header: tuple[int, ...], lines: UInt8Array, *before: bytes) -> bytes:
    height, width = size
    return b"".join(
        (
            _SIGNATURE,
            *_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *header)),
            *before,
            *_chunk(b"IDAT", isal_zlib.compress(lines, _LEVEL)),
            *_chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)
