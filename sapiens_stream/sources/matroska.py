"""Reading a Matroska file (RFC 9559) of which nothing is taken for granted: its head, and where its frames lie."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock
from typing import BinaryIO

from sapiens_stream.errors import InputError
from sapiens_stream.sources import ebml

_TOP_LEVEL = frozenset(
    {ebml.SEEK_HEAD, ebml.INFO, ebml.TRACKS, ebml.TAGS, ebml.CLUSTER, ebml.CUES, ebml.CHAPTERS, ebml.ATTACHMENTS}
)
_ANYWHERE = frozenset({ebml.VOID, ebml.CRC32})
_LARGEST_HEAD = 1 << 20  # bytes of an element that is read as a whole; a damaged file must not take all memory
_LACED = 0x06


@dataclass(frozen=True)
class Header:
    """Where an element lies: its own place, that of its content, and its end; None where that is not known."""

    number: int
    at: int
    content: int
    end: int | None


@dataclass(frozen=True)
class FrameBlock:
    """A frame in a file: its time in ticks, and where its data lies."""

    timestamp: int
    at: int
    size: int


@dataclass(kw_only=True)
class Layout:
    """What stands before the first cluster. `content` is where the segment's content begins, `end` where it ends."""

    content: int
    end: int
    first_cluster: int
    scale: int = 1_000_000
    muxing_app: str = ""
    track: int = 1
    codec: str = ""
    private: bytes = b""
    size: tuple[int, int] = (0, 0)
    frame_duration: int | None = None
    duration: float = 0.0
    """Ticks; 0 where it is not known."""
    cues: int | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def tick(self) -> Fraction:
        """Seconds."""
        return Fraction(self.scale, ebml.SECOND)


