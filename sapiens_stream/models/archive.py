"""The zip archives that torch writes: their tensors are mapped from the file, and nothing that they pickle is run."""

from __future__ import annotations

import io
import mmap
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZIP_STORED, ZipFile

import torch

_LOCAL_HEADER = 30  # bytes before a member's name, of which the last four are the lengths of name and extra field
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Archive:
    """A zip archive in memory, or mapped from a file so that what is not touched is not read.

    Members go by their names in the archive. Raises zipfile.BadZipFile, OSError.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._zip = ZipFile(_File(data))
        self.names = self._zip.namelist()

    @classmethod
    def map(cls, path: Path) -> Archive:
        """The archive of a file. The mapping is private: writing to a tensor does not reach the file."""
        with path.open("rb") as file:
            return cls(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)))

    def read(self, name: str) -> bytes:
        """A member's content."""
        return self._zip.read(name)

    def member(self, name: str) -> memoryview:
        """A member's content where it lies; a compressed one is unpacked. KeyError if there is none of that name."""
        info = self._zip.getinfo(name)
        if info.compress_type != ZIP_STORED:
            return memoryview(bytearray(self._zip.read(name)))
        lengths = self._data[info.header_offset + _LOCAL_HEADER - 4 : info.header_offset + _LOCAL_HEADER]
        name_length, extra_length = (int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))
        start = info.header_offset + _LOCAL_HEADER + name_length + extra_length
        return self._data[start : start + info.file_size]

    def tensor(self, name: str, dtype: torch.dtype, offset: int, size: list[int], stride: list[int]) -> torch.Tensor:
        """A tensor whose storage is a member. RuntimeError or ValueError if it reaches beyond."""
        data = self.member(name)
        count = len(data) // dtype.itemsize
        storage = torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
        if storage.data_ptr() % dtype.itemsize:  # torch aligns them, other writers of archives do not
            storage = storage.clone()
        return storage.as_strided(size, stride, offset)

    def unpickle(self, record: str) -> Any:
        """What the pickle `record` holds, its tensors mapped from `data/` beside it; all else is an `Inert` object.

        Raises pickle.UnpicklingError, or another exception, where it is damaged.
        """
        return _TensorUnpickler(self, record).load()


class Inert:
    """Stands for an object of any class in a pickle, and for the result of any function: holds what it is given."""

    def __new__(cls, *_args: Any, **_options: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_options: Any) -> None: ...

    def __call__(self, *_args: Any, **_options: Any) -> Inert:
        return self

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            vars(self).update(state)

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...


class _File(io.RawIOBase):
    """A memoryview to be read as a file, for archives within archives; `io.BytesIO` would copy gigabytes."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        if at < 0:
            raise OSError(f"a seek to {at}")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class _TensorUnpickler(pickle.Unpickler):
    """Knows how torch pickles tensors; every other name is `Inert`, so that no code outside of this file is called."""

    def __init__(self, archive: Archive, record: str) -> None:
        super().__init__(io.BytesIO(archive.read(record)))
        self._archive = archive
        self._folder = record.removesuffix("data.pkl") + "data/"

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return self._KNOWN.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _device, _count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"a {kind} that is no storage of numbers")
        return self._archive, f"{self._folder}{key}", dtype

    @staticmethod
    def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_rest: Any) -> torch.Tensor:
        archive, name, dtype = storage
        tensor: torch.Tensor = archive.tensor(name, dtype, offset, list(size), list(stride))
        return tensor

    _KNOWN: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_rest: tensor,
    }
