"""The file that FFmpeg writes a video into, held by us, who are told what the disk says to the last of it too."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sapiens_stream.containers.opening import file_url
from sapiens_stream.sinks.files import create_unbuffered, lies_at, write_all


class MuxedFile:
    """A new file at `path`, for `av.open` to write. Raises OSError.

    FFmpeg tells neither what closing a file fails with, which is where a disk behind a network, or a program (FUSE),
    says that it could not take what it seemed to have taken, nor all that the end of a file fails with. And PyAV prints
    the second of two errors in a row. So writing never fails for them: `check` and `close` raise the first failure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = file_url(path)
        """By which FFmpeg opens it again, to read what it moves."""
        self.in_place = True
        """Whether it still lay there when it was closed, and no other file."""
        self._failure: OSError | None = None
        self._file = create_unbuffered(path)

    def write(self, data: bytes) -> int:
        """For FFmpeg: takes all of it, or what comes after a failure for nothing."""
        if self._failure is None:
            try:
                write_all(self._file, data)
            except OSError as error:
                self._failure = error
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """For FFmpeg."""
        try:
            return self._file.seek(offset, whence)
        except OSError:  # before the beginning, which is how FFmpeg asks for the length of an empty file
            return -1

    def tell(self) -> int:
        """For FFmpeg."""
        return self._file.tell()

    def check(self) -> None:
        """Raises OSError where something could not be written."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Lets go of the file. Raises OSError where something could not be written."""
        if not self._file.closed:
            self.in_place = lies_at(self.path, self._file.fileno())
            try:
                self._file.close()
            except OSError as error:
                self._failure = self._failure or error
        self.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(OSError):
            self.close()
