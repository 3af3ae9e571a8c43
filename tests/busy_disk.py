"""A disk that removes and renames no open file, as SMB and Windows have it."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest


def keep_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has all files be on such a disk; skips where the system does not tell which are open."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not tell which files are open")

    def checked(plain: Any) -> Any:
        def call(path: Any, *others: Any, **options: Any) -> None:
            for each in (path, *others):
                if isinstance(each, str | os.PathLike) and _is_open(each):
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
            plain(path, *others, **options)

        return call

    monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", False, raising=False)  # nor has it files without a name
    for name in ("unlink", "remove", "rename", "replace"):
        monkeypatch.setattr(os, name, checked(getattr(os, name)))


def _is_open(path: str | os.PathLike[str]) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            held = os.fstat(int(descriptor.name))
        except OSError:  # it was that of the folder
            continue
        if os.path.samestat(held, there):
            return True
    return False
