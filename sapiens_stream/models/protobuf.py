"""Protocol Buffers messages, read field by field from the bytes that they lie in."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Value = int | memoryview

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def fields(data: memoryview, *, cut: bool = False) -> Iterator[tuple[int, Value]]:
    """(field number, value) in order: numbers as they are stored, else the bytes, which are not copied.

    With `cut`, the data is the beginning of a message: a value that reaches beyond it ends there. Raises ValueError for
    what is no message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number < 1:
            raise ValueError("a field without a number")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if wire == _EIGHT_BYTES else 4
            if at + size > len(data):
                raise ValueError("a number that is cut short")
            yield number, struct.unpack_from("<Q" if size == 8 else "<I", data, at)[0]
            at += size
        elif wire == _LENGTH:
            size, at = _varint(data, at)
            if at + size > len(data) and not cut:
                raise ValueError(f"a field of {size} bytes where {len(data) - at} are left")
            yield number, data[at : at + size]
            at += size
        else:
            raise ValueError(f"a field of the type {wire}")


def varints(data: memoryview) -> Iterator[int]:
    """Numbers packed one after another. Raises ValueError."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def signed(value: int) -> int:
    """A stored number as an int64."""
    return value - (1 << 64) if value >= 1 << 63 else value


def text(value: Value) -> str:
    """Raises ValueError for what is no text."""
    if isinstance(value, int):
        raise ValueError("a number for a text")
    return str(value, "utf-8")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a number that is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
    raise ValueError("a number of more than ten bytes")
