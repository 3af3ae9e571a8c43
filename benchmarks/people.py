"""What a second look at each person gains: IoU of the foreground of labelled photos, beside the whole picture's alone.

    python -m benchmarks.people [MODEL] [--pictures FOLDER ...]

NAME.jpg (or .png) and NAME_gt.png, 0 where nobody is and 255 where pixels do not count; those in ../shared unless
given. Both columns come from the same run; "crops" with the boxes of `people="builtin"`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[LABELLED, LABELLED.with_name("labelled_groups")])
    given = parser.parse_args()
    whole, nearer = Segmenter(given.model), Segmenter(given.model, people="builtin")
    table = Table("picture", "people", "whole picture", "crops", "gain", title=f"{given.model}, IoU of the foreground")
    rows: list[tuple[float, float]] = []
    for folder in given.pictures:
        for number, (picture, label) in enumerate(labelled(folder)):
            closer = nearer(picture)
            rows.append((overlap(whole(picture).class_map, label), overlap(closer.class_map, label)))
            before, after = rows[-1]
            people = str(len(closer.people or ()))
            table.add_row(f"{folder.name} {number}", people, f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}")
    if not rows:
        raise SystemExit(f"no NAME_gt.png in {', '.join(map(str, given.pictures))}")
    before, after = np.mean(rows, axis=0)
    table.add_row("mean", "", f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
