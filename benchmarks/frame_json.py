"""`python -m benchmarks.frame_json`: a 4K frame's JSON, of class maps of the built-in model, against the former way."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from benchmarks import former_json
from benchmarks.timing import Comparison, compare, seconds
from sapiens_stream import Segmenter
from sapiens_stream.cli.allocator import keep_freed_memory
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.sinks.json_file import as_json
from sapiens_stream.sources import Video

SAMPLES = Path(__file__).parents[1] / "samples"
SIZE = (2160, 3840)


def pictures() -> dict[str, UInt8Array]:
    """A person who fills the picture, small people, one far away, and a group who fill it; (H, W, 3) RGB."""
    portrait = np.asarray(cv2.imread(str(SAMPLES / "astronaut.jpg")), np.uint8)[..., ::-1]
    with Video(SAMPLES / "people.mp4") as clip:
        people = next(frame.rgb for frame in clip.frames() if isinstance(frame, Frame))
    far = np.full((*SIZE, 3), 128, np.uint8)
    side = SIZE[0] // 3
    far[side : 2 * side, 4 * side :][:, :side] = _enlarged(portrait, (side, side))
    group = np.hstack([portrait, portrait[:, ::-1], portrait])
    return {"one person": portrait, "people": people, "one far away": far, "a group": group}


def class_maps() -> dict[str, Segmentation]:
    """What the built-in model makes of each, in 4K."""
    segmenter = Segmenter("builtin", device="cpu")
    return {name: segmenter(_enlarged(picture, SIZE)) for name, picture in pictures().items()}


def compare_json(result: Segmentation) -> Comparison:
    """Its JSON, made anew each time. Raises AssertionError if the two ways differ in a byte."""

    def former() -> bytes:
        return former_json.as_json(result, title="result")

    assert made_anew(result) == former()
    return compare(lambda: made_anew(result), former, repeats=41)


def made_anew(result: Segmentation) -> bytes:
    """Its JSON, with nothing found before."""
    fresh = Segmentation(frame=result.frame, class_map=result.class_map, classes=result.classes, model=result.model)
    return as_json(fresh, title="result")


def by_writers(result: Segmentation, frames: int = 200) -> float:
    """Seconds a frame, of many whose JSON a thread for each core makes, as a run's writers do."""
    with ThreadPoolExecutor(os.cpu_count()) as writers:
        list(writers.map(made_anew, [result] * 8))
        return seconds(lambda: list(writers.map(made_anew, [result] * frames))) / frames


def _enlarged(picture: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def main() -> None:
    """A row for each, with memory kept as the command line has it."""
    keep_freed_memory()
    for name, result in class_maps().items():
        found = compare_json(result)
        label = f"{name}, {found.ours * 1e3:.2f} ms; by writers {by_writers(result) * 1e3:.2f} ms"
        print(
            f"  {label:<48} {found.speedup:6.2f} x   against {found.baseline * 1e3:.2f} ms: pixel by pixel, whole boxes"
        )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
