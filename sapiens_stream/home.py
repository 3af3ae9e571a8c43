"""Folders that a user may lack, or not look into: a container's user may be a number alone, its home another's."""

from __future__ import annotations

import os
from pathlib import Path

from sapiens_stream.errors import cause


def expanded(path: str | Path) -> Path:
    """The path with `~` or `~NAME` at its beginning replaced; as it is where there is no such home.

    >>> expanded("~nobody-here/model.pth")
    PosixPath('~nobody-here/model.pth')
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError where there is no home


def seen(path: Path) -> bool:
    """Whether there is such a file or folder, and this user may know of it."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises PermissionError before Python 3.14


def absence(path: str | Path, what: str = "no such file") -> str:
    """Why nothing is found at a path: there is no such thing, or what keeps it from being seen.

    A folder that may not be looked into, a disk that is gone and a name too long are not the same as no file.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name with a zero in it is none
        return what
    except OSError as error:
        return cause(error)
    return what
