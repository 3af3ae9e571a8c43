"""MakeHuman's clothes, shoes, hair, teeth and skins, fitted to any body."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.body import ID, VERTICES, Body, Figure, Transforms
from sapiens_stream.training.mesh import FloatArray, IntArray, Mesh

UInt8Array = npt.NDArray[Any]  # OpenCV's stubs cannot tell

TEXTURE = 512
AXES = (("x_scale", 0, 0), ("y_scale", 1, 2), ("z_scale", 2, 1))
"""Of a .mhclo: the scale's name, its column among the offsets, and the body's axis that it measures."""


class Asset:
    """A mesh bound to the body by an .mhclo file: each vertex lies on a body's triangle, with an offset.

    `texture` is (TEXTURE, TEXTURE, 4) uint8 RGBA, or None; `hidden` (VERTICES,) the body's vertices it covers.
    """

    def __init__(self, path: Path, body: Body) -> None:
        self.name = path.stem
        self.hidden = np.zeros(VERTICES, bool)
        self._scales: dict[str, tuple[int, int, float]] = {}
        rows = self._read(path)
        self._corners = np.array([row[:3] for row in rows]).astype(int)
        self._shares = np.array([row[3:6] for row in rows], np.float32)
        self._offsets = np.array([row[6:9] for row in rows], np.float32)
        weights = (body.bone_weights[self._corners] * self._shares[..., None]).sum(1)
        self._weights = weights / (weights.sum(1, keepdims=True) + 1e-9)
        self.class_weights = self._weights @ body.class_of_bone
        self.jaw = self._weights[:, body.jaw].sum(1)
        self.faces, self._uv, self._uv_faces = _read_obj(path.parent / self._object)
        self.texture = self._load_texture(path.parent)
        self.mesh = Mesh(self.faces, self._uv, self._uv_faces, np.zeros(len(self.faces), np.int64))

    def _read(self, path: Path) -> list[list[float]]:
        rows: list[list[float]] = []
        section, self._object, self._material = "", "", ""
        for line in path.read_text(errors="ignore").splitlines():
            words = line.split()
            if not words or line.startswith("#"):
                continue
            key = words[0].rstrip(":")
            if key.endswith("_scale"):
                self._scales[key] = int(words[1]), int(words[2]), float(words[3])
            elif key == "obj_file":
                self._object = words[1]
            elif key == "material":
                self._material = words[1]
            elif key in ("verts", "refVerts", "delete_verts"):
                section = key
            elif re.match(r"-?\d", key) and section == "delete_verts":
                for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", line):
                    self.hidden[int(first) : int(last or first) + 1] = True
            elif re.match(r"-?\d", key):
                values = [float(word) for word in words]
                one = len(values) == 1  # exactly on a vertex of the body
                rows.append([values[0]] * 3 + [1, 0, 0, 0, 0, 0] if one else ([*values, 0, 0, 0])[:9])
        return rows

    def _load_texture(self, folder: Path) -> UInt8Array | None:
        material = folder / self._material
        text = material.read_text() if self._material and material.exists() else ""
        named = re.search(r"diffuseTexture\s+(\S+)", text)
        candidates = [folder / named.group(1)] if named else []
        for path in [*candidates, *sorted(folder.glob("*_ao.png"))]:
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None
            if image is not None:
                return _rgba(cv2.resize(image, (TEXTURE, TEXTURE), interpolation=cv2.INTER_AREA))
        return None

    def label(self, labels: IntArray | int) -> Asset:
        """Gives the faces their classes: one for all, or (F,)."""
        each = np.broadcast_to(np.asarray(labels, np.int64), len(self.faces))
        self.mesh = Mesh(self.faces, self._uv, self._uv_faces, np.asarray(each))
        return self

    def fitted(self, rest: FloatArray) -> FloatArray:
        """The asset's vertices on a body at rest, metres."""
        offsets = self._offsets.copy()
        for scale, column, axis in AXES:
            if scale in self._scales:
                first, second, size = self._scales[scale]
                offsets[:, column] *= abs(rest[first, axis] - rest[second, axis]) * 10 / size
        shift = np.stack([offsets[:, 0], -offsets[:, 2], offsets[:, 1]], 1) / 10  # decimetres, y up, in the file
        return np.asarray((rest[self._corners] * self._shares[..., None]).sum(1) + shift, np.float32)

    def posed(self, fitted: FloatArray, transforms: Transforms) -> FloatArray:
        matrix = (self._weights @ transforms.reshape(-1, 16).astype(np.float32)).reshape(-1, 4, 4)
        return np.asarray(np.einsum("vij,vj->vi", matrix[:, :3, :3], fitted) + matrix[:, :3, 3], np.float32)

    @cached_property
    def brightness(self) -> float:
        """Mean linear luminance of the opaque texture, by which a new colour is scaled."""
        if self.texture is None:
            return 1.0
        opaque = self.texture[self.texture[..., 3] > 80][:, :3] / 255
        return float((opaque**2.2 @ (0.3, 0.6, 0.1)).mean()) + 0.01


