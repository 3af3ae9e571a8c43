"""Formats that supervision (https://supervision.roboflow.com) writes: YOLO's polygons, and LabelMe's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.results.export.extra import needing
from sapiens_stream.results.export.outlines import outlines
from sapiens_stream.results.export.target import Target, to_json
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import path_below, written_aside
from sapiens_stream.sinks.instances import Instance, find_instances, instance_mask

_LABELME_VERSION = "5.5.0"
"""Of the program whose files these are like."""

_CORNERS = 3
"""That a polygon has at least; a line with fewer would be a box to YOLO, and none is a shape to LabelMe."""
_WITHIN = 0.25
"""Pixels from a pixel's corner, so that one who rounds and one who cuts off find the pixel."""

Polygon = npt.NDArray[np.float64]


def write_yolo(frames: Iterable[StoredFrame], target: Target) -> None:
    """labels/NAME.txt, a polygon a line, and data.yaml. YOLO has no background: its ids are one less.

    Training takes no set that does not say what to train and to measure by: all of it, until somebody parts it.
    """
    with needing("yolo"):
        from supervision.dataset.formats.yolo import object_to_yolo, save_data_yaml

    no_box = np.zeros(4)  # which a line with a polygon does not tell
    for frame in frames:
        lines = [
            object_to_yolo(no_box, instance.label.id - 1, frame.size, polygon + _WITHIN)
            for instance, polygons in _outlined(frame, target)
            for polygon in polygons
        ]
        with written_aside(path_below(target.folder / "labels", target.item_name(frame), ".txt")) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
        target.write_picture(frame)
    table = target.folder / "data.yaml"
    save_data_yaml(str(table), list(target.classes.names[1:]))
    with table.open("a") as file:
        file.write("train: images\nval: images\n")


def write_labelme(frames: Iterable[StoredFrame], target: Target) -> None:
    """NAME.json beside NAME.jpg, as today's LabelMe reads them; `group_id` is the person, where it is known."""
    with needing("labelme"):
        import supervision  # noqa: F401  # whose outlines these are

    for frame in frames:
        shapes = [
            _shape(instance, target, polygon) for instance, polygons in _outlined(frame, target) for polygon in polygons
        ]
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


def _shape(instance: Instance, target: Target, polygon: Polygon) -> dict[str, Any]:
    return {
        "label": target.classes[instance.label.id],
        "points": polygon.tolist(),
        "group_id": instance.person,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
    }


def _outlined(frame: StoredFrame, target: Target) -> Iterator[tuple[Instance, list[Polygon]]]:
    """The instances of a frame with their outlines."""
    for instance in find_instances(frame.class_map, frame.person_map, target.classes):
        part, origin = instance_mask(instance, frame.class_map, frame.person_map)
        yield instance, [polygon + np.array(origin) for polygon in _polygons(part)]


def _polygons(mask: npt.NDArray[np.bool_]) -> list[Polygon]:
    """Outlines through the middles of the outermost pixels, with seams to the holes, as `cv2.fillPoly` gives it back.

    supervision finds no seam where pixels hang together by a corner alone: such a mask is taken apart there.
    """
    try:
        return _around(mask)
    except ValueError:
        count, pieces = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    found: list[Polygon] = []
    for number in range(1, count):
        piece = np.asarray(pieces == number)
        try:
            found += _around(piece)
        except ValueError:
            found += [np.maximum(ring - 0.5, 0) for ring in outlines(piece)]
    return found


def _around(mask: npt.NDArray[np.bool_]) -> list[Polygon]:
    """The outlines of all pieces of a mask; of single pixels and lines of them too, which supervision passes over.

    Raises ValueError where it finds no seam.
    """
    from supervision.dataset.utils import approximate_mask_with_polygons

    found = [np.asarray(each, np.float64) for each in approximate_mask_with_polygons(mask, bridge_holes=True)]
    rings, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    thin = [ring.reshape(-1, 2) for ring in rings if len(ring) < _CORNERS]
    return found + [ring[[0, -1, -1]].astype(np.float64) for ring in thin]