class MatroskaFile:
    """Reads a file of which nothing is taken for granted. Safe from several threads. Raises InputError, nameless."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = Lock()
        self.size = os.fstat(file.fileno()).st_size
        self.layout = self._read_layout()

    def read(self, at: int, size: int) -> bytes:
        """Raises InputError where the file ends before."""
        data = self._up_to(at, size)
        if len(data) != size:
            raise InputError("the file is cut short")
        return data

    def _up_to(self, at: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(at)
            return self._file.read(size)

    def header(self, at: int) -> Header:
        """The element that begins at a place."""
        head = self._up_to(at, 12)
        id_length = _length(head[:1], 4)
        size_length = _length(head[id_length : id_length + 1], 8)
        content = id_length + size_length
        if len(head) < content:
            raise InputError("the file is cut short")
        size = int.from_bytes(head[id_length:content]) & ((1 << 7 * size_length) - 1)
        unknown = size == (1 << 7 * size_length) - 1
        end = None if unknown else at + content + size
        return Header(int.from_bytes(head[:id_length]), at, at + content, end)

    def clusters(self, at: int) -> Iterator[Header]:
        """The clusters from a place on, as far as they are whole; other elements are passed over."""
        while at < self.layout.end:
            try:
                head = self.header(at)
            except InputError:
                return
            if head.number not in _TOP_LEVEL | _ANYWHERE or (head.end or at) > self.layout.end:
                return
            if head.number == ebml.CLUSTER:
                yield head
            at = self._end_of(head)

    def frames(self, cluster: Header) -> Iterator[FrameBlock]:
        """The frames of our track in a cluster."""
        timestamp = 0
        for child in self.children(cluster.content, self._end_of(cluster)):
            if child.number == ebml.TIMESTAMP:
                timestamp = self._number(child)
            elif child.number in (ebml.SIMPLE_BLOCK, ebml.BLOCK):
                if (found := self._frame(child, timestamp)) is not None:
                    yield found
            elif child.number == ebml.BLOCK_GROUP:
                for each in self.children(child.content, self._end_of(child)):
                    if each.number == ebml.BLOCK and (found := self._frame(each, timestamp)) is not None:
                        yield found

    def is_sound(self, cluster: Header) -> bool:
        """Whether a cluster is what its checksum says; true of one that has none."""
        first = self.header(cluster.content)
        if first.number != ebml.CRC32 or first.end is None or cluster.end is None:
            return True
        content = self.read(first.end, cluster.end - first.end)
        return zlib.crc32(content) == int.from_bytes(self.read(first.content, 4), "little")

    def children(self, at: int, end: int) -> Iterator[Header]:
        """The elements between two places."""
        while at < end:
            head = self.header(at)
            if head.end is None or head.end > end:
                raise InputError("it is damaged")
            yield head
            at = head.end

    def _end_of(self, head: Header) -> int:
        """Of a cluster of unknown length, the beginning of the next element that can't be in one."""
        if head.end is not None:
            return head.end
        at = head.content
        while at < self.layout.end:
            try:
                child = self.header(at)
            except InputError:
                break
            if child.number in _TOP_LEVEL or child.end is None:
                break
            at = child.end
        return at

    def _frame(self, block: Header, timestamp: int) -> FrameBlock | None:
        assert block.end is not None
        track, length = self._vint(block.content)
        at = block.content + length
        relative, flags = struct.unpack(">hB", self.read(at, 3))
        if track != self.layout.track:
            return None
        if flags & _LACED:
            raise InputError("it holds several frames in one block")
        return FrameBlock(timestamp + relative, at + 3, max(0, block.end - at - 3))

    def _read_layout(self) -> Layout:
        head = self.header(0)
        if head.number != ebml.EBML or head.end is None:
            raise InputError("it is not a Matroska file (.mkv)")
        segment = self.header(head.end)
        if segment.number != ebml.SEGMENT:
            raise InputError("it is not a Matroska file (.mkv)")
        # A growing file, or one cut short, says nothing of its end, or too much.
        end = self.size if segment.end is None else min(segment.end, self.size)
        layout = Layout(content=segment.content, end=end, first_cluster=end)
        at = segment.content
        try:
            while at < end:
                child = self.header(at)
                if child.number == ebml.CLUSTER:
                    layout.first_cluster = at
                    break
                if child.end is None or child.end > end:
                    raise InputError("the file is cut short")
                self._take(layout, child)
                at = child.end
        except InputError:
            if not layout.codec:
                raise
        if layout.cues is not None:
            self._take_late_tags(layout)
        return layout

    def _take(self, layout: Layout, part: Header) -> None:
        assert part.end is not None
        if (
            part.number in (ebml.INFO, ebml.TRACKS, ebml.TAGS, ebml.SEEK_HEAD)
            and part.end - part.content > _LARGEST_HEAD
        ):
            raise InputError(f"its head takes {part.end - part.content} bytes")
        if part.number == ebml.INFO:
            for child in self._within(part):
                if child.number == ebml.TIMESTAMP_SCALE:
                    layout.scale = max(1, self._number(child))
                elif child.number == ebml.DURATION and child.end == child.content + 8:
                    layout.duration = struct.unpack(">d", self._content(child))[0]
                elif child.number == ebml.MUXING_APP:
                    layout.muxing_app = self._text(child)
        elif part.number == ebml.TRACKS:
            self._take_track(layout, part)
        elif part.number == ebml.TAGS:
            self._take_tags(layout, part)
        elif part.number == ebml.SEEK_HEAD:
            self._take_places(layout, part)
        elif part.number == ebml.CUES:
            layout.cues = part.at

    def _take_track(self, layout: Layout, tracks: Header) -> None:
        for track in self._within(tracks):
            if track.number != ebml.TRACK:
                continue
            found = {child.number: child for child in self._within(track)}
            if ebml.TRACK_TYPE not in found or self._number(found[ebml.TRACK_TYPE]) != 1 or ebml.VIDEO not in found:
                continue
            video = {
                child.number: self._number(child) for child in self._within(found[ebml.VIDEO]) if _is_number(child)
            }
            layout.size = (video.get(ebml.PIXEL_HEIGHT, 0), video.get(ebml.PIXEL_WIDTH, 0))
            layout.track = self._number(found[ebml.TRACK_NUMBER]) if ebml.TRACK_NUMBER in found else 1
            layout.codec = self._text(found[ebml.CODEC_ID]) if ebml.CODEC_ID in found else ""
            if ebml.CODEC_PRIVATE in found:
                layout.private = self._content(found[ebml.CODEC_PRIVATE])
            if ebml.DEFAULT_DURATION in found:
                layout.frame_duration = self._number(found[ebml.DEFAULT_DURATION])
            return

    def _take_tags(self, layout: Layout, tags: Header) -> None:
        for tag in self._within(tags):
            for child in self._within(tag) if tag.number == ebml.TAG else ():
                if child.number == ebml.SIMPLE_TAG:
                    found = {each.number: each for each in self._within(child)}
                    if ebml.TAG_NAME in found and ebml.TAG_STRING in found:
                        layout.tags.setdefault(
                            self._text(found[ebml.TAG_NAME]).upper(), self._text(found[ebml.TAG_STRING])
                        )

    def _take_places(self, layout: Layout, seek_head: Header) -> None:
        for seek in self._within(seek_head):
            found = {child.number: child for child in self._within(seek)} if seek.number == ebml.SEEK else {}
            if ebml.SEEK_ID in found and ebml.SEEK_POSITION in found and self._number(found[ebml.SEEK_ID]) == ebml.CUES:
                layout.cues = layout.content + self._number(found[ebml.SEEK_POSITION])

    def _take_late_tags(self, layout: Layout) -> None:
        """FFmpeg puts them behind the cues."""
        assert layout.cues is not None
        if layout.tags or not layout.first_cluster < layout.cues < layout.end:
            return
        try:
            for part in self.children(layout.cues, layout.end):
                if part.number == ebml.TAGS:
                    self._take(layout, part)
        except InputError:
            return  # they are there for the names of the classes alone

    def _within(self, part: Header) -> list[Header]:
        assert part.end is not None
        return list(self.children(part.content, part.end))

    def _content(self, part: Header) -> bytes:
        assert part.end is not None
        return self.read(part.content, part.end - part.content)

    def _number(self, part: Header) -> int:
        if not _is_number(part):
            raise InputError("it is damaged")
        return int.from_bytes(self._content(part))

    def _text(self, part: Header) -> str:
        return self._content(part).rstrip(b"\0").decode("utf-8", "replace")

    def _vint(self, at: int) -> tuple[int, int]:
        head = self._up_to(at, 8)
        length = _length(head[:1], 8)
        return int.from_bytes(head[:length]) & ((1 << 7 * length) - 1), length


def _length(first: bytes, most: int) -> int:
    """How many bytes a number of variable length takes, by its first."""
    length = 9 - first[0].bit_length() if first else 9
    if length > most:
        raise InputError("it is damaged" if first else "the file is cut short")
    return length


def _is_number(part: Header) -> bool:
    return part.end is not None and part.end - part.content <= 8
