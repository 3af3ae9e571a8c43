"""Classes named and numbered as another data set has them, by a small file, of the form in mappings/README.md."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sapiens_stream.classes import MAX_CLASSES, OF_BODIES, ClassSet, numbered
from sapiens_stream.errors import UsageError, cause
from sapiens_stream.frame import UInt8Array

SHIPPED = Path(__file__).parent / "mappings"

_LARGEST_FILE = 1 << 17  # bytes
_LONGEST_NAME = 100
_DEEPEST = 500  # dots between two signs of equality: of a key a.b.c..., the reader takes the square of its parts
_TOP = {"title", "source", "note", "classes"}
_OF_A_CLASS = {"name", "from", "colour"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMapping:
    """`table`, (256,) uint8, turns ids of a run into ids of `classes`.

    `left_out` names the classes of the run that have none, and become background; `never` those of `classes` that
    nothing becomes.
    """

    classes: ClassSet
    table: UInt8Array
    left_out: tuple[str, ...]
    never: tuple[str, ...]


def shipped() -> list[str]:
    """The names of the mappings in the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def read_mapping(what: str, classes: ClassSet) -> ClassMapping:
    """A mapping from `classes` by the name of one in the package, or by its file.

    Raises UsageError for what is neither, for a file of another form, and for a class that it takes from and that
    neither `classes` nor the models of this package have.
    """
    path = SHIPPED / f"{what}.toml" if what in shipped() else Path(what)
    return _mapping(what, _read(path, what), classes)


def _read(path: Path, what: str) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)  # a pipe does not tell its size
        if len(content) > _LARGEST_FILE:
            raise UsageError(f"--mapping {what}: no mapping has more than {_LARGEST_FILE} bytes")
        if any(part.count(b".") > _DEEPEST for part in content.split(b"=")):
            raise UsageError(f"--mapping {what}: a key of hundreds of parts, or as many dots in a text")
        return tomllib.loads(content.decode().replace("\r\n", "\n"))
    except FileNotFoundError:
        raise UsageError(
            f"--mapping {what}: there is no such file; in the package are {', '.join(shipped())}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--mapping {what}: {cause(error)}") from None


def _mapping(what: str, content: Mapping[str, Any], classes: ClassSet) -> ClassMapping:
    def wrong(text: str) -> UsageError:
        return UsageError(f"--mapping {what}: {text}")

    if unknown := sorted(set(content) - _TOP):
        raise wrong(f"it has {unknown[0][:40]!r}; there are {', '.join(sorted(_TOP))}")
    entries = content.get("classes")
    if not isinstance(entries, list) or not 2 <= len(entries) <= MAX_CLASSES:
        raise wrong(f"it has no [[classes]], 2 to {MAX_CLASSES}, the first of which is the background")
    names: list[str] = []
    colours: list[tuple[int, int, int]] = []
    table = np.zeros(MAX_CLASSES, np.uint8)
    taken: dict[int, str] = {}
    spare = numbered(MAX_CLASSES).colours
    for place, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip() or name in names:
            raise wrong(f"class {place} has no name of its own")
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise wrong(
                f"class {place} is called {name[:40]!r}; a name is printable, of 1 to {_LONGEST_NAME} characters"
            )
        if unknown := sorted(set(entry) - _OF_A_CLASS):
            raise wrong(f"{name} has {unknown[0][:40]!r}; there are {', '.join(sorted(_OF_A_CLASS))}")
        sources = _sources(wrong, name, entry.get("from", []), classes)
        for index in sources:
            if taken.setdefault(index, name) != name:
                raise wrong(f"{classes[index]} is in both {taken[index]} and {name}")
            table[index] = place
        names.append(name)
        # Of its first class; the background's stays the background's.
        own = classes.colours[0] if place == 0 else classes.colours[sources[0]] if sources else spare[place]
        colours.append(_colour(wrong, name, entry["colour"]) if "colour" in entry else own)
    if not taken:
        raise wrong(f"it takes from none of {classes.title}: {', '.join(classes.names)}")
    title = content.get("title")
    found = set(table.tolist())
    return ClassMapping(
        classes=ClassSet(title if isinstance(title, str) else what, tuple(names), tuple(colours)),
        table=table,
        left_out=tuple(classes[index] for index in range(1, len(classes)) if index not in taken),
        never=tuple(name for place, name in enumerate(names) if place and place not in found),
    )


def _sources(wrong: Any, name: str, wanted: Any, classes: ClassSet) -> list[int]:
    """The ids of the run's classes that become one, in the file's order; those that only other models have are none."""
    if not isinstance(wanted, list) or not all(type(each) in (str, int) for each in wanted):
        raise wrong(f'{name}: from is a list of classes, as in from = ["Hair"]')
    found: list[int] = []
    for each in wanted:
        try:
            found += classes.ids([each])
        except UsageError as error:
            if not any(_has(known, each) for known in OF_BODIES):
                raise wrong(f"{name}: {error}") from None
    return found


def _has(classes: ClassSet, name: str | int) -> bool:
    try:
        return isinstance(name, str) and not name.strip().isdecimal() and bool(classes.ids([name]))
    except UsageError:
        return False


def _colour(wrong: Any, name: str, colour: Any) -> tuple[int, int, int]:
    try:
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    except (AttributeError, ValueError, TypeError):
        raise wrong(f"{name}: the colour {str(colour)[:40]!r} is not as in #ff0000") from None
    return red, green, blue
