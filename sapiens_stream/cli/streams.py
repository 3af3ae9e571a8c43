"""Standard output and error that may be closed or full: the program's work does not depend on who reads along."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class Tolerant:
    """A text stream that drops what cannot be written, once and for all.

    `missed` is why, if anything was lost but what was written `casually`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost: OSError | None = None
        self.missed: OSError | None = None
        self.casual = False

    def write(self, text: str) -> int:
        """As a stream's own."""
        self._guarded(lambda: self._stream.write(text))
        self._note_missed()
        return len(text)

    def flush(self) -> None:
        """As a stream's own."""
        before = self._lost
        self._guarded(self._stream.flush)
        if before is None:
            self._note_missed()

    def _note_missed(self) -> None:
        if not self.casual:
            self.missed = self.missed or self._lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _guarded(self, work: Any) -> None:
        if self._lost is not None:
            return
        try:
            work()
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError) as error:  # ValueError: closed by somebody in this process
            self._lost = error if isinstance(error, OSError) else OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        """What is still buffered would otherwise fail once more when Python ends, and change the exit code."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Standard output and error are `Tolerant` while the block runs; those that were closed lead nowhere."""
    _fill_closed()
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name need not be text
    sys.stdout, sys.stderr = (cast("TextIO", Tolerant(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def casually() -> Iterator[None]:
    """What is written to standard output in the block is for whoever reads along: it may be lost."""
    stream = sys.stdout
    if isinstance(stream, Tolerant):
        stream.casual = True
    try:
        yield
    finally:
        if isinstance(stream, Tolerant):
            stream.casual = False


def lost_output() -> OSError | None:
    """Why standard output is not complete; None if it is, or if its reader left by itself (`| head`), or closed it."""
    lost = getattr(sys.stdout, "missed", None)
    return lost if isinstance(lost, OSError) and lost.errno not in (errno.EPIPE, errno.EBADF, errno.EIO) else None


def _fill_closed() -> None:
    """Otherwise the next file that is opened takes the place of a closed stream, and gets what is printed there."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
