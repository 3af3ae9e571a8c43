"""How well predicted class maps agree with labels: pixels pooled over pictures, then intersection over union.

As a program it writes composites of held-out cut-outs for `python -m benchmarks.quality --pictures DIR`:

    python -m sapiens_stream.models.builtin.recipe.evaluate --cutouts DIR --backgrounds DIR --out DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS

UInt8Array = npt.NDArray[np.uint8]

HEAD = ("Face_Neck", "Hair")
IGNORE = 255
"""The label of pixels that do not count."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """`pixels[truth, predicted]`, (classes, classes) int64, pooled over pictures."""

    pixels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Iterable[tuple[UInt8Array, UInt8Array]]) -> Agreement:
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


HELD_OUT_SEED = 7
HELD_OUT_SIZE = 256, 224
HELD_OUT_LEVEL = 0.5


def held_out(cutouts: Iterable[Path], backgrounds: Iterable[Path], count: int) -> list[tuple[UInt8Array, UInt8Array]]:
    """(image, label) composites of cut-outs that training never sees, the same at each call, half difficult."""
    from sapiens_stream.models.builtin.recipe.backgrounds import load_backgrounds
    from sapiens_stream.models.builtin.recipe.compose import Composer
    from sapiens_stream.models.builtin.recipe.shards import Cutouts

    composer = Composer(Cutouts(cutouts, held_out=True), load_backgrounds(backgrounds), HELD_OUT_SEED)
    return [composer.draw(*HELD_OUT_SIZE, HELD_OUT_LEVEL) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutouts", type=Path, nargs="+", required=True)
    parser.add_argument("--backgrounds", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=48)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for index, (image, label) in enumerate(held_out(given.cutouts, given.backgrounds, given.count)):
        full = cv2.resize(label, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(given.out / f"{index:04d}.png"), image[..., ::-1])
        cv2.imwrite(str(given.out / f"{index:04d}_gt.png"), full)


if __name__ == "__main__":
    main()
