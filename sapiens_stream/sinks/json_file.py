"""What was found in a frame as JSON, schema "sapiens-stream/1"."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import orjson

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Person, Segmentation
from sapiens_stream.labels import Label
from sapiens_stream.settings import FRAME_SCHEMA, JSON_FILE, REGIONS, Regions
from sapiens_stream.sinks.regions import polygons, rle
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.threads import SMALL_STEPS

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

# For the estimate before a run: measured on a person who fills half of a 1080p frame.
_BYTES_PER_PIXEL = 0.02
_HEADROOM = 1.08  # later frames have larger numbers, and may show more people


class JsonSink(Sink):
    """Writes NAME.json, as `as_json` has it.

    Args:
        root: the folder that names are below.
        title: written into each.
        regions: how a class's region is told: "polygons", "rle" or "none".
        only: ids of the classes that are told; None: all.

    Raises:
        UsageError: for other `regions`.

    >>> JsonSink(Path("out"), title="result", regions="rle").write(result)
    """

    endings = (JSON_FILE,)

    def __init__(
        self,
        root: Path,
        *,
        title: str,
        regions: Regions = REGIONS,
        only: tuple[int, ...] | None = None,
    ) -> None:
        check_words(regions, title)
        self._root = root
        self._title = title
        self._regions = regions
        self._only = only

    def write(self, result: Segmentation) -> None:
        text = self._encode(result)
        with self._new_file(self._root, result.frame.name, JSON_FILE) as file:
            file.write(text)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return bytes_of_json(size, self._regions)

    def measure(self, result: Segmentation) -> int:
        return with_headroom(self._encode(result))

    def in_one_file(self, size: tuple[int, int], first: Segmentation | None = None) -> tuple[str, int] | None:
        return "jsonl", self.bytes_per_frame(size) if first is None else self.measure(first)

    def _encode(self, result: Segmentation) -> bytes:
        return as_json(result, title=self._title, regions=self._regions, only=self._only)


def as_json(
    result: Segmentation, *, title: str, regions: Regions = REGIONS, only: tuple[int, ...] | None = None
) -> bytes:
    """A frame's JSON, UTF-8. Of the classes only those of `only` (ids; None: all) are written.

    `frame` counts from 0; `time` is in seconds, null for a photo; `people` is there if they were
    looked for, `carried` if not 0, `damaged` if it is true, `number` if the frame has one.
    A region is given by `polygons`, as `sinks.regions.polygons` gives them, or by `rle`, COCO's
    {"size": [height, width], "counts": "..."}; `regions="none"` leaves them out. Raises UsageError for any other word.
    """
    check_words(regions, title)
    with SMALL_STEPS:
        return _as_json(result, title, regions, only)


def _as_json(result: Segmentation, title: str, regions: Regions, only: tuple[int, ...] | None) -> bytes:
    frame = result.frame
    height, width = result.class_map.shape
    labels = _written(result.labels, only)
    record: dict[str, Any] = {
        "schema": FRAME_SCHEMA,
        "title": _text(title),
        "name": _text(frame.name),
        "width": width,
        "height": height,
        "frame": frame.index,
        "time": None if frame.time is None else float(frame.time),
        "model": _text(result.model),
        "labels": [_label(label) for label in labels],
    }
    if result.people is not None:
        record["people"] = [_person(person, only) for person in result.people]
    if result.carried:
        record["carried"] = result.carried
    if frame.number is not None:
        record["number"] = frame.number
    if frame.damaged:
        record["damaged"] = True
    if regions != "none":
        record["regions"] = _regions(result, labels, regions)
    # orjson takes outlines as arrays: a tenth of the time that lists of points and json take.
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)


def _written(labels: Sequence[Label], only: tuple[int, ...] | None) -> list[Label]:
    return [label for label in labels if only is None or label.id in only]


def _person(person: Person, only: tuple[int, ...] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"id": person.id, "bbox": person.bbox}
    if person.score is not None:
        told["score"] = person.score
    told["labels"] = [_label(label) for label in _written(person.labels, only)]
    return told


def _regions(result: Segmentation, labels: Sequence[Label], regions: Regions) -> list[dict[str, Any]]:
    ids = [label.id for label in labels]
    if regions == "rle":
        lengths = rle(result.class_map, ids)
        return [_region(label, rle=lengths[label.id]) for label in labels]
    rings = polygons(result.class_map, result.extents, ids)
    return [_region(label, polygons=rings[label.id]) for label in labels]


def bytes_of_json(size: tuple[int, int], regions: Regions) -> int:
    """About how much the JSON of a frame of (height, width) takes."""
    return 2000 + (0 if regions == "none" else int(size[0] * size[1] * _BYTES_PER_PIXEL))


def with_headroom(text: bytes) -> int:
    """About how much the JSON of frames like that of `text` takes."""
    return int(len(text) * _HEADROOM)


def check_words(regions: str, title: str) -> None:
    """Raises UsageError for what is none of `Regions`, and for a title that is no text."""
    if not isinstance(title, str):
        raise UsageError(f"the title is {title!r}; it is a text")
    if regions not in get_args(Regions):
        raise UsageError(f"can't write regions as {regions!r}; there are {', '.join(get_args(Regions))}")


def _text(text: str) -> orjson.Fragment:
    """A name of a file need not be text: what is not becomes JSON's own escape."""
    return orjson.Fragment(json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def _label(label: Label) -> dict[str, Any]:
    return {
        "id": label.id,
        "name": label.name,
        "pixels": label.pixels,
        "fraction": round(label.fraction, 6),
        "bbox": label.bbox,
    }


def _region(label: Label, **shape: Any) -> dict[str, Any]:
    return {"id": label.id, "name": label.name, **shape}


def frame_json(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return JsonSink(target.path, title=outputs.title, regions=outputs.regions, only=outputs.only)
