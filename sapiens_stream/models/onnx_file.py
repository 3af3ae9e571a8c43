"""ONNX files read as data: what they take and return, and whether onnxruntime may be given them.

An ONNX file is a Protocol Buffers message (onnx/onnx.proto); the numbers below are that file's field numbers. It is
read here, without a library, so that nothing of the file is believed before it is checked.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sapiens_stream.errors import ModelError, cause
from sapiens_stream.models.manifest import Manifest, manifest_of
from sapiens_stream.models.protobuf import fields, signed, text, varints

MOST_NODES = 1 << 17
"""Once the functions of the file are written out; the largest published network has a tenth."""
DEEPEST = 16
"""Graphs within graphs."""

ITEM_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16}
ITEM_BITS |= dict.fromkeys((17, 18, 19, 20), 8) | dict.fromkeys((21, 22), 4)
"""Bits a number of each type that TensorProto counts."""
TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
"""Of floating point."""
_OWN_DOMAINS = ("", "ai.onnx")
_UNBOUNDED = ("Loop", "Scan", "SequenceMap")

Dims = tuple[int | None, ...]
"""Of a tensor; None where a length is free."""


@dataclass(frozen=True)
class Value:
    """An input or output of the graph; `type` as TensorProto counts them."""

    name: str
    type: int
    dims: Dims


@dataclass(frozen=True)
class Initializer:
    """Numbers that are in the file, or beside it."""

    name: str
    type: int
    dims: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """What a file says of itself. `beside` are files with its numbers, `refusal` is why it is not run untrusted."""

    inputs: Sequence[Value]
    outputs: Sequence[Value]
    initializers: Sequence[Initializer]
    beside: Sequence[Path]
    manifest: Manifest | None
    refusal: str | None


def looks_like_onnx(head: bytes) -> bool:
    """Whether a file begins as an ONNX model does: with its version, or with who wrote it."""
    try:
        number, value = next(iter(fields(memoryview(head), cut=True)))
    except (ValueError, StopIteration):
        return False
    if number == 1:
        return isinstance(value, int) and 1 <= value <= 64
    return number in (2, 8, 7) and not isinstance(value, int)


def read_onnx(path: Path) -> OnnxFile:
    """Reads a file's structure; nothing is run. Raises ModelError, in one line that names it."""
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return _Reader(path).model(data)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {cause(error)}") from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise ModelError(f"{path} is a damaged ONNX file: {cause(error)}") from error


