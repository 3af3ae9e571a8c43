"""Class maps as LIP, CIHP and other data sets of human parsing have them: palette PNG, the index of a colour its id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sapiens_stream.classes import MAX_CLASSES, numbered
from sapiens_stream.frame import UInt8Array
from sapiens_stream.results.export.target import Layout, Target
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import path_below, written_aside
from sapiens_stream.sinks.instances import find_instances, instance_mask
from sapiens_stream.sinks.png import encode_palette_png


@dataclass(frozen=True, kw_only=True)
class _Folders:
    """Where a data set has its files; None: it has no such."""

    classes: str
    images: str
    names: str
    people: str | None = None
    instances: str | None = None


_LAYOUTS: dict[Layout, _Folders] = {
    "plain": _Folders(classes="masks", images="images", names="names.txt"),
    "lip": _Folders(
        classes="TrainVal_parsing_annotations/train_segmentations",
        images="TrainVal_images/train_images",
        names="train_id.txt",
    ),
    "cihp": _Folders(
        classes="Category_ids",
        images="Images",
        names="train_id.txt",
        people="Human_ids",
        instances="Instance_ids",
    ),
}


def write(frames: Iterable[StoredFrame], target: Target) -> None:
    """A PNG a frame in the folders of a layout, and a list of their names.

    CIHP's people and instances are numbered from 1 in each frame, and are there where people were kept apart.
    """
    folders = _LAYOUTS[target.choices.layout]
    spread = numbered(MAX_CLASSES)
    with written_aside(target.folder / folders.names) as names:
        for frame in frames:
            _write(target, folders.classes, frame, frame.class_map, target.classes.palette)
            if frame.person_map is not None and folders.people and folders.instances:
                people, instances = _numbered(frame, target)
                _write(target, folders.people, frame, people, spread.palette)
                _write(target, folders.instances, frame, instances, spread.palette)
            target.write_picture(frame, folders.images)
            names.write(target.item_name(frame).encode("utf-8", "surrogateescape") + b"\n")


def _write(target: Target, folder: str, frame: StoredFrame, ids: UInt8Array, palette: UInt8Array) -> None:
    with written_aside(path_below(target.folder / folder, target.item_name(frame), ".png")) as file:
        file.write(encode_palette_png(ids, palette))


def _numbered(frame: StoredFrame, target: Target) -> tuple[UInt8Array, UInt8Array]:
    """Whose each pixel is, and of which instance; of more than a PNG can tell, the first 255."""
    people, instances = np.zeros(frame.size, np.uint8), np.zeros(frame.size, np.uint8)
    known: dict[int, int] = {}
    found = [each for each in find_instances(frame.class_map, frame.person_map, target.classes) if each.person]
    for number, instance in enumerate(found[: MAX_CLASSES - 1], 1):
        mask, (x, y) = instance_mask(instance, frame.class_map, frame.person_map)
        part = slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1])
        people[part][mask] = known.setdefault(instance.person or 0, len(known) + 1)
        instances[part][mask] = number
    return people, instances
