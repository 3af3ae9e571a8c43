"""How large a picture is, by its file's header, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable

from sapiens_stream.containers.limits import too_large
from sapiens_stream.sources.exr import exr_size
from sapiens_stream.sources.heif_picture import heif_size
from sapiens_stream.sources.jpeg import jpeg_size
from sapiens_stream.sources.kinds import (
    BMP,
    DPX,
    EXR,
    GIF,
    HEIF,
    JPEG,
    JPEG_2000,
    PNG,
    PNM,
    QOI,
    TIFF,
    WEBP,
    Kind,
    kind_of,
)
from sapiens_stream.sources.tiff import first_directory

Size = tuple[int, int]

_WIDTH_TAG, _HEIGHT_TAG = 256, 257


def picture_size(content: bytes, kind: Kind) -> Size | None:
    """(height, width) in pixels; None where the header makes no sense. Raises InputError for a damaged HEIF file."""
    size = _READERS[kind](content)
    return size if size and size[0] > 0 and size[1] > 0 else None


def _png(content: bytes) -> Size | None:
    return _numbers(content, 20, 16, 4, "big") if content[12:16] == b"IHDR" else None


def _bmp(content: bytes) -> Size | None:
    if int.from_bytes(content[14:18], "little") == 12:  # OS/2's
        return _numbers(content, 20, 18, 2, "little")
    size = _numbers(content, 22, 18, 4, "little")
    if size is None:
        return None
    return min(size[0], 2**32 - size[0]), size[1]  # a negative height says that the rows go downwards


def _webp(content: bytes) -> Size | None:
    kind = content[12:16]
    if kind == b"VP8X":
        size = _numbers(content, 27, 24, 3, "little")
        return size and (size[0] + 1, size[1] + 1)
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    size = _numbers(content, 28, 26, 2, "little")
    return size and (size[0] & 0x3FFF, size[1] & 0x3FFF)


def _gif(content: bytes) -> Size | None:
    return _numbers(content, 8, 6, 2, "little")


def _qoi(content: bytes) -> Size | None:
    return _numbers(content, 8, 4, 4, "big")


def _dpx(content: bytes) -> Size | None:
    return _numbers(content, 776, 772, 4, "big" if content.startswith(b"SDPX") else "little")


def _jpeg_2000(content: bytes) -> Size | None:
    at = content.find(b"\xff\x4f\xff\x51")
    end = _numbers(content, at + 12, at + 8, 4, "big")
    origin = _numbers(content, at + 20, at + 16, 4, "big")
    return None if at < 0 or not end or not origin else (end[0] - origin[0], end[1] - origin[1])


def _tiff(content: bytes) -> Size | None:
    directory = first_directory(content)
    return directory.get(_HEIGHT_TAG, 0), directory.get(_WIDTH_TAG, 0)


def _pnm(content: bytes) -> Size | None:
    lines = content[2:4096].splitlines()
    words = b" ".join(line.partition(b"#")[0] for line in lines).split()
    if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()):
        return None
    return int(words[1][:10]), int(words[0][:10])


def _numbers(content: bytes, height: int, width: int, size: int, order: str) -> Size | None:
    if max(height, width) + size > len(content):
        return None
    down, across = (int.from_bytes(content[at : at + size], order) for at in (height, width))  # type: ignore[arg-type]
    return down, across


_READERS: dict[Kind, Callable[[bytes], Size | None]] = {
    JPEG: jpeg_size,
    PNG: _png,
    BMP: _bmp,
    WEBP: _webp,
    TIFF: _tiff,
    GIF: _gif,
    JPEG_2000: _jpeg_2000,
    PNM: _pnm,
    QOI: _qoi,
    EXR: exr_size,
    DPX: _dpx,
    HEIF: heif_size,
}


def why_refused(packet: bytes, max_pixels: int) -> str | None:
    """That a packet's picture is too large, if that is why it was not decoded: it may belie its container."""
    kind = kind_of(packet)
    size = picture_size(packet, kind) if kind in (JPEG, PNG, BMP, WEBP, TIFF, JPEG_2000, EXR, DPX) else None
    return too_large(size, max_pixels) if size and size[0] * size[1] > max_pixels else None