class _Reader:
    """Goes through a model once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent
        self._beside: dict[Path, int] = {}
        self._refusal: str | None = None
        self._functions: dict[tuple[str, str], list[memoryview]] = {}
        self._sizes: dict[tuple[str, str], int] = {}

    def model(self, data: memoryview) -> OnnxFile:
        graphs: list[memoryview] = []
        told: dict[str, str] = {}
        functions = []
        versions = 0
        for number, value in fields(data):
            if number == 7:
                graphs.append(_bytes(value))
            elif number == 14:
                name, said = _pair(_bytes(value))
                told[name] = said
            elif number == 8:
                versions += 1
            elif number == 25:
                functions.append(_bytes(value))
        if len(graphs) != 1:
            raise ValueError(f"{len(graphs)} graphs")
        if not versions:
            raise ValueError("no version of its operators")
        for each in functions:
            self._function(each)
        inputs, outputs, initializers, nodes = self._graph(graphs[0], 0)
        if nodes > MOST_NODES:
            self._refuse(f"more than {MOST_NODES} operators")
        own = {each.name for each in initializers}
        return OnnxFile(
            inputs=[each for each in inputs if each.name not in own],
            outputs=outputs,
            initializers=initializers,
            beside=list(self._beside),
            manifest=manifest_of(self._path, told) if "mean" in told and "std" in told else None,
            refusal=self._refusal,
        )

    def _refuse(self, what: str) -> None:
        self._refusal = self._refusal or what

    def _function(self, data: memoryview) -> None:
        """Notes a function of the file's own, which operators may then go by."""
        name = domain = ""
        nodes: list[memoryview] = []
        for number, value in fields(data):
            if number == 1:
                name = text(value)
            elif number == 7:
                nodes.append(_bytes(value))
            elif number == 10:
                domain = text(value)
        self._functions[domain, name] = nodes

    def _graph(self, data: memoryview, depth: int) -> tuple[list[Value], list[Value], list[Initializer], int]:
        """Inputs, outputs, numbers, and how many operators there are."""
        if depth > DEEPEST:
            raise ValueError("graphs within graphs without an end")
        inputs: list[Value] = []
        outputs: list[Value] = []
        initializers: list[Initializer] = []
        nodes = 0
        for number, value in fields(data):
            if number == 1:
                nodes += self._node(_bytes(value), depth)
            elif number == 5:
                initializers.append(self._tensor(_bytes(value)))
            elif number == 11:
                inputs.append(_value(_bytes(value)))
            elif number == 12:
                outputs.append(_value(_bytes(value)))
            elif number == 15:
                self._refuse("sparse tensors, which may be of any size")
        return inputs, outputs, initializers, nodes

    def _node(self, data: memoryview, depth: int) -> int:
        """Checks an operator; how many it is once functions are written out."""
        kind = domain = ""
        nodes = 1
        for number, value in fields(data):
            if number == 4:
                kind = text(value)
            elif number == 7:
                domain = text(value)
            elif number == 5:
                nodes += self._attribute(_bytes(value), depth)
        if (domain, kind) in self._functions:
            return nodes + self._function_size((domain, kind), depth)
        if domain not in _OWN_DOMAINS:
            self._refuse(f"the operator {kind} of the domain {domain}, which is none of ONNX's own"[:200])
        elif kind in _UNBOUNDED:
            self._refuse(f"{kind}, a loop whose end is not known")
        return nodes

    def _function_size(self, key: tuple[str, str], depth: int) -> int:
        if key not in self._sizes:
            if depth > DEEPEST:
                raise ValueError(f"the function {key[1]}, which calls itself")
            self._sizes[key] = sum(self._node(each, depth + 1) for each in self._functions[key])
        return self._sizes[key]

    def _attribute(self, data: memoryview, depth: int) -> int:
        """Checks an operator's attribute; the operators within it are counted."""
        nodes = 0
        for number, value in fields(data):
            if number in (5, 10):
                self._tensor(_bytes(value))
            elif number in (6, 11):
                nodes += self._graph(_bytes(value), depth + 1)[3]
            elif number in (22, 23):
                self._refuse("sparse tensors, which may be of any size")
        return nodes

    def _tensor(self, data: memoryview) -> Initializer:
        """Raises ValueError where its size is more than its numbers."""
        dims: list[int] = []
        kind = held = 0
        raw: int | None = None
        name = ""
        outside: dict[str, str] = {}
        for number, value in fields(data):
            if number == 1:
                dims += [signed(each) for each in ([value] if isinstance(value, int) else varints(value))]
            elif number == 2:
                kind = int(value) if isinstance(value, int) else 0
            elif number == 8:
                name = text(value)
            elif number == 9:
                raw = len(_bytes(value))
            elif number in (4, 5, 6, 7, 10, 11):  # numbers of each type, packed or one by one
                held += 8 if isinstance(value, int) else len(value)
            elif number == 13:
                key, said = _pair(_bytes(value))
                outside[key] = said
        if any(each < 0 for each in dims) or len(dims) > 64:
            raise ValueError(f"a tensor of {'x'.join(map(str, dims))[:80]}")
        count = math.prod(dims)
        bits = ITEM_BITS.get(kind)
        if outside:
            self._external(outside, count * (bits or 8))
        elif raw is not None:
            if bits is None or (count * bits + 7) // 8 != raw:
                raise ValueError(f"a tensor of {'x'.join(map(str, dims))[:80]} in {raw} bytes")
        elif count > 2 * held:
            raise ValueError(f"a tensor of {'x'.join(map(str, dims))[:80]} without as many numbers")
        return Initializer(name, kind, tuple(dims))

    def _external(self, said: dict[str, str], bits: int) -> None:
        """Checks the file beside the model that holds a tensor's numbers. Raises ModelError where there can be none."""
        location = said.get("location", "")
        shown = repr(location[:120])
        path = self._folder / location
        inside = path.resolve().is_relative_to(self._folder.resolve()) and not PurePosixPath(location).is_absolute()
        if not location or "\0" in location or ".." in Path(location).parts or not inside:
            raise ModelError(f"{self._path} keeps its numbers in {shown}, outside of its own folder; that is not read")
        if path not in self._beside:
            if not path.is_file():
                raise ModelError(f"{self._path} keeps its numbers in {shown}, which is not beside it; fetch that too")
            self._beside[path] = path.stat().st_size
        offset, length = int(said.get("offset", "0")), (bits + 7) // 8
        if offset < 0 or offset + length > self._beside[path] or int(said.get("length", str(length))) != length:
            raise ModelError(f"{self._path} takes {length} bytes from {offset} on of {shown}, which is cut short")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where there is more")
    return value


def _pair(data: memoryview) -> tuple[str, str]:
    """A name and what it stands for."""
    said = {number: text(value) for number, value in fields(data) if number in (1, 2)}
    return said.get(1, ""), said.get(2, "")


def _value(data: memoryview) -> Value:
    name, kind = "", 0
    dims: list[int | None] = []
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            for _, tensor in (each for each in fields(_bytes(value)) if each[0] == 1):
                for part, inner in fields(_bytes(tensor)):
                    if part == 1 and isinstance(inner, int):
                        kind = inner
                    elif part == 2:
                        dims = [_length(_bytes(dim)) for each, dim in fields(_bytes(inner)) if each == 1]
    return Value(name, kind, tuple(dims))


def _length(data: memoryview) -> int | None:
    """Of a dimension; None where it is free."""
    for number, value in fields(data):
        if number == 1 and isinstance(value, int) and 1 <= value < 1 << 31:
            return value
    return None
