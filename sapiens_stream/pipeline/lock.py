"""A lock that the operating system holds, so that a killed run leaves none."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sapiens_stream.sinks.files import lies_at

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _wait_for_lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # beyond what is written, as locked bytes cannot be read
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _wait_for_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


_TRIES = 1000
"""How often in a row another may take a file away before it is locked; on a disk that tells nonsense it never ends."""


class Busy(Exception):
    """Another run holds the lock."""


class Lock:
    """Held from its making until `release`, by one process on the machine.

    The file at `path` stays behind if the process is killed, but nothing holds it then: the next run takes it over.
    Raises Busy where another run holds it, OSError where the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        for _ in range(_TRIES):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            try:
                _try_lock(self._descriptor)
            except (BlockingIOError, PermissionError):
                _close(self._descriptor)
                raise Busy from None
            except OSError:  # a file system without locks: better no lock than no results
                return
            if self.in_place:
                return
            _close(self._descriptor)  # its holder removed it between our opening and locking it
        raise _never_the_same()

    @property
    def in_place(self) -> bool:
        """Whether the file still lies where it was made; not once its folder was deleted or replaced."""
        return lies_at(self._path, self._descriptor)

    def release(self) -> None:
        """Removes the file and lets go of it; in the other order where no open file can be removed (Windows, SMB)."""
        left = self.in_place and not self._removed()
        _close(self._descriptor)
        if left:
            self._removed()  # else the next run takes it over

    def _removed(self) -> bool:
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def _close(descriptor: int) -> None:
    """Frees it in any case: where the disk is gone meanwhile, closing tells so."""
    with suppress(OSError):
        os.close(descriptor)


@contextmanager
def whole_file(path: Path, flags: int) -> Iterator[int]:
    """A descriptor of a file that several processes write by turns, each for as long as the block lasts.

    The block may put another file in its place. Raises OSError where it cannot be opened.
    """
    for _ in range(_TRIES):
        descriptor = os.open(path, flags, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                _wait_for_lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                yield descriptor
                return
        finally:
            os.close(descriptor)
    raise _never_the_same()


def _never_the_same() -> OSError:
    return OSError(errno.ESTALE, "the disk tells other numbers of the same file (st_ino) each time that it is asked")


def is_held(path: Path) -> bool:
    """Whether a process of this machine holds the lock at `path`, as far as the file system tells."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        _try_lock(descriptor)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # a file system without locks: a killed run's would be taken for held, for ever
        return False
    finally:
        _close(descriptor)
    return False
