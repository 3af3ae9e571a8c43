"""Outlines along the edges of pixels, as COCO's polygons have them: filling them gives the mask back exactly.

OpenCV's contours go through the middles of the outermost pixels, and a reader that takes their points for corners
loses half a pixel all around.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.int64]

_OUTER, _HOLE, _DESCENDING, _ASCENDING = 8, 7, 9, 6
"""Which of the four pixels around a corner are set, upper left 1, upper right 2, lower left 4, lower right 8."""


def outlines(mask: npt.NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> list[Ring]:
    """A ring of corners, (N, 2) of x, y, around each piece of a mask, (H, W) bool; `origin` is added to all.

    Pieces touch by edges. A hole is joined to its ring by a seam that is gone along twice, which fills nothing: COCO
    and most others know no holes.
    """
    if not mask.any():
        return []
    points, codes, across = _corners(mask)
    _, pieces = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    around: dict[int, Ring] = {}
    holes: list[tuple[int, Ring]] = []
    for first, ring in _rings(across):
        x, y = points[first]
        if codes[first] == _HOLE:
            holes.append((int(pieces[y - 1, x]), points[ring]))
        else:
            around[int(pieces[y, x])] = points[ring]
    for piece, hole in holes:
        around[piece] = _joined(around[piece], hole)
    return [ring + np.array(origin) for ring in around.values()]


def _corners(mask: npt.NDArray[np.bool_]) -> tuple[Ring, npt.NDArray[np.integer], list[int]]:
    """Where outlines turn, row by row; the code of each; and of each the next one up or down along its outline.

    Along its row, the next of each is its neighbour in the list: 0 with 1, 2 with 3, and so on. Where two pieces touch
    by a corner it stands twice, once for each.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    code = padded[:-1, :-1] | padded[:-1, 1:] << 1 | padded[1:, :-1] << 2 | padded[1:, 1:] << 3
    turns = np.isin(code, (1, 2, 4, 7, 8, 11, 13, 14, _DESCENDING, _ASCENDING))
    rows, columns = np.nonzero(turns)
    codes = code[rows, columns]
    twice = np.where((codes == _DESCENDING) | (codes == _ASCENDING), 2, 1)
    rows, columns, codes = rows.repeat(twice), columns.repeat(twice), codes.repeat(twice)
    second = np.zeros(len(codes), bool)
    second[1:] = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])
    # From left to right the piece on the left comes first, from top to bottom that at the top: where the pieces lie
    # along the other diagonal, these are not the same.
    order = np.lexsort((second ^ (codes == _ASCENDING), rows, columns))
    across = np.empty(len(order), np.int64)
    across[order[::2]], across[order[1::2]] = order[1::2], order[::2]
    return np.stack([columns, rows], axis=1), codes, across.tolist()


def _rings(across: list[int]) -> list[tuple[int, list[int]]]:
    """The corners of each outline in turn, with its first: the leftmost of its uppermost."""
    seen = bytearray(len(across))
    rings = []
    for first in range(len(across)):
        if seen[first]:
            continue
        ring: list[int] = []
        at = first
        while not seen[at]:
            ring += (at, at ^ 1)
            seen[at] = seen[at ^ 1] = 1
            at = across[at ^ 1]
        rings.append((first, ring))
    return rings


def _joined(ring: Ring, hole: Ring) -> Ring:
    """A ring that goes to the hole, around it, and back from where it is nearest."""
    nearest = int(((ring - hole[0]) ** 2).sum(axis=1).argmin())
    return np.concatenate([ring[: nearest + 1], hole, hole[:1], ring[nearest:]])
