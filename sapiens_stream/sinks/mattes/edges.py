"""How opaque each pixel of a result is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.frame import Segmentation, UInt8Array
from sapiens_stream.settings import EDGE, Edge
from sapiens_stream.sinks.mattes.guided import Refinement, Step

Floats = npt.NDArray[np.float32]

REFINE = Refinement(
    smooth=1e-4,
    steeper=4,
    steps=(
        Step(side=360, radius=12, steeper=3),
        Step(side=720, radius=8, steeper=2),
        Step(side=720, radius=4, steeper=1.2),
    ),
    blur=5,
)
"""As measured by `python -m benchmarks.matte`."""


@dataclass(frozen=True)
class MatteMaker:
    """Makes mattes of results.

    Args:
        only: the ids of the classes that are opaque; None: all but the background.
        edge: "hard": 1 where the class map has one of them, else 0. "soft": their probability. "refined": the latter,
            or where there is none the former, refined along the picture's edges.

    Raises UsageError for an edge that there is not.
    """

    only: tuple[int, ...] | None = None
    edge: Edge = EDGE
    _opaque: UInt8Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.edge not in get_args(Edge):
            raise UsageError(f"edge is {self.edge!r}; there are {', '.join(get_args(Edge))}")
        wanted = np.ones(256, bool) if self.only is None else np.isin(np.arange(256), self.only)
        wanted[0] &= self.only is not None
        object.__setattr__(self, "_opaque", wanted.astype(np.uint8) * np.uint8(255))

    def hard(self, class_map: UInt8Array) -> UInt8Array:
        """(H, W): 255 where one of the classes is, else 0."""
        return np.asarray(cv2.LUT(np.ascontiguousarray(class_map), self._opaque), np.uint8)

    def __call__(self, result: Segmentation) -> Floats:
        """(H, W) float32, 0 to 1. Raises OutputError for a soft matte of a result without probabilities."""
        if self.edge == "hard":
            return self._hard(result)
        if self.edge == "soft":
            if (soft := self._soft(result)) is None:
                raise OutputError(
                    f"{result.frame.name}: no probabilities of these classes are there, and soft edges are made of them"
                )
            return soft
        matte = self._soft(result)
        if matte is None:
            return REFINE.of_mask(result.frame.rgb, self._hard(result))
        return REFINE(result.frame.rgb, matte)

    def _hard(self, result: Segmentation) -> Floats:
        return self.hard(result.class_map).astype(np.float32) / np.float32(255)

    def _soft(self, result: Segmentation) -> Floats | None:
        if result.alpha is None:
            return None
        wanted = frozenset(range(1, len(result.classes))) if self.only is None else frozenset(self.only)
        return result.alpha.full() if result.alpha.classes == wanted else None


def to_levels(matte: Floats, most: int) -> npt.NDArray[np.uint16]:
    """0 to 1 as whole numbers up to `most`."""
    return np.asarray(np.rint(matte * np.float32(most)), np.uint16)
