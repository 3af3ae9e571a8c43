"""The boxes of a HEIF file (HEIC, AVIF): which pictures it holds, and what is to be done to show the primary one.

ISO/IEC 23008-12 (HEIF), on top of ISO/IEC 14496-12 (boxes). The content is untrusted: nothing is read beyond its end,
and whatever does not add up is an InputError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sapiens_stream.errors import InputError

MAX_ITEMS = 70_000  # a grid of 256 x 256 tiles, and what belongs to it


@dataclass(frozen=True)
class Property:
    """Something said of an item: its box's type and content."""

    kind: bytes
    content: bytes


@dataclass
class Item:
    """A picture, or a rule by which one is made of others."""

    kind: bytes = b""
    extents: list[tuple[int, int]] = field(default_factory=list)
    """(offset, length) in the file, or in the file's own `idat` box."""
    in_idat: bool = False
    properties: list[Property] = field(default_factory=list)
    made_of: list[int] = field(default_factory=list)
    """The items that a derived one is made of, in order."""

    def property(self, kind: bytes) -> bytes | None:
        """The content of the first property of that kind."""
        return next((each.content for each in self.properties if each.kind == kind), None)


class HeifFile:
    """The items of a file. Raises InputError where its boxes make no sense, or hold no picture."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._idat = b""
        self.items: dict[int, Item] = {}
        self.primary = 0
        meta = next((box for kind, box in _boxes(content) if kind == b"meta"), None)
        if meta is None:
            sequence = any(kind == b"moov" for kind, _ in _boxes(content))
            raise InputError("it holds a video, not a photo" if sequence else "the HEIF file is cut short or damaged")
        try:
            self._read_meta(_Reader(meta, 4))
        except IndexError:
            raise InputError("the HEIF file is damaged") from None
        if self.primary not in self.items:
            raise InputError("the HEIF file is damaged: its primary picture is missing")

    def data(self, item: Item) -> bytes:
        """The coded data of an item. Raises InputError where the file ends before it does."""
        source = self._idat if item.in_idat else self._content
        parts = []
        left = len(source)  # no honest item is longer than what holds it, however its extents overlap
        for offset, length in item.extents:
            length = length or len(source) - offset
            left -= length
            if offset + length > len(source) or left < 0:
                raise InputError("the HEIF file is cut short")
            parts.append(source[offset : offset + length])
        return b"".join(parts)

    def _item(self, number: int) -> Item:
        if len(self.items) > MAX_ITEMS:
            raise InputError(f"the HEIF file holds more than {MAX_ITEMS} items")
        return self.items.setdefault(number, Item())

    def _read_meta(self, meta: _Reader) -> None:
        found = dict(_boxes(meta.rest()))
        self._idat = found.get(b"idat", b"")
        if b"pitm" in found:
            reader = _Reader(found[b"pitm"])
            self.primary = reader.number(2 if reader.version() == 0 else 4)
        self._read_kinds(_Reader(found.get(b"iinf", bytes(6))))
        self._read_locations(_Reader(found.get(b"iloc", bytes(8))))
        self._read_references(_Reader(found.get(b"iref", bytes(4))))
        self._read_properties(found.get(b"iprp", b""))

    def _read_kinds(self, iinf: _Reader) -> None:
        iinf.number(2 if iinf.version() == 0 else 4)
        for kind, box in _boxes(iinf.rest()):
            if kind != b"infe":
                continue
            reader = _Reader(box)
            if (version := reader.version()) < 2:
                continue
            item = self._item(reader.number(2 if version == 2 else 4))
            reader.number(2)  # protection
            item.kind = reader.take(4)

    def _read_locations(self, iloc: _Reader) -> None:
        version = iloc.version()
        sizes = iloc.number(2)
        offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        for _ in range(iloc.number(2 if version < 2 else 4)):
            item = self._item(iloc.number(2 if version < 2 else 4))
            method = iloc.number(2) & 15 if version else 0
            item.in_idat = method == 1
            iloc.number(2)  # the data's file: 0, this one
            base = iloc.number(base_size)
            extents = []
            for _ in range(iloc.number(2)):
                if version:
                    iloc.number(index_size)
                offset = iloc.number(offset_size)
                extents.append((base + offset, iloc.number(length_size)))
            if method < 2:  # 2 is a part of another item's data, which no camera writes
                item.extents = extents

    def _read_references(self, iref: _Reader) -> None:
        size = 2 if iref.version() == 0 else 4
        for kind, box in _boxes(iref.rest()):
            if kind == b"dimg":
                reader = _Reader(box)
                item = self._item(reader.number(size))
                item.made_of = [reader.number(size) for _ in range(reader.number(2))]

    def _read_properties(self, iprp: bytes) -> None:
        known: list[Property] = []
        for kind, box in _boxes(iprp):
            if kind == b"ipco":
                known = [Property(*each) for each in _boxes(box)]
        for kind, box in _boxes(iprp):
            if kind != b"ipma":
                continue
            reader = _Reader(box)
            version, wide = reader.version(), bool(box[3] & 1)
            for _ in range(reader.number(4)):
                item = self._item(reader.number(2 if version < 1 else 4))
                for _ in range(reader.number(1)):
                    index = reader.number(2 if wide else 1) & (0x7FFF if wide else 0x7F)
                    if 0 < index <= len(known):
                        item.properties.append(known[index - 1])


class _Reader:
    """Big-endian numbers one after the other; IndexError where the content ends before them."""

    def __init__(self, content: bytes, at: int = 0) -> None:
        self._content = content
        self._at = at

    def take(self, count: int) -> bytes:
        self._at += count
        if self._at > len(self._content):
            raise IndexError
        return self._content[self._at - count : self._at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def version(self) -> int:
        """Of a full box, whose flags are passed over."""
        return self.number(4) >> 24

    def rest(self) -> bytes:
        return self._content[self._at :]


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each box, up to the first whose size makes no sense; a last one may be cut."""
    at = 0
    while at + 8 <= len(content):
        size, head = int.from_bytes(content[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        size = size or len(content) - at
        if size < head:
            return
        yield content[at + 4 : at + 8], content[at + head : at + size]
        at += size
