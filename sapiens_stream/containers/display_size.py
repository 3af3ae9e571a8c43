"""How large the pictures of a Matroska or WebM file are to be shown, said once FFmpeg has written it."""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

from sapiens_stream.containers import ebml
from sapiens_stream.containers.elements import ElementFile, Header
from sapiens_stream.errors import InputError

_SMALLEST_GAP = 9  # bytes
_TOLD_BEFORE = (ebml.DISPLAY_WIDTH, ebml.DISPLAY_HEIGHT, ebml.DISPLAY_UNIT)


def tell_display_size(path: Path, size: tuple[int, int]) -> None:
    """Writes (height, width), pixels, into the head of a finished file of FFmpeg's.

    Its muxer asks the stream for the shape of a pixel, which PyAV cannot tell it. The gap that it leaves behind its
    list of places becomes as much smaller, so that nothing behind the head moves; a file without one stays as it is.
    Raises OSError.
    """
    with path.open("r+b") as file, suppress(InputError):
        elements = ElementFile(file)
        begin, parts = _head(elements)
        kinds = [part.number for part in parts]
        if kinds[:2] != [ebml.SEEK_HEAD, ebml.VOID]:
            return
        places, gap, *between, tracks = parts
        told = _tracks(elements, tracks, size)
        more = len(told) - _length(tracks)
        left = _length(gap) - more
        if left >= _SMALLEST_GAP:
            moved = range(gap.at + _length(gap) - begin, tracks.at - begin + 1)
            same = b"".join(_whole(elements, part) for part in between)
            head = _places(elements, places, moved, more) + ebml.void(left) + same + told
            file.seek(places.at)
            file.write(head)


def _head(elements: ElementFile) -> tuple[int, list[Header]]:
    """Where the segment's content begins, and what stands there up to its tracks."""
    at = begin = elements.header(_length(elements.header(0))).content
    parts: list[Header] = []
    while not parts or parts[-1].number != ebml.TRACKS:
        parts.append(elements.header(at))
        at += _length(parts[-1])
    return begin, parts


def _tracks(elements: ElementFile, tracks: Header, size: tuple[int, int]) -> bytes:
    height, width = size
    displayed = ebml.number(ebml.DISPLAY_WIDTH, width) + ebml.number(ebml.DISPLAY_HEIGHT, height)

    def retold(part: Header) -> bytes:
        children = elements.within(part)
        if part.number == ebml.VIDEO:
            kept = [_whole(elements, child) for child in children if child.number not in _TOLD_BEFORE]
            return ebml.master(ebml.VIDEO, *kept, displayed)
        inner = (ebml.TRACK, ebml.VIDEO)
        return _master(elements, part, [retold(x) if x.number in inner else _whole(elements, x) for x in children])

    return retold(tracks)


def _places(elements: ElementFile, places: Header, moved: range, by: int) -> bytes:
    """The list of where the other parts are, of which those `moved` begin `by` bytes earlier."""

    def earlier(part: Header) -> bytes:
        if part.number != ebml.SEEK_POSITION:
            return _whole(elements, part)
        position = elements.number(part)
        size = _length(part) - (part.content - part.at)
        return ebml.element(part.number, (position - by if position in moved else position).to_bytes(size))

    def entry(part: Header) -> bytes:
        if part.number != ebml.SEEK:
            return _whole(elements, part)
        return ebml.master(part.number, *map(earlier, elements.within(part)))

    return _master(elements, places, [entry(part) for part in elements.within(places)])


def _master(elements: ElementFile, part: Header, children: list[bytes]) -> bytes:
    """The part with other children; its checksum, which is the first of them, made anew."""
    first = elements.header(part.content)
    if first.number != ebml.CRC32:
        return ebml.master(part.number, *children)
    content = b"".join(children[1:])
    return ebml.master(part.number, ebml.element(ebml.CRC32, zlib.crc32(content).to_bytes(4, "little")), content)


def _whole(elements: ElementFile, part: Header) -> bytes:
    return elements.read(part.at, _length(part))


def _length(part: Header) -> int:
    if part.end is None:
        raise InputError("its head has no end")
    return part.end - part.at
