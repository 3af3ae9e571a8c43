"""The first directory of a TIFF structure, which a TIFF file, EXIF data and most raw files begin with."""

from __future__ import annotations

from typing import Literal

MAX_ENTRIES = 4096

_CLASSIC = {b"II*\x00": "little", b"MM\x00*": "big"}
_BIG = {b"II+\x00": "little", b"MM\x00+": "big"}
# Width to photometric, fill order, strips, samples, planes, fax options, predictor, palette, tiles, chroma: those of
# the pixels' own tags that FFmpeg's decoder knows. The black and white that its encoder writes (532) it does not know.
_PIXEL_TAGS = frozenset(
    {*range(256, 260), 262, 266, 273, *range(277, 280), 284, 292, 293, 317, 320, *range(322, 326), 530}
)
_COMPRESSION, _JPEG = 259, 7
BITS_PER_SAMPLE = 258
_EXTRA_SAMPLES, _STRAIGHT_ALPHA = 338, 2
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of a whole number, by its type


def is_tiff(content: bytes) -> bool:
    """TIFF or BigTIFF, by its first bytes."""
    return content[:4] in _CLASSIC or content[:4] in _BIG


def first_directory(content: bytes) -> dict[int, int]:
    """The whole numbers among the entries, by tag; of several numbers the first. Empty where it makes no sense."""
    head, big = content[:4], content[:4] in _BIG
    order: Literal["little", "big"] | None = (_BIG if big else _CLASSIC).get(head)  # type: ignore[assignment]
    if order is None:
        return {}
    at = int.from_bytes(content[8:16] if big else content[4:8], order)
    width, step, value = (8, 20, 12) if big else (2, 12, 8)
    count = int.from_bytes(content[at : at + width], order)
    found: dict[int, int] = {}
    for entry in range(at + width, at + width + step * min(count, MAX_ENTRIES), step):
        if entry + step > len(content):
            break
        tag = int.from_bytes(content[entry : entry + 2], order)
        size = _SIZES.get(int.from_bytes(content[entry + 2 : entry + 4], order))
        if size is None:
            continue
        many = int.from_bytes(content[entry + 4 : entry + value], order)
        place = entry + value
        if many * size > step - value:  # they lie elsewhere
            place = int.from_bytes(content[place : entry + step], order)
        found.setdefault(tag, int.from_bytes(content[place : place + size], order))
    return found


def has_straight_alpha(content: bytes) -> bool:
    """Whether the colours are not multiplied by the alpha beside them, which libtiff does then when it reads them.

    Not of JPEG within TIFF.
    """
    directory = first_directory(content)
    return directory.get(_EXTRA_SAMPLES) == _STRAIGHT_ALPHA and directory.get(_COMPRESSION) != _JPEG


def with_pixels_alone(content: bytes) -> bytes:
    """The same file with a directory of only what says how the pixels are stored; FFmpeg's strict decoder holds any
    other tag that it does not know for damage. BigTIFF stays as it is.
    """
    order: Literal["little", "big"] | None = _CLASSIC.get(content[:4])  # type: ignore[assignment]
    if order is None:
        return content
    at = int.from_bytes(content[4:8], order)
    count = min(int.from_bytes(content[at : at + 2], order), MAX_ENTRIES)
    entries = [content[entry : entry + 12] for entry in range(at + 2, at + 2 + 12 * count, 12)]
    kept = [entry for entry in entries if len(entry) == 12 and int.from_bytes(entry[:2], order) in _PIXEL_TAGS]
    padded = content + bytes(len(content) % 2)
    directory = len(kept).to_bytes(2, order) + b"".join(kept) + bytes(4)
    return padded[:4] + len(padded).to_bytes(4, order) + padded[8:] + directory
