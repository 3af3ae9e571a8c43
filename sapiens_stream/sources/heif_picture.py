"""The primary picture of a HEIF file (HEIC, AVIF), of one piece or of tiles, from its coded data to RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from sapiens_stream.containers.limits import ffmpeg_limit, too_large
from sapiens_stream.errors import InputError
from sapiens_stream.frame import UInt8Array
from sapiens_stream.sources.heif import HeifFile, Item
from sapiens_stream.sources.heif_colours import HeifColours

MAX_DEPTH = 4  # of pictures made of pictures

# type of an item: FFmpeg's decoder, the property that holds what has to be known before its data
_CODECS = {
    b"hvc1": ("hevc", b"hvcC"),
    b"hev1": ("hevc", b"hvcC"),
    b"av01": ("libdav1d", b"av1C"),
    b"avc1": ("h264", b"avcC"),
    b"jpeg": ("mjpeg", b"jpgC"),
}


@dataclass(frozen=True, eq=False)
class HeifPicture:
    """(H, W, 3) RGB as stored, how to turn it as a `Frame` has it, and whether a part of it is guessed."""

    rgb: UInt8Array
    quarter_turns: int
    mirrored: bool
    damaged: bool


def heif_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) of the primary picture as stored, by its header. Raises InputError for a damaged file."""
    file = HeifFile(content)
    item = file.items[file.primary]
    if item.kind == b"grid":
        return _Grid.read(file, item).size
    extent = item.property(b"ispe")
    if extent is None or len(extent) < 12:
        return None
    return int.from_bytes(extent[8:12], "big"), int.from_bytes(extent[4:8], "big")


def read_heif(content: bytes, *, max_pixels: int) -> HeifPicture:
    """Decodes the primary picture. Raises InputError where it cannot be had whole."""
    file = HeifFile(content)
    return _Assembly(file, max_pixels).picture(file.items[file.primary])


@dataclass(frozen=True)
class _Grid:
    """The rule for a picture made of equal tiles, row by row."""

    rows: int
    columns: int
    size: tuple[int, int]

    @classmethod
    def read(cls, file: HeifFile, item: Item) -> _Grid:
        data = file.data(item)
        width = 4 if data[1:2] and data[1] & 1 else 2
        if len(data) < 4 + 2 * width:
            raise InputError("the HEIF file is damaged: its grid of tiles makes no sense")
        size = int.from_bytes(data[4 + width : 4 + 2 * width], "big"), int.from_bytes(data[4 : 4 + width], "big")
        grid = cls(data[2] + 1, data[3] + 1, size)
        if len(item.made_of) != grid.rows * grid.columns:
            raise InputError(
                f"the HEIF file is damaged: {len(item.made_of)} of its {grid.rows * grid.columns} tiles are there"
            )
        return grid


