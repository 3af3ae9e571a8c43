"""What the network is to say of a pixel: one class, or any of several, perhaps with a guess which.

A target is a byte. The bytes below len(SAPIENS) are the classes themselves, as renders have them; the next ones stand
for the sets that CLOTHING's labels mean, with or without a guess; IGNORE allows anything.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.labels import CLOTHING, IGNORE

UInt8Array = npt.NDArray[np.uint8]

_ID = {name: index for index, name in enumerate(SAPIENS.names)}
_NONE = -1


def _listed() -> list[tuple[frozenset[int], int]]:
    """Of each target the classes that it allows, and the guess among them or _NONE."""
    exact = [(frozenset([index]), _NONE) for index in range(len(SAPIENS))]
    wide = {frozenset(_ID[name] for name in names): None for names in CLOTHING.values() if len(names) > 1}
    return exact + [(allowed, guess) for allowed in wide for guess in (_NONE, *sorted(allowed))]


_LISTED = _listed()
_CODES: Mapping[tuple[frozenset[int], int], int] = {target: code for code, target in enumerate(_LISTED)}

ALLOWED = np.ones((256, len(SAPIENS)), bool)
"""[target, class]: whether the class is right."""
GUESS = np.full(256, _NONE)
"""[target]: the class that is probably right, or -1."""
for _code, (_allowed, _guess) in enumerate(_LISTED):
    ALLOWED[_code] = np.isin(np.arange(len(SAPIENS)), list(_allowed))
    GUESS[_code] = _guess


def _other_side(index: int) -> int:
    name = SAPIENS.names[index]
    for side, other in (("Left_", "Right_"), ("Right_", "Left_")):
        if name.startswith(side):
            return _ID[other + name.removeprefix(side)]
    return index


def _mirrored() -> UInt8Array:
    table = np.arange(256, dtype=np.uint8)
    for code, (allowed, guess) in enumerate(_LISTED):
        other = frozenset(map(_other_side, allowed)), guess if guess == _NONE else _other_side(guess)
        table[code] = _CODES[other]
    return table


LEFT_RIGHT = _mirrored()
"""[target]: the target with left and right swapped, for mirrored pictures."""


def wide_target(allowed: frozenset[int], guess: int = _NONE) -> int:
    """The target of a set of classes; nothing is IGNORE. A guess where there is no choice changes nothing."""
    if not allowed:
        return IGNORE
    return _CODES[allowed, _NONE if len(allowed) == 1 else guess]
