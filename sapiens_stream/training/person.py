"""People: who they are, and what pose they take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sapiens_stream.training.assets import Wardrobe
from sapiens_stream.training.body import Body, Figure
from sapiens_stream.training.garments import Tailor
from sapiens_stream.training.poses import Poser

HAIR_COLOURS = (
    # chance, linear RGB
    (0.27, (0.02, 0.015, 0.012)),
    (0.2, (0.05, 0.03, 0.02)),
    (0.17, (0.12, 0.07, 0.04)),
    (0.12, (0.3, 0.19, 0.09)),
    (0.09, (0.6, 0.45, 0.25)),
    (0.05, (0.35, 0.12, 0.04)),
    (0.06, (0.5, 0.5, 0.5)),
    (0.04, (0.85, 0.85, 0.85)),
)
CHILD_AGE = 0.42
"""Below it clothes are a child's."""


@dataclass(frozen=True, eq=False)
class Person:
    """A body and the looks that do not change from picture to picture."""

    figure: Figure
    male: bool
    age: float
    """anny's: 0 newborn, 1 old."""
    skin: str
    hair_colour: tuple[float, float, float]

    @property
    def child(self) -> bool:
        return self.age < CHILD_AGE


class Casting:
    """Draws people and dresses them."""

    def __init__(self, assets: Path, rng: np.random.Generator) -> None:
        self.rng = rng
        self.body = Body()
        self.wardrobe = Wardrobe(assets, self.body)
        self.poser = Poser(self.body, assets / "poses", rng)
        self.tailor = Tailor(rng)

    def person(self) -> Person:
        rng, between = self.rng, self.rng.uniform
        male = bool(rng.random() < 0.5)
        african, asian, caucasian = rng.dirichlet([0.5] * 3)
        age = between(0.2, 0.45) if rng.random() < 0.15 else float(np.clip(rng.normal(0.62, 0.15), CHILD_AGE, 1))
        phenotype = {
            "gender": between(0, 0.25) if male else between(0.75, 1),
            "age": age,
            "muscle": between(0.2, 0.9),
            "weight": between(0.15, 0.95),
            "height": between(0.2, 0.8),
            "proportions": between(0.3, 0.9),
            "cupsize": between(0.2, 0.8),
            "firmness": between(0.3, 0.8),
            "african": african,
            "asian": asian,
            "caucasian": caucasian,
        }
        figure = self.body.figure(phenotype, self._expression())
        dark = african > 0.5
        skins = list(self.wardrobe.skins)
        fitting = [name for name in skins if ("female" not in name) == male and ("dark" in name) == dark]
        colour = np.array(HAIR_COLOURS[rng.choice(len(HAIR_COLOURS), p=[c for c, _ in HAIR_COLOURS])][1])
        red, green, blue = colour * between(0.7, 1.5)
        return Person(figure, male, age, str(rng.choice(fitting or skins)), (red, green, blue))

    def _expression(self) -> dict[str, float]:
        rng, between = self.rng, self.rng.uniform
        if rng.random() < 0.35:
            return {}
        expression = {str(name): between(0, 0.6) for name in rng.choice(self.body.expressions, 6, replace=False)}
        if rng.random() < 0.6:
            expression["jawOpen"] = between(0.05, 0.9)
        if rng.random() < 0.5:
            expression["mouthSmileLeft"] = expression["mouthSmileRight"] = between(0.2, 1)
            expression["mouthUpperUpLeft"] = expression["mouthUpperUpRight"] = between(0, 0.8)
        if rng.random() < 0.14:
            expression["tongueOut"] = between(0.3, 1)
            expression["jawOpen"] = between(0.4, 0.9)
        return expression
