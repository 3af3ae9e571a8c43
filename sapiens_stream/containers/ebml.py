"""The elements of Matroska (RFC 9559) that a label video is made of: their ids, and how they are written."""

from __future__ import annotations

import struct
import zlib

EBML, DOC_TYPE, DOC_TYPE_VERSION, DOC_TYPE_READ_VERSION = 0x1A45DFA3, 0x4282, 0x4287, 0x4285
SEGMENT, SEEK_HEAD, SEEK, SEEK_ID, SEEK_POSITION = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
INFO, TIMESTAMP_SCALE, DURATION, MUXING_APP, WRITING_APP = 0x1549A966, 0x2AD7B1, 0x4489, 0x4D80, 0x5741
TRACKS, TRACK, TRACK_NUMBER, TRACK_UID, TRACK_TYPE = 0x1654AE6B, 0xAE, 0xD7, 0x73C5, 0x83
CODEC_ID, CODEC_PRIVATE, DEFAULT_DURATION, LACING, LANGUAGE = 0x86, 0x63A2, 0x23E383, 0x9C, 0x22B59C
VIDEO, PIXEL_WIDTH, PIXEL_HEIGHT, DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0xE0, 0xB0, 0xBA, 0x54B0, 0x54BA, 0x54B2
COLOUR, RANGE = 0x55B0, 0x55B9
TAGS, TAG, TARGETS, SIMPLE_TAG, TAG_NAME, TAG_STRING = 0x1254C367, 0x7373, 0x63C0, 0x67C8, 0x45A3, 0x4487
CLUSTER, TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK, CRC32, VOID = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1, 0xBF, 0xEC
CHAPTERS, ATTACHMENTS = 0x1043A770, 0x1941A469
CUES, CUE_POINT, CUE_TIME, CUE_POSITIONS, CUE_TRACK, CUE_CLUSTER = 0x1C53BB6B, 0xBB, 0xB3, 0xB7, 0xF7, 0xF1

SECOND = 10**9  # Matroska counts nanoseconds, a fixed number to a tick of the file
UNKNOWN_SIZE = (1 << 56) - 1

_KEY_FRAME = 0x80


def element(number: int, content: bytes, *, wide: bool = False) -> bytes:
    """An element: its id, the length of its content (in 8 bytes if `wide`), its content."""
    size = len(content)
    width = 8 if wide else next(each for each in range(1, 9) if size < (1 << 7 * each) - 1)
    return _id(number) + (size | 1 << 7 * width).to_bytes(width) + content


def master(number: int, *children: bytes) -> bytes:
    """An element of others."""
    return element(number, b"".join(children))


def number(which: int, value: int) -> bytes:
    """An unsigned number, always 8 bytes long, so that another can be written over it."""
    return element(which, value.to_bytes(8))


def real(which: int, value: float) -> bytes:
    """A floating-point number."""
    return element(which, struct.pack(">d", value))


def text(which: int, value: str) -> bytes:
    """A text; a byte of a file's name that is not UTF-8 is written as "?"."""
    return element(which, value.encode("utf-8", "replace"))


def void(size: int) -> bytes:
    """`size` bytes, 9 or more, that stand for nothing."""
    return element(VOID, bytes(size - 9), wide=True)


def segment_start(size: int = UNKNOWN_SIZE) -> bytes:
    """The beginning of a segment, by default one whose length is not known yet."""
    return _id(SEGMENT) + (size | 1 << 56).to_bytes(8)


def key_cluster(timestamp: int, data: bytes) -> bytes:
    """A cluster of a single key frame of track 1, with a checksum of it all."""
    content = number(TIMESTAMP, timestamp) + element(SIMPLE_BLOCK, b"\x81\0\0" + bytes([_KEY_FRAME]) + data)
    return element(CLUSTER, element(CRC32, zlib.crc32(content).to_bytes(4, "little")) + content)


def cue(timestamp: int, position: int) -> bytes:
    """Says where the cluster of a time is, from the beginning of the segment's content."""
    where = master(CUE_POSITIONS, number(CUE_TRACK, 1), number(CUE_CLUSTER, position))
    return master(CUE_POINT, number(CUE_TIME, timestamp), where)


def _id(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)
