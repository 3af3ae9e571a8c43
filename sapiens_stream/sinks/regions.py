"""The region of each class as polygons, or as COCO run lengths; either gives the mask back exactly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import UInt8Array
from sapiens_stream.labels import Box, Extents
from sapiens_stream.sinks.rings import Ring, find_rings


class Rle(TypedDict):
    """COCO's run lengths, as pycocotools takes them: [height, width], and the lengths as text."""

    size: list[int]
    counts: str


def polygons(class_map: UInt8Array, extents: Extents, ids: Iterable[int]) -> dict[int, list[Ring]]:
    """The rings around some classes and around their holes, each (N, 2) of x, y in pixels; none where a class is not.

    `class_map` is (H, W) uint8, `extents` its own. Filling all rings of a class at once with
    `cv2.drawContours(mask, rings, -1, 1, cv2.FILLED)` gives its mask back exactly.
    """
    if extents.runs is not None:
        rings = find_rings(extents.runs, extents.size)
        return {index: rings.get(index, []) for index in ids}
    return {index: _contours(class_map, index, extents.boxes[index]) if index in extents.boxes else [] for index in ids}


def _contours(class_map: UInt8Array, index: int, box: Box) -> list[Ring]:
    """The same for a class in its box, pixel by pixel: for maps that are all noise."""
    x, y, width, height = box
    mask = (class_map[y : y + height, x : x + width] == index).view(np.uint8)
    rings, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    return [np.asarray(ring, np.int32).reshape(-1, 2) for ring in rings]


def rle(class_map: UInt8Array, ids: Iterable[int]) -> dict[int, Rle]:
    """COCO's run lengths of each of these classes; of one that is not there, those of an empty mask."""
    counts = run_lengths(class_map)
    nothing, _ = _printable(np.array([class_map.size]))
    size = list(class_map.shape)
    return {index: {"size": size, "counts": counts.get(index, nothing.decode("ascii"))} for index in ids}


def run_lengths(class_map: npt.NDArray[Any]) -> dict[int, str]:
    """COCO's compressed run lengths of each class that is there, background included, as pycocotools writes them.

    The string holds the lengths of the runs outside and inside the class in turn, column by column, each from
    the third on as the difference to the one before the last, in groups of 5 bits with a sixth that says "more",
    plus 48 to be printable (cocoapi, `rleToString` in maskApi.c). All classes are done in one pass.
    """
    pixels = np.asarray(cv2.transpose(class_map)).reshape(-1)  # column by column, ten times faster than numpy's
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = np.concatenate([[0], edges])
    ends = np.concatenate([edges, [pixels.size]])
    by_class = np.argsort(pixels[starts], kind="stable")
    starts, ends = starts[by_class], ends[by_class]
    ids, first_run = np.unique(pixels[starts], return_index=True)
    run_count = np.diff(np.append(first_run, len(starts)))

    # Before each run a gap since the run before it of the same class; after the last the rest, unless it is empty.
    gaps = starts - np.concatenate([[0], ends[:-1]])
    gaps[first_run] = starts[first_run]
    last_run = first_run + run_count - 1
    rest = pixels.size - ends[last_run]
    counts = np.insert(np.stack([gaps, ends - starts], axis=1).ravel(), 2 * (last_run + 1), rest)
    first_count = 2 * first_run + np.arange(len(ids))
    deltas = counts.copy()
    deltas[2:] -= counts[:-2]
    for place in range(3):  # a class has at least three counts here, the first three of which stand as they are
        deltas[first_count + place] = counts[first_count + place]

    text, ends_of_counts = _printable(deltas)
    offsets = np.concatenate([[0], ends_of_counts])
    count_ends = first_count + 2 * run_count + (rest > 0)
    return {
        int(class_id): text[offsets[begin] : offsets[end]].decode("ascii")
        for class_id, begin, end in zip(ids, first_count, count_ends, strict=True)
    }


def _printable(values: npt.NDArray[np.int64]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The groups of 5 bits of each value as characters, one value after the other, and where each value ends."""
    groups = []
    written = []
    more = np.ones(len(values), bool)
    while more.any():
        written.append(more)
        group = values & 31
        values = values >> 5
        more = more & (values != np.where(group & 16, -1, 0))
        groups.append((group + 32 * more + 48).astype(np.uint8))
    table = np.stack(written, axis=1)
    return np.stack(groups, axis=1)[table].tobytes(), np.cumsum(table.sum(axis=1))
