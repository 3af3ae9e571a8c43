"""A file of EBML elements (RFC 8794) of which nothing is taken for granted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import BinaryIO

from sapiens_stream.errors import InputError

_AHEAD = 8192
"""Bytes read at a time: a frame's packet is some hundred."""


@dataclass(frozen=True)
class Header:
    """Where an element lies: its own place, that of its content, and its end; None where that is not known."""

    number: int
    at: int
    content: int
    end: int | None


class ElementFile:
    """Reads elements wherever they lie. Safe from several threads, and from processes that were forked since it was
    opened: where there is `pread`, neither a place in the file nor a lock is shared by any two. Raises InputError,
    nameless.

    The `file` is only read through its descriptor there; one with a buffer of Python's could not be closed in a process
    that was forked while a thread was reading into that.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = Lock()
        self._held = 0, b""
        self.size = os.fstat(file.fileno()).st_size

    def read(self, at: int, size: int) -> bytes:
        """Raises InputError where the file ends before."""
        data = self._up_to(at, size)
        if len(data) != size:
            raise InputError("the file is cut short")
        return data

    def _up_to(self, at: int, size: int) -> bytes:
        start, held = self._held  # at once, as any thread may put others in their place
        if not start <= at <= at + size <= start + len(held):
            start, held = at, self._from_disk(at, max(size, _AHEAD))
            if size < _AHEAD:
                self._held = start, held
        return held[at - start : at - start + size]

    def _from_disk(self, at: int, size: int) -> bytes:
        if not hasattr(os, "pread"):
            with self._lock:
                self._file.seek(at)
                return self._file.read(size)
        data = piece = os.pread(self._file.fileno(), size, at)
        while piece and len(data) < size:
            piece = os.pread(self._file.fileno(), size - len(data), at + len(data))
            data += piece
        return data

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

    def children(self, at: int, end: int) -> Iterator[Header]:
        """The elements between two places."""
        while at < end:
            head = self.header(at)
            if head.end is None or head.end > end:
                raise InputError("it is damaged")
            yield head
            at = head.end

    def within(self, part: Header) -> list[Header]:
        """The elements in one that is whole."""
        assert part.end is not None
        return list(self.children(part.content, part.end))

    def content(self, part: Header) -> bytes:
        """Its bytes."""
        assert part.end is not None
        return self.read(part.content, part.end - part.content)

    def number(self, part: Header) -> int:
        """An unsigned number that it holds."""
        if not is_number(part):
            raise InputError("it is damaged")
        return int.from_bytes(self.content(part))

    def text(self, part: Header) -> str:
        """A text that it holds."""
        return self.content(part).rstrip(b"\0").decode("utf-8", "replace")

    def vint(self, at: int) -> tuple[int, int]:
        """A number of variable length, and the bytes that it takes."""
        head = self._up_to(at, 8)
        length = _length(head[:1], 8)
        return int.from_bytes(head[:length]) & ((1 << 7 * length) - 1), length


def _length(first: bytes, most: int) -> int:
    """How many bytes a number of variable length takes, by its first."""
    length = 9 - first[0].bit_length() if first else 9
    if length > most:
        raise InputError("it is damaged" if first else "the file is cut short")
    return length


def is_number(part: Header) -> bool:
    """Whether an element has the size of a number."""
    return part.end is not None and part.end - part.content <= 8
