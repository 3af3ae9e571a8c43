"""Where results go, and where inputs come from, that are in no folder: whatever fsspec reads and writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from sapiens_stream.cluster.listing import is_remote
from sapiens_stream.errors import FolderLost, InputError, UsageError, cause
from sapiens_stream.install_line import install_line, pip_install
from sapiens_stream.settings import RUN_FILE
from sapiens_stream.sinks.files import path_below
from sapiens_stream.sources.video_input import printable

# Here an object is there whole or not at all; elsewhere it is written aside and renamed.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "r2"})


_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
"""What fsspec takes to read addresses that no extra is for."""


@cache
def file_system(address: str) -> tuple[Any, str]:
    """What reads an address, and the path that it has there.

    Raises UsageError where something is not installed, InputError where nobody answers.
    """
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        scheme = address.partition("://")[0]
        if error.name == "fsspec":
            raise UsageError(f"{scheme}:// needs fsspec: {install_line('ray')}") from None
        if scheme.startswith("s3"):
            raise UsageError(f"{scheme}:// needs s3fs: {install_line('s3')}") from None
        if package := _PACKAGES.get(scheme):
            raise UsageError(f"{scheme}:// needs {package}: {pip_install()} {package}") from None
        raise UsageError(f"{scheme}:// cannot be read: {cause(error)}") from None
    except ValueError as error:
        raise UsageError(f"{printable(address)}: {cause(error)}") from None
    except Exception as error:  # some connect at once, and each has errors of its own
        raise InputError(f"{printable(address)}: {cause(error)}") from None
    return system, str(path)


class Place:
    """The output: a folder, or an address below which files are put whole."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.is_remote = is_remote(root)
        self._shown = printable(root)

    @contextmanager
    def work_in(self, folder: str, wanted: Iterable[str] = ()) -> Iterator[Path]:
        """A folder of this machine to write to; what is `wanted` of the output's lies there, as far as there is any.

        Of an output at an address all that was written is put there when the block ends; records last, since what they
        say must be there. Raises FolderLost where such an output does not answer, or takes nothing.
        """
        if not self.is_remote:
            # A name that leads out of the folder, by a link too, is an error here.
            yield path_below(Path(self.root), folder, "/x").parent if folder else Path(self.root)
            return
        system, base = self._found(folder)
        with tempfile.TemporaryDirectory(prefix="sapiens-stream-") as name:
            work = Path(name)
            with self._answering(folder):
                for each in wanted:
                    with suppress(FileNotFoundError):
                        system.get_file(f"{base}/{each}", str(work / each))
            before = {file: file.stat().st_mtime_ns for file in _files(work)}
            yield work
            with self._answering(folder):
                for file in _files(work):
                    if before.get(file) != file.stat().st_mtime_ns:
                        if file.name.endswith(RUN_FILE):
                            _move_told(file, work, f"{self._shown.rstrip('/')}/{folder}".rstrip("/"))
                        _put(system, file, f"{base}/{file.relative_to(work).as_posix()}", self.root)

    def remove(self, folder: str, names: Iterable[str]) -> None:
        """Files at an address that are of no use any more."""
        if self.is_remote:
            system, base = self._found(folder)
            with self._answering(folder):
                for each in names:
                    with suppress(FileNotFoundError):
                        system.rm_file(f"{base}/{each}")

    def has(self, folder: str, names: Iterable[str]) -> bool:
        """Whether all these files are there."""
        if not self.is_remote:
            return all((Path(self.root) / folder / each).is_file() for each in names)
        system, base = self._found(folder)
        with self._answering(folder):
            return all(system.exists(f"{base}/{each}") for each in names)

    def _found(self, folder: str) -> tuple[Any, str]:
        """What reads the address, and the folder's path there."""
        try:
            system, path = file_system(self.root)
        except InputError as error:
            raise FolderLost(str(error)) from None
        return system, "/".join(each for each in (path.rstrip("/"), folder) if each)

    @contextmanager
    def _answering(self, folder: str) -> Iterator[None]:
        """Within it, what the store says is of the output."""
        try:
            yield
        except Exception as error:
            raise FolderLost(f"{self._shown}/{folder}".rstrip("/") + f": {cause(error)}") from error


def size_of(address: str) -> int:
    """Of an object, bytes. Raises InputError where there is none."""
    system, path = file_system(address)
    shown = printable(address)
    try:
        size = system.info(path).get("size")
    except FileNotFoundError:
        raise InputError(f"{shown}: there is no such object") from None
    except Exception as error:
        raise InputError(f"{shown}: {cause(error)}") from None
    if not isinstance(size, int):
        raise InputError(f"{shown}: its size is not known")
    return size


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: (path.name.endswith(RUN_FILE), path))


def _move_told(record: Path, work: Path, address: str) -> None:
    """Has a record tell of its run's files where they are put, not where they were made."""
    told = record.read_text(encoding="utf-8")
    record.write_text(told.replace(_in_json(work), _in_json(address)), encoding="utf-8")


def _in_json(place: str | Path) -> str:
    return json.dumps(str(place))[1:-1]


def _put(system: Any, file: Path, to: str, root: str) -> None:
    if root.partition("://")[0] in _OBJECT_STORES:
        system.put_file(str(file), to)
        return
    parent, _, name = to.rpartition("/")
    system.makedirs(parent, exist_ok=True)
    system.put_file(str(file), f"{parent}/.{name}.part")
    system.mv(f"{parent}/.{name}.part", to)
