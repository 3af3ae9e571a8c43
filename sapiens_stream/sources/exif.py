"""The EXIF orientation of a photo: how a viewer has to turn what is stored."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

START_OF_SCAN = 0xDA

_APP1 = 0xE1
_JPEG_PREFIX = b"Exif\x00\x00"
_ORIENTATION_TAG = 0x0112

# EXIF 2.32, 4.6.4, tag 274: what undoes each orientation.
_TURNS = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}


def upright_turns(content: bytes) -> tuple[int, bool]:
    """What brings the picture of a JPEG, PNG, WebP or TIFF file upright, as a `Frame` has it:
    quarter turns counter-clockwise, and whether to swap left and right after them.

    (0, False) where the file does not say, or says nonsense.
    """
    for block in _exif_blocks(content):
        orientation = _orientation(block.removeprefix(_JPEG_PREFIX))
        if orientation in _TURNS:
            return _TURNS[orientation]
    return 0, False


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the data of each segment of a JPEG file, up to and with the first start of scan."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte before a marker
            at += 1
            continue
        end = at + 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
        yield marker, at + 4, end
        if marker == START_OF_SCAN:
            return
        at = end


def _exif_blocks(content: bytes) -> Iterator[bytes]:
    if content.startswith(b"\xff\xd8"):
        for marker, start, end in jpeg_segments(content):
            if marker == _APP1 and content.startswith(_JPEG_PREFIX, start):
                yield content[start:end]
    elif content.startswith(b"\x89PNG"):
        at = 8
        while at + 8 <= len(content):
            size, kind = struct.unpack_from(">I4s", content, at)
            if kind == b"eXIf":
                yield content[at + 8 : at + 8 + size]
            at += 12 + size
    elif content.startswith(b"RIFF"):
        at = 12
        while at + 8 <= len(content):
            kind, size = struct.unpack_from("<4sI", content, at)
            if kind == b"EXIF":
                yield content[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
    else:
        yield content


def _orientation(tiff: bytes) -> int | None:
    """The orientation in the first directory of a TIFF structure, which EXIF data is too."""
    order: Literal["little", "big"] | None = {b"II*\x00": "little", b"MM\x00*": "big"}.get(tiff[:4])  # type: ignore[assignment]
    if order is None:
        return None
    directory = int.from_bytes(tiff[4:8], order)
    entries = int.from_bytes(tiff[directory : directory + 2], order)
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        if int.from_bytes(tiff[at : at + 2], order) == _ORIENTATION_TAG:
            return int.from_bytes(tiff[at + 8 : at + 10], order)
    return None