def _rgba(image: UInt8Array) -> UInt8Array:
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 3:
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8)


def _read_obj(path: Path) -> tuple[IntArray, FloatArray, IntArray]:
    """Triangles (F, 3), texture coordinates (U, 2), and the triangles' rows of them."""
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    uv_faces: list[list[int]] = []
    for line in path.read_text(errors="ignore").splitlines():
        words = line.split()
        if words[:1] == ["vt"]:
            uv.append([float(word) for word in words[1:3]])
        elif words[:1] == ["f"]:
            corners = [[int(part) - 1 for part in word.split("/")[:2]] for word in words[1:]]
            for second, third in pairwise(corners[1:]):
                faces.append([corners[0][0], second[0], third[0]])
                uv_faces.append([corners[0][1], second[1], third[1]])
    return np.array(faces), np.array(uv, np.float32), np.array(uv_faces)


class Wardrobe:
    """All assets of a folder laid out as MakeHuman's (clothes/, hair/, teeth/, skins/, ...), labelled."""

    def __init__(self, folder: Path, body: Body) -> None:
        def load(pattern: str) -> list[Asset]:
            return [Asset(path, body) for path in sorted(folder.glob(pattern))]

        figure = body.figure({"gender": 0.5, "age": 0.6}, {})
        waist = figure.heads[body.index["upperleg01.L"]][2] + 0.12
        self.suits = [suit.label(_suit_labels(suit, figure, waist)) for suit in load("clothes/*suit*/*.mhclo")]
        self.shoes = [shoe.label(_by_side(shoe, "Shoe")) for shoe in load("clothes/shoes*/*.mhclo")]
        self.hats = [hat.label(ID["Apparel"]) for hat in load("clothes/fedora*/*.mhclo")]
        self.hair = [hair.label(ID["Hair"]) for hair in load("hair/*/*.mhclo")]
        self.brows = [brows.label(ID["Face_Neck"]) for brows in load("eyebrows/*/*.mhclo")]
        self.lashes = [lashes.label(ID["Face_Neck"]) for lashes in load("eyelashes/*/*.mhclo")]
        self.tongues = [tongue.label(ID["Tongue"]) for tongue in load("tongue/*/*.mhclo")]
        self.teeth = load("teeth/*/*.mhclo")
        for teeth in self.teeth:
            teeth.label(np.where(teeth.jaw[teeth.faces[:, 0]] > 0.5, ID["Lower_Teeth"], ID["Upper_Teeth"]))
        self.skins: dict[str, UInt8Array] = {}
        for path in sorted(folder.glob("skins/*.jpg")):
            image = cv2.imread(str(path))
            if image is not None:
                self.skins[path.stem] = _rgba(image)
        if not (self.hair and self.skins and self.teeth):
            raise FileNotFoundError(f"{folder} does not hold MakeHuman's assets (hair/, skins/, teeth/, ...)")


def _by_side(asset: Asset, part: str) -> IntArray:
    left = [ID["Left_Foot"], ID["Left_Lower_Leg"]]
    right = [ID["Right_Foot"], ID["Right_Lower_Leg"]]
    weights = asset.class_weights[asset.faces[:, 0]]
    return np.where(weights[:, left].sum(1) > weights[:, right].sum(1), ID[f"Left_{part}"], ID[f"Right_{part}"])


def _suit_labels(suit: Asset, figure: Figure, waist: float) -> IntArray:
    """Upper or lower clothing by connected part, a one-piece suit split at the waist; parts at the feet are socks."""
    height, labels = suit.fitted(figure.rest)[:, 2], np.zeros(len(suit.class_weights), np.int64)
    legs = [ID[f"{side}_{part}_Leg"] for side in ("Left", "Right") for part in ("Upper", "Lower")]
    for part in _connected(suit.faces, len(labels)):
        mean = suit.class_weights[part].mean(0)
        if mean[[ID["Left_Foot"], ID["Right_Foot"]]].sum() > 0.5:
            labels[part] = ID["Left_Sock"] if mean[ID["Left_Foot"]] > mean[ID["Right_Foot"]] else ID["Right_Sock"]
        elif (
            height[part].min() < waist - 0.5 and height[part].max() > waist + 0.25 and "female_elegant" not in suit.name
        ):
            labels[part] = np.where(height[part] < waist, ID["Lower_Clothing"], ID["Upper_Clothing"])
        else:
            labels[part] = ID["Lower_Clothing"] if mean[legs].sum() > 0.42 else ID["Upper_Clothing"]
    return labels[suit.faces[:, 0]]


def _connected(faces: IntArray, count: int) -> list[npt.NDArray[np.bool_]]:
    """Masks of the vertices of each connected part."""
    part = np.arange(count)
    while True:
        lowest = part.copy()
        np.minimum.at(lowest, faces.ravel(), np.repeat(part[faces].min(1), 3))
        lowest = lowest[lowest]
        if (lowest == part).all():
            return [part == root for root in np.unique(part[np.unique(faces)])]
        part = lowest
