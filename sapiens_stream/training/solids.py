"""Simple shapes for what is worn and held."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sapiens_stream.training.mesh import IntArray


def fan(count: int) -> IntArray:
    """Triangles from vertex 0 to the ring of `count` after it."""
    return np.stack([np.zeros(count - 1, int), np.arange(1, count), np.arange(2, count + 1)], 1)


def block(size: npt.NDArray[np.float64], roundness: float) -> tuple[npt.NDArray[np.float64], IntArray]:
    """A box (roundness 0) to ball (1) of the given extents, around the origin."""
    rows, columns = 7, 14
    polar, around = np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns)
    p, a = (grid.ravel() for grid in np.meshgrid(polar, around, indexing="ij"))
    ball = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], 1)
    box = ball / np.abs(ball).max(1, keepdims=True)
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
    corner = i * columns + j
    faces = np.concatenate(
        [
            np.stack([corner, corner + columns, corner + 1], 1),
            np.stack([corner + 1, corner + columns, corner + columns + 1], 1),
        ]
    )
    return (ball * roundness + box * (1 - roundness)) * size / 2, faces
