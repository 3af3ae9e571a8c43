"""Whether a result is whole: written to its end, and not what a power cut makes of it."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import BinaryIO

from sapiens_stream.containers.npy import read_npy_head

_TAIL = 16
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"


def is_whole(path: Path) -> bool:
    """Of a `.npy` its length is that of its array; a PNG, JPEG or JSON ends as it must; a BMP is as long as it says."""
    try:
        if path.is_symlink():
            return False
        with path.open("rb") as file:
            return _is_whole(file, path.suffix.lower(), os.fstat(file.fileno()).st_size)
    except (OSError, ValueError):
        return False


def _is_whole(file: BinaryIO, kind: str, size: int) -> bool:
    if kind == ".npy":
        head = read_npy_head(file)
        return size - file.tell() == prod(head.shape) * head.dtype.itemsize
    if kind == ".bmp":
        return int.from_bytes(file.read(6)[2:], "little") == size
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    if kind == ".png":
        return tail.endswith(_PNG_END)
    if kind in (".jpg", ".jpeg"):
        return tail.endswith(_JPEG_END)
    if kind == ".json":
        return tail.rstrip().endswith(b"}")
    return size > 0
