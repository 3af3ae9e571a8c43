"""What people look like: the colours of their heads, clothes, bare limbs and shoes, by which they are known again."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import ClassSet
from sapiens_stream.frame import UInt8Array

Codes = npt.NDArray[np.int32]
"""Of each pixel its colour and the part of the body that it is of, as one number."""

_PARTS = 5
"""Of the body: head, torso, legs' clothes, bare limbs, what is worn on feet."""
_HEAD = ("Face_Neck", "Hair", "Upper_Lip", "Lower_Lip", "Upper_Teeth", "Lower_Teeth", "Tongue", "Eyeglass")
_TORSO = ("Upper_Clothing", "Torso", "Apparel")
_SIDE = 8
"""Steps of lightness, and of each of the two axes of colour."""
_COLOURS = _SIDE**3
_STEP = 12  # of an axis of colour in 8-bit Lab; what is farther from grey than the last one counts as that
_LIKELIEST_ALONE = 0.8  # of what is expected of a part, that its own colours make; the whole person's the rest
_FEW = 0.03  # of somebody, that a part is; of less than that too little has been seen
_LEAST = 2e-3  # how likely any colour is at least
_OFTEN = 8  # frames in which each counts as much as the others
_RATE = 0.05  # of what somebody looks like, that a frame changes later


def codes_of(class_map: UInt8Array, rgb: UInt8Array, classes: ClassSet) -> Codes:
    """Of pixels, (..., 3), and their classes, (...)."""
    if not rgb.size:  # which OpenCV refuses
        return np.zeros(class_map.shape, np.int32)
    lab = np.asarray(cv2.cvtColor(rgb.reshape(1, -1, 3), cv2.COLOR_RGB2LAB), np.uint8).reshape(rgb.shape)
    light, red, yellow = (_steps(axis == 0)[lab[..., axis]] for axis in range(3))
    return _parts(classes.names)[class_map] * _COLOURS + (light * _SIDE + red) * _SIDE + yellow


@lru_cache(2)
def _steps(light: bool) -> npt.NDArray[np.int32]:
    values = np.arange(256, dtype=np.int32)
    if light:
        return values * _SIDE // 256
    return np.clip((values - 128) // _STEP + _SIDE // 2, 0, _SIDE - 1).astype(np.int32)


@lru_cache(4)
def _parts(names: tuple[str, ...]) -> npt.NDArray[np.int32]:
    parts = np.zeros(256, np.int32)
    parts[: len(names)] = [_part(name) for name in names]
    return parts


def _part(name: str) -> int:
    if name in _HEAD:
        return 0
    if name in _TORSO:
        return 1
    if name == "Lower_Clothing":
        return 2
    return 4 if name.endswith(("Shoe", "Sock")) else 3


class Look:
    """How often somebody's parts have had each colour."""

    def __init__(self, seen: Codes | None = None) -> None:
        self._shares = np.zeros(_PARTS * _COLOURS, np.float32)
        self._seen = 0
        self._likely: npt.NDArray[np.float32] | None = None
        self._usual = 0.0
        if seen is not None:
            self.learn(seen)

    def learn(self, codes: Codes, rate: float = _RATE) -> None:
        """What they look like in a further frame, (n,); the first few count alike."""
        if not codes.size:
            return
        self._seen += 1
        share = max(rate, 1 / self._seen) if self._seen < _OFTEN else rate
        now = np.bincount(codes, minlength=self._shares.size).astype(np.float32) / codes.size
        self._shares = np.asarray((1 - share) * self._shares + share * now, np.float32)
        self._likely = None

    def begin_again(self) -> None:
        """What was learned counts for no more than the next frame."""
        self._seen = min(self._seen, 1)

    @property
    def likely(self) -> npt.NDArray[np.float32]:
        """By code, the logarithm of how likely that colour is where that part of this person is."""
        if self._likely is None:
            shares = _smooth(self._shares.reshape(_PARTS, _SIDE, _SIDE, _SIDE)).reshape(_PARTS, _COLOURS)
            sums = shares.sum(1, keepdims=True)
            trust = _LIKELIEST_ALONE * sums / (sums + _FEW)
            whole = shares.sum(0) / max(float(sums.sum()), 1e-9)
            both = trust * shares / np.maximum(sums, 1e-9) + (1 - trust) * whole
            self._likely = np.log(np.maximum(both, _LEAST)).astype(np.float32).ravel()
            self._usual = float((self._shares * self._likely).sum())
        return self._likely

    @property
    def usual(self) -> float:
        """Their own likeness to what was learned of them: the less, the more colours they have."""
        _ = self.likely
        return self._usual

    def likeness(self, codes: Codes) -> float:
        """The mean of `likely` over somebody's pixels."""
        return float(self.likely[codes].mean())


def _smooth(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(parts, side, side, side): colours that are next to each other count for each other, as light changes."""
    for _ in range(3):  # each axis in turn is the last one
        shares = np.moveaxis(shares @ _BESIDE, 3, 1)
    return np.asarray(shares, np.float32)


def _beside() -> npt.NDArray[np.float32]:
    """(side, side): how much each step of an axis counts for each: itself a half, the one on either side a quarter."""
    steps = np.eye(_SIDE, dtype=np.float32)
    up, down = (steps[np.clip(np.arange(_SIDE) + way, 0, _SIDE - 1)] for way in (1, -1))
    return np.asarray(steps / 2 + (up + down) / 4, np.float32)


_BESIDE = _beside()
