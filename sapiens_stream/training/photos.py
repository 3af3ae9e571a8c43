"""Real photographs with clothing labels: targets for training, their people cut out, their streets as backgrounds.

A folder holds ID.jpg, ID.png (clothing labels) and labels.json (the labels' names). The targets are prepared once:

    python -m sapiens_stream.training.photos --photos FOLDER --out targets [--weights weights.safetensors]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask

from sapiens_stream.classes import SAPIENS
from sapiens_stream.cores import usable_cores
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.catalogue import BUILTIN_WEIGHTS
from sapiens_stream.training.labels import CLOTHING, FACE, FEET, IGNORE, Labels
from sapiens_stream.training.shards import Cutout
from sapiens_stream.training.targets import LEFT_RIGHT, both_sides, wide_target

FloatArray = npt.NDArray[Any]
UInt8Array = npt.NDArray[Any]

HELD_OUT_EVERY = 10
SURE = 0.6
"""The chance within its set from which a part, of either side, is taken for the probable one."""
UNGUESSED = frozenset(SAPIENS.names.index(name) for name in FEET)
"""Parts that are left open: light shoes and sandals were guessed to be feet, and feet they became."""
RIM = 5
"""Side of the square within which labels must agree: their edges are those of superpixels."""
PREPARED_SHAPE = 512, 352
"""Height and width at which the present weights look at a photo: large enough for lips to be found."""
PERSON_PIXELS = 3000
"""A photo with fewer pixels of a person teaches nothing."""
HEAD_PIXELS = 12
"""Of a head in a person who passes by and is not labelled, in the present weights' map."""


def clothing_labels(folder: Path) -> Labels:
    return Labels.of(json.loads((folder / "labels.json").read_text()), CLOTHING)


