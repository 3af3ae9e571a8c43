"""Formats that supervision (https://supervision.roboflow.com) writes: YOLO's polygons, and LabelMe's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sapiens_stream.results.export.extra import needing
from sapiens_stream.results.export.target import Target, to_json
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import path_below, written_aside
from sapiens_stream.sinks.instances import Instance, find_instances, instance_mask

if TYPE_CHECKING:
    from supervision import Detections

_LABELME_VERSION = "5.5.0"
"""Of the program whose files these are like."""


def write_yolo(frames: Iterable[StoredFrame], target: Target) -> None:
    """labels/NAME.txt, a polygon a line, and data.yaml. YOLO has no background: its ids are one less."""
    with needing("yolo"):
        from supervision.dataset.formats.yolo import detections_to_yolo_annotations, save_data_yaml

    for frame in frames:
        lines = [
            line
            for _, detections in _detections(frame, target)
            for line in detections_to_yolo_annotations(detections, frame.size)
        ]
        with written_aside(path_below(target.folder / "labels", target.item_name(frame), ".txt")) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
        target.write_picture(frame)
    save_data_yaml(str(target.folder / "data.yaml"), list(target.classes.names[1:]))


def write_labelme(frames: Iterable[StoredFrame], target: Target) -> None:
    """NAME.json beside NAME.jpg, as today's LabelMe reads them; `group_id` is the person, where it is known."""
    with needing("labelme"):
        from supervision.dataset.formats.labelme import detections_to_labelme_shapes

    names = list(target.classes.names[1:])
    for frame in frames:
        shapes = []
        for instance, detections in _detections(frame, target):
            for shape in detections_to_labelme_shapes(detections, names):
                shapes.append({**shape, "group_id": instance.person})
        height, width = frame.size
        record: dict[str, Any] = {
            "version": _LABELME_VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": target.picture_name(frame).rpartition("/")[2],
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        with written_aside(path_below(target.folder, target.item_name(frame), ".json")) as file:
            file.write(to_json(record))
        target.write_picture(frame, "")


def _detections(frame: StoredFrame, target: Target) -> Iterator[tuple[Instance, Detections]]:
    """One at a time, as each has a mask of the whole frame."""
    from supervision import Detections

    for instance in find_instances(frame.class_map, frame.person_map, target.classes):
        part, (x, y) = instance_mask(instance, frame.class_map, frame.person_map)
        height, width = part.shape
        mask = np.zeros((1, *frame.size), bool)
        mask[0, y : y + height, x : x + width] = part
        yield (
            instance,
            Detections(
                xyxy=np.array([[x, y, x + width, y + height]], np.float32),
                mask=mask,
                class_id=np.array([instance.label.id - 1]),
            ),
        )
