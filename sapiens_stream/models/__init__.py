"""What turns pixels into logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from sapiens_stream.home import expanded, seen
from sapiens_stream.models.catalogue import (
    BUILTIN,
    BUILTIN_WEIGHTS,
    KNOWN,
    Choice,
    lookup,
    require_no_repository,
    unknown_model,
)
from sapiens_stream.models.families import FAMILIES
from sapiens_stream.models.options import ModelOptions, ModelSettings

if TYPE_CHECKING:
    from sapiens_stream.models.model import Model

_SUFFIXES = (".pt2", ".pt", ".pth", ".ts", ".bin", ".ckpt", ".safetensors", ".onnx")


def open_model(
    name_or_path: str | Path, options: ModelOptions | None = None, **settings: Unpack[ModelSettings]
) -> Model:
    """Opens a model by a name of `KNOWN` or a checkpoint's path.

    Args:
        name_or_path: a file of that name goes before the name. A name takes the first of the model's files that is on
            disk, with ":VARIANT" that one.
        options: how it is opened, all in one.
        settings: the same one by one; they go before `options`.

    Returns:
        The Model, its weights read or mapped but on no device yet.

    Raises:
        UsageError: for an unknown name, naming those known, for a model that is not on disk or whose licence is not
            accepted yet, saying how to get it, and for a shape that cannot be.
        ModelError: for a file that cannot be fetched or opened, and a graph of more than tensor operators, unless you
            `trust` its file.

    >>> open_model("sapiens-1b:torchscript", shape=(512, 384)).classes.title
    'Sapiens'
    """
    from sapiens_stream.models.checkpoints import open_checkpoint  # torch takes seconds to load

    options = replace(options or ModelOptions(), **settings)  # type: ignore[arg-type]
    if is_path(name_or_path):
        path = expanded(name_or_path)
        require_no_repository(path)
        return open_checkpoint(path, options)
    name = str(name_or_path)
    if name == BUILTIN:
        return open_checkpoint(BUILTIN_WEIGHTS, options, name=BUILTIN)
    choice = lookup(name)
    if choice is None:
        raise unknown_model(name)
    return _open_published(choice, options)


def is_path(name_or_path: str | Path) -> bool:
    """Whether it is a checkpoint's path, not a model's name: a file that is there is, and what looks like a path."""
    name = str(name_or_path)
    if not name:
        return False
    path = expanded(name)
    if isinstance(name_or_path, Path) or "/" in name or "\\" in name or path.suffix.lower() in _SUFFIXES:
        return True
    return seen(path) and (path.is_file() or name.partition(":")[0] not in KNOWN)


def _open_published(choice: Choice, options: ModelOptions) -> Model:
    from sapiens_stream.models.checkpoints import open_checkpoint
    from sapiens_stream.models.published import fetch, require

    here = fetch(choice) if options.pull else require(choice)
    publisher = next(each for each in FAMILIES if choice.model in each.published)
    return open_checkpoint(here.path, options, name=choice.model.name, publisher=publisher)
