"""What the records of a folder list, remembered: a run among thousands of others does not read them all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from sapiens_stream.errors import InputError
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.settings import RUN_FILE, RUN_SCHEMA
from sapiens_stream.sinks.files import is_there

_LARGEST_RECORD = 1 << 28  # bytes; a damaged or forged one must not take all memory
_LARGEST_KNOWN = 1 << 16  # bytes; those of many photos of any names are read again
_MOST_KNOWN = 50_000

_Version = tuple[int, int, int]


class KnownFiles:
    """The lists of files of run records, each read once for as long as its file is the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[_Version, FileList | None]] = {}
        self._lock = Lock()

    def in_folder(self, folder: Path) -> Iterator[tuple[Path, FileList]]:
        """The records of a folder, and what each lists, which is not to be changed."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(RUN_FILE):
                    with suppress(OSError):  # it is gone meanwhile
                        if (files := self._of(entry)) is not None:
                            yield Path(entry.path), files

    def _of(self, entry: os.DirEntry[str]) -> FileList | None:
        found = entry.stat(follow_symlinks=False)
        version = found.st_ino, found.st_mtime_ns, found.st_size
        known = self._known.get(entry.path)
        if known is not None and known[0] == version:
            return known[1]
        record = read_record(Path(entry.path))
        files = FileList.from_dict(record.get("files")) if record is not None else None
        if found.st_size <= _LARGEST_KNOWN:
            with self._lock:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[entry.path] = version, files
        return files


def read_record(path: Path) -> dict[str, Any] | None:
    """A run record; None for anything else."""
    with suppress(InputError):
        return whole_record(path)
    return None


def whole_record(path: Path) -> dict[str, Any] | None:
    """A run record; None for a folder, and for what is another's by its schema.

    Raises InputError for what is no JSON object.
    """
    record = None
    try:
        if path.is_dir():
            return None
        if is_there(path) and path.stat().st_size <= _LARGEST_RECORD:  # a pipe would be waited for
            record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        pass
    if not isinstance(record, dict):
        raise InputError(f"{path} is damaged, or no run record")
    return record if record.get("schema") == RUN_SCHEMA else None


KNOWN = KnownFiles()
