"""A disk that tells only when a file is closed what it did not take, as those behind a network do (NFS, SMB, sshfs)."""

import errno
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest


class LateFile(FileIO):
    """Holds `room` bytes, and takes more for nothing."""

    room = 0
    _lost = False

    def write(self, data) -> int:
        fits = memoryview(data)[: max(0, self.room - self.tell())]
        super().write(fits)
        if lost := len(data) - len(fits):
            self._lost = True
            self.seek(lost, os.SEEK_CUR)
        return len(data)

    def close(self) -> None:
        late = self._lost and not self.closed
        super().close()
        if late:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def make_late(monkeypatch: pytest.MonkeyPatch, module: str, room: Callable[[Path], int]) -> None:
    """Has a `module` make its unbuffered files on such a disk; `room` tells by its path how much one may hold."""

    def create(path: Path) -> FileIO:
        file = LateFile(path, "w+b")
        file.room = room(path)
        return file

    monkeypatch.setattr(f"{module}.create_unbuffered", create)
