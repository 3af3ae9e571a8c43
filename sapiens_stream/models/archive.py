"""The zip archives that torch writes: their tensors are mapped from the file, and nothing that they pickle is run."""

from __future__ import annotations

import io
import math
import mmap
import struct
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from sapiens_stream.models.pickles import TensorAt, read_pickle

if TYPE_CHECKING:
    import torch

MOST_MEMBERS = 1 << 17
UNPACKED = 16
"""Bytes that a byte of the file may unpack to on the whole: code packs to a tenth, a bomb to a thousandth."""
UNPACKED_ANYWAY = 64 << 20
REPEATED = 4
"""How often the tensors may take the same bytes of the file, on the whole: tied weights do, and so do averaged ones."""
REPEATED_ANYWAY = 1 << 20
"""Bytes of a tensor that may repeat the numbers of a smaller storage."""

_LOCAL_HEADER = 30  # bytes before a member's name, of which the last four are the lengths of name and extra field
_ENTRY = 46  # bytes of a member in the table, without its name
_END = struct.Struct("<4s4H2IH")  # signature, two disks, two counts, directory's size and offset, comment's length
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I2Q2Q")  # signature, size, versions, disks, counts, directory's size and offset


class Archive:
    """A zip archive in memory, or mapped from a file so that what is not touched is not read.

    Members go by their names in the archive. What another reader might read otherwise is refused, since torch has one
    of its own, and so is what is larger than the file accounts for. Raises zipfile.BadZipFile, OSError.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.size = len(data)
        self._allowance = Allowance(len(data))
        start, count = _directory(data)
        self._zip = ZipFile(_File(data))
        self.names = self._zip.namelist()
        if len(self.names) != count:
            raise BadZipFile(f"{len(self.names)} members where its end says {count}")
        self._check(start)

    @classmethod
    def map(cls, path: Path) -> Archive:
        """The archive of a file. The mapping is private: writing to a tensor does not reach the file."""
        with path.open("rb") as file:
            return cls(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)))

    def read(self, name: str) -> bytes:
        """A member's content, held against its checksum. KeyError if there is none of that name."""
        return self._zip.read(name)

    def member(self, name: str) -> memoryview:
        """A member's content where it lies; a compressed one is unpacked. KeyError if there is none of that name."""
        info = self._zip.getinfo(name)
        if info.compress_type != ZIP_STORED:
            return memoryview(bytearray(self._zip.read(name)))
        start = self._content_start(info.header_offset)
        return self._data[start : start + info.file_size]

    def tensor(
        self, name: str, dtype: torch.dtype, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
    ) -> torch.Tensor:
        """A tensor whose storage is a member. RuntimeError or ValueError if it reaches beyond."""
        import torch  # here, since it takes a second to load, and telling formats apart does without

        data = self.member(name)
        count = len(data) // dtype.itemsize
        self._allowance.take(size, count, dtype.itemsize)
        storage = torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
        if storage.data_ptr() % dtype.itemsize:  # torch aligns them, other writers of archives do not
            storage = storage.clone()
        return storage.as_strided(size, stride, offset)

    def unpickle(self, record: str) -> Any:
        """What the pickle `record` holds: see `read_pickle`, which says what it raises. Tensors are for `tensor_at`."""
        return read_pickle(self.read(record))

    def tensor_at(self, place: TensorAt, folder: str) -> torch.Tensor:
        """A tensor of a pickle, its storage in `folder`. Raises what `tensor` does."""
        import torch

        dtype = getattr(torch, place.storage.dtype)
        return self.tensor(folder + place.storage.key, dtype, place.offset, place.size, place.stride)

    def _content_start(self, header: int) -> int:
        lengths = self._data[header + _LOCAL_HEADER - 4 : header + _LOCAL_HEADER]
        return header + _LOCAL_HEADER + sum(int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))

    def _check(self, end: int) -> None:
        members = self._zip.infolist()
        if len({name.lower() for name in self.names}) < len(members):
            raise BadZipFile("two members have the same name")
        packed = 0
        places = [(end, end)]
        for info in members:
            if info.orig_filename != info.filename or info.flag_bits & 1:
                raise BadZipFile(f"a member that cannot be read, {info.filename[:40]!r}")
            if info.compress_type == ZIP_DEFLATED:
                packed += info.file_size
            elif info.compress_type != ZIP_STORED or info.file_size != info.compress_size:
                raise BadZipFile(f"a member of no possible size, {info.filename[:40]!r}")
            places.append((info.header_offset, self._content_start(info.header_offset) + info.compress_size))
        if packed > UNPACKED_ANYWAY + UNPACKED * len(self._data):
            raise BadZipFile(f"{len(self._data)} bytes that claim to unpack to {packed}")
        if any(one_end > other for (_, one_end), (other, _) in pairwise(sorted(places))):
            raise BadZipFile("members overlap")


class Allowance:
    """What the tensors of a file may hold on the whole: strides can repeat a small storage without end."""

    def __init__(self, file_size: int) -> None:
        self._left = REPEATED * file_size + REPEATED_ANYWAY

    def take(self, size: tuple[int, ...], count: int, itemsize: int) -> None:
        """Counts a tensor of that size in a storage of `count` numbers. ValueError where it is too large for it."""
        taken = math.prod(size) * itemsize
        self._left -= taken
        fits = taken <= max(count * itemsize, REPEATED_ANYWAY) and max(size, default=0) <= max(count, REPEATED_ANYWAY)
        if not fits or self._left < 0:
            raise ValueError(f"a tensor of {'x'.join(map(str, size))[:80]} in a storage of {count} numbers")


def _directory(data: memoryview) -> tuple[int, int]:
    """Where the table of members begins, and how many it says there are, if it lies where every reader looks."""
    end = len(data) - _END.size
    if end < 0:
        raise BadZipFile("it has no end")
    signature, *_disks, count, size, start, comment = _END.unpack_from(data, end)
    if signature != b"PK\5\6" or comment:
        raise BadZipFile("it has no end")
    at = end - _LOCATOR.size
    if at >= _END_64.size and bytes(data[at : at + 4]) == b"PK\6\7":
        _, _, end, _ = _LOCATOR.unpack_from(data, at)
        if end != at - _END_64.size:
            raise BadZipFile("its end is not where it says")
        signature, *_ignored, count, size, start = _END_64.unpack_from(data, end)
        if signature != b"PK\6\6":
            raise BadZipFile("it has no end")
    if start + size != end or size > MOST_MEMBERS * _ENTRY:
        raise BadZipFile("its table of members is not where it says")
    return start, count


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
