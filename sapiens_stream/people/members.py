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
from sapiens_stream.people.foreground import boxes_around

_EDGE = 3  # low-resolution pixels


def with_people(result: Segmentation, low: IdArray, scores: Mapping[int, float]) -> Segmentation:
    """A frame with its people, by whose each low-resolution pixel is, as `coded`; their scores by id."""
    class_map = result.class_map
    # What is finer than a low-resolution pixel, as edges are, belongs to whom it touches.
    beside = cv2.dilate(low, np.ones((2 * _EDGE + 1,) * 2, np.uint8))
    wide = cv2.resize(np.where(low > 0, low, beside), class_map.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ids = np.asarray(cv2.copyTo(wide, class_map), np.uint16)
    _give_specks(ids, class_map, low, result.boxes or ())
    return replace(result, people=people_in(ids, class_map, result.classes, scores), person_map=ids)


def _give_specks(ids: IdArray, class_map: UInt8Array, low: IdArray, boxes: Sequence[PersonBox]) -> None:
    """What is too small to be seen in `low`, and in somebody's box, becomes theirs who is nearest; in place."""
    height, width = class_map.shape
    cells = np.flatnonzero((class_map > 0) & (ids == 0))
    if not cells.size or not low.any():
        return
    rows = cells // width
    columns = cells - rows * width
    within = np.zeros(rows.shape, np.bool_)
    for box in boxes:
        across, down = columns + 0.5 - box.left, rows + 0.5 - box.top
        within |= (across >= 0) & (across < box.width) & (down >= 0) & (down < box.height)
    rows, columns = rows[within], columns[within]
    nobody = (low == 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(nobody, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    whose = np.zeros(int(nearest.max()) + 1, np.uint16)
    whose[nearest[low > 0]] = low[low > 0]
    ids[rows, columns] = whose[nearest[rows * low.shape[0] // height, columns * low.shape[1] // width]]


def people_in(
    person_map: IdArray, class_map: UInt8Array, classes: ClassSet, scores: Mapping[int, float | None]
) -> tuple[Person, ...]:
    """Those of `scores`, by id, of whom anything is seen, with their boxes and classes."""
    ids = sorted(scores)
    codes = coded(np.array(ids, np.int32))
    people = []
    for identity, code, (left, top, right, bottom) in zip(ids, codes, _boxes(person_map, codes), strict=True):
        if right:
            part = slice(top, bottom), slice(left, right)
            own = np.where(person_map[part] == code, class_map[part], np.uint8(0))
            labels = tuple(_moved(label, left, top, class_map.size) for label in find_labels(own, classes))
            people.append(Person(identity, (left, top, right - left, bottom - top), scores[identity], labels))
    return tuple(people)


def _boxes(person_map: IdArray, codes: IdArray) -> list[list[int]]:
    """Left, top, right and bottom of the box around all of each code, by where its runs of pixels begin and end."""
    height, width = person_map.shape
    pixels = person_map.reshape(-1)
    change, first = np.flatnonzero(pixels[1:] != pixels[:-1]), np.arange(height) * width
    cells = np.concatenate([change, change + 1, first, first + (width - 1)])
    place = np.zeros(1 << 16, np.intp)
    place[codes] = np.arange(1, len(codes) + 1)
    rows = cells // width
    boxes = boxes_around(place[pixels[cells]], len(codes) + 1, rows, cells - rows * width, person_map.shape)
    return [list(map(int, box)) for box in boxes[1:].tolist()]


def coded(ids: npt.NDArray[np.int32]) -> IdArray:
    """What stands in a map of 16 bits: the ids themselves, and beyond 65535 from 1 again."""
    return np.where(ids > 0, (ids - 1) % 0xFFFF + 1, 0).astype(np.uint16)


def _moved(label: Label, x: int, y: int, pixels: int) -> Label:
    """A label of a part of the picture, as one of the whole."""
    left, top, width, height = label.bbox
    return replace(label, bbox=(left + x, top + y, width, height), fraction=label.pixels / pixels)
