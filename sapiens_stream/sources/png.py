"""Whether a PNG file is whole, by its checksums, and what can be saved of one that is not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_KEPT = (b"PLTE", b"tRNS")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
"""First row, step, first column, step of each pass of an interlaced picture."""
_FEED = 4096  # bytes at a time to the inflater, which at an error keeps back what it made of the last


@dataclass(frozen=True)
class Chunk:
    """A part of the file; `whole` if its checksum is right."""

    kind: bytes
    data: bytes
    whole: bool


def chunks(content: bytes) -> Iterator[Chunk]:
    """Up to and with the end of the picture, or to where the file makes no sense any more."""
    at = len(SIGNATURE)
    while at + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if at + 12 + size > len(content) or not kind.isalpha():
            return
        view = memoryview(content)[at + 4 : at + 8 + size]
        right = zlib.crc32(view) == int.from_bytes(content[at + 8 + size : at + 12 + size], "big")
        yield Chunk(kind, bytes(view[4:]), right)
        if kind == b"IEND":
            return
        at += 12 + size


def is_damaged(content: bytes) -> bool:
    """Whether a chunk that matters to the picture is not what was written, or the chunks do not lead to the end."""
    end = False
    for chunk in chunks(content):
        critical = chunk.kind[:1].isupper()
        if critical and not chunk.whole:
            return True
        end = chunk.kind == b"IEND"
    return not end


def mended(content: bytes) -> bytes | None:
    """A whole PNG of what can be inflated of a damaged one, black after that; None where there is nothing."""
    found = list(chunks(content))
    header = next((chunk for chunk in found if chunk.kind == b"IHDR" and len(chunk.data) == 13), None)
    if header is None or not (header.whole and header.data[9] in _CHANNELS):
        return None
    passes = _passes(header.data)
    data = _inflated(
        b"".join(chunk.data for chunk in found if chunk.kind == b"IDAT"), sum(rows * size for rows, size in passes)
    )
    if not data:
        return None
    at = 0
    for rows, size in passes:  # each row begins with the number of its filter, 0 to 4
        starts = slice(at, at + rows * size, size)
        data[starts] = bytes(each if each <= 4 else 0 for each in data[starts])
        at += rows * size
    kept = [chunk for chunk in found if chunk.kind in _KEPT]
    parts = [header, *kept, Chunk(b"IDAT", zlib.compress(data, 1), True), Chunk(b"IEND", b"", True)]
    return SIGNATURE + b"".join(_written(part) for part in parts)


def _passes(header: bytes) -> list[tuple[int, int]]:
    """(rows, bytes a row with its filter's number) of each pass."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _CHANNELS[colour]
    steps = _ADAM7 if interlaced else ((0, 1, 0, 1),)
    sizes = [
        (max(0, -(-(height - top) // down)), max(0, -(-(width - left) // across))) for top, down, left, across in steps
    ]
    return [(rows, 1 + -(-columns * bits // 8)) for rows, columns in sizes if rows and columns]


def _inflated(data: bytes, size: int) -> bytearray | None:
    """As much as can be had, padded to `size`; None where nothing can be had."""
    inflater = zlib.decompressobj()
    out = bytearray()
    try:
        for at in range(0, len(data), _FEED):
            out += inflater.decompress(data[at : at + _FEED], max(1, size - len(out)))
            if len(out) >= size or inflater.eof:
                break
    except zlib.error:
        pass
    if not out:
        return None
    del out[size:]
    return out + bytes(size - len(out))


def _written(chunk: Chunk) -> bytes:
    body = chunk.kind + chunk.data
    return struct.pack(">I", len(chunk.data)) + body + struct.pack(">I", zlib.crc32(body))
