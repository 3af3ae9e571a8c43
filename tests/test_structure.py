"""Imports point one way: which room may know of which, whatever the imports are for and wherever they stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sapiens_stream"

_DATA = {
    "classes",
    "colour",
    "colouring",
    "disk",
    "errors",
    "frame",
    "home",
    "install_line",
    "labels",
    "painting",
    "quiet",
}
_DATA |= {"control_groups", "cores", "redaction", "runs", "settings", "soft", "text", "threads"}
MAY_KNOW = {
    "errors": {"install_line"},
    "settings": set(),
    "colour": set(),
    "soft": set(),
    "quiet": set(),
    "text": set(),
    "home": {"errors"},
    "disk": set(),
    "redaction": set(),
    "install_line": set(),
    "control_groups": set(),
    "cores": {"control_groups", "text"},
    "threads": {"cores", "errors"},
    "classes": {"errors", "text"},
    "runs": set(),
    "labels": {"classes", "runs"},
    "frame": {"classes", "colour", "errors", "labels", "soft"},
    "colouring": {"classes", "colour", "frame", "settings"},
    "painting": {"classes", "colour", "errors", "settings"},
    "containers": _DATA,
    "models": _DATA,
    "sources": _DATA | {"containers"},
    "sinks": _DATA | {"containers"},
    "viewers": _DATA,
    "inference": _DATA | {"models"},
    "people": _DATA | {"models", "inference"},
    "pipeline": _DATA | {"containers", "sources", "sinks", "inference", "people"},
    "result": _DATA | {"sinks"},
    "results": _DATA | {"containers", "sources", "sinks", "pipeline", "inference", "people"},
    "live": _DATA | {"models", "sources", "sinks", "inference", "people", "pipeline", "viewers"},
    "api": _DATA | {"models", "sources", "inference", "people", "pipeline", "result"},
    "cluster": _DATA | {"api", "containers", "sources", "sinks", "inference", "people", "pipeline", "results"},
    "doctor": _DATA | {"api", "models", "sinks", "inference"},
    "training": {"classes", "cores", "models", "threads"},
}
"""The command line and the package's front may know of all."""
_CONVERTING = re.compile(r"\.reformat\(|\.to_ndarray\([^)]|VideoReformatter")


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, also for types and within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "sapiens_stream":
            yield from (f"sapiens_stream.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sapiens_stream."):
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("sapiens_stream."))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("room", [*MAY_KNOW])
def test_a_room_knows_of_those_below_it_alone(room: str) -> None:
    files = [path for path in PACKAGE.rglob("*.py") if room_of(path) == room]
    assert files, f"there is no {room}"
    others = {
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files
        for module in imports(path)
        if module.split(".")[1] not in MAY_KNOW[room] | {room}
    }
    assert not others, f"{room} may know of {', '.join(sorted(MAY_KNOW[room]))}"


def test_every_room_has_its_place() -> None:
    without = {room_of(path) for path in PACKAGE.rglob("*.py")} - MAY_KNOW.keys() - {"__init__", "__main__", "cli"}
    assert not without, "a new room or module needs its row in MAY_KNOW, here, of what it may import"


def test_the_rooms_themselves_are_in_no_circle() -> None:
    known: set[str] = set()
    while free := {room for room, others in MAY_KNOW.items() if others <= known} - known:
        known |= free
    assert known == set(MAY_KNOW)


def test_frames_are_converted_in_one_place() -> None:
    """By one thread each, which nothing else makes sure of."""
    own = PACKAGE / "colour" / "conversion.py"
    found = {str(path) for path in PACKAGE.rglob("*.py") if path != own and _CONVERTING.search(path.read_text("utf-8"))}
    assert _CONVERTING.search(own.read_text("utf-8")) and not found
