"""Class names and colours that a user gives: by the name of a known set, or in a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sapiens_stream.classes import MAX_CLASSES, OF_BODIES, ClassSet, numbered
from sapiens_stream.errors import UsageError, cause
from sapiens_stream.home import expanded

KNOWN_SETS = {each.title.lower(): each for each in OF_BODIES}
MOST_BYTES = 1 << 20

_LINE = re.compile(r"(?P<name>.*?)(?:[\s,;]+(?P<colour>#[0-9a-fA-F]{6}))?\s*")
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_WANTED = "it is a name a line, '#RRGGBB' after it where it has a colour, or JSON: a list of names, or names by id"


def read_classes(given: str) -> ClassSet:
    """The classes of "sapiens", "sapiens2", or a file.

    A text file has a class a line, in the order of their ids: its name, and its colour as #RRGGBB if it has one; blank
    lines do not count. JSON is a list of names or of {"name", "colour"}, or an object: colours by name, names by id
    ({"0": "Background"}), or any with one of these under "classes", "names" or "id2label".

    Raises UsageError for a file that cannot be read, and one that holds no classes.
    """
    if given in KNOWN_SETS:
        return KNOWN_SETS[given]
    path = expanded(given)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(f"{path} is more than {MOST_BYTES >> 20} MB; names of classes take less")
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        known = " nor ".join(KNOWN_SETS)
        raise UsageError(f"no classes {given!r}: no such file, and neither {known}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8, which names of classes are in") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read as names of classes: {cause(error)}") from error
    try:
        pairs = _of_json(json.loads(text)) if text.lstrip()[:1] in ("[", "{") else _of_lines(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} does not say names of classes ({_first_line(error)}); {_WANTED}") from error
    return _class_set(path, pairs)


Pairs = Sequence[tuple[str, tuple[int, int, int] | None]]


def _of_lines(text: str) -> Pairs:
    matches = [_LINE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    return [(match["name"], _colour(match["colour"])) for match in matches if match]


def _of_json(content: Any) -> Pairs:
    if isinstance(content, Mapping):
        for key in ("classes", "names", "id2label"):
            if isinstance(content.get(key), (Mapping, list)):
                colours = content.get("colours", content.get("colors"))
                return _with_colours(_of_json(content[key]), colours if isinstance(colours, list) else [])
        if content and all(str(key).isdecimal() for key in content):
            ids = sorted(content, key=int)
            if [int(each) for each in ids] != list(range(len(ids))):
                raise ValueError(f"ids that are not 0 to {len(ids) - 1}")
            return _of_json([content[each] for each in ids])
        return [(str(name), _colour(value)) for name, value in content.items()]
    pairs: list[tuple[str, tuple[int, int, int] | None]] = []
    for each in content:
        if isinstance(each, Mapping):
            pairs.append((_name(each.get("name")), _colour(each.get("colour", each.get("color")))))
        else:
            pairs.append((_name(each), None))
    return pairs


def _with_colours(pairs: Pairs, colours: Sequence[Any]) -> Pairs:
    if not colours:
        return pairs
    if len(colours) != len(pairs):
        raise ValueError(f"{len(pairs)} names and {len(colours)} colours")
    return [(name, _colour(value)) for (name, _), value in zip(pairs, colours, strict=True)]


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} for a name")
    return value


def _colour(value: Any) -> tuple[int, int, int] | None:
    """Of "#RRGGBB", or three numbers of 0 to 255."""
    if value is None:
        return None
    if isinstance(value, str) and (match := _HEX.fullmatch(value.strip())):
        number = int(match[1], 16)
        return number >> 16, number >> 8 & 255, number & 255
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value):
        return value[0], value[1], value[2]
    raise ValueError(f"{str(value)[:40]!r} for a colour; it is '#RRGGBB' or three numbers of 0 to 255")


def _class_set(path: Path, pairs: Pairs) -> ClassSet:
    names = [name.strip() for name, _ in pairs]
    if not 2 <= len(names) <= MAX_CLASSES:
        raise UsageError(
            f"{path} says {len(names)} classes; a class map holds 2 to {MAX_CLASSES}, the background first"
        )
    if bad := next((name for name in names if not name or not name.isprintable() or len(name) > 100), None):
        raise UsageError(f"{path} says a class called {bad[:40]!r}; a name is printable, of 1 to 100 characters")
    if "" in names:
        raise UsageError(f"{path} says a class without a name")
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise UsageError(f"{path} names the class {twice} twice")
    spare = numbered(len(names)).colours
    colours = tuple(colour or spare[index] for index, (_, colour) in enumerate(pairs))
    return ClassSet(path.stem, tuple(names), colours)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
