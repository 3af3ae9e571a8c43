"""The people of a picture, by a map of whose each pixel is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.frame import IdArray, Person, PersonBox, Segmentation, UInt8Array
from sapiens_stream.labels import Label, find_labels
from sapiens_stream.people.known import Cells

_EDGE = 3  # low-resolution pixels


def with_people(result: Segmentation, low: Cells, scores: Mapping[int, float]) -> Segmentation:
    """A frame with its people, by whose each low-resolution pixel is; their scores by id."""
    class_map = result.class_map
    # What is finer than a low-resolution pixel, as edges are, belongs to whom it touches.
    own = coded(low).astype(np.uint16)
    beside = cv2.dilate(own, np.ones((2 * _EDGE + 1,) * 2, np.uint8))
    wide = cv2.resize(np.where(own > 0, own, beside), class_map.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ids = np.where(class_map > 0, wide, 0).astype(np.uint16, copy=False)
    _give_specks(ids, class_map, own, result.boxes or ())
    return replace(result, people=people_in(ids, class_map, result.classes, scores), person_map=ids)


def _give_specks(ids: IdArray, class_map: UInt8Array, low: IdArray, boxes: Sequence[PersonBox]) -> None:
    """What is too small to be seen in `low`, and in somebody's box, becomes theirs who is nearest; in place."""
    rows, columns = np.nonzero((class_map > 0) & (ids == 0))
    if not rows.size or not low.any():
        return
    within = np.zeros(rows.shape, np.bool_)
    for box in boxes:
        across, down = columns + 0.5 - box.left, rows + 0.5 - box.top
        within |= (across >= 0) & (across < box.width) & (down >= 0) & (down < box.height)
    rows, columns = rows[within], columns[within]
    nobody = (low == 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(nobody, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    whose = np.zeros(int(nearest.max()) + 1, np.uint16)
    whose[nearest[low > 0]] = low[low > 0]
    height, width = class_map.shape
    ids[rows, columns] = whose[nearest[rows * low.shape[0] // height, columns * low.shape[1] // width]]


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
