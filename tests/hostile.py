"""Makes files that want harm: damaged, cut, lying about their size, small but large once decoded."""

from __future__ import annotations

import random
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.heif import Coded, box, full_box, heif, tiled
from tests.media import UInt8Array, make_video

_ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))


def limit_memory(megabytes: int) -> None:
    """Lets this process take so much more address space than it has now; on Linux alone."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def damaged(content: bytes, rng: random.Random, size: int) -> bytes:
    """With `size` bytes of noise, somewhere in its middle."""
    at = rng.randrange(len(content) * 3 // 10, max(len(content) * 3 // 10 + 1, len(content) * 6 // 10))
    size = min(size, max(1, len(content) * 9 // 10 - at))
    return content[:at] + rng.randbytes(size) + content[at + size :]


def broadcast_with_losses(path: Path) -> Path:
    """An MPEG-TS of 60 frames that has sound, of which some packets are garbled."""
    content = bytearray(make_video(path, codec="mpeg2video", frames=60, audio="mp2").read_bytes())
    noise = np.random.default_rng(1)
    for at in noise.integers(len(content) // 4, len(content) * 9 // 10, 12):
        content[at : at + 40] = noise.integers(0, 256, 40, np.uint8).tobytes()
    path.write_bytes(content)
    return path


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Damaged in one of many ways: bits, bytes, runs, extreme numbers, parts that are lost, doubled or swapped."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 512))
        run = min(rng.choice((1, 2, 4, 8, 64, 1000)), len(data) - at)
        match rng.randrange(9):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                data[at : at + run] = rng.randbytes(run)
            case 3:
                data[at : at + run] = bytes([rng.choice((0, 0xFF))]) * run
            case 4:
                width = rng.choice((2, 4, 8))
                value = rng.choice(
                    (0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (8 * width - 1) - 1, 0x10000)
                )
                data[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, rng.choice(("big", "little")))
            case 5:
                del data[at : at + run]
            case 6:
                data[at:at] = data[at : at + run]
            case 7:
                del data[at:]
            case 8:
                other = rng.randrange(len(data))
                data[at : at + run], data[other : other + run] = data[other : other + run], data[at : at + run]
    return bytes(data)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """With its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int, rows: int | None = None) -> bytes:
    """A PNG of one bit a pixel, all black: some kilobytes that are gigabytes of RGB."""
    packer = zlib.compressobj(9)
    line = bytes(1 + (width + 7) // 8) if rows != 0 else b""
    data = b"".join(packer.compress(line) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_of_rows(rgb: UInt8Array, *, interlaced: bool = False) -> bytes:
    """A PNG that is stored rather than compressed, so that what is damaged is known."""
    steps = _ADAM7 if interlaced else ((0, 1, 0, 1),)
    parts = [rgb[top::down, left::across] for top, down, left, across in steps]
    data = b"".join(b"\0" + row.tobytes() for part in parts for row in part if row.size)
    header = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 8, 2, 0, 0, int(interlaced))
    body = png_chunk(b"IDAT", zlib.compress(data, 0))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def jpeg_that_lies(jpeg: bytes, width: int, height: int) -> bytes:
    """With another size in its frame's header."""
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def bmp_that_lies(bmp: bytes, width: int, height: int) -> bytes:
    """With another size in its header; a negative height has the rows go downwards."""
    return bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]


def webp_that_lies(webp: bytes, width: int, height: int) -> bytes:
    """With another size in the header of its frame (VP8)."""
    at = webp.index(b"\x9d\x01\x2a") + 3
    return webp[:at] + struct.pack("<HH", width, height) + webp[at + 4 :]


def jpeg_2000_that_lies(content: bytes, width: int, height: int) -> bytes:
    """With another size in its codestream's header."""
    at = content.index(b"\xff\x4f\xff\x51") + 8
    return content[:at] + struct.pack(">II", width, height) + content[at + 8 :]


def tiff_of(width: int, height: int) -> bytes:
    """A TIFF that claims to hold so much, in one strip that is not there."""
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 10)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(14)


def gif_of(width: int, height: int) -> bytes:
    """A GIF that claims to be so large, with next to nothing in it."""
    return (
        b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\x80\0\0"
        + bytes(6)
        + b","
        + bytes(4)
        + struct.pack("<HHBB", width, height, 0, 2)
        + b"\x02\x4c\x01\x00;"
    )


def heif_that_lies(width: int, height: int) -> bytes:
    """A HEIC that claims to be so large, with nothing in it."""
    return heif(Coded(b"hvc1", box(b"hvcC", bytes(23)), bytes(100), (height, width)))


def heif_grid_that_lies(width: int, height: int) -> bytes:
    """A HEIC of four tiles that claim to make so much."""
    tile = Coded(b"hvc1", box(b"hvcC", bytes(23)), bytes(100), (64, 64))
    return tiled([tile] * 4, 2, (height, width))


def heif_of_itself() -> bytes:
    """A HEIC whose picture is made of itself, for ever."""
    references = box(b"dimg", struct.pack(">HHH", 1, 1, 1))
    entry = full_box(b"infe", struct.pack(">HH", 1, 0), b"iden", b"\0", version=2)
    return box(b"ftyp", b"heic", bytes(4), b"mif1heic") + full_box(
        b"meta",
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iinf", struct.pack(">H", 1), entry),
        full_box(b"iref", references),
        box(b"iprp", box(b"ipco"), full_box(b"ipma", struct.pack(">I", 0))),
    )


def video_of_png(path: Path, png: bytes, size: tuple[int, int]) -> Path:
    """A video that claims pictures of `size` (height, width), and holds one PNG, whatever that is."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=Fraction(25))
        stream.height, stream.width = size
        stream.pix_fmt = "rgb24"
        small = av.VideoFrame.from_ndarray(np.zeros((*size, 3), np.uint8), format="rgb24")
        for number in range(2):
            small.pts, small.time_base = number, Fraction(1, 25)
            for packet in stream.encode(small):
                replaced = av.Packet(png)
                replaced.stream, replaced.time_base = stream, packet.time_base
                replaced.pts = replaced.dts = packet.pts
                replaced.is_keyframe = True
                container.mux(replaced)
    return path
