"""The one place that makes files: each appears whole under its name or not at all, and never outside its folder."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path, PurePath
from typing import BinaryIO

from sapiens_stream.errors import OutputError, cause

LONGEST_NAME = 255  # bytes, on every file system in use


def path_below(root: Path, name: str, suffix: str) -> Path:
    """`root / (name + suffix)`, "/" in `name` between folders. Nothing is made.

    Raises OutputError for a name that is absolute or holds "..", and where a link on the way leads out of `root`.
    """
    relative = PurePath(name + suffix)
    unfit = not PurePath(name).name or "\0" in name
    if unfit or relative.is_absolute() or relative.drive or ".." in relative.parts:
        raise OutputError(f"{name!r} can't name a result in {root}: it must be a relative path without '..'")
    path = root / relative
    try:
        inside = path.parent.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # links that lead in a circle; a root that no path can be
        raise not_written(path, error) from error
    if not inside:
        raise OutputError(f"{path} can't be written: {path.parent} leads out of {root}")
    return path


def fitting(folder: Path, stem: str, suffix: str) -> Path:
    """`folder / (stem + suffix)`; a name too long for a file system is cut, and ends in a hash of the whole."""
    if len(os.fsencode(stem + suffix)) <= LONGEST_NAME:
        return folder / (stem + suffix)
    tail = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:12]}{suffix}"
    cut = stem
    while len(os.fsencode(cut + tail)) > LONGEST_NAME:
        cut = cut[:-1]
    return folder / (cut + tail)


def aside(path: Path) -> Path:
    """Where `path` is written until it is whole: a hidden file beside it, of the same kind.

    Its name depends on `path` alone, so that a run writes over what a killed one left.
    """
    return fitting(path.parent, f".{path.stem}.part", path.suffix)


def take_over(path: Path) -> None:
    """What a killed run has left aside of `path` takes its name, where nothing has it. Raises OutputError."""
    try:
        if is_there(aside(path)) and not os.path.lexists(path):
            give_name(aside(path), path)
    except OSError as error:
        raise not_written(path, error) from error


def create(path: Path) -> BinaryIO:
    """A new file to write to. What lies there is removed first, so that no link is ever followed. Raises OSError."""
    return os.fdopen(_new(path), "wb")


def create_unbuffered(path: Path) -> FileIO:
    """As `create`, but each write goes to the system at once."""
    return os.fdopen(_new(path), "wb", buffering=0)


def open_unbuffered(path: Path) -> FileIO:
    """A file that is there, to be written over and continued; no link. Raises OSError."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags), "r+b", buffering=0)


def _new(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        path.unlink()
        return os.open(path, flags, 0o666)


def write_all(file: FileIO, data: bytes) -> None:
    """Writes to a file of `create_unbuffered`, which may take a part at a time. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]


def lies_at(path: Path, descriptor: int) -> bool:
    """Whether what lies at `path` is the file that is open, and not a link to another, or nothing."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def give_name(beside: Path, path: Path) -> None:
    """Has a file that is whole take the name `path`, and the place of what lies there. Raises OSError.

    Some disks that are reached over a network rename nothing over a file that is there, as SFTP without OpenSSH's
    extension (sshfs says EPERM): on those it is removed before.
    """
    try:
        beside.replace(path)
    except (FileExistsError, PermissionError):
        if sys.platform == "win32" or not os.path.lexists(path):
            raise
        path.unlink()
        beside.replace(path)


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Gives a file to write to, which takes the name `path` at the end of the block; folders are made.

    If the block raises, nothing is left. Raises OutputError, which names `path` and the cause, in place of OSError.
    """
    beside = aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with create(beside) as file:
            yield file
        give_name(beside, path)
    except BaseException as error:
        discard(beside)
        if isinstance(error, OSError):
            raise not_written(path, error) from error
        raise


def is_there(path: Path) -> bool:
    """Whether a file is there, and no link; not for a name that no file system takes."""
    return os.path.isfile(path) and not path.is_symlink()  # noqa: PTH113  # Path.is_file raises for such a name


def holds(path: Path, data: memoryview) -> bool:
    """Whether a file is there, no link, and holds just this."""
    try:
        return not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def discard(path: Path) -> None:
    """Removes a file if it is there; what can't be removed stays."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def not_written(path: Path, error: BaseException) -> OutputError:
    """The error to raise where `path` could not be written because of `error`."""
    return OutputError(f"{path} can't be written: {cause(error)}")
