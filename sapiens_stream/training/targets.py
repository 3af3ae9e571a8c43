"""What the network is to say of a pixel: one class, or any of several, perhaps with a guess at the part.

A target is a byte. The bytes below len(SAPIENS) are the classes themselves, as renders have them; the next ones stand
for the sets that CLOTHING's labels mean, with or without a guess; IGNORE allows anything. A guess is a part of the
body, never a side: these labels do not tell left from right, and a wrong side that is learned spreads.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.labels import CLOTHING, IGNORE

UInt8Array = npt.NDArray[np.uint8]

_ID = {name: index for index, name in enumerate(SAPIENS.names)}
_NOTHING: frozenset[int] = frozenset()


def _other_side(index: int) -> int:
    name = SAPIENS.names[index]
    for side, other in (("Left_", "Right_"), ("Right_", "Left_")):
        if name.startswith(side):
            return _ID[other + name.removeprefix(side)]
    return index


def both_sides(index: int) -> frozenset[int]:
    """The class and its like on the other side of the body."""
    return frozenset((index, _other_side(index)))


def _listed() -> list[tuple[frozenset[int], frozenset[int]]]:
    """Of each target the classes that it allows, and those among them that are probable, or nothing."""
    exact = [(frozenset([index]), _NOTHING) for index in range(len(SAPIENS))]
    wide = dict.fromkeys(frozenset(_ID[name] for name in names) for names in CLOTHING.values() if len(names) > 1)
    guesses = {allowed: dict.fromkeys(both_sides(index) for index in sorted(allowed)) for allowed in wide}
    return exact + [(allowed, guess) for allowed in wide for guess in (_NOTHING, *guesses[allowed]) if guess != allowed]


_LISTED = _listed()
_CODES: Mapping[tuple[frozenset[int], frozenset[int]], int] = {target: code for code, target in enumerate(_LISTED)}

ALLOWED = np.ones((256, len(SAPIENS)), bool)
"""[target, class]: whether the class is right."""
GUESS = np.zeros((256, len(SAPIENS)), bool)
"""[target, class]: whether the class is among the probable ones; none is where nothing is guessed."""
for _code, (_allowed, _guess) in enumerate(_LISTED):
    ALLOWED[_code] = np.isin(np.arange(len(SAPIENS)), list(_allowed))
    GUESS[_code] = np.isin(np.arange(len(SAPIENS)), list(_guess))

LEFT_RIGHT = np.array([*(_other_side(code) for code in range(len(SAPIENS))), *range(len(SAPIENS), 256)], np.uint8)
"""[target]: the target with left and right swapped, for mirrored pictures; sets hold both sides of all they hold."""


def wide_target(allowed: frozenset[int], guess: frozenset[int] = _NOTHING) -> int:
    """The target of a set of classes; nothing is IGNORE. A guess that leaves no choice within the set says nothing."""
    if not allowed:
        return IGNORE
    return _CODES[allowed, _NOTHING if guess >= allowed else guess]
