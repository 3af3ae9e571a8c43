"""`python -m benchmarks.class_map`: the class map against F.interpolate + argmax, as ratios of the same run."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import compare
from sapiens_stream.inference.class_map import class_map
from sapiens_stream.threads import ThreadGroup

DATA = Path(__file__).parents[1] / "tests" / "data"
SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840)}
_SHAPE = (28, 512, 384)


@dataclass(frozen=True)
class Row:
    """One comparison; memory in bytes beyond the logits, `differing` in pixels."""

    logits: str
    size: str
    speedup: float
    memory: int
    baseline_memory: int
    differing: int


def smooth_logits() -> Tensor:
    """Large blobs, as of a person who fills the picture: about 5 % of the cells lie at a boundary."""
    coarse = torch.randn(1, _SHAPE[0], 12, 9, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=_SHAPE[1:], mode="bicubic")[0].contiguous()


def random_checkpoint_logits() -> Tensor:
    """What the tests' checkpoint of random weights makes of a portrait: a fifth of the cells lie at a boundary."""
    picture = cv2.resize(cv2.imread(str(DATA / "golden" / "astronaut.png")), (768, 1024))[..., ::-1]
    pixels = (picture.astype(np.float32) - (123.5, 116.5, 103.5)) / (58.5, 57.0, 57.5)
    model = torch.jit.load(str(DATA / "tiny_goliath_torchscript.pt2"))
    with torch.inference_mode():
        return model(torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1)[None].copy()))[0].contiguous()


def noisy_logits() -> Tensor:
    """No two neighbours agree: the worst case."""
    return torch.randn(_SHAPE, generator=torch.Generator().manual_seed(0))


LOGITS: dict[str, Callable[[], Tensor]] = {
    "smooth": smooth_logits,
    "random checkpoint": random_checkpoint_logits,
    "noisy": noisy_logits,
}


def interpolate_argmax(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The original's way."""
    return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False).argmax(1)[0]


def peak(way: str, logits: str, size: str) -> int:
    """Bytes that one call takes beyond what is there before it, in a process of its own."""
    arguments = ["-m", "benchmarks.class_map", "--peak", way, logits, size]
    return int(subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout)


def extra_memory(work: Callable[[], object]) -> int:
    """Bytes of resident memory that `work` takes at its peak, looked at every millisecond.

    The system's own record of the peak would not do: a process starts with that of the one that started it.
    """
    process, peaks, done = psutil.Process(), [0], Event()

    def watch() -> None:
        while not done.wait(0.001):
            peaks[0] = max(peaks[0], process.memory_info().rss)

    watcher = ThreadGroup(done.set)
    before = process.memory_info().rss
    watcher.start("watcher", watch)
    kept = work()
    peaks[0] = max(peaks[0], process.memory_info().rss)
    watcher.close()
    del kept
    return peaks[0] - before


def rows(repeats: int = 5) -> Iterator[Row]:
    """Every kind of logits at every size."""
    with torch.inference_mode():
        for kind, make in LOGITS.items():
            logits = make()
            for name, size in SIZES.items():
                ours, baseline = class_map(logits, size), interpolate_argmax(logits, size)
                differing = int((ours != baseline).sum())
                del ours, baseline
                result = compare(
                    lambda logits=logits, size=size: class_map(logits, size),
                    lambda logits=logits, size=size: interpolate_argmax(logits, size),
                    repeats=repeats,
                )
                memory = peak("ours", kind, name), peak("baseline", kind, name)
                yield Row(kind, name, result.speedup, *memory, differing)


def main(repeats: int = 5) -> None:
    """Prints the table."""
    print(f"class map against F.interpolate + argmax on the CPU, {torch.get_num_threads()} threads")
    print(f"  {'logits':<18} {'size':<6} {'faster':>9} {'extra memory':>22} {'differing':>14}")
    for row in rows(repeats):
        memory = f"{row.memory / 1e6:.0f} against {row.baseline_memory / 1e6:.0f} MB"
        print(f"  {row.logits:<18} {row.size:<6} {row.speedup:>7.1f} x {memory:>22} {row.differing:>7} pixels")


def _print_peak(way: str, kind: str, size: str) -> None:
    logits = LOGITS[kind]()
    work = class_map if way == "ours" else interpolate_argmax
    print(extra_memory(lambda: work(logits, SIZES[size])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", nargs=3, metavar=("WAY", "LOGITS", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        _print_peak(*options.peak)
    else:
        main(options.repeats)
