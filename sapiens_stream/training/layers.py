"""The layers of a dressed person, from the inside out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sapiens_stream.training.assets import Asset
from sapiens_stream.training.body import ID, Transforms
from sapiens_stream.training.garments import Cloth, Cut
from sapiens_stream.training.mesh import FloatArray, IntArray, Mesh
from sapiens_stream.training.person import Casting, Person
from sapiens_stream.training.poses import Pose
from sapiens_stream.training.scene import Part


class Layers:
    """A person in a pose, and what has been put on them so far: `parts`."""

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

    def asset(self, asset: Asset, cloth: Cloth, rest: FloatArray | None = None, **part: object) -> None:
        rest = asset.fitted(self.figure.rest) if rest is None else rest
        buffer = asset.mesh.buffer(asset.posed(rest, self.transforms), rest)
        texture = None if asset.texture is None else (asset.name, asset.texture)
        self.parts.append(Part(buffer, asset.mesh.drawn, cloth=cloth, texture=texture, **part))  # type: ignore[arg-type]

    def over_skin(
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

    def solid(
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
