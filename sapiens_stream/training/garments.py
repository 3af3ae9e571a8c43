"""What people wear: cloth, and garments cut from a copy of the body's surface by its fields (see body.py)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from sapiens_stream.training.body import ID, Figure

Colour = tuple[float, float, float]
Range = tuple[float, float]

EVERYWHERE: Range = (-9.0, 9.0)
TONES = {
    # saturation, value
    "dark": ((0, 0.55), (0.02, 0.3)),
    "white": ((0, 0.1), (0.8, 1)),
    "grey": ((0, 0.12), (0.3, 0.75)),
    "muted": ((0.15, 0.5), (0.3, 0.85)),
    "vivid": ((0.55, 1), (0.4, 1)),
}
TONE_CHANCES = (0.28, 0.18, 0.1, 0.2, 0.24)
PATTERNS = {
    "bands": (8, 60),
    "stripes": (8, 60),
    "checks": (6, 40),
    "blots": (4, 40),
    "print": (0, 1),
    "dots": (10, 50),
    "halves": (1, 1),
}
"""Name and the range of its frequency; the shader knows them by their place, from 1."""
LONG_LEG, LONG_SLEEVE = 1.93, 1.92


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """How a surface looks. Colours are linear RGB; `recolour` 0 keeps the texture's, 1 replaces them."""

    colours: tuple[Colour, Colour, Colour] = ((1, 1, 1), (1, 1, 1), (1, 1, 1))
    pattern: int = 0
    frequency: float = 1.0
    density: float = 0.4
    recolour: float = 1.0
    brightness: float = 1.0
    wrinkles: float = 0.0
    shine: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Which part of the surface a layer keeps, and how far it stands off; lengths in metres."""

    arm: Range = EVERYWHERE
    leg: Range = EVERYWHERE
    height: Range = EVERYWHERE
    push: tuple[float, float, float, float] = (0, 0, 0, 0)
    """Off the body: everywhere, more along the arm, along the leg, towards the hem."""
    folds: float = 0.0
    neck: tuple[float, float, float, float] = (0, 0, 0, 0)
    """Half width, depth in front, 1 if pointed, depth behind; none if the width is 0."""
    collar: float = -1.0
    """How high a turtleneck stands above the neck's joint; -1: none."""
    opening: tuple[float, float, float] = (0, 0, 0)
    """Of a jacket: half width at the neck, at the hem, and how far below the neck it is buttoned; none if 0."""
    strap: tuple[float, float, float, float] = (0, 0, 0, 0)
    """A band across the trunk: normal (x, z) and offset of its plane, half width; none if 0."""
    tie: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A garment: a cut of the "loose" surface or the "skirt", its cloth, its class on the left and on the right."""

    cut: Cut
    cloth: Cloth
    left: int
    right: int
    surface: str = "loose"


class Tailor:
    """Draws outfits."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def colour(self, tone: str | None = None) -> Colour:
        rng = self.rng
        saturation, value = TONES[tone or str(rng.choice(list(TONES), p=TONE_CHANCES))]
        hsv = np.array([[[rng.uniform(0, 360), rng.uniform(*saturation), rng.uniform(*value)]]], np.float32)
        red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] ** 2.2
        return float(red), float(green), float(blue)

    def cloth(self, tone: str | None = None, plain: float = 0.5) -> Cloth:
        """`plain`: the chance of having no pattern."""
        rng = self.rng
        pattern, frequency = 0, 1.0
        if rng.random() > plain:
            pattern = int(rng.integers(len(PATTERNS))) + 1
            frequency = float(rng.uniform(*list(PATTERNS.values())[pattern - 1]))
        return Cloth(
            colours=(self.colour(tone), self.colour(), self.colour()),
            pattern=pattern,
            frequency=frequency,
            density=float(rng.uniform(0.15, 0.6)),
            wrinkles=float(rng.uniform(0.15, 0.9)),
            shine=float(rng.choice([0.0, 0.03, 0.15], p=[0.6, 0.28, 0.12])),
        )

    def _neckline(self) -> tuple[float, float, float, float]:
        between = self.rng.uniform
        depth = between(0.02, 0.17) if self.rng.random() < 0.4 else between(0.015, 0.05)
        return between(0.06, 0.12), depth, float(self.rng.random() < 0.35), between(0.01, 0.05)

    def _upper(self, sleeve: float, hem: float, push: float, cloth: Cloth, **cut: object) -> Layer:
        between, loose = self.rng.uniform, self.rng.uniform(0, 0.022)
        base = Cut(
            arm=(-9, sleeve),
            leg=(-9, 0.9),
            height=(hem, 9),
            push=(push, loose * between(0, 0.8), 0, loose * between(0, 1)),
            folds=loose * between(0, 0.3),
            neck=self._neckline(),
        )
        return Layer(cut=replace(base, **cut), cloth=cloth, left=ID["Upper_Clothing"], right=ID["Upper_Clothing"])  # type: ignore[arg-type]

    def _lower(self, length: float, waist: float, push: float, cloth: Cloth) -> Layer:
        between = self.rng.uniform
        flare = between(0, 0.022) if self.rng.random() < 0.5 else between(0, 0.006)
        cut = Cut(
            arm=(-9, -0.3), leg=(-9, length), height=(-9, waist), push=(push, 0, flare, 0), folds=between(0, 0.004)
        )
        return Layer(cut=cut, cloth=cloth, left=ID["Lower_Clothing"], right=ID["Lower_Clothing"])

    def _skirt(self, length: float, waist: float, cloth: Cloth, label: str) -> Layer:
        cut = Cut(leg=(-9, length), height=(-9, waist), push=(0.007, 0, self.rng.uniform(-0.02, 0.03), 0))
        return Layer(cut=cut, cloth=cloth, left=ID[label], right=ID[label], surface="skirt")

    def _casual(self, male: bool, child: bool) -> list[Layer]:
        rng, between = self.rng, self.rng.uniform
        legs = (between(0.12, 0.5), between(0.5, 1.05), between(1.05, 1.8), LONG_LEG + between(-0.1, 0.04))
        leg = float(rng.choice(legs, p=(0.18, 0.17, 0.08, 0.57)))
        sleeves = (-between(0.05, 0.4), between(0.15, 0.7), between(0.7, 1.6), LONG_SLEEVE + between(-0.06, 0.08))
        sleeve = float(rng.choice(sleeves, p=(0.14, 0.36, 0.1, 0.4)))
        waist = between(0.1, 0.3)
        below = self.cloth(str(rng.choice(["dark", "muted", "grey"])) if rng.random() < 0.65 else None, plain=0.8)
        skirted = not male and rng.random() < 0.15
        layers = [
            self._skirt(between(0.4, 1.9), waist, below, "Lower_Clothing")
            if skirted
            else self._lower(max(leg, 0.4) if child else leg, waist, 0.005 + between(0, 0.01), below)
        ]
        tucked = rng.random() < 0.25
        hem = 0.05 if tucked else between(-0.28, 0.1) if rng.random() < 0.88 else between(0.1, 0.4)
        collar = between(0.02, 0.06) if rng.random() < 0.1 else -1.0
        layers.append(
            self._upper(sleeve, hem, 0.004 if tucked else 0.008 + between(0, 0.014), self.cloth(), collar=collar)
        )
        if rng.random() < 0.24:  # a jacket or cardigan, open or closed
            opening = (
                (between(0.03, 0.1), between(0, 0.09), between(0.1, 0.7)) if rng.random() < 0.7 else (0.0, 0.0, 0.0)
            )
            jacket = self._upper(
                float(rng.choice([1.9, 1.95, -0.05], p=[0.45, 0.45, 0.1])),
                between(-0.35, 0.1),
                0.022 + between(0, 0.014),
                self.cloth(plain=0.85),
                neck=(0.09, 0.03, 0.0, 0.02),
                opening=opening,
                collar=between(0.0, 0.05) if rng.random() < 0.4 else -1.0,
            )
            layers.append(jacket)
        return layers

    def _suit(self, male: bool) -> list[Layer]:
        rng, between = self.rng, self.rng.uniform
        tone = str(rng.choice(["dark", "grey", "muted", "white"], p=[0.68, 0.2, 0.08, 0.04]))
        wool = replace(self.cloth(tone, plain=0.85), wrinkles=between(0.2, 0.6))
        shirt = self.cloth(str(rng.choice(["white", "white", "muted", "dark"])), plain=0.8)
        return [
            self._lower(LONG_LEG, 0.25, 0.008, wool if rng.random() < 0.7 else self.cloth(tone, plain=0.9)),
            self._upper(
                1.95,
                -0.05,
                0.008,
                shirt,
                neck=(between(0.055, 0.08), between(0.01, 0.07), float(rng.random() < 0.5), 0.01),
                collar=0.02 if rng.random() < 0.6 else -1.0,
                tie=between(0.018, 0.03) if male and rng.random() < 0.55 else 0.0,
            ),
            self._upper(
                1.9 + between(-0.05, 0.06),
                between(-0.4, -0.15),
                0.022,
                wool,
                neck=(0.085, 0.02, 0.0, 0.01),
                opening=(between(0.05, 0.12), 0.0 if rng.random() < 0.6 else between(0.01, 0.1), between(0.22, 0.42)),
            ),
        ]

    def _dress(self) -> list[Layer]:
        cloth, between = self.cloth(), self.rng.uniform
        sleeve = float(self.rng.choice([-between(0.05, 0.4), between(0.15, 0.8), 1.9]))
        skirt = self._skirt(between(0.5, 1.95), between(0.25, 0.4), cloth, "Upper_Clothing")
        return [self._upper(sleeve, -0.15, 0.008, cloth), skirt]

    def _swimwear(self, male: bool) -> list[Layer]:
        cloth, between = self.cloth(), self.rng.uniform
        length = float(self.rng.choice([0.05, 0.3, 0.7])) if male else 0.03
        layers = [self._lower(length, between(0, 0.15), 0.004, cloth)]
        if not male:
            neck = (between(0.1, 0.14), between(0.1, 0.2), 1.0, 0.1)
            layers.append(
                self._upper(-between(0.1, 0.4), float(self.rng.choice([-0.1, 0.55])), 0.004, cloth, neck=neck)
            )
        return layers

    def outfit(self, male: bool, child: bool) -> list[Layer]:
        """From the inside out."""
        rng, between = self.rng, self.rng.uniform
        kind = rng.random()
        if child or kind < 0.62:
            layers = self._casual(male, child)
        elif kind < 0.78:
            layers = self._suit(male) if male or rng.random() < 0.4 else self._dress()
        elif kind < 0.95:
            layers = (
                self._suit(male)
                if male and rng.random() < 0.5
                else self._casual(male, child)
                if male
                else self._dress()
            )
        else:
            layers = self._swimwear(male)
        things = ID["Apparel"], ID["Apparel"]
        if rng.random() < 0.14:  # a bag's strap
            plane = (between(0.7, 1), between(0.5, 0.9) * rng.choice([-1, 1]), 0.0, between(0.01, 0.02))
            cut = Cut(arm=(-9, -0.03), leg=(-9, 0.1), height=(-0.1, 9), push=(0.04, 0, 0, 0), strap=plane)
            layers.append(Layer(cut=cut, cloth=self.cloth(plain=1), left=things[0], right=things[1]))
        if rng.random() < 0.08:  # a belt
            cut = Cut(arm=(-9, -0.3), leg=(-9, 0.2), height=(0.17, 0.22), push=(0.02, 0, 0, 0))
            layers.append(Layer(cut=cut, cloth=self.cloth("dark", plain=1), left=things[0], right=things[1]))
        if rng.random() < 0.06:  # a scarf
            cut = Cut(
                arm=(-9, -0.45),
                height=(between(0.9, 1.0), between(1.15, 1.25)),
                push=(between(0.03, 0.05), 0, 0, 0),
                folds=0.01,
            )
            layers.append(Layer(cut=cut, cloth=self.cloth(), left=things[0], right=things[1]))
        if rng.random() < 0.1:  # a watch or a bracelet
            cut = Cut(arm=(1.84, between(1.88, 1.96)), push=(0.005, 0, 0, 0))
            sides = (ID["Apparel"], ID["Apparel"])
            layers.append(Layer(cut=cut, cloth=self.cloth("dark", plain=1), left=sides[0], right=sides[1]))
        return layers

    def feet(self, asset_shoes: bool) -> list[Layer]:
        """Socks and, where no modelled shoe is worn, perhaps a shoe or a boot; barefoot where empty."""
        rng, between = self.rng, self.rng.uniform
        layers: list[Layer] = []
        kind = rng.random()
        if asset_shoes or kind < 0.75:
            if rng.random() < 0.6:
                cut = Cut(leg=(between(1.35, 1.97), 9), push=(0.004, 0, 0, 0))
                layers.append(Layer(cut=cut, cloth=self.cloth(plain=0.8), left=ID["Left_Sock"], right=ID["Right_Sock"]))
            if not asset_shoes and kind < 0.45:
                top = float(rng.choice([1.95, 2.0, between(1.2, 1.9)]))
                cut = Cut(leg=(top, 9), push=(between(0.01, 0.018), 0, 0, 0))
                layers.append(Layer(cut=cut, cloth=self.cloth(plain=0.9), left=ID["Left_Shoe"], right=ID["Right_Shoe"]))
        return layers


def neck_point(figure: Figure, neck: int) -> tuple[float, float, float]:
    """Where necklines, openings and prints are measured from: the neck's joint, a little down."""
    x, y, z = figure.heads[neck]
    return float(x), float(y) + 0.005, float(z) - 0.02
