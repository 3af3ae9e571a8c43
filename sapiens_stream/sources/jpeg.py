"""The segments of a JPEG file, and whether its coded picture is whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sapiens_stream.frame import UInt8Array

try:
    import simplejpeg
except ImportError:  # there is no wheel of it for every machine; FFmpeg's strict decoder then tells alone
    simplejpeg = None

START_OF_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment
_NEEDED = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}  # tables, restart interval, JFIF, Adobe's colours
_NO_DAMAGE = (  # what libjpeg says of pictures that others may well read
    "Unsupported JPEG data precision",
    "Unsupported color",
    "Sorry, arithmetic",
    "CCIR601",
    "Fractional sampling",
    "Image too big",
    "Maximum supported",
    "Insufficient memory",
    "Could not determine",
)


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the data of each segment of a JPEG file, up to and with the first start of scan.

    Bytes that stray between segments are passed over, as every decoder does.
    """
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte before a marker
            at += 1
        elif marker == 0 or marker in _ALONE:
            at += 2
        else:
            end = at + 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
            yield marker, at + 4, end
            if marker == START_OF_SCAN:
                return
            at = end


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) by the frame's header."""
    for marker, start, end in jpeg_segments(content):
        if marker in _FRAMES and start + 5 <= min(end, len(content)):
            return int.from_bytes(content[start + 1 : start + 3], "big"), int.from_bytes(
                content[start + 3 : start + 5], "big"
            )
    return None


def without_strays(content: bytes) -> bytes:
    """The picture without what stands between its segments, and without all that has nothing to do with its pixels."""
    parts = [b"\xff\xd8"]
    for marker, start, end in jpeg_segments(content):
        if marker == START_OF_SCAN:
            parts.append(content[start - 4 :])
        elif marker in _NEEDED:
            parts.append(content[start - 4 : end])
    return b"".join(parts)


def scan_start(content: bytes) -> int:
    """Where the first scan's header begins; the content's length where there is none."""
    return next((start for marker, start, _ in jpeg_segments(content) if marker == START_OF_SCAN), len(content))


def is_damaged(content: bytes) -> bool:
    """Whether libjpeg, decoding it at an eighth of its size, comes upon codes that make no sense, too few or too many.

    FFmpeg's decoder does not mind a picture that is done before its data is.
    """
    if simplejpeg is None:
        return False
    picture = without_strays(content)
    try:
        coded = simplejpeg.decode_jpeg_header(picture)[2]
    except ValueError as error:
        return not str(error).startswith((*_NO_DAMAGE, "Unsupported JPEG process"))
    try:
        colours = "CMYK" if coded in ("CMYK", "YCCK") else "GRAY"
        simplejpeg.decode_jpeg(
            picture, colours, fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8
        )
    except ValueError as error:
        return not str(error).startswith(_NO_DAMAGE)
    return False


def as_far_as_it_goes(content: bytes) -> UInt8Array | None:
    """(H, W, 3) RGB, as stored: libjpeg finds the way back into a picture where FFmpeg gives up. None where it cannot.

    OpenCV's libjpeg does too, but writes to standard error of it.
    """
    if simplejpeg is None:
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(without_strays(content), "RGB", strict=False), np.uint8)
    except ValueError:
        return None
