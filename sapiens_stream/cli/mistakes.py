"""What is said of a wrong option: the value, and what it would have to be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer

from sapiens_stream.errors import UsageError

_NUMBERS = {"int": "a whole number", "float": "a number"}
"""By the beginning of what pydantic, with which typer reads values, calls the mistake."""
_PREFIX, _VALUE = "Value error, ", "Input"
_MAY_BE_EMPTY = "--title"


def require_no_empty(words: Sequence[str]) -> None:
    """Raises UsageError for an empty word: a shell makes it of "$NOT_SET", and as a path it is the current folder."""
    for before, word in pairwise(["", *words]):
        option = word.removesuffix("=") if word.startswith("--") and word.endswith("=") else before
        if (not word or option != before) and option != _MAY_BE_EMPTY:
            which = option if option.startswith("-") else "a word of the command line"
            raise UsageError(f"{which} is empty; is a variable not set?")


def in_words(problem: typer.TyperException) -> str:
    """The mistake in a line."""
    text = str(problem.format_message())
    found = _first(problem.__cause__)
    said = str(found.get("msg", ""))
    return text.replace(said, _better(said, found)) if said else text


def _better(said: str, found: dict[str, Any]) -> str:
    value = str(found.get("input"))
    what = _NUMBERS.get(str(found.get("type", "")).partition("_")[0])
    if what is not None:
        return f"{value!r} is not {what}"
    return said.replace(_VALUE, repr(value), 1).removeprefix(_PREFIX)


def _first(cause: BaseException | None) -> dict[str, Any]:
    """What pydantic says of the first mistake that it found, if it was asked."""
    errors = getattr(cause, "errors", None)
    return dict(errors()[0]) if errors is not None and errors() else {}
