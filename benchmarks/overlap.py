"""`python -m benchmarks.overlap`: whether a CUDA device computes all the time, and copies meanwhile.

Prints, as ratios in one run, the engine fed with frames in memory against the model alone, and from a profiler's trace
how much of the copies to and from the device ran while kernels did (goal: nearly all). Random weights of a Sapiens.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import cv2
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.cpu import PHOTO, make_clip
from benchmarks.gpu import Bench, random_model
from benchmarks.people_logits import with_people
from sapiens_stream import Segmenter
from sapiens_stream.frame import Frame
from sapiens_stream.models.sapiens.config import SapiensConfig
from sapiens_stream.sources import Video

WARM_UP_BATCHES = 5
BATCHES = 40


def engine_alone(segmenter: Segmenter, frames: Sequence[Frame], batches: int) -> float:
    """Frames/s of the engine fed with frames in memory: what decoding and writing can at best leave."""
    for _ in segmenter.engine.run(repeat(frames, WARM_UP_BATCHES)):
        pass
    start = time.perf_counter()
    done = sum(len(results) for results in segmenter.engine.run(repeat(frames, batches)))
    return done / (time.perf_counter() - start)


def copy_overlap(segmenter: Segmenter, frames: Sequence[Frame]) -> tuple[float, float]:
    """(share of the copies' time during which a kernel ran too, share of the time the device was busy)."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
        for _ in segmenter.engine.run(repeat(frames, 10)):
            pass
    copies, kernels = [], []
    for event in trace.events():
        if event.device_type == DeviceType.CUDA:
            span = (event.time_range.start, event.time_range.end)
            (copies if "memcpy" in event.name.lower() else kernels).append(span)
    kernels = _merged(kernels)
    copied = sum(end - start for start, end in copies)
    both = sum(max(0.0, min(end, stop) - max(start, begin)) for start, end in copies for begin, stop in kernels)
    first, last = min(span[0] for span in kernels), max(span[1] for span in kernels)
    return both / copied, sum(end - start for start, end in kernels) / (last - first)


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of spans, as spans that do not touch."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def main() -> None:
    """Prints the ratios for one size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="0.3b")
    parser.add_argument("--batch-size", type=int, default=8)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: this benchmark measures one")
    bench = Bench(torch.device("cuda"), chosen.batch_size, seconds=5.0, matrix=8192)
    config = SapiensConfig.of(chosen.size)
    picture = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)
    model = with_people(random_model(chosen.size, config), picture)
    segmenter = Segmenter(model, device="cuda", batch_size=chosen.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", width=1920, height=1080, frames=chosen.batch_size)
        with Video(clip) as source:
            frames = [frame for frame, _ in zip(source.frames(), range(chosen.batch_size), strict=False)]
    with torch.inference_mode():
        alone = bench.frame_rate(
            segmenter.model.place(bench.device, segmenter.engine.dtype), config, segmenter.engine.dtype
        )
    rate = engine_alone(segmenter, frames, BATCHES)
    overlap, busy = copy_overlap(segmenter, frames)
    print(f"engine, frames in memory: {rate / alone:.2f} of the model alone ({rate:.1f} frames/s)")
    print(f"{overlap:.0%} of the copies ran beside kernels; the device computed {busy:.0%} of the time")


if __name__ == "__main__":
    main()
