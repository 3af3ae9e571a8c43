"""Puts a person together: body, face, hair, clothes and the things they carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.models.builtin.recipe.assets import Asset, Wardrobe
from sapiens_stream.models.builtin.recipe.body import ID, VERTICES, Body, Figure, Transforms
from sapiens_stream.models.builtin.recipe.garments import Cloth, Cut, Layer, Tailor, neck_point
from sapiens_stream.models.builtin.recipe.mesh import FloatArray, IntArray, Mesh
from sapiens_stream.models.builtin.recipe.poses import Pose, Poser, turn
from sapiens_stream.models.builtin.recipe.scene import Part

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
IRISES = ((70, 45, 25), (50, 32, 20), (95, 120, 140), (90, 105, 70), (110, 85, 50), (35, 22, 15))
CHILD_AGE = 0.42
"""Of anny's 0 (newborn) to 1 (old)."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A person in a pose: what to draw, from the inside out, and where the body and its joints are."""

    parts: list[Part]
    vertices: FloatArray
    joints: dict[str, npt.NDArray[np.float64]]
    neck_at: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Person:
    """A body and the looks that do not change from picture to picture."""

    figure: Figure
    male: bool
    child: bool
    skin: str
    hair_colour: tuple[float, float, float]


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
        return Person(figure, male, age < CHILD_AGE, str(rng.choice(fitting or skins)), (red, green, blue))

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

    def pose(self, person: Person) -> Posed:
        """A person in a new pose and new clothes."""
        return Dressing(self, person, self.poser.draw(person.figure)).posed()


