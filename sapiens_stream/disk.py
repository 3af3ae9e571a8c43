"""What a disk holds, and how it takes names; those of a network, or of a program (FUSE), may not tell, or say 0."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def free_bytes(folder: Path) -> int | None:
    """That may be written in a folder, or where it will be made. None where the disk does not tell.

    >>> free_bytes(Path("results")) is None
    False
    """
    try:
        disk = shutil.disk_usage(_existing(folder))
    except OSError:
        return None
    return disk.free if disk.total else None


def free_files(folder: Path) -> int | None:
    """How many more a disk can hold; None where it has no such limit, or does not tell.

    Some that do not count them say 0, as with `rclone mount`. One that is full takes no file, and says so then.
    """
    if not hasattr(os, "statvfs"):
        return None
    try:
        status = os.statvfs(_existing(folder))
    except OSError:
        return None
    return (status.f_favail or None) if status.f_files else None


def folds_case(folder: Path) -> bool:
    """Whether a disk takes upper and lower case in names for the same: a folder that is made there for a moment tells.

    False where none can be made.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".sapiens-stream-", dir=_existing(folder)) as made:
            return os.path.lexists(Path(made).with_name(Path(made).name.swapcase()))
    except OSError:
        return False


def _existing(folder: Path) -> Path:
    """The nearest folder that is already there."""
    folder = folder.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
