"""A head: eyes, teeth, brows, beard, hair, and what is worn there."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.body import VERTICES
from sapiens_stream.training.garments import Cloth, Cut
from sapiens_stream.training.layers import Layers
from sapiens_stream.training.scene import Part
from sapiens_stream.training.solids import fan

IRISES = ((70, 45, 25), (50, 32, 20), (95, 120, 140), (90, 105, 70), (110, 85, 50), (35, 22, 15))


class Head:
    """Puts a head's parts on the layers."""

    def __init__(self, layers: Layers) -> None:
        self.layers, self.rng = layers, layers.rng
        self.person, self.figure, self.body = layers.person, layers.figure, layers.body
        self.wardrobe, self.tailor = layers.wardrobe, layers.tailor

    def face(self) -> None:
        rng, wardrobe = self.rng, self.wardrobe
        self._eyes()
        teeth = wardrobe.teeth[rng.integers(len(wardrobe.teeth))]
        tone = rng.uniform(0.7, 1)
        self.layers.asset(teeth, Cloth(recolour=0, shine=0.2), tint=(tone, tone, tone))
        self.layers.asset(wardrobe.tongues[0], Cloth(recolour=0, shine=0.1))
        dyed = Cloth(colours=(self.person.hair_colour,) * 3, brightness=0.25, shine=0)
        if wardrobe.brows:
            self.layers.asset(wardrobe.brows[rng.integers(len(wardrobe.brows))], dyed, see_through=0.35, shadow=False)
        if wardrobe.lashes:
            lashes = wardrobe.lashes[rng.integers(len(wardrobe.lashes))]
            self.layers.asset(lashes, Cloth(recolour=0, shine=0), see_through=0.35, tint=(0.1, 0.1, 0.1), shadow=False)
        if self.person.male and not self.person.child and rng.random() < 0.35:
            self._beard()

    def cover(self) -> None:
        """Hair, and a hat or glasses."""
        rng, between = self.rng, self.rng.uniform
        hat = str(rng.choice(["none", "beanie", "cap", "fedora", "hood"], p=[0.8, 0.06, 0.08, 0.03, 0.03]))
        rest = self.figure.rest
        rim, slope = self.layers.head[2] + between(0.075, 0.11), between(-0.1, 0.35)
        above = rest[:, 2] - (rest[:, 1] - self.layers.head[1]) * slope - rim
        self._hair((rim, slope) if hat in ("beanie", "cap") else None)
        if hat in ("beanie", "cap"):
            cloth = self.tailor.cloth(plain=0.8)
            self.layers.over_skin(np.asarray(above, np.float32), between(0.012, 0.032), cloth, "Apparel")
            if hat == "cap":
                self._brim(rim, cloth)
        elif hat == "fedora" and self.wardrobe.hats:
            self.layers.asset(self.wardrobe.hats[rng.integers(len(self.wardrobe.hats))], self.tailor.cloth(plain=1))
        elif hat == "hood":
            back = (rest[:, 1] - self.layers.head[1]) + 0.055 - 0.25 * np.abs(rest[:, 2] - self.layers.head[2] - 0.06)
            back = np.where(rest[:, 2] > self.layers.head[2] + 0.125, 0.02, back)
            back[self.figure.fields[:, 3] < 0.3] = -1
            self.layers.over_skin(
                back.astype(np.float32), between(0.025, 0.045), self.tailor.cloth(plain=0.9), "Upper_Clothing"
            )
        elif rng.random() < 0.17:
            self._glasses()

    def _eyes(self) -> None:
        rng = self.rng
        iris = int(rng.integers(len(IRISES)))
        gaze = rng.normal(0, 0.12, 2)
        for mesh in self.body.eyes:
            ids = np.unique(mesh.faces)
            centre = self.figure.rest[ids].mean(0)
            radius = np.abs(self.figure.rest[ids] - centre)[:, 0].max()
            uv = np.full((VERTICES, 2), 0.5, np.float32)
            uv[ids] = np.clip(0.5 + 0.5 * ((self.figure.rest[ids] - centre)[:, [0, 2]] / radius - gaze), 0, 1)
            buffer = mesh.buffer(self.layers.vertices, self.figure.rest, uv=uv)
            cloth = Cloth(recolour=0, shine=0.35)
            self.layers.parts.append(
                Part(buffer, mesh.drawn, cloth=cloth, texture=(f"eye {iris}", _eye(iris)), tint=(0.8, 0.8, 0.8))
            )

    def _beard(self) -> None:
        """Short or full; labelled as face, as people label it."""
        rng, rest = self.rng, self.figure.rest
        mouth = self.figure.heads[self.body.index["oris05"]]
        ahead, below = mouth[1] - rest[:, 1], mouth[2] - rest[:, 2]
        full = rng.random() < 0.5
        reach = np.minimum(0.11 - np.abs(rest[:, 0]) * (0.9 if full else 2.2), below + rng.uniform(-0.005, 0.02))
        height = np.minimum(reach, np.minimum(ahead + 0.075, 0.085 - below)).astype(np.float32)
        height[self.figure.fields[:, 3] < 0.5] = -1
        cloth = Cloth(colours=(self.person.hair_colour,) * 3, wrinkles=rng.uniform(0.5, 1.5), shine=0)
        lips = self.body.bone_weights[:, [self.body.index[b] for b in ("oris01", "oris02", "oris05", "oris06")]].sum(1)
        height[lips > 0.35] = -1
        self.layers.over_skin(height, rng.uniform(0.002, 0.014), cloth, "Face_Neck")

    def _hair(self, hat: tuple[float, float] | None) -> None:
        """A scalp of hair, so that no gap shows skin, and one of the styles over it."""
        rng, between, rest = self.rng, self.rng.uniform, self.figure.rest
        kind = rng.random()
        bald = 0.06 if self.person.male else 0.01
        if kind < bald:
            return
        cropped = kind < bald + (0.2 if self.person.male else 0.05)
        dyed = Cloth(
            colours=(self.person.hair_colour,) * 3, brightness=1.0, wrinkles=between(0.5, 1.4), shine=between(0, 0.05)
        )
        behind, up = rest[:, 1] - self.layers.head[1], rest[:, 2] - self.layers.head[2]
        line = np.clip(np.where(behind < 0, between(0.12, 0.14), 0.135 - behind * 1.9), -0.03, 0.14)
        height = np.asarray(up - line + 0.004 * np.sin(rest[:, 0] * 90), np.float32)
        height[self.figure.fields[:, 3] < 0.5] = -1
        if hat is not None:
            rim, slope = hat
            height[rest[:, 2] - behind * slope > rim + 0.008] = -1
        self.layers.over_skin(height, between(0.004, 0.022) if cropped else 0.003, dyed, "Hair")
        if cropped:
            return
        styles = [s for s in self.wardrobe.hair if s.texture is not None]
        short = [s for s in styles if s.name.startswith("short") or s.name.startswith("afro")]
        if self.person.male and rng.random() > 0.1:
            styles = short or styles
        style = styles[rng.integers(len(styles))]
        fitted = style.fitted(rest)
        centre = np.add(self.layers.head, (0, 0, 0.05))
        spread = np.array([between(0.98, 1.14), between(0.98, 1.14), between(0.98, 1.06)])
        moved = (fitted - centre) * spread
        hanging = moved[:, 2] < -0.05
        moved[hanging, 2] = -0.05 + (moved[hanging, 2] + 0.05) * between(0.6, 1.4)
        fitted = np.asarray(moved + centre, np.float32)
        fields = np.full((len(fitted), 4), 0, np.float32)
        cut = Cut()
        if hat is not None:
            fields[:, 2] = fitted[:, 2] - (fitted[:, 1] - self.layers.head[1]) * hat[1]
            cut = Cut(height=(-9, hat[0] + 0.008))
        buffer = style.mesh.buffer(style.posed(fitted, self.layers.transforms), fitted, fields)
        cloth = replace(dyed, brightness=style.brightness, wrinkles=0, shine=between(0.02, 0.2))
        assert style.texture is not None
        self.layers.parts.append(
            Part(
                buffer,
                style.mesh.drawn,
                cloth=cloth,
                cut=cut,
                texture=(style.name, style.texture),
                see_through=0.3,
                wrap=0.2,
            )
        )

    def _brim(self, rim: float, cloth: Cloth) -> None:
        angle = np.linspace(np.pi, 2 * np.pi, 24)
        x, y = 0.085 * np.cos(angle), 0.105 * np.sin(angle)
        vertices = np.concatenate([[[0, 0, 0]], np.stack([x, y, -2.8 * x**2], 1)])
        place = np.array([self.layers.head[0], self.layers.head[1] - 0.1, rim + 0.012])
        self.layers.solid(
            vertices + place, fan(len(angle)), "Apparel", cloth, self.layers.transforms[self.body.index["head"]]
        )

    def _glasses(self) -> None:
        rng, cloth = self.rng, self.tailor.cloth("dark", plain=1)
        dark = rng.random() < 0.45
        wide, high = rng.uniform(0.024, 0.032), rng.uniform(0.017, 0.026)
        angle = np.linspace(0, 2 * np.pi, 24)
        ring = np.stack([wide * np.cos(angle), 0 * angle, high * np.sin(angle)], 1)
        for mesh in self.body.eyes:
            place = np.add(self.figure.rest[np.unique(mesh.faces)].mean(0), (0, -0.03, -0.002))
            if dark:
                vertices, faces = np.concatenate([[[0, -0.004, 0]], ring]), fan(24)
            else:
                j = np.arange(23)
                vertices = np.concatenate([ring, ring * 0.84])
                faces = np.concatenate([np.stack([j, j + 1, j + 24], 1), np.stack([j + 1, j + 25, j + 24], 1)])
            self.layers.solid(
                vertices + place, faces, "Apparel", cloth, self.layers.transforms[self.body.index["head"]]
            )


def _eye(iris: int) -> npt.NDArray[np.uint8]:
    """(128, 128, 4) RGBA of an eyeball seen from ahead."""
    image = np.full((128, 128, 3), (205, 195, 190), np.uint8)
    colour = IRISES[iris]
    for centre, radius, shade in (
        ((64, 64), 27, tuple(part // 2 for part in colour)),
        ((64, 64), 24, colour),
        ((64, 64), 11, (8, 8, 8)),
        ((72, 55), 4, (240, 240, 240)),
    ):
        cv2.circle(image, centre, radius, shade, -1, cv2.LINE_AA)
    return np.dstack([image, np.full((128, 128), 255, np.uint8)])
