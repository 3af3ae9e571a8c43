"""Dense optical flow between two pictures, the same whatever pictures came before them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import UInt8Array

Field = npt.NDArray[np.float32]
"""(h, w, 2): for each pixel of the newer picture, how far right and down it lay in the older one, pixels."""


class Flow:
    """OpenCV's dense inverse search, by one of its presets. Not for several threads at once.

    Of a picture that is too small for its finest scale OpenCV takes a finer one, and goes on with that: what a thread
    makes of the next clip would then depend on whether it was this one that met the small picture.
    """

    def __init__(
        self,
        preset: int,
        *,
        finest_scale: int | None = None,
        stride: int | None = None,
        descents: int | None = None,
        refinements: int | None = None,
    ) -> None:
        """What is None is the preset's."""
        self._flow = flow = cv2.DISOpticalFlow.create(preset)
        self._finest_scale = flow.getFinestScale() if finest_scale is None else finest_scale
        self._patch = flow.getPatchSize()
        if stride is not None:
            flow.setPatchStride(stride)
        if descents is not None:
            flow.setGradientDescentIterations(descents)
        if refinements is not None:
            flow.setVariationalRefinementIterations(refinements)

    def __call__(self, newer: UInt8Array, older: UInt8Array) -> Field:
        """From the newer to the older of two pictures, (h, w), of one size."""
        self._flow.setFinestScale(self._finest_scale)
        self._flow.setPatchSize(self._patch)
        return np.asarray(self._flow.calc(newer, older, None), np.float32)  # type: ignore[call-overload]
