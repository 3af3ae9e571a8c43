"""The one place that writes files: each appears whole under its name or not at all, and never outside its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO

from sapiens_stream.errors import OutputError, cause


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
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise not_written(path, error) from error
    if not inside:
        raise OutputError(f"{path} can't be written: {path.parent} leads out of {root}")
    return path


def aside(path: Path) -> Path:
    """Where `path` is written until it is whole: a hidden file beside it, of the same kind.

    Its name depends on `path` alone, so that a run writes over what a killed one left.
    """
    return path.with_name(f".{path.stem}.part{path.suffix}")


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Gives a file to write to, which takes the name `path` at the end of the block; folders are made.

    If the block raises, nothing is left. Raises OutputError, which names `path` and the cause, in place of OSError.
    """
    beside = aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    except BaseException as error:
        discard(beside)
        if isinstance(error, OSError):
            raise not_written(path, error) from error
        raise


def discard(path: Path) -> None:
    """Removes a file if it is there; what can't be removed stays."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def not_written(path: Path, error: BaseException) -> OutputError:
    """The error to raise where `path` could not be written because of `error`."""
    return OutputError(f"{path} can't be written: {cause(error)}")
