"""How a frame's JSON was made once: its classes found pixel by pixel, their outlines in their whole boxes.

The baseline of `benchmarks.frame_json`.
"""

from __future__ import annotations

import cv2
import numpy as np
import orjson

from sapiens_stream.classes import MAX_CLASSES
from sapiens_stream.frame import Segmentation, UInt8Array
from sapiens_stream.settings import FRAME_SCHEMA
from sapiens_stream.sinks.rings import Ring

_BAND = 1 << 18
"""Pixels looked at together."""

Found = tuple[int, int, tuple[int, int, int, int]]
"""A class, its pixels, and its box."""


def as_json(result: Segmentation, *, title: str) -> bytes:
    """The same bytes as `sinks.json_file.as_json`."""
    class_map, names = result.class_map, result.classes.names
    height, width = class_map.shape
    found = find(class_map)
    record = {
        "schema": FRAME_SCHEMA,
        "title": title,
        "name": result.frame.name,
        "width": width,
        "height": height,
        "frame": result.frame.index,
        "time": None if result.frame.time is None else float(result.frame.time),
        "model": result.model,
        "labels": [
            {
                "id": index,
                "name": names[index],
                "pixels": pixels,
                "fraction": round(pixels / class_map.size, 6),
                "bbox": box,
            }
            for index, pixels, box in found
        ],
        "regions": [
            {"id": index, "name": names[index], "polygons": outlines(class_map, index, box)} for index, _, box in found
        ],
    }
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)


def find(class_map: UInt8Array) -> list[Found]:
    """The classes of a class map, by id, without the background."""
    rows = np.flatnonzero(_any_in_rows(class_map))
    if not len(rows):
        return []
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(_any_in_columns(class_map[top:bottom]))
    left, right = int(columns[0]), int(columns[-1]) + 1
    extents = _Extents(class_map[top:bottom, left:right])
    found: list[Found] = []
    for index in (np.flatnonzero(extents.pixels[1:]) + 1).tolist():
        x, y = int(extents.left[index]), int(extents.top[index])
        box = (left + x, top + y, int(extents.right[index]) - x, int(extents.bottom[index]) - y)
        found.append((index, int(extents.pixels[index]), box))
    return found


def outlines(class_map: UInt8Array, index: int, box: tuple[int, int, int, int]) -> list[Ring]:
    """The rings of a class."""
    x, y, width, height = box
    mask = (class_map[y : y + height, x : x + width] == index).view(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    return [np.asarray(contour, np.int32).reshape(-1, 2) for contour in contours]


def _any_in_rows(class_map: UInt8Array) -> UInt8Array:
    whole = class_map.shape[1] // 8 * 8
    found = np.bitwise_or.reduce(class_map[:, :whole].view(np.uint64), axis=1) != 0
    return np.asarray(found | class_map[:, whole:].any(axis=1), np.uint8)


def _any_in_columns(class_map: UInt8Array) -> UInt8Array:
    whole = class_map.shape[1] // 8 * 8
    words = np.bitwise_or.reduce(class_map[:, :whole].view(np.uint64), axis=0).view(np.uint8)
    return np.concatenate([words, class_map[:, whole:].max(axis=0)])


class _Extents:
    """By class: its pixels, and the box around them, by its runs along the rows."""

    def __init__(self, class_map: UInt8Array) -> None:
        height, width = class_map.shape
        self.pixels = np.zeros(MAX_CLASSES, np.int64)
        self.top, self.bottom = np.full(MAX_CLASSES, height), np.zeros(MAX_CLASSES, np.int64)
        self.left, self.right = np.full(MAX_CLASSES, width), np.zeros(MAX_CLASSES, np.int64)
        rows = max(1, _BAND // width)
        for first in range(0, height, rows):
            self._add(class_map[first : first + rows], first)

    def _add(self, band: UInt8Array, first: int) -> None:
        begins = np.ones(band.shape, np.bool_)
        np.not_equal(band[:, 1:], band[:, :-1], out=begins[:, 1:])
        start = np.flatnonzero(begins)
        row, left = np.divmod(start, band.shape[1])
        value = band[row, left]
        length = np.empty_like(start)
        np.subtract(start[1:], start[:-1], out=length[:-1])
        length[-1] = band.size - start[-1]
        self.pixels += np.bincount(value, weights=length, minlength=MAX_CLASSES).astype(np.int64)
        row += first
        np.minimum.at(self.top, value, row)
        np.maximum.at(self.bottom, value, row + 1)
        np.minimum.at(self.left, value, left)
        np.maximum.at(self.right, value, left + length)
