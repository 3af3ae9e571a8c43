"""What a user of the Python API reads: of every public class and function what it takes, returns and raises."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ROOMS = {
    "sapiens_stream": None,
    "sapiens_stream.sources": None,
    "sapiens_stream.sinks": None,
    "sapiens_stream.pipeline": ("Run", "Stream"),
    "sapiens_stream.models": ("open_model",),
    "sapiens_stream.models.model": ("Model", "InputSpec"),
    "sapiens_stream.models.options": ("ModelOptions",),
    "sapiens_stream.inference.options": ("InferenceOptions",),
    "sapiens_stream.inference.engine": ("Engine",),
    "sapiens_stream.classes": ("ClassSet",),
}
"""Where public names stand; None: all of its `__all__`."""


def public() -> Iterator[tuple[str, Any]]:
    seen = set()
    for room, names in ROOMS.items():
        module = importlib.import_module(room)
        for name in names or module.__all__:
            found = getattr(module, name)
            if (inspect.isclass(found) or inspect.isfunction(found)) and found not in seen:
                seen.add(found)
                yield f"{found.__module__.removeprefix('sapiens_stream.')}.{name}", found


PUBLIC = dict(public())
METHODS = {
    f"{where}.{name}": method
    for where, owner in PUBLIC.items()
    if inspect.isclass(owner)
    for name, method in vars(owner).items()
    if inspect.isfunction(method) and (not name.startswith("_") or name == "__call__")
}


def parameters(of: Callable[..., Any]) -> list[str]:
    if inspect.isclass(of) and issubclass(of, BaseException):
        return []
    try:
        found = inspect.signature(of).parameters.values()
    except ValueError:  # a name for a choice of words
        return []
    return [each.name for each in found if each.name != "self" and not each.name.startswith("_")]


def described(text: str, section: str = "Args") -> set[str]:
    """The names that a section has an entry for; several may share one."""
    found = re.search(rf"^{section}:\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    entries = re.findall(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*):", found[1] if found else "", re.MULTILINE)
    return {name.strip("* ") for entry in entries for name in entry.split(",")}


def inherited(what: Any) -> tuple[Any, ...]:
    """A class and those of ours that its fields come from."""
    return (
        tuple(each for each in what.__mro__ if each.__module__.startswith("sapiens_"))
        if inspect.isclass(what)
        else (what,)
    )


def raises(of: Callable[..., Any]) -> bool:
    """Whether its own lines raise an error of ours."""
    bodies = [vars(of).get(name) for name in ("__init__", "__post_init__")] if inspect.isclass(of) else [of]
    for body in filter(inspect.isfunction, bodies):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(body)))
        except OSError:  # made by dataclasses
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and re.search(r"(Usage|Input|Model|Device|Output)Error", ast.unparse(node)):
                return True
    return False


@pytest.mark.parametrize(("where", "what"), PUBLIC.items(), ids=PUBLIC)
def test_a_public_name_has_arguments_returns_errors_and_an_example(where: str, what: Any) -> None:
    text = what.__doc__ or ""
    assert text.strip(), f"{where} has no docstring"
    known = set().union(*(described(inspect.cleandoc(each.__doc__ or "")) for each in inherited(what)))
    missing = [name for name in parameters(what) if name not in known]
    assert not missing, f"{where} does not describe {missing}"
    if inspect.isfunction(what) and inspect.signature(what).return_annotation not in ("None", None):
        assert "\nReturns:\n" in inspect.cleandoc(text), f"{where} does not say what it returns"
    if raises(what):
        assert "\nRaises:\n" in inspect.cleandoc(text), f"{where} does not say what it raises"
    assert ">>> " in text, f"{where} has no example"


@pytest.mark.parametrize(("where", "method"), METHODS.items(), ids=METHODS)
def test_a_public_method_says_what_it_takes(where: str, method: Callable[..., Any]) -> None:
    owner = PUBLIC[where.rpartition(".")[0]]
    text = inspect.getdoc(getattr(owner, method.__name__)) or ""
    assert text, f"{where} has no docstring"
    names = parameters(method)
    missing = [name for name in names if name not in described(text) and f"`{name}`" not in text]
    assert not missing, f"{where} does not describe {missing}"
    if raises(method):
        assert "Raises" in text, f"{where} does not say what it raises"


def test_sections_are_read_as_written() -> None:
    text = "What.\n\nArgs:\n    one: of\n        two lines: so.\n    *rest, key: both.\n\nReturns:\n    It.\n"
    assert described(text) == {"one", "rest", "key"}
