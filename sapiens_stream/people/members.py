"""The people of a picture, by a map of whose each pixel is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.frame import IdArray, Person, UInt8Array
from sapiens_stream.labels import Label, find_labels


def people_in(
    person_map: IdArray, class_map: UInt8Array, classes: ClassSet, scores: Mapping[int, float | None]
) -> tuple[Person, ...]:
    """Those of `scores`, by id, of whom anything is seen, with their boxes and classes."""
    people = []
    for identity in sorted(scores):
        mask = person_map == coded(np.int32(identity))
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        if width:
            part = slice(y, y + height), slice(x, x + width)
            own = np.where(mask[part], class_map[part], np.uint8(0))
            labels = tuple(_moved(label, x, y, class_map.size) for label in find_labels(own, classes))
            people.append(Person(identity, (x, y, width, height), scores[identity], labels))
    return tuple(people)


def coded(ids: npt.NDArray[np.int32] | np.int32) -> npt.NDArray[np.int32]:
    """What stands in a map of 16 bits: the ids themselves, and beyond 65535 from 1 again."""
    return np.where(ids > 0, (ids - 1) % 0xFFFF + 1, 0)


def _moved(label: Label, x: int, y: int, pixels: int) -> Label:
    """A label of a part of the picture, as one of the whole."""
    left, top, width, height = label.bbox
    return replace(label, bbox=(left + x, top + y, width, height), fraction=label.pixels / pixels)
