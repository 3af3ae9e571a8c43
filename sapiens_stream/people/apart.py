"""People who stand together, told apart by their heads."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import UInt8Array

_LEAST_HEAD = 4  # cells
_SMALLER = 0.12  # of the largest head of a group, that another has at least
_LARGE = 40  # cells of a head, below which its shape tells nothing
_CORE = 0.5
"""Of the greatest distance from a head's edge, the distance at which touching heads fall apart."""
_COST_ACROSS = 3  # steps down
_ACROSS, _DOWN = np.ones((1, 3), np.uint8), np.ones((3, 1), np.uint8)


def apart(pieces: npt.NDArray[np.int32], heads: UInt8Array) -> npt.NDArray[np.int32]:
    """(h, w): `pieces`, numbered from 1, with a number for each person in place of each piece that has several heads.

    Each cell belongs to the head to which the way within its piece is the shortest; a body hangs from its head, and so
    a step across counts as three down.
    """
    found = _single(heads)
    count, areas = int(found.max()) + 1, np.bincount(found.ravel())
    if count <= 2:
        return pieces
    owner = np.zeros(count, np.int32)
    cells = np.flatnonzero(found)
    cells = cells[pieces.take(cells) > 0]
    owner[found.take(cells)] = pieces.take(cells)
    result = pieces.copy()
    following = int(pieces.max()) + 1
    for piece in np.unique(owner[1:]):
        own = [each for each in range(1, count) if owner[each] == piece and areas[each] >= _LEAST_HEAD]
        largest = max((areas[each] for each in own), default=0)
        own = [each for each in own if areas[each] >= _SMALLER * largest]
        if not piece or len(own) < 2:
            continue
        x, y, width, height = cv2.boundingRect((pieces == piece).astype(np.uint8))
        part = slice(y, y + height), slice(x, x + width)
        mask = pieces[part] == piece
        seeds = np.zeros(mask.shape, np.uint8)
        for number, head in enumerate(own[:255], 1):
            seeds[(found[part] == head) & mask] = number
        numbers = _grown(seeds, mask)
        for number in range(2, min(len(own), 255) + 1):
            result[part][numbers == number] = following
            following += 1
    return result


def _single(heads: UInt8Array) -> npt.NDArray[np.int32]:
    """Heads numbered from 1; those that touch fall apart where they are narrow."""
    count, found, statistics, _ = cv2.connectedComponentsWithStats((heads > 0).astype(np.uint8), connectivity=8)
    result, following = np.asarray(found, np.int32), count
    for head in range(1, count):
        x, y, width, height, area = statistics[head]
        if area < _LARGE:
            continue
        part = slice(y, y + height), slice(x, x + width)
        mask = np.asarray(cv2.copyMakeBorder((result[part] == head).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT))
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        cores, core, sizes, _ = cv2.connectedComponentsWithStats((depth > _CORE * depth.max()).astype(np.uint8))
        large = [each for each in range(1, cores) if sizes[each, cv2.CC_STAT_AREA] >= _SMALLER * area]
        for each in large[1:]:
            result[part][core[1:-1, 1:-1] == each] = following
            following += 1
        if len(large) > 1:  # what lies between them is nobody's yet
            rest = (result[part] == head) & (core[1:-1, 1:-1] != large[0])
            result[part][rest] = 0
    return result


def _grown(seeds: UInt8Array, mask: npt.NDArray[np.bool_]) -> UInt8Array:
    """The seeds, 1 to 255, spread over the mask, each as far as no other one is nearer."""
    reached = [seeds] * _COST_ACROSS  # after this step, the one before, ...
    free = np.where(mask & (seeds == 0), np.uint8(255), np.uint8(0))
    left, still = cv2.countNonZero(free), 0
    while left and still < _COST_ACROSS:
        numbers = cv2.max(cv2.dilate(reached[0], _DOWN), cv2.dilate(reached[-1], _ACROSS))
        reached = [np.asarray(cv2.copyTo(numbers, free, reached[0].copy()), np.uint8), *reached[:-1]]
        cv2.copyTo(cv2.compare(reached[0], 0, cv2.CMP_EQ), free, free)  # type: ignore[call-overload]
        before, left = left, cv2.countNonZero(free)
        still = still + 1 if left == before else 0
    return reached[0]
