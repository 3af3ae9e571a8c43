"""COCO's instances (https://cocodataset.org/#format-data): one JSON, written as it comes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from tempfile import NamedTemporaryFile
from typing import IO, Any

from sapiens_stream.results.export.outlines import outlines
from sapiens_stream.results.export.target import Target, to_json
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import written_aside
from sapiens_stream.sinks.instances import (
    Instance,
    find_instances,
    instance_mask,
    instance_run_lengths,
)

ANNOTATIONS = "annotations.json"


def write(frames: Iterable[StoredFrame], target: Target) -> None:
    """annotations.json: an image a frame, an annotation an instance, ids from 1; the background is no category.

    An annotation's `segmentation` is RLE, or polygons along the edges of pixels; either gives the mask back exactly.
    `person` is the id of the person that it is of, where people were kept apart. Images are listed at the end, as they
    are kept in a file beside until then.
    """
    path = target.folder / ANNOTATIONS
    # Some disks remove no open file (SMB), as a TemporaryFile is at once.
    with written_aside(path) as file, NamedTemporaryFile(dir=path.parent) as images:
        file.write(b'{"info":' + to_json({"description": target.stem, "version": "1.0"}))
        file.write(b',"licenses":[],"categories":' + to_json(_categories(target)) + b',"annotations":[')
        annotation_count = 0
        for number, frame in enumerate(frames, 1):
            target.write_picture(frame)
            _append(images, number == 1, _image(number, frame, target))
            for annotation in _annotations(frame, target):
                annotation_count += 1
                _append(file, annotation_count == 1, {"id": annotation_count, "image_id": number, **annotation})
        file.write(b'],"images":[')
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write(b"]}")


def _append(file: IO[bytes], first: bool, record: dict[str, Any]) -> None:
    file.write((b"\n" if first else b",\n") + to_json(record))


def _categories(target: Target) -> list[dict[str, Any]]:
    classes = target.classes
    return [
        {"id": index, "name": classes[index], "supercategory": "person", "color": list(classes.colours[index])}
        for index in range(1, len(classes))
    ]


def _image(number: int, frame: StoredFrame, target: Target) -> dict[str, Any]:
    height, width = frame.size
    image: dict[str, Any] = {
        "id": number,
        "file_name": target.picture_name(frame),
        "width": width,
        "height": height,
        "frame": frame.index,
    }
    if frame.time is not None:
        image["time"] = float(frame.time)
    return image


def _annotations(frame: StoredFrame, target: Target) -> Iterator[dict[str, Any]]:
    lengths = {}
    if target.choices.regions == "rle":
        lengths = instance_run_lengths(frame.class_map, frame.person_map)
    for instance in find_instances(frame.class_map, frame.person_map, target.classes):
        annotation: dict[str, Any] = {
            "category_id": instance.label.id,
            "segmentation": {"size": frame.size, "counts": lengths[instance.key]}
            if lengths
            else _polygons(instance, frame),
            "area": instance.label.pixels,
            "bbox": instance.label.bbox,
            "iscrowd": 0,
        }
        if instance.person is not None:
            annotation["person"] = instance.person
        yield annotation


def _polygons(instance: Instance, frame: StoredFrame) -> list[Any]:
    mask, origin = instance_mask(instance, frame.class_map, frame.person_map)
    return [ring.reshape(-1) for ring in outlines(mask, origin)]
