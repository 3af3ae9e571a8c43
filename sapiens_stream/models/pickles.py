"""Pickles read as data: containers, numbers, and where tensors lie. Nothing that a file names is imported or called."""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import mmap
from pickle import UnpicklingError
from typing import IO, Any, cast

_TYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
_KEYS = (str, int, float, bytes, type(None))
_MOST_STEPS = 1 << 21  # a second each 700,000; a checkpoint with all that a training keeps takes some 100,000


@dataclass(frozen=True)
class StorageAt:
    """Numbers that lie beside the pickle, under `key`; `dtype` is torch's name of their type."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class TensorAt:
    """A tensor in such a storage; `offset` and `stride` count numbers."""

    storage: StorageAt
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Inert:
    """Stands for an object of any other class, and for the result of any function: holds the attributes it is given."""


@dataclass(frozen=True)
class _Global:
    """A name that the pickle mentions."""

    name: str


def read_pickle(file: bytes | IO[bytes] | mmap, mentioned: list[StorageAt | TensorAt] | None = None) -> Any:
    """The value of a pickle as torch writes them; of several in one file, that of the next.

    The storages and tensors that it mentions anywhere are added to `mentioned`.

    Tensors are `TensorAt`, all else but plain containers is `Inert`, and so are keys of a dict that are no plain value,
    since hashing them can take for ever. Takes no more memory than the pickle's length asks for, and a few seconds at
    most. Raises UnpicklingError or another exception where it is damaged.
    """
    machine = _Machine([] if mentioned is None else mentioned)
    for count, (opcode, argument, _position) in enumerate(pickletools.genops(cast(IO[bytes], file))):
        if opcode.name == "STOP":
            return machine.stack.pop()
        if count == _MOST_STEPS:
            raise UnpicklingError(f"a pickle of more than {_MOST_STEPS} steps")
        machine.step(opcode.name, argument)
    raise UnpicklingError("a pickle without an end")


def is_plain(value: Any) -> bool:
    """Whether a pickle's value is of tensors, numbers and containers alone."""
    parts, seen = [value], set()  # which may hold one another, many times over
    while parts:
        part = parts.pop()
        if isinstance(part, Inert):
            return False
        if id(part) in seen:
            continue
        seen.add(id(part))
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ()
    return True


class _Machine:
    """What pickle's own machine does, without its ways to reach code."""

    def __init__(self, mentioned: list[StorageAt | TensorAt]) -> None:
        self.stack: list[Any] = []
        self._mentioned = mentioned
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marked.append(stack)
                self.stack = []
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._wrap(int(name[-1]))
            case "TUPLE" | "FROZENSET":
                items = self._since_mark()
                self.stack.append(tuple(items))
            case "LIST":
                items = self._since_mark()
                self.stack.append(items)
            case "DICT":
                items = self._since_mark()
                self.stack.append({})
                self._set(items)
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS" | "ADDITEMS":
                self._extend(self._since_mark())
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set([key, value])
            case "SETITEMS":
                self._set(self._since_mark())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(_Global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                last, first = stack.pop(), stack.pop()
                stack.append(_Global(f"{first}.{last}"))
            case "PERSID" | "BINPERSID":
                self._mentioned.append(_storage(stack.pop() if name == "BINPERSID" else argument))
                stack.append(self._mentioned[-1])
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_result(function, arguments))
                if isinstance(stack[-1], TensorAt):
                    self._mentioned.append(stack[-1])
            case "NEWOBJ_EX":
                del stack[-3:]
                stack.append(Inert())
            case "INST" | "OBJ":
                self._since_mark()
                self.stack.append(Inert())
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Inert) and isinstance(state, dict):
                    vars(stack[-1]).update({key: value for key, value in state.items() if isinstance(key, str)})
            case _:
                self._plain(name, argument)

    def _plain(self, name: str, argument: Any) -> None:
        if not isinstance(argument, (str, int, float, bytes)) and name != "NONE":
            raise UnpicklingError(f"the opcode {name} in a pickle of weights")
        self.stack.append(argument)

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._marked.pop()
        return items

    def _wrap(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise UnpicklingError("a tuple of more than there is")
        del self.stack[-count:]
        self.stack.append(items)

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[key if isinstance(key, _KEYS) else Inert()] = value


def _storage(told: Any) -> StorageAt:
    kind, type_, key, _device, count, *view = told
    dtype = (
        _TYPES.get(type_.name.removeprefix("torch.").removesuffix("Storage")) if isinstance(type_, _Global) else None
    )
    if kind != "storage" or dtype is None or (view and view[0] is not None):
        raise UnpicklingError("a storage of no numbers")
    if not isinstance(key, (str, int)) or not isinstance(count, int):
        raise UnpicklingError("a storage without name or length")
    return StorageAt(str(key), dtype, count)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> TensorAt:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, StorageAt) or not all(type(each) is int and each >= 0 for each in numbers):
        raise UnpicklingError("an impossible tensor")
    return TensorAt(storage, offset, tuple(size), tuple(stride))


_KNOWN: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda items=(): dict(items),
    "torch.Size": lambda items=(): tuple(items),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_rest: tensor,
    "torch.jit._pickle.restore_type_tag": lambda value, _tag: value,
}


def _result(function: Any, arguments: Any) -> Any:
    known = _KNOWN.get(function.name) if isinstance(function, _Global) else None
    if known is None:
        return Inert()
    if not isinstance(arguments, tuple):
        raise UnpicklingError(f"{function.name} without its arguments")
    return known(*arguments)
