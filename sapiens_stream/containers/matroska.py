"""Where the frames of a Matroska file (RFC 9559) lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from sapiens_stream.containers import ebml
from sapiens_stream.containers.elements import ElementFile, Header
from sapiens_stream.containers.matroska_head import read_layout
from sapiens_stream.errors import InputError

_TOP_LEVEL = frozenset(
    {ebml.SEEK_HEAD, ebml.INFO, ebml.TRACKS, ebml.TAGS, ebml.CLUSTER, ebml.CUES, ebml.CHAPTERS, ebml.ATTACHMENTS}
)
_ANYWHERE = frozenset({ebml.VOID, ebml.CRC32})
_LACED = 0x06


@dataclass(frozen=True)
class FrameBlock:
    """A frame in a file: its time in ticks, and where its data lies."""

    timestamp: int
    at: int
    size: int


class MatroskaFile(ElementFile):
    """Reads a file of which nothing is taken for granted. Safe from several threads. Raises InputError, nameless."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.layout = read_layout(self)

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
                timestamp = self.number(child)
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
        track, length = self.vint(block.content)
        at = block.content + length
        relative, flags = struct.unpack(">hB", self.read(at, 3))
        if track != self.layout.track:
            return None
        if flags & _LACED:
            raise InputError("it holds several frames in one block")
        return FrameBlock(timestamp + relative, at + 3, max(0, block.end - at - 3))
