"""Frame, what a source yields, and Segmentation, what the model adds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import av
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.labels import Label, find_labels

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Damaged:
    """What is wrong with a frame that a source yields all the same: the decoder's best. `name` is that of its file."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture of a source, as it was decoded, and its place in time.

    `decoded` is the decoder's own frame, or an (H, W, 3) uint8 RGB array. It is stored as it lies in the file:
    turn it by `quarter_turns` (counter-clockwise, as `np.rot90` counts) and then, if `mirrored`, swap left and
    right, to have it upright. `rgb` and `upright` do that.

    `name` is the stem of the results, "/" between folders: "sub/photo", "clip/000012". `index` counts from 0.
    A video's frame starts at `pts * time_base` seconds and, where the file tells, lasts `duration * time_base`.
    `arrived` is when a live frame's last packet had come, by `time.monotonic()`. `damaged` says what is wrong with a
    picture that could be decoded in part only; None for a whole one.
    """

    index: int
    name: str
    decoded: av.VideoFrame | UInt8Array
    quarter_turns: int = 0
    mirrored: bool = False
    pts: int | None = None
    time_base: Fraction | None = None
    duration: int | None = None
    arrived: float | None = None
    damaged: Damaged | None = None

    @property
    def time(self) -> Fraction | None:
        """Seconds from the source's own zero; None for a photo."""
        if self.pts is None or self.time_base is None:
            return None
        return self.pts * self.time_base

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) upright, pixels."""
        if isinstance(self.decoded, av.VideoFrame):
            height, width = self.decoded.height, self.decoded.width
        else:
            height, width = self.decoded.shape[:2]
        return (width, height) if self.quarter_turns % 2 else (height, width)

    @cached_property
    def rgb(self) -> UInt8Array:
        """(H, W, 3) uint8 RGB, upright; converted at the first use and kept."""
        if isinstance(self.decoded, av.VideoFrame):
            return self.upright(np.asarray(self.decoded.to_ndarray(format="rgb24"), np.uint8))
        return self.upright(self.decoded)

    def upright(self, array: UInt8Array) -> UInt8Array:
        """Turns an array that lies as `decoded` does, (h, w, ...), upright; contiguous."""
        turns = self.quarter_turns % 4
        if not turns and not self.mirrored:
            return np.ascontiguousarray(array)
        array = np.rot90(array, turns)
        return np.ascontiguousarray(array[:, ::-1] if self.mirrored else array)


@dataclass(frozen=True)
class Skipped:
    """What a source yields in place of a frame that it could not read."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Segmentation:
    """A frame and the class of each of its pixels: `class_map`, (H, W) uint8 ids of `classes`, upright.

    `model` is the name of the model that told them apart. `carried` is 0 where the class map was inferred from this
    very frame; else it was carried along to it from the one that many frames before, or is empty where there was none
    yet.
    """

    frame: Frame
    class_map: UInt8Array
    classes: ClassSet
    model: str = ""
    carried: int = 0

    def __repr__(self) -> str:
        height, width = self.frame.size
        found = ", ".join(label.name for label in self.labels) or "nobody"
        return f"<{type(self).__name__} {self.frame.name!r} {width}x{height}: {found}>"

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The classes that were found, by id, background left out; looked for at the first use and kept."""
        return find_labels(self.class_map, self.classes)