class Dressing:
    """One picture's parts, collected from the inside out."""

    def __init__(self, casting: Casting, person: Person, pose: Pose, placed: Transforms | None = None) -> None:
        """`placed` (4, 4) moves the person in the world; at the origin, facing -y, if not given."""
        self.person = person
        self.rng, self.body, self.tailor, self.wardrobe = casting.rng, casting.body, casting.tailor, casting.wardrobe
        self.figure = person.figure
        self.transforms: Transforms = self.body.transforms(self.figure, pose)
        if placed is not None:
            self.transforms = placed @ self.transforms
        self.vertices = self.body.posed(self.figure.rest, self.transforms)
        self.normals = self.body.skin.normals(self.vertices)
        self.head = self.figure.heads[self.body.index["head"]]
        self.parts: list[Part] = []

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
        self._face()
        layers = self.tailor.feet(shoes is not None) + (
            [] if suit else self.tailor.outfit(self.person.male, self.person.child)
        )
        self._cloth(layers)
        for asset in (suit, shoes):
            if asset is not None:
                self._worn(asset, shoe=asset is shoes)
        self._head()
        self._things()
        neck = self.body.index["neck01"]
        joints = {bone: (self.transforms[i] @ (*self.figure.heads[i], 1))[:3] for bone, i in self.body.index.items()}
        return Posed(self.parts, self.vertices, joints, neck_point(self.figure, neck))

    def _skin(self, hidden: npt.NDArray[np.bool_]) -> None:
        rng, mesh = self.rng, self.body.skin
        buffer = mesh.buffer(self.vertices, self.figure.rest, self.figure.fields, normals=self.normals)
        red, green, blue = rng.uniform(0.75, 1.15) * np.array([1, rng.uniform(0.94, 1.04), rng.uniform(0.9, 1.06)])
        self.parts.append(
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

    def _asset(self, asset: Asset, cloth: Cloth, rest: FloatArray | None = None, **part: object) -> None:
        rest = asset.fitted(self.figure.rest) if rest is None else rest
        buffer = asset.mesh.buffer(asset.posed(rest, self.transforms), rest)
        texture = None if asset.texture is None else (asset.name, asset.texture)
        self.parts.append(Part(buffer, asset.mesh.drawn, cloth=cloth, texture=texture, **part))  # type: ignore[arg-type]

    def _worn(self, asset: Asset, *, shoe: bool) -> None:
        """A modelled suit or shoe, recoloured more often than not."""
        rng = self.rng
        cloth = self.tailor.cloth(plain=1.0 if shoe else 0.7)
        amount = rng.uniform(0.7, 1) if rng.random() < 0.75 else 0.0
        cloth = replace(cloth, recolour=amount, brightness=asset.brightness, wrinkles=cloth.wrinkles * 0.4)
        red, green, blue = np.exp(rng.normal(0, 0.45, 3)) * rng.uniform(0.5, 1.2)
        self._asset(asset, cloth, tint=(red, green, blue), saturation=rng.uniform(0.2, 1.2), see_through=0.3)

    def _cloth(self, layers: list[Layer]) -> None:
        """Garments on the loosened surface; they share one buffer."""
        mesh, skirt, rest, fields = self.body.skin, self.body.skirt, self.figure.rest, self.figure.fields
        loose = self.body.loosened(self.vertices, self.normals)
        on_body = mesh.buffer(loose, rest, fields)
        on_skirt = skirt.buffer(self.vertices, rest, fields)
        for layer in layers:
            skirted = layer.surface == "skirt"
            self.parts.append(
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

    def _face(self) -> None:
        rng, wardrobe = self.rng, self.wardrobe
        self._eyes()
        teeth = wardrobe.teeth[rng.integers(len(wardrobe.teeth))]
        tone = rng.uniform(0.7, 1)
        self._asset(teeth, Cloth(recolour=0, shine=0.2), tint=(tone, tone, tone))
        self._asset(wardrobe.tongues[0], Cloth(recolour=0, shine=0.1))
        dyed = Cloth(colours=(self.person.hair_colour,) * 3, brightness=0.25, shine=0)
        if wardrobe.brows:
            self._asset(wardrobe.brows[rng.integers(len(wardrobe.brows))], dyed, see_through=0.35, shadow=False)
        if wardrobe.lashes:
            lashes = wardrobe.lashes[rng.integers(len(wardrobe.lashes))]
            self._asset(lashes, Cloth(recolour=0, shine=0), see_through=0.35, tint=(0.1, 0.1, 0.1), shadow=False)
        if self.person.male and not self.person.child and rng.random() < 0.35:
            self._beard()

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
            buffer = mesh.buffer(self.vertices, self.figure.rest, uv=uv)
            cloth = Cloth(recolour=0, shine=0.35)
            self.parts.append(
                Part(buffer, mesh.drawn, cloth=cloth, texture=(f"eye {iris}", _eye(iris)), tint=(0.8, 0.8, 0.8))
            )

    def _over_skin(
        self, height: FloatArray, push: float, cloth: Cloth, label: str, low: float = 0.0, shift: float = 0.0
    ) -> None:
        """A layer over the skin where `height` (VERTICES,) is above `low`."""
        mesh, fields = self.body.skin, self.figure.fields.copy()
        fields[:, 2] = height
        near = (height > low - 0.03)[mesh.faces].all(1)
        buffer = mesh.buffer(self.vertices, self.figure.rest, fields, normals=self.normals)
        cut = Cut(height=(low, 9), push=(push, 0, 0, shift))
        self.parts.append(
            Part(buffer, mesh.drawn[near], cloth=cloth, cut=cut, labels=(ID[label], ID[label]), shadow=False)
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
        self._over_skin(height, rng.uniform(0.002, 0.014), cloth, "Face_Neck")

    def _head(self) -> None:
        """Hair, and a hat or glasses."""
        rng, between = self.rng, self.rng.uniform
        hat = str(rng.choice(["none", "beanie", "cap", "fedora", "hood"], p=[0.8, 0.06, 0.08, 0.03, 0.03]))
        rest = self.figure.rest
        rim, slope = self.head[2] + between(0.075, 0.11), between(-0.1, 0.35)
        above = rest[:, 2] - (rest[:, 1] - self.head[1]) * slope - rim
        self._hair((rim, slope) if hat in ("beanie", "cap") else None)
        if hat in ("beanie", "cap"):
            cloth = self.tailor.cloth(plain=0.8)
            self._over_skin(np.asarray(above, np.float32), between(0.012, 0.032), cloth, "Apparel")
            if hat == "cap":
                self._brim(rim, cloth)
        elif hat == "fedora" and self.wardrobe.hats:
            self._asset(self.wardrobe.hats[rng.integers(len(self.wardrobe.hats))], self.tailor.cloth(plain=1))
        elif hat == "hood":
            back = (rest[:, 1] - self.head[1]) + 0.055 - 0.25 * np.abs(rest[:, 2] - self.head[2] - 0.06)
            back = np.where(rest[:, 2] > self.head[2] + 0.125, 0.02, back)
            back[self.figure.fields[:, 3] < 0.3] = -1
            self._over_skin(
                back.astype(np.float32), between(0.025, 0.045), self.tailor.cloth(plain=0.9), "Upper_Clothing"
            )
        elif rng.random() < 0.17:
            self._glasses()

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
        behind, up = rest[:, 1] - self.head[1], rest[:, 2] - self.head[2]
        line = np.clip(np.where(behind < 0, between(0.12, 0.14), 0.135 - behind * 1.9), -0.03, 0.14)
        height = np.asarray(up - line + 0.004 * np.sin(rest[:, 0] * 90), np.float32)
        height[self.figure.fields[:, 3] < 0.5] = -1
        if hat is not None:
            rim, slope = hat
            height[rest[:, 2] - behind * slope > rim + 0.008] = -1
        self._over_skin(height, between(0.004, 0.022) if cropped else 0.003, dyed, "Hair")
        if cropped:
            return
        styles = [s for s in self.wardrobe.hair if s.texture is not None]
        short = [s for s in styles if s.name.startswith("short") or s.name.startswith("afro")]
        if self.person.male and rng.random() > 0.1:
            styles = short or styles
        style = styles[rng.integers(len(styles))]
        fitted = style.fitted(rest)
        centre = np.add(self.head, (0, 0, 0.05))
        spread = np.array([between(0.98, 1.14), between(0.98, 1.14), between(0.98, 1.06)])
        moved = (fitted - centre) * spread
        hanging = moved[:, 2] < -0.05
        moved[hanging, 2] = -0.05 + (moved[hanging, 2] + 0.05) * between(0.6, 1.4)
        fitted = np.asarray(moved + centre, np.float32)
        fields = np.full((len(fitted), 4), 0, np.float32)
        cut = Cut()
        if hat is not None:
            fields[:, 2] = fitted[:, 2] - (fitted[:, 1] - self.head[1]) * hat[1]
            cut = Cut(height=(-9, hat[0] + 0.008))
        buffer = style.mesh.buffer(style.posed(fitted, self.transforms), fitted, fields)
        cloth = replace(dyed, brightness=style.brightness, wrinkles=0, shine=between(0.02, 0.2))
        assert style.texture is not None
        self.parts.append(
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
        place = np.array([self.head[0], self.head[1] - 0.1, rim + 0.012])
        self._solid(vertices + place, _fan(len(angle)), "Apparel", cloth, self.transforms[self.body.index["head"]])

    def _glasses(self) -> None:
        rng, cloth = self.rng, self.tailor.cloth("dark", plain=1)
        dark = rng.random() < 0.45
        wide, high = rng.uniform(0.024, 0.032), rng.uniform(0.017, 0.026)
        angle = np.linspace(0, 2 * np.pi, 24)
        ring = np.stack([wide * np.cos(angle), 0 * angle, high * np.sin(angle)], 1)
        for mesh in self.body.eyes:
            place = np.add(self.figure.rest[np.unique(mesh.faces)].mean(0), (0, -0.03, -0.002))
            if dark:
                vertices, faces = np.concatenate([[[0, -0.004, 0]], ring]), _fan(24)
            else:
                j = np.arange(23)
                vertices = np.concatenate([ring, ring * 0.84])
                faces = np.concatenate([np.stack([j, j + 1, j + 24], 1), np.stack([j + 1, j + 25, j + 24], 1)])
            self._solid(vertices + place, faces, "Apparel", cloth, self.transforms[self.body.index["head"]])

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
            vertices, faces = _block(size, between(0.1, 0.9))
            joint = (self.transforms[index[bone]] @ (*self.figure.heads[index[bone]], 1))[:3]
            vertices = vertices @ turn(rng.normal(size=3), between(0, 12)).T + joint + offset
            self._solid(vertices, faces, "Apparel", self.tailor.cloth(plain=0.8))
        if rng.random() < 0.16:
            bone = "finger3-1." + ("L" if rng.random() < 0.5 else "R")
            length = between(0.05, 0.25) if rng.random() < 0.8 else between(0.5, 0.9)
            vertices, faces = _block(np.array([between(0.01, 0.1), between(0.01, 0.1), length]), between(0, 1))
            joint = (self.transforms[index[bone]] @ (*self.figure.heads[index[bone]], 1))[:3]
            vertices = vertices @ turn(rng.normal(size=3), between(0, 180)).T + joint + rng.normal(0, 0.015, 3)
            self._solid(vertices, faces, "Background", self.tailor.cloth(plain=0.7))

    def _solid(
        self,
        vertices: npt.NDArray[np.float64],
        faces: IntArray,
        label: str,
        cloth: Cloth,
        moved: Transforms | None = None,
    ) -> None:
        """A simple shape, in the rest frame of the bone that `moved` (4, 4) moves, or in the world."""
        rest = np.asarray(vertices, np.float32)
        placed = rest if moved is None else np.asarray(rest @ moved[:3, :3].T + moved[:3, 3], np.float32)
        mesh = Mesh.plain(faces, ID[label])
        self.parts.append(Part(mesh.buffer(placed, rest), mesh.drawn, cloth=replace(cloth, wrinkles=0.1)))


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


def _fan(count: int) -> IntArray:
    """Triangles from vertex 0 to the ring of `count` after it."""
    return np.stack([np.zeros(count - 1, int), np.arange(1, count), np.arange(2, count + 1)], 1)


def _block(size: npt.NDArray[np.float64], roundness: float) -> tuple[npt.NDArray[np.float64], IntArray]:
    """A box (roundness 0) to ball (1) of the given extents, around the origin."""
    rows, columns = 7, 14
    polar, around = np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns)
    p, a = (grid.ravel() for grid in np.meshgrid(polar, around, indexing="ij"))
    ball = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], 1)
    box = ball / np.abs(ball).max(1, keepdims=True)
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
    corner = i * columns + j
    faces = np.concatenate(
        [
            np.stack([corner, corner + columns, corner + 1], 1),
            np.stack([corner + 1, corner + columns, corner + columns + 1], 1),
        ]
    )
    return (ball * roundness + box * (1 - roundness)) * size / 2, faces
