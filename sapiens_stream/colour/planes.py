"""The planes of a planar picture as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av

Plane = npt.NDArray[Any]
"""uint8, or uint16 for more than 8 bits, which then are its lowest."""


class Planes(NamedTuple):
    """y is (H, W); u and v are as large, or half as wide, or half as wide and high, rounded up."""

    y: Plane
    u: Plane
    v: Plane

    @property
    def subsampling(self) -> tuple[int, int]:
        """For how many lines, and how many pixels of a line, a sample of chroma is."""
        (height, width), (rows, columns) = self.y.shape, self.u.shape
        return (1 if rows == height else 2), (1 if columns == width else 2)


def planes_of(frame: av.VideoFrame) -> Planes:
    """The own memory of a frame of three planes."""
    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    return Planes(
        *(np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes)
    )
