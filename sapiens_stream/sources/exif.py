"""The orientation that a photo's EXIF or XMP data gives: how a viewer has to turn what is stored."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from sapiens_stream.sources.jpeg import jpeg_segments
from sapiens_stream.sources.tiff import first_directory, is_tiff

MAX_INFLATED = 2**22  # of text in a PNG; XMP is some kilobytes

_APP1 = 0xE1
_JPEG_PREFIX = b"Exif\x00\x00"
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\x00"
ORIENTATION_TAG = 0x0112
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|\s*>\s*)([1-8])\s*(?:["']|<)""")
_XMP_IN_TIFF = re.compile(rb"<x:xmpmeta.{0,65536}?</x:xmpmeta>", re.DOTALL)

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

    EXIF takes precedence over XMP. (0, False) where the file does not say, or says nonsense.
    """
    blocks = list(_blocks(content))
    for block in blocks:
        orientation = first_directory(block.removeprefix(_JPEG_PREFIX)).get(ORIENTATION_TAG)
        if orientation in _TURNS:
            return _TURNS[orientation]
    for block in blocks:
        if not is_tiff(block) and (found := _XMP_ORIENTATION.search(block)):
            return _TURNS[int(found[1])]
    return 0, False


def _blocks(content: bytes) -> Iterator[bytes]:
    """EXIF data, with or without JPEG's prefix, and XMP packets."""
    if content.startswith(b"\xff\xd8"):
        for marker, start, end in jpeg_segments(content):
            if marker == _APP1 and content.startswith((_JPEG_PREFIX, _XMP_PREFIX), start):
                yield content[start:end]
    elif content.startswith(b"\x89PNG"):
        yield from _in_png(content)
    elif content.startswith(b"RIFF"):
        at = 12
        while at + 8 <= len(content):
            kind, size = struct.unpack_from("<4sI", content, at)
            if kind in (b"EXIF", b"XMP "):
                yield content[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
    elif is_tiff(content):
        yield content
        yield from _XMP_IN_TIFF.findall(content)


def _in_png(content: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + size]
        at += 12 + size
        if kind == b"eXIf":
            yield data
        elif kind in (b"iTXt", b"tEXt", b"zTXt"):
            keyword, _, text = data.partition(b"\x00")
            if keyword == b"XML:com.adobe.xmp":
                yield _text(kind, text)
            elif keyword in (b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp"):
                yield _raw_profile(_text(kind, text))  # as ImageMagick writes it


def _text(kind: bytes, text: bytes) -> bytes:
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed = text[:1] == b"\x01"
        text = text[2:].partition(b"\x00")[2].partition(b"\x00")[2]  # without language and translated keyword
    elif compressed:
        text = text[1:]
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, MAX_INFLATED)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """Of "\\nexif\\n   length\\nhex digits, broken into lines"."""
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""
