"""What two runs of the same clip found, set against each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import MAX_CLASSES, ClassSet
from sapiens_stream.results.report.findings import Moment, Moments
from sapiens_stream.results.report.timeline import Timeline
from sapiens_stream.results.stored import StoredFrame

IOU, CHANGED = "iou", "changed"
"""What the timeline has of each frame; (IOU, id) of a class."""

Counts = npt.NDArray[np.int64]


@dataclass
class Difference:
    """Along the clip: the mean IoU of the classes, that of each class, and the share of foreground that differs.

    `classes` are those of both. `common`, `in_one` and `in_two` are pixels by class, over all frames.
    """

    classes: ClassSet
    timeline: Timeline = field(default_factory=Timeline)
    moments: Moments = field(default_factory=Moments)
    common: Counts = field(default_factory=lambda: np.zeros(MAX_CLASSES, np.int64))
    in_one: Counts = field(default_factory=lambda: np.zeros(MAX_CLASSES, np.int64))
    in_two: Counts = field(default_factory=lambda: np.zeros(MAX_CLASSES, np.int64))
    pixels: int = 0

    def add(self, place: int, one: StoredFrame, two: StoredFrame) -> None:
        """Adds a frame of both runs, whose class maps hold `classes`."""
        a, b = one.class_map, two.class_map
        same = a == b
        common, in_one, in_two = (
            np.bincount(each.ravel(), minlength=MAX_CLASSES)[:MAX_CLASSES] for each in (a[same], a, b)
        )
        self.common += common
        self.in_one += in_one
        self.in_two += in_two
        self.pixels += a.size
        either = in_one + in_two - common
        there = [int(index) for index in np.flatnonzero(either) if index]
        figures: dict[object, float] = {(IOU, index): common[index] / either[index] for index in there}
        time = None if one.time is None else float(one.time)
        if there:
            figures[IOU] = float(np.mean(list(figures.values())))
            changed = 1 - int(np.count_nonzero(same & (a > 0))) / int(np.count_nonzero(a | b))
            figures[CHANGED] = changed
            self.moments.add(Moment(changed, place, one.index, one.name, time))
        self.timeline.add(time, figures)

    def found(self) -> list[int]:
        """The classes that either run found, the largest first."""
        pixels = self.in_one + self.in_two
        return [int(index) for index in np.argsort(-pixels, kind="stable") if index and pixels[index]]

    def iou(self, index: int) -> float | None:
        """That of a class, over all frames; None where neither run found it."""
        either = int(self.in_one[index] + self.in_two[index] - self.common[index])
        return int(self.common[index]) / either if either else None
