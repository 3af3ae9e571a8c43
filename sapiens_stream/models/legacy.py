"""Checkpoints of torch before 1.6: a row of pickles, then the numbers, in no archive."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sapiens_stream.models.archive import Allowance
from sapiens_stream.models.pickles import StorageAt, TensorAt, is_plain, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT = 8  # bytes before a storage's numbers, which count them


def read_legacy(path: Path) -> tuple[Any, Callable[[TensorAt], torch.Tensor]]:
    """What the file holds, None if it is more than tensors and containers, and what makes its tensors.

    Raises what `read_pickle` does, ValueError and others where the file is damaged.
    """
    with path.open("rb") as opened:
        file = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    mentioned: list[StorageAt | TensorAt] = []
    if read_pickle(file) != _MAGIC or read_pickle(file) != _PROTOCOL:
        return None, _no_tensor
    read_pickle(file)  # of the machine that wrote it
    content = read_pickle(file, mentioned)
    if not is_plain(content):
        return None, _no_tensor
    storages = _storages(
        memoryview(file),
        read_pickle(file),
        file.tell(),
        {each.key: each for each in mentioned if isinstance(each, StorageAt)},
    )
    allowance = Allowance(len(file))

    def tensor_at(place: TensorAt) -> torch.Tensor:
        storage = storages[place.storage.key]
        if storage.dtype != getattr(torch, place.storage.dtype):
            raise ValueError(f"numbers that are {storage.dtype} and {place.storage.dtype}")
        allowance.take(place.size, len(storage), storage.itemsize)
        return storage.as_strided(place.size, place.stride, place.offset)

    return content, tensor_at


def _storages(data: memoryview, keys: Any, at: int, mentioned: dict[str, StorageAt]) -> dict[str, torch.Tensor]:
    """The numbers, which lie one storage after the other from `at` on, aligned to nothing: they are copied."""
    storages: dict[str, torch.Tensor] = {}
    for key in map(str, keys):
        dtype = getattr(torch, mentioned[key].dtype)
        count = int.from_bytes(data[at : at + _COUNT], "little")
        start, at = at + _COUNT, at + _COUNT + count * dtype.itemsize
        if at > len(data) or key in storages:
            raise ValueError("it is cut short")
        part = bytearray(data[start:at])
        storages[key] = torch.frombuffer(part, dtype=dtype) if count else torch.empty(0, dtype=dtype)
    return storages


def _no_tensor(_place: TensorAt) -> torch.Tensor:
    raise ValueError("a tensor of no file")
