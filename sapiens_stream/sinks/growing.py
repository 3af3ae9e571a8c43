"""A file that grows by whole pieces, a frame each, and takes its name at the end."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from sapiens_stream.errors import OutputError
from sapiens_stream.sinks.files import aside, create_unbuffered, discard, give_name, lies_at, open_unbuffered, write_all

SYNC_EVERY = 2.0
"""Seconds: what a power cut loses at most, besides what was in the frames' way. A killed process loses nothing."""


class GrowingFile:
    """Lies beside `path` (".NAME.part.EXT") until `finish`. Raises OSError.

    `size` is that of the pieces that are whole; what a failed `append` left behind them is cut off by the next call.
    """

    def __init__(self, path: Path, *, keep: int | None = None) -> None:
        """With `keep` an earlier one is continued, after so many bytes of it."""
        self._path = path
        self._beside = aside(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: a full disk is met by the piece that fills it.
        self._file = create_unbuffered(self._beside) if keep is None else open_unbuffered(self._beside)
        self._synced = time.monotonic()
        self._ended = False
        self.size = keep or 0

    def append(self, piece: bytes) -> None:
        """Adds a piece, whole or not at all."""
        self._write(self.size, piece)
        self.size += len(piece)
        if time.monotonic() - self._synced > SYNC_EVERY:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def overwrite(self, at: int, data: bytes) -> None:
        """Writes over what is there."""
        self._write(at, data)

    def finish(self) -> None:
        """Gives the file its name. Raises OutputError where another file has taken its place.

        Where the disk fails, what it has of the file stays beside `path`.
        """
        self._ended = True
        self.cut()
        os.fsync(self._file.fileno())
        if not lies_at(self._beside, self._file.fileno()):
            raise OutputError(f"{self._path} can't be written: {self._beside.name} is gone, or another file")
        self._file.close()  # before, as some disks rename no open file, and it may tell of a failure
        give_name(self._beside, self._path)

    def cut(self) -> None:
        """Drops what a failed `append` left."""
        self._file.truncate(self.size)

    def close(self) -> None:
        """Lets go of the file; one that was not to be finished is removed."""
        unwanted = not self._ended and not self._file.closed and lies_at(self._beside, self._file.fileno())
        with suppress(OSError):
            self._file.close()
        if unwanted:
            discard(self._beside)

    def _write(self, at: int, data: bytes) -> None:
        self._file.seek(at)
        write_all(self._file, data)
