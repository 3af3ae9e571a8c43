"""How far a class map that was carried along is from the one that the model gives, by age, and against other ways.

    python -m benchmarks.propagation [MODEL] [--clips FILE ...]

A map of every few frames is carried to the frames after it, as `live` does where the model is slower than the camera,
and compared with what the model says of them: IoU of the foreground, and the mean over the classes, pixels pooled.
The other ways: the map left in place; the flow straight to the newest picture; the flow added up from picture to
picture; and the straight flow where it leads back to where it came from, with the unmoved class elsewhere. `--every`
carries from both sides: the frames between those that it infers, against the model's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.timing import compare
from sapiens_stream import Segmenter
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.propagation import Field, MaskPropagator, low_resolution, moved
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.sources import Video
from sapiens_stream.training.evaluate import Agreement, UInt8Array

SAMPLES = Path(__file__).parents[1] / "samples"
SHARED = Path(__file__).parents[2] / "shared" / "media"
AGES = (1, 2, 3, 5, 8, 12, 18, 25)
EVERY = 10  # frames between two maps that are carried
INFERRED = (2, 4, 8)  # of so many frames one, by `--every`
RATE = Fraction(1, 25)


WAYS = ("carried", "in place", "straight", "step by step", "checked back")

Pair = tuple[UInt8Array, UInt8Array]


class Ways:
    """Brings a class map to the frames after its own, in every way."""

    def __init__(self, base: Segmentation) -> None:
        self._base = base
        self._propagator = MaskPropagator()
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._first = self._before = low_resolution(base.frame)
        self._steps: Field | None = None

    def __call__(self, frame: Frame) -> dict[str, UInt8Array]:
        """The class map for the next frame, by each way."""
        class_map, grey = self._base.class_map, low_resolution(frame)
        step = self._between(grey, self._before)
        self._steps = step if self._steps is None else step + sampled(self._steps, step)
        self._before = grey
        straight, back = self._between(grey, self._first), self._between(self._first, grey)
        astray = np.abs(straight + sampled(back, straight)).max(axis=2) > 1  # low-resolution pixels
        failed = cv2.resize(astray.astype(np.uint8), class_map.shape[::-1], interpolation=cv2.INTER_NEAREST)
        along = moved(class_map, straight)
        maps = (
            self._propagator.carry(self._base, frame),
            class_map,
            along,
            moved(class_map, self._steps),
            np.where(failed, class_map, along),
        )
        return dict(zip(WAYS, maps, strict=True))

    def _between(self, newer: UInt8Array, older: UInt8Array) -> Field:
        return np.asarray(self._flow.calc(newer, older, None), np.float32)


def sampled(field: Field, by: Field) -> Field:
    """A field at where another one leads."""
    rows, columns = np.mgrid[0 : by.shape[0], 0 : by.shape[1]].astype(np.float32)
    places = np.dstack([columns, rows]) + by
    return np.asarray(cv2.remap(field, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def small(frame: Frame, long_side: int) -> Frame:
    """The frame as a camera of that size would give it."""
    scale = min(1.0, long_side / max(frame.size))
    size = round(frame.size[1] * scale), round(frame.size[0] * scale)
    return replace(frame, decoded=cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), quarter_turns=0)


def inferred(clip: Path, segmenter: Segmenter, long_side: int) -> Iterator[Segmentation]:
    """Every frame of a clip, at that size, with the model's own map."""
    with Video(clip) as video:
        frames = (small(each, long_side) for each in video.frames() if isinstance(each, Frame))
        for [result] in segmenter.engine.run([frame] for frame in frames):
            yield result


def agreements(results: list[Segmentation]) -> dict[int, dict[str, Agreement]]:
    """Of the maps of a certain age in frames, by each way, with the model's own."""
    pairs: dict[int, dict[str, list[Pair]]] = {age: {way: [] for way in WAYS} for age in AGES}
    for start in range(0, len(results) - max(AGES), EVERY):
        ways = Ways(results[start])
        for age in range(1, max(AGES) + 1):
            target = results[start + age]
            for way, class_map in ways(target.frame).items():
                if age in pairs:
                    pairs[age][way].append((target.class_map, class_map))
    return {age: {way: Agreement.of(each) for way, each in by_way.items()} for age, by_way in pairs.items()}


def blended(results: list[Segmentation], segmenter: Segmenter, every: int) -> tuple[Agreement, float]:
    """Of the maps that `--every` carries from both sides, with the model's own; and the share that was carried."""
    clip = [replace(each.frame, index=place, pts=place, time_base=RATE) for place, each in enumerate(results)]
    refiner = refiner_for(segmenter.model, every=every)
    found = [each for batch in segmenter.engine.run(([frame] for frame in clip), refiner) for each in batch]
    pairs = [(own.class_map, each.class_map) for own, each in zip(results, found, strict=True) if each.carried]
    return Agreement.of(pairs), len(pairs) / len(results)


def cost(results: list[Segmentation], segmenter: Segmenter) -> float:
    """How many times as long the model takes as carrying a map; OpenCV in one thread, as in a live run."""
    propagator = MaskPropagator()
    cv2.setNumThreads(1)
    frame = results[3].frame
    return compare(
        lambda: propagator.carry(results[0], frame), lambda: list(segmenter.engine.run([[frame]])), repeats=15
    ).speedup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--clips", type=Path, nargs="*", help="video files")
    parser.add_argument("--long-side", type=int, default=854, help="of the pictures, pixels")
    parser.add_argument("--frames", type=int, help="of each clip, from its beginning")
    parser.add_argument("--every", action="store_true", help="what --every carries, alone")
    given = parser.parse_args()
    clips = given.clips or [path for path in (SAMPLES / "people.mp4", SHARED / "reel.mp4") if path.exists()]
    segmenter = Segmenter(given.model)
    for clip in clips:
        results = list(islice(inferred(clip, segmenter, given.long_side), given.frames))
        table = Table("one of", "carried", "foreground", "mean over the classes", title=f"{clip.name}: IoU by --every")
        for every in INFERRED:
            agreement, share = blended(results, segmenter, every)
            table.add_row(str(every), f"{share:.0%}", f"{agreement.foreground:.3f}", f"{agreement.mean:.3f}")
        Console().print(table)
        if given.every:
            continue
        by_age = agreements(results)
        for title, of in (("foreground", "foreground"), ("mean over the classes", "mean")):
            table = Table("frames old", *WAYS, title=f"{clip.name}: IoU, {title}")
            for age, by_way in by_age.items():
                table.add_row(str(age), *(f"{getattr(by_way[way], of):.3f}" for way in WAYS))
            Console().print(table)
        height, width = results[0].frame.size
        ratio = cost(results, segmenter)
        print(f"{clip.name}, {width}x{height}: carrying a map takes 1 / {ratio:.1f} of the time of {given.model}\n")


if __name__ == "__main__":
    main()
