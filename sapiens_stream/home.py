"""Folders that a user may lack, or not look into: a container's user may be a number alone, its home another's."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with `~` or `~NAME` at its beginning replaced; as it is where there is no such home.

    >>> expanded("~nobody-here/model.pth")
    PosixPath('~nobody-here/model.pth')
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError where there is no home


def seen(path: Path) -> bool:
    """Whether there is such a file or folder, and this user may know of it."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises PermissionError before Python 3.14
