"""Writes HEIC and AVIF files box by box: of one piece or of tiles, turned, mirrored, cropped."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np

from sapiens_stream.sinks.video.scheduling import kept_scheduling
from tests.media import UInt8Array

Codec = Literal["libx265", "libsvtav1"]


@dataclass(frozen=True)
class Coded:
    """One picture: its item type, the property that its decoder needs, its data, (height, width)."""

    kind: bytes
    configuration: bytes
    data: bytes
    size: tuple[int, int]


def coded(picture: UInt8Array | av.VideoFrame, codec: Codec = "libx265") -> Coded:
    """Encodes a picture nearly without loss, by way of an MP4 in memory; a frame in its own format."""
    target = io.BytesIO()
    options = {"x265-params": "qp=4:info=0:log-level=none"} if codec == "libx265" else {"crf": "10", "preset": "8"}
    with kept_scheduling(), av.open(target, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        if isinstance(picture, av.VideoFrame):
            frame, stream.pix_fmt = picture, picture.format.name
        else:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            stream.pix_fmt = "yuv444p" if codec == "libx265" else "yuv420p"
        stream.height, stream.width = frame.height, frame.width
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            packet.pts = packet.dts = 0  # x265 leaves it out at times
            container.mux(packet)
    target.seek(0)
    with av.open(target) as container:
        stream = container.streams.video[0]
        data = next(bytes(packet) for packet in container.demux(stream) if packet.size)
        extradata = bytes(stream.codec_context.extradata or b"")
    kind, box_kind = (b"hvc1", b"hvcC") if codec == "libx265" else (b"av01", b"av1C")
    return Coded(kind, box(box_kind, extradata), data, (frame.height, frame.width))


def box(kind: bytes, *parts: bytes) -> bytes:
    """An ISO box."""
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def full_box(kind: bytes, *parts: bytes, version: int = 0) -> bytes:
    """One with a version, and flags of zero."""
    return box(kind, struct.pack(">I", version << 24), *parts)


def turned(quarters: int) -> bytes:
    """The property that turns a picture counter-clockwise."""
    return box(b"irot", bytes([quarters]))


def mirrored(axis: int) -> bytes:
    """The property that swaps top and bottom (0) or left and right (1)."""
    return box(b"imir", bytes([axis]))


def colours(primaries: int, transfer: int, matrix: int, *, full_range: bool = False) -> bytes:
    """The property that says what the numbers mean, by the code points of ITU-T H.273."""
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, full_range << 7))


def cropped(size: tuple[int, int], whole: tuple[int, int], top: int, left: int) -> bytes:
    """The property that leaves `size` of `whole`, both (height, width)."""
    down, across = 2 * top + size[0] - whole[0], 2 * left + size[1] - whole[1]
    return box(b"clap", struct.pack(">IIIIiIiI", size[1], 1, size[0], 1, across, 2, down, 2))


def heif(picture: Coded, *properties: bytes, brand: bytes = b"heic") -> bytes:
    """A file of one picture."""
    return _file(brand, [(picture.kind, picture.data, [picture.configuration, _extent(picture.size), *properties])], [])


def tiled(tiles: Sequence[Coded], columns: int, size: tuple[int, int], *properties: bytes) -> bytes:
    """A file whose picture of `size` (height, width) is made of tiles, row by row, as phones write it."""
    rows = -(-len(tiles) // columns)
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, size[1], size[0])
    items = [(b"grid", grid, [_extent(size), *properties])]
    items += [(tile.kind, tile.data, [tile.configuration, _extent(tile.size)]) for tile in tiles]
    return _file(b"heic", items, list(range(2, 2 + len(tiles))))


def tiles_of(rgb: UInt8Array, side: int, codec: Codec = "libx265") -> list[Coded]:
    """A picture cut into square tiles, its edges repeated to fill the last."""
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    return [
        coded(np.ascontiguousarray(padded[top : top + side, left : left + side]), codec)
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def _extent(size: tuple[int, int]) -> bytes:
    return full_box(b"ispe", struct.pack(">II", size[1], size[0]))


def _file(brand: bytes, items: Sequence[tuple[bytes, bytes, list[bytes]]], made_of: list[int]) -> bytes:
    """The first item is the primary one, and made of the items `made_of`, if any."""
    known: list[bytes] = []
    associations = b""
    for number, (_, _, properties) in enumerate(items, 1):
        indices = []
        for each in properties:
            if each not in known:
                known.append(each)
            indices.append(0x80 | known.index(each) + 1)
        associations += struct.pack(">HB", number, len(indices)) + bytes(indices)
    entries = b"".join(
        full_box(b"infe", struct.pack(">HH", number, 0), kind, b"\0", version=2)
        for number, (kind, _, _) in enumerate(items, 1)
    )
    reference = box(b"dimg", struct.pack(f">HH{len(made_of)}H", 1, len(made_of), *made_of)) if made_of else b""
    head = box(b"ftyp", brand, bytes(4), b"mif1", brand)

    def meta(offset: int) -> bytes:
        places = b""
        for number, (_, data, _) in enumerate(items, 1):
            places += struct.pack(">HHHII", number, 0, 1, offset, len(data))
            offset += len(data)
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", 1)),
            full_box(b"iinf", struct.pack(">H", len(items)), entries),
            full_box(b"iloc", b"\x44\x00", struct.pack(">H", len(items)), places),
            full_box(b"iref", reference),
            box(b"iprp", box(b"ipco", *known), full_box(b"ipma", struct.pack(">I", len(items)), associations)),
        )

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *(data for _, data, _ in items))