def photo_ids(folder: Path, *, held_out: bool) -> list[str]:
    """Every tenth photo, by name, is kept for measuring."""
    ids = sorted(path.stem for path in folder.glob("*.jpg"))
    chosen = [name for row, name in enumerate(ids) if (row % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == held_out]
    if not chosen:
        raise FileNotFoundError(f"no photographs in {folder}")
    return chosen


def held_out_photos(folder: Path) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """(H, W, 3) uint8 RGB and labels without their rims, of the photographs kept for measuring."""
    for name in photo_ids(folder, held_out=True):
        image, label = read_photo(folder, name)
        yield image, without_rims(label)


def read_photo(folder: Path, name: str) -> tuple[UInt8Array, UInt8Array]:
    """(H, W, 3) uint8 RGB and (H, W) labels."""
    image, label = cv2.imread(str(folder / f"{name}.jpg")), cv2.imread(str(folder / f"{name}.png"), 0)
    if image is None or label is None:
        raise FileNotFoundError(f"{folder / name}: no photograph, or no labels")
    return np.ascontiguousarray(image[..., ::-1]), np.asarray(label, np.uint8)


def without_rims(label: UInt8Array) -> UInt8Array:
    """The labels, with IGNORE where different ones meet."""
    square = np.ones((RIM, RIM), np.uint8)
    return np.where(cv2.dilate(label, square) == cv2.erode(label, square), label, IGNORE).astype(np.uint8)


class Teacher:
    """The present weights' opinion of a photo, the mean of it and its mirror image."""

    def __init__(self, weights: Path) -> None:
        model = load_builtin(shape=PREPARED_SHAPE, weights=weights)
        self._run = model.place(torch.device("cpu"), torch.float32)
        self._mean, self._std = torch.tensor(model.input.mean), torch.tensor(model.input.std)
        self._mirrored = torch.from_numpy(LEFT_RIGHT[: len(SAPIENS)].astype(np.int64))

    @torch.inference_mode()
    def chances(self, image: UInt8Array) -> torch.Tensor:
        """(classes, H, W) of (H, W, 3) uint8 RGB."""
        seen = cv2.resize(image, PREPARED_SHAPE[::-1], interpolation=cv2.INTER_AREA)
        pixels = ((torch.from_numpy(seen).float() - self._mean) / self._std).permute(2, 0, 1)[None]
        found = self._run(torch.cat([pixels, pixels.flip(3)])).softmax(1)
        mean = (found[0] + found[1].flip(2)[self._mirrored]) / 2
        return F.interpolate(mean[None], size=image.shape[:2], mode="bilinear")[0]


def targets_of(label: UInt8Array, labels: Labels, chances: torch.Tensor) -> UInt8Array:
    """(H, W) targets: what the label allows, and what the present weights find in it where they are sure."""
    targets = np.full(label.shape, IGNORE, np.uint8)
    kept = without_rims(label)
    for row in np.unique(label):
        allowed = frozenset(np.flatnonzero(labels.sets[row]).tolist())
        inside = kept == row
        targets[inside] = wide_target(allowed)
        if len(allowed) > 1 and inside.any():
            parts = list(dict.fromkeys(both_sides(index) for index in sorted(allowed)))
            here = chances[:, torch.from_numpy(inside)]
            within = torch.stack([here[sorted(part)].sum(0) for part in parts])
            best, row_of_part = (within / within.sum(0)).max(0)
            guesses = np.array([wide_target(allowed, part) for part in parts], np.uint8)[row_of_part.numpy()]
            open_ = np.array([part <= UNGUESSED for part in parts])[row_of_part.numpy()]
            targets[inside] = np.where((best.numpy() > SURE) & ~open_, guesses, targets[inside])
    targets[(label == 0) & _passers_by(label, chances)] = IGNORE
    return targets


def _passers_by(label: UInt8Array, chances: torch.Tensor) -> npt.NDArray[np.bool_]:
    """Where the present weights find a person with a head who is not labelled: not labelled need not be nobody."""
    found = chances.argmax(0).numpy()
    head = np.isin(found, [SAPIENS.names.index(name) for name in (*FACE, "Hair")])
    near = cv2.dilate((label > 0).view(np.uint8), np.ones((9, 9), np.uint8)) > 0
    _, parts = cv2.connectedComponents(((found > 0) & ~near).view(np.uint8))
    heads = np.bincount(parts[head & ~near], minlength=parts.max() + 1)
    return np.asarray((heads > HEAD_PIXELS)[parts] & (parts > 0))


def without_person(image: UInt8Array, person: npt.NDArray[np.bool_]) -> UInt8Array:
    """The image, its person painted over from around them, coarsely."""
    height, width = person.shape
    grown = cv2.dilate(person.view(np.uint8), np.ones((15, 15), np.uint8))
    small = cv2.resize(image, (width // 6, height // 6), interpolation=cv2.INTER_AREA)
    hole = cv2.resize(grown, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    filled = cv2.inpaint(np.ascontiguousarray(small), hole, 3, cv2.INPAINT_TELEA)
    share = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), 3)[..., None]
    coarse = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(image + (coarse.astype(np.float32) - image) * share, np.uint8)


class StreetPhotos:
    """The photographs of a folder that are trained on, with their prepared targets; all are held in memory, where
    processes that are forked share them: to read one anew takes as long as to draw a picture with it."""

    def __init__(self, folder: Path, targets: Path) -> None:
        self.folder, self.targets = folder, targets
        self.ids = [name for name in photo_ids(folder, held_out=False) if (targets / f"{name}.png").exists()]
        if not self.ids:
            raise FileNotFoundError(f"no targets in {targets} of the photographs in {folder}")
        with ThreadPoolExecutor(usable_cores()) as readers:
            self._held = list(readers.map(self._read, self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def _read(self, name: str) -> tuple[UInt8Array, UInt8Array, npt.NDArray[np.bool_]]:
        image, label = read_photo(self.folder, name)
        targets = cv2.imread(str(self.targets / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        if targets is None:
            raise FileNotFoundError(f"{name}: no targets in {self.targets}")
        return image, targets, label > 0

    def read(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """(H, W, 3) uint8 RGB, (H, W) targets."""
        image, targets, _ = self._held[index]
        return image, targets

    def _person(self, index: int) -> npt.NDArray[np.bool_]:
        return self._held[index][2]

    def cutout(self, rng: np.random.Generator) -> Cutout:
        """A person of a random photo, with what they carry; targets instead of classes."""
        index = int(rng.integers(len(self)))
        image, targets = self.read(index)
        person = cv2.erode(self._person(index).view(np.uint8), np.ones((3, 3), np.uint8))
        x, y, width, height = cv2.boundingRect(person)
        alpha = cv2.GaussianBlur(person * np.uint8(255), (0, 0), 0.7)
        box = slice(y, y + height), slice(x, x + width)
        rgba = np.dstack([image * (alpha[..., None] / np.float32(255)), alpha])[box].astype(np.uint8)
        rows, columns = person.shape
        cut = (y < 4, y + height > rows - 4, x < 4, x + width > columns - 4)
        return Cutout(rgba, np.where(person > 0, targets, IGNORE)[box].astype(np.uint8), cut)

    def crop(self, height: int, width: int, rng: np.random.Generator) -> tuple[FloatArray, UInt8Array]:
        """A piece of a random photo, (height, width, 3) float32, and its targets at half that size."""
        image, targets = self.read(int(rng.integers(len(self))))
        if rng.random() < 0.5:
            image, targets = cv2.flip(image, 1), cv2.LUT(cv2.flip(targets, 1), LEFT_RIGHT)
        rows, columns = targets.shape
        stretch = np.exp(rng.normal(0, 0.12))
        shown = min(rows / height, columns * stretch / width) * np.exp(rng.uniform(-np.log(2), 0))
        h, w = round(height * shown), round(width * shown / stretch)
        y, x = int(rng.integers(rows - h + 1)), round(rng.uniform(0.25, 0.75) * (columns - w))
        pair = Image(torch.from_numpy(image).permute(2, 0, 1)), Mask(torch.from_numpy(targets))
        piece, mask = (v2.functional.resized_crop(each, y, x, h, w, [height, width]) for each in pair)
        # The odd ones: nearest neighbours are taken from a pixel's corner, which there is the middle of four.
        return piece.permute(1, 2, 0).float().numpy(), np.ascontiguousarray(mask.numpy()[1::2, 1::2])

    def backgrounds(self) -> list[UInt8Array]:
        """The photographs in which nobody passes by, their people painted over."""
        found = []
        for index in range(len(self)):
            image, targets = self.read(index)
            person = self._person(index)
            ignored = (targets == IGNORE) & ~(cv2.dilate(person.view(np.uint8), np.ones((9, 9), np.uint8)) > 0)
            if not ignored.any():
                found.append(without_person(image, person))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=BUILTIN_WEIGHTS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    labels, teacher = clothing_labels(given.photos), Teacher(given.weights)
    for name in photo_ids(given.photos, held_out=False):
        image, label = read_photo(given.photos, name)
        if np.count_nonzero(label) < PERSON_PIXELS:  # nobody has been labelled, which does not say that nobody is there
            continue
        cv2.imwrite(str(given.out / f"{name}.png"), targets_of(label, labels, teacher.chances(image)))


if __name__ == "__main__":
    main()
