"""`--log`: what happens, as lines of JSON, for whoever runs a batch under a scheduler."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from sapiens_stream.errors import UsageError, cause
from sapiens_stream.pipeline.run_folder import as_text
from sapiens_stream.settings import LOG_SCHEMA


class EventLog:
    """Appends a line an event, each at once and in one piece. `warn` is told, once, that a line could not be written.

    Raises UsageError for a file that cannot be written, or that is there and holds something else.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._lock = Lock()
        try:
            printed_to = _standard(path)
            if printed_to is not None:
                self._file = os.dup(printed_to)
                return
            # Without O_NONBLOCK this would wait for somebody to read a pipe.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            self._file = os.open(path, flags, 0o666)
            if hasattr(os, "set_blocking"):
                os.set_blocking(self._file, True)
            self._begin()
        except OSError as error:
            raise UsageError(f"--log {path} can't be written: {cause(error)}; name a file that can") from error

    def write(self, event: str, **members: Any) -> None:
        """Adds a line."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = as_text({"schema": LOG_SCHEMA, "time": time, "event": event, **members}).encode() + b"\n"
        with self._lock:
            try:
                self._put(line)
            except OSError as error:
                warn, self._warn = self._warn, _ignore
                warn(f"--log {self._path} can't be written: {cause(error)}")

    def close(self) -> None:
        """Lets go of the file; what is written after it is dropped."""
        with self._lock, suppress(OSError):
            self._warn = _ignore
            os.close(self._file)
            self._file = -1

    def _begin(self) -> None:
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return
        with self._path.open("rb") as file:
            if file.read(1) != b"{":
                raise UsageError(f"--log {self._path} is there and holds something else; name another file")
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # what a power cut has left of a line
                self._put(b"\n")

    def _put(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._file, line) :]


def _standard(path: Path) -> int | None:
    """The descriptor by which the program prints into the same file, as with `--log /dev/stderr 2> FILE`.

    Opened once more, the file would have two places to go on at, each written over from the other.
    """
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
    return None


def _ignore(_sentence: str) -> None:
    pass
