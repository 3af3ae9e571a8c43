"""`python -m tests.long_run`: a run of nine hours at 30 frames/s, with everything but its pictures as it would be.

Frames are tiny and from memory, their class maps from a model that infers nothing. It tells how memory and descriptors
grew, what was written against what was estimated, and what reading a frame from the midst of the result takes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from sapiens_stream.classes import SAPIENS, ClassSet
from sapiens_stream.containers.label_video import LabelVideo
from sapiens_stream.frame import Frame, Segmentation, SourceInfo, UInt8Array
from sapiens_stream.pipeline import Run
from sapiens_stream.settings import frame_name
from sapiens_stream.sinks import Outputs
from sapiens_stream.sources import Source

NINE_HOURS = 9 * 3600 * 30 - 2000
SIZE = (36, 64)
LOOP = 60
UNITS = {"bytes": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def class_map(number: int) -> UInt8Array:
    """Somebody who walks to and fro."""
    drawn = np.zeros(SIZE, np.uint8)
    x = 16 + abs(number % LOOP - LOOP // 2)
    cv2.ellipse(drawn, (x, 24), (8, 14), 0, 0, 360, 21, -1)
    cv2.circle(drawn, (x, 9), 6, 2, -1)
    return drawn


class LoopedClip(Source):
    """A clip that begins again and again."""

    def __init__(self, frames: int) -> None:
        time_base = Fraction(1, 30)
        self.info = SourceInfo(
            name="clip.mp4", kind="video", frame_count=frames, size=SIZE, frame_rate=1 / time_base, time_base=time_base
        )
        self._pictures = [np.repeat(class_map(number)[..., None] * 9, 3, axis=2) for number in range(LOOP)]

    def frames(self) -> Iterator[Frame]:
        for index in range(self.info.frame_count or 0):
            picture = self._pictures[index % LOOP]
            yield Frame(
                index=index, name=frame_name("clip", index), decoded=picture, pts=index, time_base=self.info.time_base
            )


@dataclass(frozen=True)
class ToyModel:
    """What a record tells of one."""

    name: str = "toy"
    kind: str = "toy"
    classes: ClassSet = SAPIENS
    path: Path | None = None
    sha256: str | None = None
    aspect_step: int | None = None
    photo_detail: float = 1.0
    height: int = SIZE[0]
    width: int = SIZE[1]

    @property
    def input(self) -> ToyModel:
        return self


@dataclass
class ToyEngine:
    """Knows the class maps beforehand."""

    model: ToyModel = ToyModel()
    device: str = "cpu"
    devices: Sequence[object] = ("cpu",)
    dtype: str = "fp32"
    batch_size: int = 4
    timings: Mapping[str, float] = field(default_factory=dict)
    maps: list[UInt8Array] = field(default_factory=lambda: [class_map(number) for number in range(LOOP)])

    def run(self, batches: Iterable[Sequence[Frame]], refiner: Any = None) -> Iterator[list[Segmentation]]:
        for batch in batches:
            yield [
                Segmentation(
                    frame=frame,
                    class_map=self.maps[frame.index % LOOP],
                    classes=self.model.classes,
                    model=self.model.name,
                )
                for frame in batch
            ]


@dataclass(frozen=True)
class Sample:
    """How the process stood after so many frames."""

    frames: int
    memory: int
    descriptors: int


@dataclass(frozen=True)
class LongRun:
    """What a run did; bytes."""

    samples: list[Sample]
    notes: list[str]
    estimated: float
    written: int
    seconds: float

    def growth(self, since: float = 0.2) -> int:
        """How much larger the process became after that share of the run."""
        at = [each.memory for each in self.samples if each.frames >= since * self.samples[-1].frames]
        return max(at) - at[0]


def long_run(frames: int, root: Path, save: str, overlay: str = "none", samples: int = 50) -> LongRun:
    """Runs that many frames into `root`."""
    source, process, taken, notes = LoopedClip(frames), psutil.Process(), list[Sample](), list[str]()
    sinks = Outputs(save=frozenset(save.split(",")), overlay=overlay).sinks(root, "clip", source.info, SAPIENS, print)
    run = Run(source, ToyEngine(), sinks, record_path=root / "clip_run.json", note=notes.append)
    every = max(1, frames // samples)

    def look(statistics: Any) -> None:
        if statistics.segmented // every > len(taken):
            taken.append(Sample(statistics.segmented, process.memory_info().rss, process.num_fds()))
            if frames >= NINE_HOURS // 10 and sys.stdout.isatty() is False and len(taken) % 5 == 0:
                print(f"  {taken[-1]}", flush=True)

    started = time.monotonic()
    run.execute(look, check=True)
    assert run.status == "complete" and run.statistics.written == frames, (run.status, run.statistics)
    amount, unit = re.findall(r"need about ([\d.e+]+) (\w+)", "\n".join(notes))[-1]
    written = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and "_run" not in path.name)
    return LongRun(taken, notes, float(amount) * UNITS[unit], written, time.monotonic() - started)


def bytes_read(video: LabelVideo, index: int) -> tuple[int, int]:
    """How many bytes, in how many calls, reading one frame takes; it is the right one."""
    process = psutil.Process()
    before = process.io_counters()
    found = video[index]
    after = process.io_counters()
    assert np.array_equal(found, class_map(index)), index
    return after.read_chars - before.read_chars, after.read_count - before.read_count


def main() -> None:
    """A line for each thing to know."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=NINE_HOURS)
    parser.add_argument("--save", default="labels,jsonl")
    parser.add_argument("--overlay", default="none")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = long_run(chosen.frames, Path(name), chosen.save, chosen.overlay)
        print("\n".join(run.notes))
        print(f"{chosen.frames} frames in {run.seconds:.0f} s, {chosen.frames / run.seconds:.0f} frames/s")
        print(f"written {run.written} bytes, {run.written / run.estimated:.3f} of the estimate")
        print(f"memory {run.samples[0].memory >> 20} to {run.samples[-1].memory >> 20} MiB: {run.samples[::10]}")
        print(f"grew by {run.growth() / 1e6:.1f} MB after the first fifth")
        print(f"descriptors {sorted({each.descriptors for each in run.samples})}")
        if "labels" in chosen.save.split(","):
            with LabelVideo(Path(name) / "clip_labels.mkv") as video:
                for index in (0, len(video) // 2, len(video) // 2 + 31, len(video) - 1):
                    print(f"frame {index} of {len(video)}: %d bytes in %d reads" % bytes_read(video, index))


if __name__ == "__main__":
    main()
