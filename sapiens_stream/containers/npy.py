"""The head of a `.npy` file, read as the text that NumPy writes: NumPy itself evaluates it as Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

_START = b"\x93NUMPY\x01\x00"
_HEAD = re.compile(
    rb"\{'descr': '([|<>][biuf]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,10}, ?)*(?:\d{1,10})?)\), \}\s*"
)


@dataclass(frozen=True)
class NpyHead:
    """What a `.npy` holds after its head; `by_columns` is Fortran's order."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool


def read_npy_head(file: BinaryIO) -> NpyHead:
    """Reads up to where the array begins. Raises ValueError, in one line, for anything but numbers as NumPy saves them.

    A damaged text makes NumPy's own reader raise what its parts raise, such as `tokenize.TokenError`.
    """
    if file.read(len(_START)) != _START:
        raise ValueError("it does not begin as a .npy does")
    text = file.read(int.from_bytes(file.read(2), "little"))
    if (found := _HEAD.fullmatch(text)) is None:
        raise ValueError("its head is damaged")
    kind, by_columns, shape = found.groups()
    try:
        dtype = np.dtype(kind.decode())
    except TypeError as error:
        raise ValueError(f"of {kind.decode()} there are no numbers") from error
    return NpyHead(dtype, tuple(map(int, re.findall(rb"\d+", shape))), by_columns == b"True")
