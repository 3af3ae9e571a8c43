"""What can be read but once, kept in a temporary file so that it can be read again and in any order."""

from __future__ import annotations

import base64
import os
import select
import stat
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from itertools import chain
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from sapiens_stream.containers.opening import CONNECT_SECONDS, STALL_SECONDS, is_list
from sapiens_stream.disk import free_bytes
from sapiens_stream.errors import InputError, cause

CHUNK_BYTES = 1 << 20
LEFT_FREE = 1 << 26
"""Bytes of the temporary folder's disk that are left to others."""


class Spool:
    """A temporary file. `path` opens it for as long as the spool is not closed, nor the process ended.

    On Linux it has no name, so that nothing is left of it however the process ends.
    """

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="sapiens-stream-")
        self._file = os.fdopen(descriptor, "wb")
        self.path = Path(name)
        if sys.platform == "linux":
            self.path.unlink()
            self.path = Path(f"/proc/self/fd/{descriptor}")
        self._finalizer = weakref.finalize(self, _remove, self._file.close, Path(name))

    def fill(self, chunks: Iterable[bytes], alive: Callable[[], None]) -> None:
        """Writes it all, and calls `alive` with each chunk. Raises InputError, nameless, if the disk would get full."""
        folder = Path(tempfile.gettempdir())
        try:
            for chunk in chunks:
                free = free_bytes(folder)
                if free is not None and free < LEFT_FREE + len(chunk):
                    raise InputError(f"it has to be kept in {folder}, which has no room for it; TMPDIR names another")
                self._file.write(chunk)
                alive()
            self._file.flush()
        except BaseException as error:
            self.close()
            if isinstance(error, (OSError, HTTPException)):
                raise InputError(cause(error)) from None
            raise

    def close(self) -> None:
        """Frees the disk; may be called more than once."""
        self._finalizer()


def spool_pipe(path: Path | None, alive: Callable[[], None] = lambda: None) -> Spool | None:
    """What comes through a pipe (None: through standard input), once all has come; None for a file, which stays.

    Raises InputError, nameless, where nothing comes for `STALL_SECONDS`, and for what is neither a file nor a pipe.
    """
    try:
        mode = (os.fstat(0) if path is None else path.stat()).st_mode
    except (OSError, ValueError) as error:  # a name with a zero in it is none
        raise InputError(cause(error)) from None
    if path is not None and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return None
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        raise InputError("a video has to come from a file or a pipe")
    try:
        # Without O_NONBLOCK this waits for ever for somebody to write; on Windows there are no such files.
        descriptor = os.dup(0) if path is None else os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise InputError(cause(error)) from None
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        spool = Spool()
        spool.fill(iter(lambda: _read_in_time(pipe.fileno()), b""), alive)
    return spool


def spool_address(url: str, alive: Callable[[], None] = lambda: None) -> Spool | None:
    """A file of an http(s) server that sends it from its beginning alone; None for what can be read where it is.

    Such a file may have its index at its end. Raises InputError, nameless, where the server gives nothing.
    """
    parts = urlsplit(url)
    request = Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), headers={"Range": "bytes=0-"})
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(user).decode())
    try:
        with urlopen(request, timeout=CONNECT_SECONDS) as response:
            beginning = response.read(64)
            if response.status == HTTPStatus.PARTIAL_CONTENT or not response.length or is_list(beginning):
                return None
            spool = Spool()
            spool.fill(chain([beginning], iter(lambda: response.read1(CHUNK_BYTES), b"")), alive)
            return spool
    except HTTPError as error:
        raise InputError(f"the server answers {error.code} {error.reason}") from None
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise InputError(cause(reason) if isinstance(reason, Exception) else str(reason)) from None


def _read_in_time(descriptor: int) -> bytes:
    if sys.platform != "win32" and not select.select([descriptor], [], [], STALL_SECONDS)[0]:
        raise InputError(f"nothing came through it for {STALL_SECONDS:g} s")
    return os.read(descriptor, CHUNK_BYTES)


def _remove(close: Callable[[], None], name: Path) -> None:
    close()
    with suppress(OSError):
        name.unlink()
