"""What a run's JSON and its maps of people tell of a frame, beside its class map."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import orjson

from sapiens_stream import settings
from sapiens_stream.errors import OutputError
from sapiens_stream.frame import Frame, IdArray, Person, Segmentation
from sapiens_stream.labels import Label
from sapiens_stream.people.members import people_in
from sapiens_stream.pipeline.stores import Store
from sapiens_stream.sinks.files import path_below

_MOST_BYTES = 1 << 26  # of a frame's JSON
_LARGEST_ID = 1 << 53


class Told(Protocol):
    """Gives what the JSON of a frame says. Frames are asked for in order, each once."""

    def of(self, frame: Frame) -> Mapping[str, Any]:
        """The JSON's members; none where there is no JSON, or none that can be read."""


class JsonFiles:
    """NAME.json of each frame, below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, frame: Frame) -> Mapping[str, Any]:
        with suppress(OSError, OutputError):
            path = path_below(self._root, frame.name, settings.JSON_FILE)
            if path.is_file():  # a pipe would be waited for
                with path.open("rb") as file:
                    return _members(file.read(_MOST_BYTES))
        return {}


class JsonLinesFile:
    """CLIP.jsonl, read along with the frames."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._next: Mapping[str, Any] = {}

    def of(self, frame: Frame) -> Mapping[str, Any]:
        with suppress(OSError):
            if self._file is None:
                self._file = self._path.open("rb")
            while _number(self._next.get("frame")) < frame.index and (line := self._file.readline(_MOST_BYTES)):
                self._next = _members(line)
        return self._next if self._next.get("frame") == frame.index else {}


class NothingTold:
    """Where there is no JSON."""

    def of(self, frame: Frame) -> Mapping[str, Any]:
        return {}


class StoredFacts:
    """Adds to a stored class map who is in it, and how far it was carried.

    The people are those of the JSON, whose scores no map has; of a run that wrote none, those of the map.
    """

    def __init__(self, told: Told, maps: Store[np.uint16] | None) -> None:
        self._told = told
        self._maps = maps

    def add(self, result: Segmentation) -> Segmentation:
        """The same with what there is."""
        told = self._told.of(result.frame)
        person_map = self._maps.find(result.frame) if self._maps is not None else None
        people = _people(told.get("people"))
        if people is None and person_map is not None:
            people = people_in(person_map, result.class_map, result.classes, _unsure(person_map))
        return replace(result, carried=max(0, _number(told.get("carried", 0))), people=people, person_map=person_map)


def _unsure(person_map: IdArray) -> dict[int, float | None]:
    return {int(each): None for each in np.flatnonzero(np.bincount(person_map.ravel())) if each}


def _members(text: bytes) -> Mapping[str, Any]:
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def _people(told: Any) -> tuple[Person, ...] | None:
    """None for anything but what a run writes."""
    if not isinstance(told, list):
        return None
    try:
        return tuple(
            Person(
                _checked(each["id"], _LARGEST_ID),
                _box(each["bbox"]),
                float(each["score"]) if each.get("score") is not None else None,
                tuple(
                    Label(
                        _checked(label["id"], 255),
                        str(label["name"]),
                        _checked(label["pixels"], _LARGEST_ID),
                        float(label["fraction"]),
                        _box(label["bbox"]),
                    )
                    for label in each["labels"]
                ),
            )
            for each in told
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _box(told: Any) -> tuple[int, int, int, int]:
    x, y, width, height = (_checked(each, _LARGEST_ID, least=0) for each in told)
    return x, y, width, height


def _checked(told: Any, most: int, *, least: int = 1) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or not least <= told <= most:
        raise ValueError(told)
    return told


def _number(told: Any) -> int:
    return told if isinstance(told, int) and not isinstance(told, bool) else -1
