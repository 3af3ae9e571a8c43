"""ONNX graphs written node by node, without the `onnx` package, which is large and which only exporters need.

An ONNX file is a Protocol Buffers message (onnx/onnx.proto); what is written here is the little of it that a
convolutional network takes. The numbers in `_message` calls are that file's field numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

OPSET = 17
IR_VERSION = 8
"""The format's version that came with the opset."""

Attribute = int | float | str | Sequence[int]
Shape = Sequence[int | str]
"""Sizes; a name stands for one that may vary."""

_TENSOR_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers as two's complement
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _message(*fields: tuple[int, int | float | str | bytes]) -> bytes:
    """(field number, value) in order: integers as varints, floats in 32 bits, text and messages with their length."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3), _varint(value)]
        elif isinstance(value, float):
            parts += [_varint(number << 3 | 5), struct.pack("<f", value)]
        else:
            content = value.encode() if isinstance(value, str) else value
            parts += [_varint(number << 3 | 2), _varint(len(content)), content]
    return b"".join(parts)


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, float):
        return _message((1, name), (2, value), (20, 1))
    if isinstance(value, int):
        return _message((1, name), (3, value), (20, 2))
    if isinstance(value, str):
        return _message((1, name), (4, value), (20, 3))
    return _message((1, name), *((8, each) for each in value), (20, 7))


def _value(name: str, shape: Shape) -> bytes:
    """A float32 input or output of the graph."""
    sizes = (_message((2, size) if isinstance(size, str) else (1, size)) for size in shape)
    tensor = _message((1, 1), (2, _message(*((1, size) for size in sizes))))
    return _message((1, name), (2, _message((1, tensor))))


class Graph:
    """A graph in the making; each call that adds a node returns the name of its result."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, array: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> str:
        name = f"c{len(self._constants)}"
        dims = [(1, size) for size in array.shape]
        raw = np.ascontiguousarray(array).tobytes()
        self._constants.append(_message(*dims, (2, _TENSOR_TYPES[array.dtype]), (8, name), (9, raw)))
        return name

    def node(self, op: str, *inputs: str, **attributes: Attribute) -> str:
        """A node of one result; an empty name stands for an input that is left out."""
        name = f"n{len(self._nodes)}"
        written = ((5, _attribute(*each)) for each in attributes.items())
        self._nodes.append(_message(*((1, each) for each in inputs), (2, name), (4, op), *written))
        return name

    def finished(self, given: str, given_shape: Shape, result: str, result_shape: Shape) -> bytes:
        """The file: a graph from one float32 tensor to another."""
        graph = _message(
            *((1, node) for node in self._nodes),
            (2, "graph"),
            *((5, constant) for constant in self._constants),
            (11, _value(given, given_shape)),
            (12, _value(result, result_shape)),
        )
        opset = _message((1, ""), (2, OPSET))
        return _message((1, IR_VERSION), (2, "sapiens-stream"), (7, graph), (8, opset))
