"""How much of each pixel its classes cover, the largest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import IdArray, Segmentation

Floats = npt.NDArray[np.float32]

RANKS = 6
"""Ids of a pixel: three layers of channels, as renderers write by default."""
_LEVELS = 256  # of a share, as of a renderer's samples: finer ones would only be noise, and files four times as large


@dataclass(frozen=True, eq=False)
class Coverage:
    """`classes` (RANKS, H, W) uint8 and `shares` (RANKS, H, W) float32, falling; class 0 where there is no more."""

    classes: npt.NDArray[np.uint8]
    shares: Floats


def coverage_of(result: Segmentation, only: Iterable[int] | None = None) -> Coverage:
    """By the model's probabilities; of a result without them each pixel is all of its class. Background covers none."""
    size = result.class_map.shape
    classes, shares = np.zeros((RANKS, *size), np.uint8), np.zeros((RANKS, *size), np.float32)
    wanted = set(range(1, len(result.classes))) if only is None else set(only) - {0}
    if result.ranked is None:
        there = np.isin(result.class_map, list(wanted))
        classes[0][there] = result.class_map[there]
        shares[0][there] = 1
        return Coverage(classes, shares)
    for class_id in sorted(wanted.intersection(result.ranked.found())):
        share = np.asarray(np.rint(result.ranked.full(class_id) * _LEVELS) / np.float32(_LEVELS), np.float32)
        x, y, width, height = cv2.boundingRect((share > 0).astype(np.uint8))
        if width:
            box = slice(y, y + height), slice(x, x + width)
            _enter(classes[(slice(None), *box)], shares[(slice(None), *box)], class_id, share[box])
    _keep_to_one(classes, shares)
    return Coverage(classes, shares)


def _enter(classes: npt.NDArray[np.uint8], shares: Floats, class_id: int, share: Floats) -> None:
    """Puts a class where it belongs, in place; what it is larger than moves down a rank, and the last falls out."""
    ids = np.full(share.shape, class_id, np.uint8)
    for rank in range(RANKS):
        larger = share > shares[rank]
        if not larger.any():
            continue
        shares[rank], share = np.where(larger, share, shares[rank]), np.where(larger, shares[rank], share)
        classes[rank], ids = np.where(larger, ids, classes[rank]), np.where(larger, classes[rank], ids)


def _keep_to_one(classes: npt.NDArray[np.uint8], shares: Floats) -> None:
    """Has the shares of a pixel, each rounded for itself, be no more than all of it: the least give way, in place."""
    left = np.ones(shares.shape[1:], np.float32)
    for rank in range(1, RANKS):
        left -= shares[rank - 1]
        np.minimum(shares[rank], left, out=shares[rank])
        classes[rank][shares[rank] == 0] = 0


def nearest_person(person_map: IdArray) -> IdArray:
    """(H, W): whose each pixel is, and of those that are nobody's whose is nearest, as soft edges reach beyond."""
    nobody = (person_map == 0).astype(np.uint8)
    if nobody.all() or not nobody.any():
        return person_map
    _, nearest = cv2.distanceTransformWithLabels(nobody, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    owners = np.zeros(int(nearest.max()) + 1, np.uint16)
    owned = nobody == 0
    owners[nearest[owned]] = person_map[owned]
    return np.asarray(owners[nearest], np.uint16)
