"""Triangle meshes over moving vertices: what is drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

FLOATS = 16
"""Of a drawn vertex: position 3, normal 3, uv 2, label 1, rest position 3, fields 4."""


def triangles(polygons: npt.ArrayLike) -> IntArray:
    """(F, 3) from triangles or quads."""
    corners = np.asarray(polygons, np.int64)
    return corners if corners.shape[1] == 3 else np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])


class Mesh:
    """Faces over source vertices, split so that each drawn vertex has one uv and one label."""

    def __init__(self, faces: IntArray, uv: FloatArray, uv_faces: IntArray, labels: IntArray) -> None:
        """`faces` and `uv_faces` (F, 3) index vertices and rows of `uv` (U, 2); `labels` (F,) class ids."""
        key = np.stack([faces.ravel(), uv_faces.ravel(), np.repeat(labels, 3)], 1)
        unique, inverse = np.unique(key, axis=0, return_inverse=True)
        self.faces, self.source = faces, unique[:, 0]
        self.drawn = inverse.reshape(-1, 3).astype(np.int32)
        self._uv = uv[unique[:, 1]].astype(np.float32)
        self._label = unique[:, 2].astype(np.float32)

    @classmethod
    def plain(cls, faces: IntArray, label: int) -> Mesh:
        """Without a texture, of one class."""
        return cls(faces, np.zeros((1, 2), np.float32), np.zeros_like(faces), np.full(len(faces), label))

    def normals(self, vertices: FloatArray) -> FloatArray:
        """(V, 3) unit normals, the faces' weighted by area; zero where no face is."""
        a, b, c = (vertices[self.faces[:, k]] for k in range(3))
        cross = np.cross(b - a, c - a)
        corners = self.faces.T.ravel()
        total = np.stack([np.bincount(corners, np.tile(cross[:, k], 3), len(vertices)) for k in range(3)], 1)
        return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12), np.float32)

    def buffer(
        self,
        vertices: FloatArray,
        rest: FloatArray,
        fields: FloatArray | None = None,
        uv: FloatArray | None = None,
        normals: FloatArray | None = None,
    ) -> FloatArray:
        """(drawn vertices, FLOATS): where vertices are and where they rest; `uv` (V, 2) replaces the mesh's."""
        rows = np.zeros((len(self.source), FLOATS), np.float32)
        rows[:, :3] = vertices[self.source]
        rows[:, 3:6] = (self.normals(vertices) if normals is None else normals)[self.source]
        rows[:, 6:8] = self._uv if uv is None else uv[self.source]
        rows[:, 8] = self._label
        rows[:, 9:12] = rest[self.source]
        if fields is not None:
            rows[:, 12:] = fields[self.source]
        return rows
