"""Boxes of people that another detector found: COCO's JSON, or a frame a line."""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import Frame, PersonBox

_MOST_BYTES = 256 << 20
_MOST_BOXES = 1_000_000
_FARTHEST = 1e6  # pixels
_DEEPEST = 4  # folders and a name, of a frame whose name in the file has more of them
_LIKE = 0.02  # of its aspect, by which a picture that boxes are of may differ from the frame's
_PERSON = 1  # COCO's category, where the file names none


class BoxesFile:
    """The boxes of a file, by frame.

    It is COCO's: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "bbox", "score"}], "categories"}, of
    which the category "person" counts, or the only one; or COCO's results, a list of {"image_id", "bbox", "score"},
    where an image's id is the frame's number. Or it has a frame a line: {"name" or "frame", "boxes": [[x, y, width,
    height], ...]} or {..., "people": [{"bbox", "score"}, ...]}, as `--save jsonl` writes it. A frame goes by its name
    ("clip/000012", or its last part, or all of it behind a folder), a line without one by its number. Where an image or
    a line tells its "width" and "height", boxes of a smaller or larger picture of the frame are scaled to it.

    Raises InputError for a file that cannot be read, or holds anything else.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._by_name: dict[str, list[PersonBox]] = {}
        self._by_number: dict[int, list[PersonBox]] = {}
        self._sizes: dict[str | int, tuple[int, int]] = {}
        """(height, width) of the pictures that tell it, by name or number."""
        self._count = 0
        content = self._read()
        try:
            whole = _loaded(content)
        except orjson.JSONDecodeError:
            self._take_lines(content)
            return
        if isinstance(whole, dict) and not {"boxes", "people"} & whole.keys():
            self._take_coco(whole)
        elif isinstance(whole, list):
            self._take_results(whole, {_PERSON})
        else:
            self._take_line(whole, "line 1")

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._path

    def of(self, frame: Frame) -> list[PersonBox]:
        """The boxes of a frame, none where the file has none.

        Raises InputError where they are of a picture of another aspect.
        """
        name = frame.name
        known = next((each for each in (name, name.rpartition("/")[2]) if each in self._by_name), None)
        if known is None:
            known = self._in_folders.get(name)
        boxes = self._by_number.get(frame.index, []) if known is None else self._by_name[known]
        size = self._sizes.get(frame.index if known is None else known, frame.size)
        return boxes if size == frame.size or not boxes else self._scaled(boxes, size, frame)

    def _scaled(self, boxes: Sequence[PersonBox], size: tuple[int, int], frame: Frame) -> list[PersonBox]:
        down, across = (pixels / others for pixels, others in zip(frame.size, size, strict=True))
        if abs(across / down - 1) > _LIKE:
            told, real = (f"{width}x{height}" for height, width in (size, frame.size))
            raise InputError(f"{self._path}: its boxes of {frame.name} are of a picture of {told}, and that is {real}")
        return [
            replace(box, left=box.left * across, top=box.top * down, width=box.width * across, height=box.height * down)
            for box in boxes
        ]

    @cached_property
    def _in_folders(self) -> dict[str, str]:
        """Names by what is behind one of their folders, where that is no other's too."""
        found: dict[str, str] = {}
        several = set[str]()
        for name in self._by_name:
            parts = name.split("/")
            for tail in ("/".join(parts[-count:]) for count in range(1, min(len(parts), _DEEPEST + 1))):
                if found.setdefault(tail, name) != name:
                    several.add(tail)
        return {tail: name for tail, name in found.items() if tail not in several}

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)  # a pipe does not tell its size
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read: {cause(error)}") from error
        if len(content) > _MOST_BYTES:
            raise InputError(f"{self._path}: more than {_MOST_BYTES >> 20} MiB, which no file of boxes needs")
        return content.removeprefix(BOM_UTF8)

    def _take_lines(self, content: bytes) -> None:
        for number, line in enumerate(content.splitlines(), 1):
            if line.strip():
                try:
                    record = _loaded(line)
                except orjson.JSONDecodeError as error:
                    raise self._wrong(f"line {number}", f"no JSON: {error}") from error
                self._take_line(record, f"line {number}")

    def _take_line(self, record: Any, place: str) -> None:
        if not isinstance(record, dict):
            raise self._wrong(place, 'not {"frame" or "name", "boxes" or "people"}')
        boxes = record.get("boxes")
        if boxes is None:
            boxes = [_as_box(each) if isinstance(each, dict) else each for each in _list(record.get("people"))]
        found = self._checked(boxes, place)
        name, number = record.get("name"), record.get("frame")
        if isinstance(name, str):
            self._by_name.setdefault(name, []).extend(found)
            self._take_size(name, record)
        elif type(number) is int and number >= 0:
            self._by_number.setdefault(number, []).extend(found)
            self._take_size(number, record)
        else:
            raise self._wrong(place, 'neither "frame", a number from 0 on, nor "name"')

    def _take_coco(self, whole: Mapping[str, Any]) -> None:
        if not isinstance(whole.get("annotations"), list) or not isinstance(whole.get("images"), list):
            raise self._wrong("the file", 'neither COCO, with "images" and "annotations", nor a frame a line')
        names: dict[int, str] = {}
        for place, image in enumerate(whole["images"]):
            if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
                raise self._wrong(f"image {place}", 'not {"id", "file_name"}')
            file = PurePosixPath(image["file_name"])
            if not file.name:
                raise self._wrong(f"image {place}", f"{image['file_name'][:80]!r} is no file's name")
            name = names[_hashable(image.get("id"))] = str(file.with_suffix(""))
            self._take_size(name, image)
        self._take_results(whole["annotations"], self._people_among(_list(whole.get("categories"))), names)

    def _take_size(self, picture: str | int, record: Mapping[str, Any]) -> None:
        height, width = record.get("height"), record.get("width")
        if type(height) is int and type(width) is int and 0 < min(height, width) <= max(height, width) <= _FARTHEST:
            self._sizes[picture] = height, width

    def _people_among(self, categories: Sequence[Any]) -> set[Any]:
        """The ids of the categories that are of people."""
        named = {_hashable(each.get("id")): str(each.get("name")) for each in categories if isinstance(each, dict)}
        people = {number for number, name in named.items() if name.lower() == "person"}
        if not people and len(named) > 1:
            known = ", ".join(name[:80] for name in sorted(named.values())[:10])
            raise self._wrong("categories", f'none of them is "person": {known}')
        return people or set(named) or {_PERSON}

    def _take_results(
        self, annotations: Sequence[Any], people: set[Any], names: Mapping[Any, str] | None = None
    ) -> None:
        for place, each in enumerate(annotations):
            if not isinstance(each, dict):
                raise self._wrong(f"annotation {place}", 'not {"image_id", "bbox"}')
            if _hashable(each.get("category_id", next(iter(people)))) not in people:
                continue
            found = self._checked([_as_box(each)], f"annotation {place}")
            image = _hashable(each.get("image_id"))
            if names is not None and image in names:
                self._by_name.setdefault(names[image], []).extend(found)
            elif names is None and isinstance(image, int):
                self._by_number.setdefault(image, []).extend(found)
            else:
                raise self._wrong(f"annotation {place}", f"there is no image {repr(image)[:80]}")

    def _checked(self, boxes: Any, place: str) -> list[PersonBox]:
        if not isinstance(boxes, list):
            raise self._wrong(place, '"boxes" is no list')
        self._count += len(boxes)
        if self._count > _MOST_BOXES:
            raise self._wrong(place, f"more than {_MOST_BOXES} boxes")
        return [PersonBox(*self._numbers(box, place)) for box in boxes]

    def _numbers(self, box: Any, place: str) -> Iterator[float]:
        numbers = box if isinstance(box, list) and len(box) in (4, 5) else []
        right = bool(numbers) and all(type(each) in (int, float) for each in numbers)
        if not right or not all(math.isfinite(each) and abs(each) <= _FARTHEST for each in numbers):
            raise self._wrong(place, f"{str(box)[:80]} is no box: [x, y, width, height], pixels")
        if min(numbers[2:4]) <= 0:
            raise self._wrong(place, f"{str(box)[:80]} is an empty box: width and height are above 0")
        if not all(0 <= score <= 1 for score in numbers[4:]):
            raise self._wrong(place, f"{str(box)[:80]} has a score that is not 0 to 1")
        return map(float, numbers)

    def _wrong(self, place: str, what: str) -> InputError:
        return InputError(f"{self._path}: {place}: {what}")


def _loaded(content: bytes) -> Any:
    """Of JSON. Bytes of a name that are no UTF-8 are escapes of half a character, which orjson refuses.

    Raises orjson.JSONDecodeError.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        with suppress(ValueError, RecursionError):
            if b"\\u" in content:
                return json.loads(content)
        raise


def _as_box(record: Mapping[str, Any]) -> Any:
    """Of {"bbox", "score"} the list that a line has; whatever else a bbox is stays that, to be refused."""
    box, score = record.get("bbox"), record.get("score")
    return [*box, 1.0 if score is None else score] if isinstance(box, list) and len(box) == 4 else [box]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else str(value)
