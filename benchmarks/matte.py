"""How near mattes come to exact ones: hard, soft and refined edges, of rendered people before backgrounds.

    python -m benchmarks.matte --cutouts DIR --backgrounds DIR [--model MODEL] [--count 60]

The cut-outs are those of the training recipe (`sapiens_stream.training.render`), whose alpha is exact, hair included;
bodies that training leaves out are measured, and the settings of the filter were chosen on others.

SAD is the sum of absolute differences, in thousands; "gradient" the same of the differences between the mattes'
derivatives (Gaussian, sigma 1.4), squared. "edge" counts pixels within 10 of where the exact alpha is between 0 and 1,
"hair" those of them beside hair. Each figure is a mean over the pictures, and its ratio to hard edges.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.settings import Edge
from sapiens_stream.training.backgrounds import Scenery, load_backgrounds
from sapiens_stream.training.shards import Cutout, Cutouts

UInt8Array = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

HEIGHT, WIDTH = 720, 540
_HAIR = SAPIENS.names.index("Hair")
_REACH = 10
_SIGMA = 1.4


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and its exact matte; `edge` and `hair` are where errors count, (H, W) bool."""

    picture: UInt8Array
    alpha: Floats
    edge: npt.NDArray[np.bool_]
    hair: npt.NDArray[np.bool_]


def samples(cutouts: Cutouts, backgrounds: Sequence[Path], count: int, seed: int) -> Iterator[Sample]:
    """One person each, as large as they were rendered, before a background."""
    rng = np.random.default_rng(seed)
    scenery = Scenery(load_backgrounds(backgrounds), rng)
    for _ in range(count):
        yield composed(cutouts.draw(rng), np.asarray(scenery.draw(HEIGHT, WIDTH, 0.3), np.float32), rng)


def composed(cutout: Cutout, canvas: Floats, rng: np.random.Generator) -> Sample:
    """The cut-out put on the canvas, pixel by pixel."""
    rows, columns = cutout.label.shape
    cut = cutout.cut
    y = 0 if cut[0] else HEIGHT - rows if cut[1] else int(rng.integers(0, HEIGHT - rows + 1))
    x = 0 if cut[2] else WIDTH - columns if cut[3] else int(rng.integers(0, WIDTH - columns + 1))
    alpha, hair = np.zeros((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), np.uint8)
    place = slice(y, y + rows), slice(x, x + columns)
    alpha[place] = cutout.rgba[..., 3] / np.float32(255)
    hair[place] = cutout.label == _HAIR
    picture = canvas.copy()
    picture[place] = picture[place] * (1 - alpha[place][..., None]) + cutout.rgba[..., :3]
    picture = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255)
    around = np.ones((2 * _REACH + 1,) * 2, np.uint8)
    edge = cv2.morphologyEx((alpha > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, around) > 0
    edge |= cv2.dilate(((alpha > 0.02) & (alpha < 0.98)).astype(np.uint8), around) > 0
    return Sample(picture.astype(np.uint8), alpha, edge, edge & (cv2.dilate(hair, around) > 0))


def gradient(matte: Floats) -> Floats:
    """The length of a matte's derivative."""
    half = int(np.ceil(3 * _SIGMA))
    x = np.arange(-half, half + 1)
    bell = np.exp(-(x**2) / (2 * _SIGMA**2))
    bell, slope = bell / bell.sum(), -x * bell / np.abs(x * bell).sum() * 2
    across = cv2.sepFilter2D(matte, cv2.CV_32F, slope, bell)
    down = cv2.sepFilter2D(matte, cv2.CV_32F, bell, slope)
    return np.asarray(np.hypot(across, down), np.float32)


def errors(sample: Sample, matte: Floats) -> dict[str, float]:
    """What is printed of one matte."""
    difference = np.abs(matte - sample.alpha)
    steepness = (gradient(matte) - gradient(sample.alpha)) ** 2
    return {
        "SAD": float(difference.sum() / 1000),
        "SAD, edge": float(difference[sample.edge].sum() / 1000),
        "SAD, hair": float(difference[sample.hair].sum() / 1000),
        "gradient, edge": float(steepness[sample.edge].sum() / 1000),
        "gradient, hair": float(steepness[sample.hair].sum() / 1000),
    }


def measured(found: Iterator[Sample], model: str) -> dict[str, dict[str, float]]:
    """The mean errors by the kind of edge."""
    rows: dict[str, list[dict[str, float]]] = {edge: [] for edge in get_args(Edge)}
    with Segmenter(model, alpha_of="foreground") as segmenter:
        for sample in found:
            result = segmenter(sample.picture)
            for edge in get_args(Edge):
                rows[edge].append(errors(sample, result.matte(edge=edge)))
    return {edge: {name: float(np.mean([row[name] for row in own])) for name in own[0]} for edge, own in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutouts", type=Path, nargs="+", required=True)
    parser.add_argument("--backgrounds", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    cutouts = Cutouts(given.cutouts, held_out=True)
    found = measured(samples(cutouts, given.backgrounds, given.count, given.seed), given.model)
    table = Table("edges", *found["hard"], title=f"{given.model}, {given.count} pictures of {WIDTH}x{HEIGHT}")
    for edge, row in found.items():
        table.add_row(edge, *(f"{value:.3f} ({value / found['hard'][name]:.2f})" for name, value in row.items()))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
