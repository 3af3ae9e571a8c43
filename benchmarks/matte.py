"""How near mattes come to exact ones: hard, soft and refined edges, of rendered people before backgrounds.

    python -m benchmarks.matte --cutouts DIR --backgrounds DIR [--model MODEL] [--count 60]

The cut-outs are those of the training recipe (`sapiens_stream.training.render`), whose alpha is exact, hair included;
bodies that training leaves out are measured, and the settings of the filter were chosen on others.

SAD is the sum of absolute differences, in thousands; "gradient" the same of the differences between the mattes'
derivatives (Gaussian, sigma 1.4), squared. "edge" counts pixels within 10 of where the exact alpha is between 0 and 1,
"hair" those of them beside hair, "beyond" all others: what the model misses or invents, which no edge can mend. Each
figure is a mean over the pictures, and its ratio to hard edges; of "SAD" the median of the pictures' ratios stands
below. The second table is of a model that makes no mistakes: the exact alpha in a quarter of the resolution.
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
from sapiens_stream.sinks.mattes.edges import REFINE
from sapiens_stream.training.backgrounds import Scenery, load_backgrounds
from sapiens_stream.training.shards import Cutout, Cutouts

UInt8Array = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

HEIGHT, WIDTH = 720, 540
_HAIR = SAPIENS.names.index("Hair")
_REACH = 10
_SIGMA = 1.4
_COARSER = 4


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
        "SAD, beyond": float(difference[~sample.edge].sum() / 1000),
        "SAD, hair": float(difference[sample.hair].sum() / 1000),
        "gradient, edge": float(steepness[sample.edge].sum() / 1000),
        "gradient, hair": float(steepness[sample.hair].sum() / 1000),
    }


@dataclass(frozen=True)
class Errors:
    """Of each picture by the kind of edge: of the model's mattes, and of those of one that makes no mistakes."""

    of_model: dict[str, list[dict[str, float]]]
    of_exact: dict[str, list[dict[str, float]]]


def measured(found: Iterator[Sample], model: str) -> Errors:
    """All errors."""
    edges = get_args(Edge)
    rows = Errors({edge: [] for edge in edges}, {edge: [] for edge in edges})
    with Segmenter(model, alpha_of="foreground") as segmenter:
        for sample in found:
            result = segmenter(sample.picture)
            exact = without_mistakes(sample)
            for edge in edges:
                rows.of_model[edge].append(errors(sample, result.matte(edge=edge)))
                rows.of_exact[edge].append(errors(sample, exact[edge]))
    return rows


def without_mistakes(sample: Sample) -> dict[str, Floats]:
    """By the kind of edge, the mattes of the exact alpha, as a model has it: in fewer pixels."""
    height, width = sample.alpha.shape
    few = cv2.resize(sample.alpha, (width // _COARSER, height // _COARSER), interpolation=cv2.INTER_AREA)
    soft = np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    hard = (soft > 0.5).astype(np.float32)
    return {"hard": hard, "soft": soft, "refined": REFINE(sample.picture, soft)}


def table_of(rows: dict[str, list[dict[str, float]]], title: str) -> Table:
    """A row for each kind of edge, and one of the medians."""
    means = {edge: {name: _mean(own, name) for name in own[0]} for edge, own in rows.items()}
    table = Table("edges", *means["hard"], title=title)
    for edge, row in means.items():
        told = [
            f"{value:.3f} ({value / means['hard'][name]:.2f})" if means["hard"][name] else f"{value:.3f}"
            for name, value in row.items()
        ]
        table.add_row(edge, *told)
    ratios = [ours["SAD"] / hard["SAD"] for ours, hard in zip(rows["refined"], rows["hard"], strict=True)]
    table.caption = f"refined, the median of the pictures: SAD {np.median(ratios):.2f} of hard's"
    return table


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


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
    console = Console(width=140)
    pictures = f"{given.count} pictures of {WIDTH}x{HEIGHT}"
    console.print(table_of(found.of_model, f"{given.model}, {pictures}"))
    console.print(table_of(found.of_exact, f"without mistakes, {pictures}"))


if __name__ == "__main__":
    main()
