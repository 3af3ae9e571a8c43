"""How much class maps flicker, frame by frame and steady, what that costs in time, and in truth where that is known.

    python -m benchmarks.steady [MODEL] [--clips FILE ...] [--people builtin]

Flicker is the share of foreground pixels that change their class from a frame to the next, along a flow that leads
there and back; warped mIoU compares each map with the one before it, brought along; VC8 is the share of foreground
whose class was the same over eight frames; "beyond a pixel" leaves out of the flicker what changes to a class that a
neighbour had, and had a class that a neighbour has: exact maps do that too. The flow is finer than the one that
steadies. Where a clip has its exact class maps beside it (CLIP.npz, `maps` of (frames, H, W)), J is the mean IoU of
the foreground with them, and "exact" is how much those flicker by this measure: what motion alone makes of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.propagation import SAMPLES, SHARED, small
from sapiens_stream import Segmenter
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.inference.propagation import Field, destinations
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.people.hold import Hold, Holds
from sapiens_stream.sources import Video

LONG_SIDE = 854
_FLOW_SIDE = 640
_CONSISTENT = 8  # frames
Clip = Sequence[Frame]


@dataclass(frozen=True)
class Steadiness:
    """Of the class maps of a clip."""

    flicker: float
    beyond: float
    """A pixel."""
    warped_miou: float
    vc8: float


class Motions:
    """The flow from each frame of a clip to the one before it, and where it leads back."""

    def __init__(self, clip: Clip) -> None:
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        pictures = [_grey(frame) for frame in clip]
        self.size = clip[0].size
        self.steps: list[tuple[Field, npt.NDArray[np.bool_]]] = []
        for now, before in zip(pictures[1:], pictures, strict=False):
            forth, back = (np.asarray(flow.calc(*each, None), np.float32) for each in ((now, before), (before, now)))  # type: ignore[call-overload]
            sure = np.abs(forth + _brought(back, forth)).max(axis=2) < 1
            self.steps.append((_full(forth, self.size), _whole(sure, self.size)))

    def steadiness(self, maps: Sequence[UInt8Array]) -> Steadiness:
        """Of these class maps."""
        foreground = changed = beyond = kept = followed = 0
        both, either = np.zeros(256), np.zeros(256)
        same, age = (np.zeros(self.size, np.float32) for _ in range(2))
        for place, (field, sure) in enumerate(self.steps, start=1):
            now, came = maps[place], _brought(maps[place - 1], field, cv2.INTER_NEAREST)
            counted = sure & ((now > 0) | (came > 0))
            foreground += int(counted.sum())
            changed += int((counted & (now != came)).sum())
            beyond += int((counted & ~(_near(came, now) & _near(now, came))).sum())
            both += np.bincount(now[sure & (now == came)], minlength=256)
            either += np.bincount(now[sure], minlength=256) + np.bincount(came[sure & (now != came)], minlength=256)
            same = np.where(sure & (now == came), _brought(same, field, cv2.INTER_NEAREST) + 1, 0).astype(np.float32)
            age = np.where(sure, _brought(age, field, cv2.INTER_NEAREST) + 1, 0).astype(np.float32)
            long = (age >= _CONSISTENT - 1) & (now > 0)
            followed += int(long.sum())
            kept += int((long & (same >= _CONSISTENT - 1)).sum())
        there = np.flatnonzero(either[1:]) + 1
        return Steadiness(
            changed / max(foreground, 1),
            beyond / max(foreground, 1),
            float((both[there] / either[there]).mean()),
            kept / max(followed, 1),
        )


def _near(one: UInt8Array, other: UInt8Array) -> npt.NDArray[np.bool_]:
    """(H, W): whether a pixel of the one, or one beside it, has the class that it has in the other."""
    found = one == other
    wider = cv2.copyMakeBorder(one, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    for down in range(3):
        for across in range(3):
            found |= wider[down : down + one.shape[0], across : across + one.shape[1]] == other
    return found


def _grey(frame: Frame) -> UInt8Array:
    grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
    scale = _FLOW_SIDE / max(grey.shape)
    size = round(grey.shape[1] * scale), round(grey.shape[0] * scale)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _brought(plane: npt.NDArray[Any], field: Field, how: int = cv2.INTER_LINEAR) -> npt.NDArray[Any]:
    return cv2.remap(plane, destinations(field), None, how, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


def _full(field: Field, size: tuple[int, int]) -> Field:
    scale = np.array([size[1] / field.shape[1], size[0] / field.shape[0]], np.float32)
    return np.asarray(cv2.resize(field, size[::-1]), np.float32) * scale


def _whole(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0


def read(path: Path, long_side: int, most: int) -> list[Frame]:
    """The first frames of a clip at that size."""
    frames: list[Frame] = []
    with Video(path) as video:
        for each in video.frames():
            if isinstance(each, Frame):
                frames.append(small(each, long_side))
            if len(frames) == most:
                break
    return frames


def segmented(clip: Clip, segmenter: Segmenter, refiner: Refiner | None) -> tuple[list[UInt8Array], float]:
    """The class maps, and how many milliseconds of CPU time a frame took."""
    start = time.process_time()
    found = segmenter.engine.run(([frame] for frame in clip), refiner)
    maps = [each.class_map for results in found for each in results]
    return maps, 1000 * (time.process_time() - start) / len(clip)


def held(clip: Clip, segmenter: Segmenter) -> Iterator[Segmentation]:
    """As `live` does."""
    hold = Hold(segmenter.model.threshold)
    for frame in clip:
        refiner = Holds([hold])
        yield from segmenter.engine.submit(refiner.take([frame]), refiner).result()


def _exact(path: Path, clip: Clip) -> npt.NDArray[np.uint8]:
    """(frames, H, W): the maps beside a clip, in the size of its pictures."""
    maps, size = np.load(path)["maps"][: len(clip)], clip[0].size[::-1]
    return np.stack([np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_NEAREST), np.uint8) for each in maps])


def agreement(maps: Sequence[UInt8Array], exact: npt.NDArray[np.uint8]) -> float:
    """J: the mean over the frames of the IoU of the foreground."""
    pairs = [(one > 0, other > 0) for one, other in zip(maps, exact, strict=False)]
    return float(np.mean([(a & b).sum() / max((a | b).sum(), 1) for a, b in pairs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--clips", type=Path, nargs="*", help="video files")
    parser.add_argument("--long-side", type=int, default=LONG_SIDE, help="of the pictures, pixels")
    parser.add_argument("--frames", type=int, default=40, help="of each clip, from its beginning")
    parser.add_argument("--people", default="off", help="what finds the people who are looked at from nearer")
    given = parser.parse_args()
    clips = given.clips or [path for path in (SAMPLES / "people.mp4", *sorted(SHARED.glob("*.mp4"))) if path.exists()]
    segmenter = Segmenter(given.model, device="cpu", people=given.people)
    table = Table(
        "clip",
        "maps",
        "flicker",
        "of it",
        "beyond a pixel",
        "warped mIoU",
        "VC8",
        "J",
        "CPU ms a frame",
        title=given.model,
    )
    for path in clips:
        clip = read(path, given.long_side, given.frames)
        motions, beside = Motions(clip), path.with_suffix(".npz")
        exact = _exact(beside, clip) if beside.exists() else None
        segmented(clip[:3], segmenter, None)  # what only the first frames take
        ways: list[tuple[str, list[UInt8Array], float | None]] = [("frame by frame", *segmented(clip, segmenter, None))]
        for reach in (1, 2):
            refiner = refiner_for(segmenter.model, steady=reach)
            ways.append((f"steady {reach}", *segmented(clip, segmenter, refiner)))
        ways.append(("live", [each.class_map for each in held(clip, segmenter)], None))
        if exact is not None:
            ways.append(("exact", list(exact), None))
        alone = motions.steadiness(ways[0][1])
        for name, maps, milliseconds in ways:
            found = motions.steadiness(maps)
            table.add_row(
                path.stem,
                name,
                f"{100 * found.flicker:.2f} %",
                f"{100 * found.flicker / max(alone.flicker, 1e-9):.0f} %",
                f"{100 * found.beyond / max(alone.beyond, 1e-9):.0f} %",
                f"{found.warped_miou:.3f}",
                f"{found.vc8:.3f}",
                "" if exact is None else f"{agreement(maps, exact):.4f}",
                "" if milliseconds is None else f"{milliseconds:.1f}",
            )
        table.add_section()
    Console(width=116).print(table)


if __name__ == "__main__":
    main()
