"""How well predicted class maps agree with labels: pixels pooled over pictures, then intersection over union.

As a program it writes composites of held-out cut-outs for `python -m benchmarks.quality --pictures DIR`:

    python -m sapiens_stream.training.evaluate --cutouts DIR --backgrounds DIR --out DIR
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
from sapiens_stream.training.labels import IGNORE, LOWER, OURS, SHOES, UPPER, Labels
from sapiens_stream.training.views import LEFT, RIGHT, VIEWS, views_of

UInt8Array = npt.NDArray[np.uint8]

HEAD = ("Face_Neck", "Hair")
STREET = {"hair": ("Hair",), "shoes": SHOES, "upper clothing": (UPPER,), "lower clothing": (LOWER,)}
"""The groups of classes by which photographs with clothing labels are measured."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """`pixels[label, predicted]`, (labels, classes) int64, pooled over pictures."""

    pixels: npt.NDArray[np.int64]
    labels: Labels = OURS

    @classmethod
    def of(cls, pairs: Iterable[tuple[UInt8Array, UInt8Array]], labels: Labels = OURS) -> Agreement:
        """From (label, class map) pairs of equal shape."""
        rows, classes = labels.sets.shape
        pixels = np.zeros((rows, classes), np.int64)
        for label, predicted in pairs:
            counted = label != IGNORE
            cells = label[counted].astype(np.int64) * classes + predicted[counted]
            pixels += np.bincount(cells, minlength=rows * classes).reshape(rows, classes)
        pixels[~labels.sets.any(1)] = 0
        return cls(pixels, labels)

    @property
    def foreground(self) -> float:
        """IoU of everything that is not background."""
        return self.merged(SAPIENS.names[1:])

    @property
    def by_class(self) -> dict[str, float]:
        """IoU of each class that the labels hold, by name, in the order of the classes."""
        alone = self.labels.sets.sum(1) == 1
        held = self.labels.sets[alone & (self.pixels.sum(1) > 0)].any(0)
        return {name: self.merged([name]) for index, name in enumerate(SAPIENS.names) if held[index]}

    @property
    def mean(self) -> float:
        """Over the classes that the labels hold."""
        return float(np.mean(list(self.by_class.values())))

    def merged(self, names: Iterable[str]) -> float:
        """IoU of several classes taken as one; pixels that may be of these or not do not count."""
        names = tuple(names)
        truth, found = self.labels.within(names), np.isin(SAPIENS.names, names)
        both = self.pixels[truth == 1][:, found].sum()
        return float(both / max(self.pixels[truth == 1].sum() + self.pixels[truth == 0][:, found].sum(), 1))

    @property
    def right_set(self) -> float:
        """Share of the people's pixels whose class is among those that their label allows."""
        people = self.labels.within(SAPIENS.names[1:]) == 1
        return float(self.pixels[people][self.labels.sets[people]].sum() / max(self.pixels[people].sum(), 1))

    @property
    def right_by_set(self) -> dict[str, float]:
        """Of the pixels of people by what their label may mean, the share that is given one of its classes; named by
        the class, or by the first label that means the set."""
        people = np.flatnonzero((self.labels.within(SAPIENS.names[1:]) == 1) & (self.pixels.sum(1) > 0)).tolist()
        rows: dict[bytes, list[int]] = {}
        for row in people:
            rows.setdefault(self.labels.sets[row].tobytes(), []).append(row)
        found = {}
        for alike in rows.values():
            meant = self.labels.sets[alike[0]]
            name = SAPIENS.names[meant.argmax()] if meant.sum() == 1 else self.labels.names[alike[0]]
            pixels = self.pixels[alike]
            found[name] = float(pixels[:, meant].sum() / pixels.sum())
        return found

    @property
    def swapped(self) -> float:
        """Of the pixels of limbs and shoes that are found as some limb or shoe, the share on the wrong side.

        NaN where the labels tell no sides.
        """
        sides = [(self.labels.within(side) == 1, np.isin(SAPIENS.names, side)) for side in (LEFT, RIGHT)]
        ((left, found_left), (right, found_right)) = sides
        wrong = self.pixels[left][:, found_right].sum() + self.pixels[right][:, found_left].sum()
        found = self.pixels[left | right][:, found_left | found_right].sum()
        return float(wrong / found) if found else float("nan")


def swapped_by_view(pairs: Iterable[tuple[UInt8Array, UInt8Array]]) -> dict[str, float]:
    """`Agreement.swapped` of (label, class map) pairs of the 28 classes, by how people are seen."""
    seen: dict[str, list[tuple[UInt8Array, UInt8Array]]] = {view: [] for view in VIEWS}
    for label, predicted in pairs:
        for view, inside in views_of(label).items():
            seen[view].append((np.where(inside, label, IGNORE).astype(np.uint8), predicted))
    return {view: Agreement.of(alike).swapped for view, alike in seen.items()}


HELD_OUT_SEED = 7
HELD_OUT_SIZE = 256, 224
HELD_OUT_LEVEL = 0.5


def held_out(cutouts: Iterable[Path], backgrounds: Iterable[Path], count: int) -> list[tuple[UInt8Array, UInt8Array]]:
    """(image, label) composites of cut-outs that training never sees, the same at each call, half difficult."""
    from sapiens_stream.training.backgrounds import load_backgrounds
    from sapiens_stream.training.compose import Composer
    from sapiens_stream.training.shards import Cutouts

    composer = Composer(Cutouts(cutouts, held_out=True), load_backgrounds(backgrounds), HELD_OUT_SEED)
    drawn = (composer.draw(*HELD_OUT_SIZE, HELD_OUT_LEVEL) for _ in range(count))
    return [(image, label) for image, (label, _) in drawn]


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
