"""Puts a person together for a picture: body, face, hair, clothes and the things they carry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sapiens_stream.training.assets import Asset
from sapiens_stream.training.body import VERTICES, Transforms
from sapiens_stream.training.garments import Cloth, Layer, neck_point
from sapiens_stream.training.head import Head
from sapiens_stream.training.layers import Layers
from sapiens_stream.training.mesh import FloatArray
from sapiens_stream.training.person import Casting, Person
from sapiens_stream.training.poses import Pose, turn
from sapiens_stream.training.scene import Part
from sapiens_stream.training.solids import block


@dataclass(frozen=True, eq=False)
class Posed:
    """A person in a pose: what to draw, from the inside out, and where the body and its joints are."""

    parts: list[Part]
    vertices: FloatArray
    joints: dict[str, npt.NDArray[np.float64]]
    neck_at: tuple[float, float, float]


def dress(casting: Casting, person: Person, pose: Pose, placed: Transforms | None = None) -> Posed:
    """A person in a pose and new clothes; `placed` (4, 4) moves them in the world: see `Layers`."""
    return _Dressing(Layers(casting, person, pose, placed)).posed()


class _Dressing:
    def __init__(self, layers: Layers) -> None:
        self.layers, self.rng = layers, layers.rng
        self.person, self.figure, self.body = layers.person, layers.figure, layers.body
        self.wardrobe, self.tailor = layers.wardrobe, layers.tailor

    def posed(self) -> Posed:
        rng, wardrobe = self.rng, self.wardrobe
        suits = [
            suit
            for suit in wardrobe.suits
            if suit.texture is not None and suit.name.startswith("female") != self.person.male
        ]
        suit = suits[rng.integers(len(suits))] if suits and rng.random() < 0.2 else None
        shoes = wardrobe.shoes[rng.integers(len(wardrobe.shoes))] if rng.random() < 0.6 else None
        hidden = np.zeros(VERTICES, bool)
        for asset in (suit, shoes):
            if asset is not None:
                hidden |= asset.hidden
        self._skin(hidden)
        head = Head(self.layers)
        head.face()
        layers = self.tailor.feet(shoes is not None) + (
            [] if suit else self.tailor.outfit(self.person.male, self.person.child)
        )
        self._cloth(layers)
        for asset in (suit, shoes):
            if asset is not None:
                self._worn(asset, shoe=asset is shoes)
        head.cover()
        self._things()
        neck = self.body.index["neck01"]
        joints = {
            bone: (self.layers.transforms[i] @ (*self.figure.heads[i], 1))[:3] for bone, i in self.body.index.items()
        }
        return Posed(self.layers.parts, self.layers.vertices, joints, neck_point(self.figure, neck))

    def _skin(self, hidden: npt.NDArray[np.bool_]) -> None:
        rng, mesh = self.rng, self.body.skin
        buffer = mesh.buffer(self.layers.vertices, self.figure.rest, self.figure.fields, normals=self.layers.normals)
        red, green, blue = rng.uniform(0.75, 1.15) * np.array([1, rng.uniform(0.94, 1.04), rng.uniform(0.9, 1.06)])
        self.layers.parts.append(
            Part(
                buffer,
                mesh.drawn[~hidden[mesh.faces].all(1)],
                cloth=Cloth(recolour=0, shine=rng.uniform(0.02, 0.18)),
                texture=(self.person.skin, self.wardrobe.skins[self.person.skin]),
                tint=(red, green, blue),
                saturation=rng.uniform(0.75, 1.1),
                wrap=0.25,
                closed=True,
            )
        )

    def _worn(self, asset: Asset, *, shoe: bool) -> None:
        """A modelled suit or shoe, recoloured more often than not."""
        rng = self.rng
        cloth = self.tailor.cloth(plain=1.0 if shoe else 0.7)
        amount = rng.uniform(0.7, 1) if rng.random() < 0.75 else 0.0
        cloth = replace(cloth, recolour=amount, brightness=asset.brightness, wrinkles=cloth.wrinkles * 0.4)
        red, green, blue = np.exp(rng.normal(0, 0.45, 3)) * rng.uniform(0.5, 1.2)
        self.layers.asset(asset, cloth, tint=(red, green, blue), saturation=rng.uniform(0.2, 1.2), see_through=0.3)

    def _cloth(self, layers: list[Layer]) -> None:
        """Garments on the loosened surface; they share one buffer."""
        mesh, skirt, rest, fields = self.body.skin, self.body.skirt, self.figure.rest, self.figure.fields
        loose = self.body.loosened(self.layers.vertices, self.layers.normals)
        on_body = mesh.buffer(loose, rest, fields)
        on_skirt = skirt.buffer(self.layers.vertices, rest, fields)
        for layer in layers:
            skirted = layer.surface == "skirt"
            self.layers.parts.append(
                Part(
                    on_skirt if skirted else on_body,
                    skirt.drawn if skirted else mesh.drawn,
                    cloth=layer.cloth,
                    cut=layer.cut,
                    labels=(layer.left, layer.right),
                    closed=not skirted,
                    shadow=skirted,  # the skin beneath casts the others' shadows
                )
            )

    def _things(self) -> None:
        """A bag at the hip, on the back or in the hand; something else held, which is no part of the person."""
        rng, between, index = self.rng, self.rng.uniform, self.body.index
        if rng.random() < 0.16:
            side, sign = ("L", 1) if rng.random() < 0.5 else ("R", -1)
            bone = str(rng.choice([f"upperleg01.{side}", "spine02", f"finger3-1.{side}"], p=[0.4, 0.25, 0.35]))
            size = np.array([between(0.1, 0.3), between(0.05, 0.12), between(0.1, 0.3)])
            offset = {
                "spine02": (0, between(0.16, 0.22), 0.03),
                f"upperleg01.{side}": (sign * between(0.18, 0.28), between(-0.1, 0.1), between(-0.15, 0.1)),
            }.get(bone, (0, 0, -size[2] / 2 - 0.03))
            if bone == "spine02":
                size *= (1.1, 1.3, 1.5)
            vertices, faces = block(size, between(0.1, 0.9))
            joint = (self.layers.transforms[index[bone]] @ (*self.figure.heads[index[bone]], 1))[:3]
            vertices = vertices @ turn(rng.normal(size=3), between(0, 12)).T + joint + offset
            self.layers.solid(vertices, faces, "Apparel", self.tailor.cloth(plain=0.8))
        if rng.random() < 0.16:
            bone = "finger3-1." + ("L" if rng.random() < 0.5 else "R")
            length = between(0.05, 0.25) if rng.random() < 0.8 else between(0.5, 0.9)
            vertices, faces = block(np.array([between(0.01, 0.1), between(0.01, 0.1), length]), between(0, 1))
            joint = (self.layers.transforms[index[bone]] @ (*self.figure.heads[index[bone]], 1))[:3]
            vertices = vertices @ turn(rng.normal(size=3), between(0, 180)).T + joint + rng.normal(0, 0.015, 3)
            self.layers.solid(vertices, faces, "Background", self.tailor.cloth(plain=0.7))
