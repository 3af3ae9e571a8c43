"""What is measured of each class in each frame: how much, where, how sure, and how much of it changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from sapiens_stream.classes import ClassSet
from sapiens_stream.frame import IdArray, UInt8Array
from sapiens_stream.sinks.instances import Instance, Key, find_instances, instance_mask
from sapiens_stream.soft import CERTAIN, RankedPlanes


class Row(NamedTuple):
    """Of one class, of one person, in one frame; a column each. What is not known is None.

    `frame` counts from 0, `time` is in seconds. `person` is the id; None where people were not kept apart. `fraction`
    is that of the picture. `x`, `y`, `width`, `height` are the box, `centroid_x`, `centroid_y` the middle of all its
    pixels. `confidence` is the mean probability of the class where it is the likeliest. `flicker` is the share of its
    pixels, in this frame or the one before, that are not its in both.
    """

    frame: int
    name: str
    time: float | None
    person: int | None
    class_id: int
    class_name: str
    pixels: int
    fraction: float
    x: int
    y: int
    width: int
    height: int
    centroid_x: float
    centroid_y: float
    confidence: float | None
    flicker: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A frame, and what was found in it, measured once it is asked for."""

    index: int
    name: str
    time: float | None
    class_map: UInt8Array
    classes: ClassSet
    person_map: IdArray | None = None
    ranked: RankedPlanes | None = field(default=None, repr=False)

    @cached_property
    def instances(self) -> list[Instance]:
        """The classes of each person; the background is left out."""
        return find_instances(self.class_map, self.person_map, self.classes)

    @cached_property
    def pixels(self) -> dict[Key, int]:
        """How many each instance has."""
        return {each.key: each.label.pixels for each in self.instances}

    def rows(self, before: Measured | None, only: tuple[int, ...] | None = None) -> list[Row]:
        """A row an instance; `before` is the frame before, None where there is none. `only` are ids, None: all."""
        if before is not None and before.class_map.shape != self.class_map.shape:
            before = None
        return [self._row(instance, before) for instance in self.instances if only is None or instance.label.id in only]

    def _row(self, instance: Instance, before: Measured | None) -> Row:
        mask, (x, y) = instance_mask(instance, self.class_map, self.person_map)
        moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
        label = instance.label
        flicker = None
        if before is not None:
            kept = int(np.count_nonzero(mask & instance_mask(instance, before.class_map, before.person_map)[0]))
            flicker = 1 - kept / (label.pixels + before.pixels.get(instance.key, 0) - kept)
        return Row(
            self.index,
            self.name,
            self.time,
            instance.person,
            label.id,
            label.name,
            label.pixels,
            label.fraction,
            *label.bbox,
            x + moments["m10"] / moments["m00"],
            y + moments["m01"] / moments["m00"],
            self._confidence(instance),
            flicker,
        )

    def _confidence(self, instance: Instance) -> float | None:
        ranked = self.ranked
        if ranked is None:
            return None
        likeliest = ranked.ids[0] == instance.label.id
        if self.person_map is not None:
            if ranked.extent.seen != (0, 0, *self.class_map.shape):
                return None
            height, width = likeliest.shape
            people = cv2.resize(self.person_map, (width, height), interpolation=cv2.INTER_NEAREST)
            likeliest = likeliest & (np.asarray(people) == (instance.person or 0))
        if not likeliest.any():
            return None
        return float(ranked.values[0][likeliest].mean()) / CERTAIN