class _Assembly:
    def __init__(self, file: HeifFile, max_pixels: int) -> None:
        self._file = file
        self._max_pixels = max_pixels
        self._damaged = False

    def picture(self, item: Item) -> HeifPicture:
        rgb = self._rgb(item, 0)
        turns, mirrored = 0, False
        for each in item.properties:
            match each.kind, each.content[:1]:
                case b"clap", _:
                    rgb = self._cropped(rgb, each.content, turns, mirrored)
                case b"irot", angle if angle:
                    # A turn after a mirroring is the opposite turn before it.
                    turns += -(angle[0] & 3) if mirrored else angle[0] & 3
                case b"imir", axis if axis:
                    # 1 swaps left and right; 0 top and bottom, which is half a turn and left and right.
                    turns += 0 if axis[0] & 1 else 2
                    mirrored = not mirrored
        return HeifPicture(np.ascontiguousarray(rgb), turns % 4, mirrored, self._damaged)

    def _rgb(self, item: Item, depth: int) -> UInt8Array:
        if depth > MAX_DEPTH:
            raise InputError("the HEIF file is damaged: its pictures are made of each other")
        if item.kind == b"grid":
            return self._grid(item)
        if item.kind == b"iden" and len(item.made_of) == 1:
            return self._rgb(self._made_of(item)[0], depth + 1)
        if item.kind not in _CODECS:
            name = item.kind.decode("ascii", "replace")
            raise InputError(f"its picture is of a kind that cannot be read ({name!r}); convert it to JPEG or PNG")
        return self._to_rgb([self._decode(item)], 1, None, item)

    def _grid(self, item: Item) -> UInt8Array:
        grid = _Grid.read(self._file, item)
        if grid.size[0] * grid.size[1] > self._max_pixels:
            raise InputError(too_large(grid.size, self._max_pixels))
        tiles = self._made_of(item)
        first = self._decode(tiles[0])
        for whole, tile, count in zip(grid.size, (first.height, first.width), (grid.rows, grid.columns), strict=True):
            if not tile * (count - 1) < whole <= tile * count:
                raise InputError("the HEIF file is damaged: its tiles do not add up to its size")
        rest = (self._decode(each, like=first) for each in tiles[1:])
        return self._to_rgb([first, *rest], grid.columns, grid.size, item if item.property(b"colr") else tiles[0])

    def _made_of(self, item: Item) -> list[Item]:
        try:
            return [self._file.items[number] for number in item.made_of]
        except KeyError:
            raise InputError("the HEIF file is damaged: a part of its picture is missing") from None

    def _decode(self, item: Item, like: av.VideoFrame | None = None) -> av.VideoFrame:
        """The frame of one coded item; strictly first, and if that fails as well as it goes."""
        if item.kind not in _CODECS:
            raise InputError("the HEIF file is damaged: a tile is no picture")
        data = self._file.data(item)
        frame = self._decoded(item, data, strict=True)
        if frame is None:
            frame = self._decoded(item, data, strict=False)
            self._damaged = True
        if frame is None:
            raise InputError("the HEIF file is damaged")
        if like and (frame.width, frame.height, frame.format.name) != (like.width, like.height, like.format.name):
            raise InputError("the HEIF file is damaged: its tiles are not alike")
        return frame

    def _decoded(self, item: Item, data: bytes, *, strict: bool) -> av.VideoFrame | None:
        codec, configuration = _CODECS[item.kind]
        context = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
        context.thread_count = 1  # photos are decoded side by side already
        context.options = {
            "max_pixels": ffmpeg_limit(self._max_pixels),
            **({"err_detect": "explode"} if strict else {}),
        }
        prefix = item.property(configuration) or b""
        if codec == "mjpeg":
            data = prefix + data
        elif prefix:
            context.extradata = prefix
        try:
            frames = [*context.decode(av.Packet(data)), *context.decode(None)]
        except (av.error.MemoryError, MemoryError):
            raise
        except (av.FFmpegError, ValueError):
            return None
        if not frames or (strict and frames[0].is_corrupt):
            return None
        return frames[0]

    def _to_rgb(
        self, tiles: list[av.VideoFrame], columns: int, size: tuple[int, int] | None, coloured: Item
    ) -> UInt8Array:
        """The tiles beside each other, cropped to `size`, in RGB."""
        first = tiles[0]
        planes = [
            np.concatenate(
                [
                    np.concatenate([_plane(each, number) for each in tiles[at : at + columns]], axis=1)
                    for at in range(0, len(tiles), columns)
                ]
            )
            for number in range(_colour_planes(first))
        ]
        height, width = size or (first.height, first.width)
        return HeifColours(first, coloured).rgb(planes)[:height, :width]

    def _cropped(self, rgb: UInt8Array, clap: bytes, turns: int, mirrored: bool) -> UInt8Array:
        """What the clean aperture leaves. Raises InputError where it comes after a turn, which no camera writes."""
        if turns or mirrored or len(clap) < 32:
            raise InputError("the HEIF file is damaged: its crop makes no sense")
        over = [int.from_bytes(clap[at : at + 4], "big", signed=at >= 16 and at % 8 == 0) for at in range(0, 32, 4)]
        if not all(over[1::2]):
            raise InputError("the HEIF file is damaged: its crop makes no sense")
        width, height, right, down = (above / below for above, below in zip(over[::2], over[1::2], strict=True))
        left = round((rgb.shape[1] - width) / 2 + right)
        top = round((rgb.shape[0] - height) / 2 + down)
        wide, high = round(width), round(height)
        if not (wide > 0 and high > 0 and 0 <= left <= rgb.shape[1] - wide and 0 <= top <= rgb.shape[0] - high):
            raise InputError("the HEIF file is damaged: its crop lies outside the picture")
        return rgb[top : top + high, left : left + wide]


def _colour_planes(frame: av.VideoFrame) -> int:
    """Without alpha."""
    return 3 if len(frame.planes) > 2 else 1


def _plane(frame: av.VideoFrame, number: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8 | np.uint16]]:
    plane = frame.planes[number]
    kind = np.dtype(np.uint16 if frame.format.components[0].bits > 8 else np.uint8)
    rows = np.frombuffer(memoryview(plane), kind).reshape(plane.height, plane.line_size // kind.itemsize)
    return rows[:, : plane.width]
