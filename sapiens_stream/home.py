"""Paths in somebody's home folder, which need not have one: a container's user may be a number alone."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with `~` or `~NAME` at its beginning replaced; as it is where there is no such home.

    >>> expanded("~nobody-here/model.pth")
    PosixPath('~nobody-here/model.pth')
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError where there is no home
