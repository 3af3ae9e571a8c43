"""Cut-outs on disk: rendered people without a background, with the class of every pixel."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS
from sapiens_stream.cores import usable_cores
from sapiens_stream.training.joints import joints_within, mirrored_joints
from sapiens_stream.training.targets import LEFT_RIGHT
from sapiens_stream.training.views import views_of

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

PICTURES_A_BODY = 3
"""Cut-outs of the same person, one after the other."""
FROM_BEHIND = 2.0
"""How much more often whoever is seen from behind is drawn: sides are mistaken there, and few cut-outs show it."""
LATER = "later"
"""The folder beside the cut-outs in which those that have been rendered so are a moment later."""
MIN_HEIGHT = 40
"""Rows; a person of whom less can be seen teaches nothing."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A person cut to their bounding box.

    `rgba` (H, W, 4) uint8, colour premultiplied by alpha; `label` (H, W) uint8 class ids. `cut` tells which sides
    (top, bottom, left, right) the render's frame cut off, so that they belong at the picture's edge. `joints`
    (joints, 3) are as `seen_joints` gives them, of the box; None if nobody knows. `later` is the same person a moment
    later in the same box, if that was rendered.
    """

    rgba: UInt8Array
    label: UInt8Array
    cut: tuple[bool, bool, bool, bool]
    joints: FloatArray | None = None
    later: Cutout | None = None

    def mirrored(self) -> Cutout:
        """The same, left and right swapped."""
        top, bottom, left, right = self.cut
        return Cutout(
            self.rgba[:, ::-1],
            LEFT_RIGHT[self.label[:, ::-1]],
            (top, bottom, right, left),
            None if self.joints is None else mirrored_joints(self.joints),
            None if self.later is None else self.later.mirrored(),
        )


def write_shard(folder: Path, name: str, rgba: UInt8Array, label: UInt8Array, joints: FloatArray) -> None:
    """(N, H, W, 4), (N, H, W) and (N, joints, 3) as files that can be mapped into memory; the labels appear last."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.rgba.npy", rgba)
    np.save(folder / f"{name}.joints.npy", joints)
    np.save(folder / f"{name}.label.npy", label)


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Files mapped into memory."""

    rgba: UInt8Array
    label: UInt8Array
    joints: FloatArray

    def cut(self, row: int, box: tuple[int, int, int, int], later: Cutout | None = None) -> Cutout:
        y0, y1, x0, x1 = box
        height, width = self.label.shape[1:]
        return Cutout(
            np.asarray(self.rgba[row, y0:y1, x0:x1]),
            np.asarray(self.label[row, y0:y1, x0:x1]),
            (y0 < 2, y1 > height - 2, x0 < 2, x1 > width - 2),
            joints_within(np.asarray(self.joints[row]), (height, width), box),
            later,
        )


@dataclass(frozen=True, eq=False)
class _Shard:
    """Pictures, the same a moment later, and of each row in which enough is seen the box, the pixels of each class, and
    whether it is from behind."""

    now: _Pictures
    later: _Pictures | None
    seen: list[tuple[int, tuple[int, int, int, int], npt.NDArray[np.int64], bool]]


def _read_pictures(path: Path) -> _Pictures:
    """By the file of the labels."""
    kinds = (".rgba.", ".label.", ".joints.")
    return _Pictures(*(np.load(path.with_name(path.name.replace(".label.", kind)), mmap_mode="r") for kind in kinds))


def _read_shard(path: Path) -> _Shard:
    now = _read_pictures(path)
    moment = path.parent / LATER / path.name
    later = _read_pictures(moment) if moment.exists() else None
    label, seen = now.label, []
    for row in range(len(label)):
        inside = now.rgba[row, ..., 3] > 127
        around = inside if later is None else inside | (later.rgba[row, ..., 3] > 127)
        ys, xs = np.flatnonzero(around.any(1)), np.flatnonzero(around.any(0))
        if len(ys) < MIN_HEIGHT or (label[row][inside] > 0).mean() < 0.4:
            continue
        box = int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1
        counts = np.bincount(label[row].ravel(), minlength=len(SAPIENS))[: len(SAPIENS)]
        seen.append((row, box, counts, "back" in views_of(label[row])))
    return _Shard(now, later, seen)


class Cutouts:
    """All cut-outs of some folders, mapped into memory; drawn with more weight where rare classes are seen."""

    def __init__(self, folders: Iterable[Path], *, held_out: bool, every: int = 20) -> None:
        """Every `every`-th body is held out, with all its pictures: those alone if `held_out`, all others if not."""
        self._shards: list[_Shard] = []
        self._rows: list[tuple[int, int]] = []
        boxes, counts, behind = [], [], []
        paths = sorted(path for folder in folders for path in folder.glob("*.label.npy"))
        with ThreadPoolExecutor(usable_cores()) as readers:
            for found in readers.map(_read_shard, paths):
                for row, box, count, back in found.seen:
                    if (row // PICTURES_A_BODY % every == every - 1) == held_out:
                        boxes.append(box)
                        counts.append(count)
                        behind.append(back)
                        self._rows.append((len(self._shards), row))
                self._shards.append(found)
        if not boxes:
            raise FileNotFoundError(f"no cut-outs in {', '.join(map(str, folders))}")
        self._boxes = np.array(boxes)
        self.chance = self._weights(np.array(counts, float), np.array(behind))

    @staticmethod
    def _weights(counts: npt.NDArray[np.float64], behind: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Chance of each cut-out: the more classes it shows, and the rarer they are, up to thrice the usual; and more
        yet of those seen from behind."""
        shown = counts[:, 1:] > 0.002 * counts[:, 1:].sum(1, keepdims=True)
        score = shown @ (1 / np.sqrt(shown.mean(0) + 1e-3))
        weight = np.clip(score / np.median(score), 0.4, 3) * np.where(behind, FROM_BEHIND, 1)
        return np.asarray(weight / weight.sum())

    def __len__(self) -> int:
        return len(self._boxes)

    def __getitem__(self, index: int) -> Cutout:
        number, row = self._rows[index]
        shard, box = self._shards[number], self._boxes[index].tolist()
        return shard.now.cut(row, box, None if shard.later is None else shard.later.cut(row, box))

    def draw(self, rng: np.random.Generator) -> Cutout:
        return self[int(rng.choice(len(self), p=self.chance))]
