"""The models that go by a name: those that the families publish, and the built-in one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models.families import FAMILIES
from sapiens_stream.models.families.builtin import BUILTIN, BUILTIN_PARAMETERS, BUILTIN_WEIGHTS
from sapiens_stream.models.families.family import HubFile, Published

__all__ = [
    "BUILTIN",
    "BUILTIN_PARAMETERS",
    "BUILTIN_WEIGHTS",
    "KNOWN",
    "PUBLISHED",
    "Choice",
    "HubFile",
    "Published",
    "lookup",
    "meant",
    "require_no_repository",
    "unknown_model",
]


@dataclass(frozen=True)
class Choice:
    """What a user asked for: a published model, and those of its files that will do, the preferred first."""

    model: Published
    files: tuple[HubFile, ...]
    name: str
    """As it was asked for: "sapiens-1b" or "sapiens-1b:bfloat16"."""


PUBLISHED = {model.name: model for family in FAMILIES for model in family.published}
"""The models of the hub by name."""

KNOWN = (BUILTIN, *PUBLISHED)
"""Every name that a model goes by."""


def lookup(name: str) -> Choice | None:
    """What a name such as "sapiens-1b" or "sapiens-1b:bfloat16" stands for; None if no published model has it.

    >>> [file.variant for file in lookup("sapiens-1b").files]
    ['torchscript', 'pth', 'bfloat16']

    Raises UsageError for a variant that the model does not have.
    """
    base, _, variant = name.partition(":")
    model = PUBLISHED.get(base)
    if model is None:
        return None
    files = tuple(file for file in model.files if file.variant == variant) if variant else model.files
    if not files:
        there = ", ".join(file.variant for file in model.files)
        raise UsageError(f"{base} has no variant {variant!r}; there is {there}")
    return Choice(model, files, name.removesuffix(":"))


def unknown_model(name: str) -> UsageError:
    """The error for what is neither a name nor a file, with the name that was most likely meant."""
    return UsageError(f"no model {name!r}: neither a file nor one of {', '.join(KNOWN)}{meant(name, KNOWN)}")


def require_no_repository(path: Path) -> None:
    """Raises ModelError where a checkpoint that is not there is the hub's name of a model, with its name here."""
    for model in PUBLISHED.values():
        for file in model.files:
            if file.repository == path.as_posix() and not os.path.lexists(path):
                raise ModelError(f"{path}: no such file; the hub's goes by {model.name}:{file.variant}")


def meant(name: str, known: Iterable[str]) -> str:
    """The end of such an error's line: a question after the known name that is nearest, if one is near."""
    close = get_close_matches(name.lower(), known, 1)
    return f"; did you mean {close[0]}?" if close else ""
