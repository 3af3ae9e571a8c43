"""How far a class map that was carried along is from the one that the model gives, by age, against leaving it in place.

    python -m benchmarks.propagation [MODEL] [--clips FILE ...]

A map of every few frames is carried to the frames after it, as `live` does where the model is slower than the camera,
and compared with what the model says of them: IoU of the foreground, and the mean over the classes, pixels pooled.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from sapiens_stream import Segmenter
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.propagation import Carrier
from sapiens_stream.models.builtin.recipe.evaluate import Agreement, UInt8Array
from sapiens_stream.sources import Video

SAMPLES = Path(__file__).parents[1] / "samples"
SHARED = Path(__file__).parents[2] / "shared" / "media"
AGES = (1, 2, 3, 5, 8, 12, 18, 25)
EVERY = 5  # frames between two maps that are carried


@dataclass(frozen=True)
class Row:
    """Of all maps that are `age` frames old: IoU of foreground and mean over classes, carried and in place."""

    age: int
    carried: Agreement
    in_place: Agreement


def small(frame: Frame, long_side: int) -> Frame:
    """The frame as a camera of that size would give it."""
    scale = min(1.0, long_side / max(frame.size))
    size = round(frame.size[1] * scale), round(frame.size[0] * scale)
    return replace(frame, decoded=cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), quarter_turns=0)


def inferred(clip: Path, segmenter: Segmenter, long_side: int) -> Iterator[Segmentation]:
    """Every frame of a clip, at that size, with the model's own map."""
    with Video(clip) as video:
        for each in video.frames():
            if isinstance(each, Frame):
                frame = small(each, long_side)
                result = segmenter(frame.rgb)
                yield Segmentation(frame=frame, class_map=result.class_map, classes=result.classes)


def rows(results: list[Segmentation]) -> Iterator[Row]:
    """One row an age."""
    pairs: dict[int, list[tuple[UInt8Array, UInt8Array]]] = {age: [] for age in AGES}
    in_place: dict[int, list[tuple[UInt8Array, UInt8Array]]] = {age: [] for age in AGES}
    for start in range(0, len(results) - max(AGES), EVERY):
        carrier = Carrier()
        for age in range(1, max(AGES) + 1):
            target = results[start + age]
            carried = carrier.carry(results[start], target.frame)
            if age in AGES:
                pairs[age].append((target.class_map, carried))
                in_place[age].append((target.class_map, results[start].class_map))
    for age in AGES:
        yield Row(age, Agreement.of(pairs[age]), Agreement.of(in_place[age]))


def cost(results: list[Segmentation]) -> float:
    """Seconds that carrying a map one frame on takes, the median."""
    carrier = Carrier()
    taken = []
    for each in results[1:30]:
        start = time.perf_counter()
        carrier.carry(results[0], each.frame)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--clips", type=Path, nargs="*", help="video files")
    parser.add_argument("--long-side", type=int, default=854, help="of the pictures, pixels")
    given = parser.parse_args()
    clips = given.clips or [path for path in (SAMPLES / "people.mp4", SHARED / "reel.mp4") if path.exists()]
    segmenter = Segmenter(given.model)
    for clip in clips:
        results = list(inferred(clip, segmenter, given.long_side))
        table = Table("frames old", "foreground", "in place", "mean IoU", "in place", title=clip.name)
        for row in rows(results):
            values = (row.carried.foreground, row.in_place.foreground, row.carried.mean, row.in_place.mean)
            table.add_row(str(row.age), *(f"{value:.3f}" for value in values))
        Console().print(table)
        ours = 1000 * cost(results)
        height, width = results[0].frame.size
        print(f"carrying a map of {width}x{height}: {ours:.1f} ms")


if __name__ == "__main__":
    main()
