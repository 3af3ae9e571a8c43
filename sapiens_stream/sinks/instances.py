"""The instances of a frame: a class of a person, or, where people were not kept apart, a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import MAX_CLASSES, ClassSet
from sapiens_stream.frame import IdArray, UInt8Array
from sapiens_stream.labels import Label, find_labels
from sapiens_stream.sinks.regions import run_lengths

Key = tuple[int, int]
"""A person's id, 0 where there is none, and a class's."""


@dataclass(frozen=True)
class Instance:
    """Pixels of one class, of one person. `person` is None where it is not known whose they are."""

    person: int | None
    label: Label

    @property
    def key(self) -> Key:
        """By which it is told from the others of its frame."""
        return self.person or 0, self.label.id


def find_instances(class_map: UInt8Array, person_map: IdArray | None, classes: ClassSet) -> list[Instance]:
    """Of (H, W) uint8 and (H, W) uint16, by person and class; the background is left out."""
    if person_map is None:
        return [Instance(None, label) for label in find_labels(class_map, classes)]
    found = []
    for person, (rows, columns) in _places(person_map, class_map > 0):
        part = np.where(person_map[rows, columns] == person, class_map[rows, columns], 0).astype(np.uint8)
        for label in find_labels(part, classes):
            x, y, width, height = label.bbox
            label = replace(
                label,
                bbox=(columns.start + x, rows.start + y, width, height),
                fraction=label.pixels / class_map.size,
            )
            found.append(Instance(person or None, label))
    return found


def instance_mask(
    instance: Instance, class_map: UInt8Array, person_map: IdArray | None
) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    """Where an instance is, within its box, and that box's upper left corner, (x, y)."""
    x, y, width, height = instance.label.bbox
    part = slice(y, y + height), slice(x, x + width)
    mask = class_map[part] == instance.label.id
    if person_map is not None:
        mask &= person_map[part] == (instance.person or 0)
    return mask, (x, y)


def instance_run_lengths(class_map: UInt8Array, person_map: IdArray | None) -> dict[Key, str]:
    """COCO's compressed run lengths of each instance, by its key, in one pass."""
    if person_map is None:
        return {(0, class_id): counts for class_id, counts in run_lengths(class_map).items()}
    people, places = np.unique(person_map, return_inverse=True)
    kind = np.uint16 if len(people) <= MAX_CLASSES else np.int32  # what OpenCV can turn on its side
    keys = places.reshape(class_map.shape) * MAX_CLASSES + class_map
    return {
        (int(people[key // MAX_CLASSES]), key % MAX_CLASSES): counts
        for key, counts in run_lengths(np.ascontiguousarray(keys, kind)).items()
    }


def _places(person_map: IdArray, anybody: npt.NDArray[np.bool_]) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Each person that has pixels of a class, and where; 0 stands for what is nobody's."""
    for person in np.flatnonzero(np.bincount(person_map[anybody])).tolist():
        mine = (person_map == person) & anybody
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        yield person, (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
