"""What turns pixels into logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_stream.errors import UsageError
from sapiens_stream.models.catalogue import BUILTIN, KNOWN, Choice, lookup, unknown_model

if TYPE_CHECKING:
    from sapiens_stream.models.model import Model

_SUFFIXES = (".pt2", ".pt", ".pth", ".ts", ".bin", ".ckpt", ".safetensors", ".onnx")


def open_model(
    name_or_path: str | Path,
    *,
    shape: tuple[int, int] | None = None,
    as_is: bool = False,
    pull: bool = False,
    trust: bool = False,
) -> Model:
    """Opens a model by a name of `KNOWN` or a checkpoint's path. `shape` is the (height, width) to feed it.

    >>> open_model("sapiens-1b:torchscript").classes.title
    'Sapiens'

    A file of that name goes before the name. A name takes the first of the model's files that is on disk, with
    ":VARIANT" that one; `pull` fetches what is not there. `as_is` runs the graph in the file where our own module would
    run its weights. A graph of more than tensor operators is refused unless you `trust` its file.

    Raises UsageError for an unknown name, naming those known, for a model that is not on disk or whose licence is not
    accepted yet, saying how to get it, and for a shape that can not be; ModelError for a file that can not be fetched
    or opened.
    """
    if shape is not None and min(shape) < 1:
        raise UsageError(f"a shape of {shape[0]}x{shape[1]} (height x width); both are 1 or more")
    if is_path(name_or_path):
        from sapiens_stream.models.checkpoints import open_checkpoint

        return open_checkpoint(Path(name_or_path).expanduser(), shape, as_is=as_is, trust=trust)
    name = str(name_or_path)
    if name == BUILTIN:
        return _builtin(shape)
    choice = lookup(name)
    if choice is None:
        raise unknown_model(name)
    return _open_published(choice, shape, as_is, pull, trust)


def is_path(name_or_path: str | Path) -> bool:
    """Whether it is a checkpoint's path, not a model's name: a file that is there is, and what looks like a path."""
    name = str(name_or_path)
    path = Path(name).expanduser()
    if isinstance(name_or_path, Path) or "/" in name or "\\" in name or path.suffix.lower() in _SUFFIXES:
        return True
    return path.is_file() or (path.exists() and name.partition(":")[0] not in KNOWN)


def _open_published(choice: Choice, shape: tuple[int, int] | None, as_is: bool, pull: bool, trust: bool) -> Model:
    from sapiens_stream.models.checkpoints import open_checkpoint
    from sapiens_stream.models.published import fetch, require

    here = fetch(choice) if pull else require(choice)
    return replace(open_checkpoint(here.path, shape, as_is=as_is, trust=trust), name=choice.model.name)


def _builtin(shape: tuple[int, int] | None) -> Model:
    from sapiens_stream.models.builtin import load_builtin

    return load_builtin(shape=shape)
