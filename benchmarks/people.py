"""What a second look at each person gains: IoU of the foreground of labelled photos, beside the whole picture's alone.

    python -m benchmarks.people [MODEL] [--pictures FOLDER ...] [--small]

NAME.jpg (or .png) and NAME_gt.png, 0 where nobody is and 255 where pixels do not count; those in ../shared unless
given. Both columns come from the same run; "crops" with the boxes of `people="builtin"`. `--small`: the same pictures,
made small and laid on large ones, as people are in a street.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.quality import LABELLED, labelled
from sapiens_stream import Segmenter
from sapiens_stream.frame import UInt8Array


def overlap(class_map: UInt8Array, label: UInt8Array) -> float:
    """Intersection over union of the foreground, 1 where there is none in either."""
    counts = label != 255
    found, right = (class_map > 0) & counts, (label > 0) & counts
    either = np.count_nonzero(found | right)
    return np.count_nonzero(found & right) / either if either else 1.0


SMALL = (
    ((2160, 3840), 220, 12),
    ((2160, 3840), 180, 20),
    ((1080, 1920), 200, 8),
    ((1080, 1920), 150, 10),
    ((720, 1280), 190, 4),
)
"""Of large pictures the size, the height that each picture on them is made, and how many there are."""

Pair = tuple[UInt8Array, UInt8Array]


def laid_out(pairs: Sequence[Pair], seed: int, size: tuple[int, int], height: int, count: int) -> Pair:
    """Pictures and their labels, small, each at a place of its own on a large one without anybody."""
    random = np.random.default_rng(seed)
    ground = cv2.resize(pairs[seed % len(pairs)][0], (16, 9), interpolation=cv2.INTER_AREA)
    picture = np.asarray(cv2.resize(ground, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    labels, order = np.zeros(size, np.uint8), random.permutation(len(pairs))
    columns = int(np.ceil(np.sqrt(count * 16 / 9)))
    rows = -(-count // columns)
    for place in range(count):
        image, label = pairs[order[place % len(pairs)]]
        width = min(int(image.shape[1] * height / image.shape[0]), size[1] // columns - 4)
        row, column = divmod(place, columns)
        y = row * size[0] // rows + int(random.integers(0, max(1, size[0] // rows - height)))
        x = column * size[1] // columns + int(random.integers(0, max(1, size[1] // columns - width)))
        where = slice(y, y + height), slice(x, x + width)
        picture[where] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        labels[where] = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
    return picture, labels


def named_pairs(folders: Sequence[Path], small: bool) -> Iterator[tuple[str, Pair]]:
    """What is measured, by name."""
    pairs = [(f"{folder.name} {number}", pair) for folder in folders for number, pair in enumerate(labelled(folder))]
    if not small:
        yield from pairs
        return
    for seed, (size, height, count) in enumerate(SMALL if pairs else ()):
        name = f"{size[1]}x{size[0]}, {count} of {height}"
        yield name, laid_out([pair for _, pair in pairs], seed, size, height, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[LABELLED, LABELLED.with_name("labelled_groups")])
    parser.add_argument("--small", action="store_true", help="people as small as in a street")
    given = parser.parse_args()
    whole, nearer = Segmenter(given.model), Segmenter(given.model, people="builtin")
    table = Table("picture", "people", "whole picture", "crops", "gain", title=f"{given.model}, IoU of the foreground")
    rows: list[tuple[float, float]] = []
    for name, (picture, label) in named_pairs(given.pictures, given.small):
        closer = nearer(picture)
        rows.append((overlap(whole(picture).class_map, label), overlap(closer.class_map, label)))
        before, after = rows[-1]
        table.add_row(name, str(len(closer.people or ())), f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}")
    if not rows:
        raise SystemExit(f"no NAME_gt.png in {', '.join(map(str, given.pictures))}")
    before, after = np.mean(rows, axis=0)
    table.add_row("mean", "", f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
