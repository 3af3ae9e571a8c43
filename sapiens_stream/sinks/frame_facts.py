"""What a result holds beside its class map, for whoever makes the rest of it later: a line a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import PersonBox, Segmentation
from sapiens_stream.settings import MOST_PEOPLE
from sapiens_stream.sinks.lines import Lines

_LONGEST = 200 * (MOST_PEOPLE + 1)
"""Bytes of a line: five numbers a box."""


class FrameFacts(Lines):
    """Writes a line a frame to `path`: when it is, over how many frames it was carried, where people were looked for.

    `{"time": "12/25", "carried": 0, "boxes": [[left, top, width, height, score], ...]}`; no `boxes` where nobody was
    looked for. Numbers are exact.
    """

    def _encoder(self, result: Segmentation) -> Callable[[], bytes]:
        def encoded() -> bytes:
            told: dict[str, Any] = {"time": str(result.frame.time), "carried": result.carried}
            if result.boxes is not None:
                told["boxes"] = [[each.left, each.top, each.width, each.height, each.score] for each in result.boxes]
            return orjson.dumps(told) + b"\n"

        return encoded

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return 200


class StoredFrameFacts:
    """Gives results back what `FrameFacts` wrote of their frames to some files, one behind the other.

    Frames come in order. Raises InputError for one of which nothing is there.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._lines = _lines_of(paths)

    def completed(self, result: Segmentation) -> Segmentation:
        """The same with what is known of its frame."""
        path, line = next(self._lines, (None, b""))
        if path is None:
            raise InputError(f"{result.frame.name}: none of the files beside the class maps tells of it")
        told = _told(line)
        if told is None or told.get("time") != str(result.frame.time):
            raise InputError(f"{path} does not tell of {result.frame.name}: {line[:80]!r}")
        boxes = told.get("boxes")
        return replace(
            result,
            carried=told["carried"],
            boxes=None if boxes is None else tuple(PersonBox(*map(float, each)) for each in boxes),
        )


def _lines_of(paths: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
    for path in paths:
        try:
            with path.open("rb") as file:
                while line := file.readline(_LONGEST):
                    yield path, line
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {cause(error)}") from error


def _told(line: bytes) -> dict[str, Any] | None:
    """A line's content; None where it is no such line."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(told, dict) or type(told.get("carried")) is not int or told["carried"] < 0:
        return None
    boxes = told.get("boxes", [])
    if not isinstance(boxes, list) or len(boxes) > MOST_PEOPLE:
        return None
    is_right = all(
        isinstance(box, list) and len(box) == 5 and all(type(each) in (int, float) for each in box) for box in boxes
    )
    return told if is_right else None
