"""How pictures are normalised for a network."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[float, float, float]
"""Of red, green and blue."""


@dataclass(frozen=True)
class Normalisation:
    """`(pixel - mean) / std`, of RGB in 0..255."""

    mean: Triple
    std: Triple
