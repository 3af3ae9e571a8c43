"""How well predicted class maps agree with labels: pixels pooled over pictures, then intersection over union."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS

IGNORE = 255
"""The label of pixels that do not count."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """`pixels[truth, predicted]`, (classes, classes) int64, pooled over pictures."""

    pixels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]) -> Agreement:
        """From (label, class map) pairs of equal shape."""
        classes = len(SAPIENS)
        pixels = np.zeros((classes, classes), np.int64)
        for label, predicted in pairs:
            counted = label != IGNORE
            cells = label[counted].astype(np.int64) * classes + predicted[counted]
            pixels += np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
        return cls(pixels)

    @property
    def foreground(self) -> float:
        """IoU of everything that is not background."""
        either = self.pixels.sum() - self.pixels[0, 0]
        return float(self.pixels[1:, 1:].sum() / max(either, 1))

    @property
    def by_class(self) -> dict[str, float]:
        """IoU of each class that the labels hold, by name, in the order of the classes."""
        truth, predicted, both = self.pixels.sum(1), self.pixels.sum(0), np.diag(self.pixels)
        return {
            name: float(both[index] / (truth[index] + predicted[index] - both[index]))
            for index, name in enumerate(SAPIENS.names)
            if truth[index]
        }

    @property
    def mean(self) -> float:
        """Over the classes that the labels hold."""
        return float(np.mean(list(self.by_class.values())))

    def merged(self, names: Iterable[str]) -> float:
        """IoU of several classes taken as one."""
        ids = [SAPIENS.names.index(name) for name in names]
        both = self.pixels[np.ix_(ids, ids)].sum()
        return float(both / max(self.pixels[ids].sum() + self.pixels[:, ids].sum() - both, 1))
