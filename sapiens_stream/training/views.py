"""From where people are seen, by their labels' own sides: mistakes of left and right are counted by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS

UInt8Array = npt.NDArray[np.uint8]

VIEWS = ("front", "side", "back", "seated")
LIMBS = ("Hand", "Lower_Arm", "Upper_Arm", "Foot", "Lower_Leg", "Upper_Leg", "Shoe", "Sock")
LEFT, RIGHT = (tuple(f"{side}_{part}" for part in LIMBS) for side in ("Left", "Right"))

_ABOVE = ("Face_Neck", "Hair", "Torso", "Upper_Clothing")
_FEET = tuple(name for name in (*LEFT, *RIGHT) if name.endswith(("Foot", "Shoe", "Sock")))
_LEAST = 300
"""Pixels of somebody whose view is told, and a hundredth of them, of each side."""
_ASIDE = 0.05
"""Of a person's height, that the limbs of the two sides must be apart from left to right."""
_FOLDED = 0.8
"""Of what is seen from the head to the hips: legs that reach no farther down are folded."""


def _rows(names: Iterable[str]) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[[SAPIENS.names.index(name) for name in names]] = True
    return table


_TABLES: Mapping[str, npt.NDArray[np.bool_]] = {
    "left": _rows(LEFT),
    "right": _rows(RIGHT),
    "above": _rows(_ABOVE),
    "feet": _rows(_FEET),
}


def views_of(label: UInt8Array) -> dict[str, npt.NDArray[np.bool_]]:
    """Where in an (H, W) label of the 28 classes people are seen from the front, the side or the back, or sit; (H, W)
    each, of those found. Who touches somebody counts as one with them; who is too small is nowhere."""
    found: dict[str, npt.NDArray[np.bool_]] = {}
    _, people = cv2.connectedComponents((label > 0).view(np.uint8))  # the rims that are ignored are a person's too
    for person in range(1, int(people.max()) + 1):
        inside = people == person
        if np.count_nonzero(inside) >= _LEAST:
            view = _view(np.where(inside, label, 0).astype(np.uint8))
            found[view] = found.get(view, np.zeros(label.shape, np.bool_)) | inside
    return found


def _view(label: UInt8Array) -> str:
    """Of one person, alone in the label."""
    places = {name: np.nonzero(table[label]) for name, table in _TABLES.items()}
    rows = np.flatnonzero((label > 0).any(1))
    if len(places["feet"][0]) and len(places["above"][0]):
        top, hips, lowest = rows[0], np.percentile(places["above"][0], 98), np.percentile(places["feet"][0], 98)
        if lowest - hips < _FOLDED * (hips - top):
            return "seated"
    sides = [places[side][1] for side in ("left", "right")]
    if min(map(len, sides)) < np.count_nonzero(label) / 100:
        return "side"
    apart = float(sides[0].mean() - sides[1].mean()) / (rows[-1] - rows[0] + 1)
    return "side" if abs(apart) < _ASIDE else "front" if apart > 0 else "back"
