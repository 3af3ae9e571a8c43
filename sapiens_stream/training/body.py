"""The human body: anny's mesh and bones, the class of every face, and the smooth fields that garments are cut by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.mesh import FloatArray, IntArray, Mesh, triangles

ID = {name: index for index, name in enumerate(SAPIENS.names)}
VERTICES = 19158
JAW = ("oris02", "oris01", "oris06.L", "oris07.L", "oris06.R", "oris07.R", "jaw", "special04")
LIMBS = {
    "upperleg": "Upper_Leg",
    "lowerleg": "Lower_Leg",
    "foot": "Foot",
    "toe": "Foot",
    "upperarm": "Upper_Arm",
    "lowerarm": "Lower_Arm",
    "wrist": "Hand",
    "finger": "Hand",
    "metacarpal": "Hand",
}
TRUNK = ("root", "spine", "pelvis", "breast", "clavicle", "shoulder")
COLLAR = 0.03
"""Metres below the neck's joint down to which bare skin counts as neck, as people label it."""

Transforms = npt.NDArray[np.float64]


def bone_class(bone: str) -> int:
    """The class of the skin that a bone moves; left and right are the person's own."""
    for stem, part in LIMBS.items():
        if bone.startswith(stem):
            return ID[("Left_" if bone.endswith(".L") else "Right_") + part]
    return ID["Torso"] if bone.startswith(TRUNK) else ID["Face_Neck"]


@dataclass(frozen=True, eq=False)
class Figure:
    """A body at rest: vertices (VERTICES, 3), metres, x to the person's left, -y ahead, z up; bone ends (bones, 3)."""

    rest: FloatArray
    heads: npt.NDArray[np.float64]
    tails: npt.NDArray[np.float64]
    fields: FloatArray


class Body:
    """The model of all bodies; loads in about ten seconds."""

    def __init__(self) -> None:
        import anny
        from anny.models.model_data import TopologyConfig
        from anny.utils.obj_utils import load_obj_file

        topology = TopologyConfig(
            base_mesh="makehuman", nudity_edits=False, remove_unattached_vertices=False, triangulate_faces=False
        )
        self._model = anny.Anny(
            rig="makehuman", topology=topology, facial_actions="all", phenotypes="all", local_changes="none"
        )
        data = Path(anny.__file__).parent / "data" / "mpfb2"
        self.expressions: list[str] = list(self._model.facial_action_labels)
        self.bones: list[str] = list(self._model.bone_labels)
        self.index = {bone: index for index, bone in enumerate(self.bones)}
        self.parents: list[int] = [int(parent) for parent in self._model.bone_parents]
        self._bones = self._model.vertex_bone_indices.numpy()
        self._weights = self._model.vertex_bone_weights.numpy().astype(np.float32)
        self.bone_weights = np.zeros((VERTICES, len(self.bones)), np.float32)
        np.add.at(self.bone_weights, (np.arange(VERTICES)[:, None], self._bones), self._weights)
        self.class_of_bone = np.zeros((len(self.bones), len(SAPIENS)), np.float32)
        self.class_of_bone[np.arange(len(self.bones)), [bone_class(bone) for bone in self.bones]] = 1
        self.class_weights = self.bone_weights @ self.class_of_bone
        self.jaw = [self.index[bone] for bone in JAW]

        _, uv, groups = load_obj_file(str(data / "3dobjs" / "base.obj"), dtype=torch.float64)
        self._uv, self._groups = uv.numpy().astype(np.float32), groups
        self.eyes = [self._helper("helper-l-eye", "Face_Neck"), self._helper("helper-r-eye", "Face_Neck")]
        self.skirt = self._helper("helper-skirt", "Lower_Clothing")
        faces, uv_faces = self._group("body")
        neutral = self._shaped({"gender": 0.5, "age": 0.6}, {})
        self.skin = Mesh(faces, self._uv, uv_faces, self._labels(faces, uv_faces, neutral, data))
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        self._edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)

    def _group(self, name: str) -> tuple[IntArray, IntArray]:
        group = self._groups[name]
        return triangles(group["face_vertex_indices"]), triangles(group["face_texture_coordinate_indices"])

    def _helper(self, name: str, label: str) -> Mesh:
        faces, uv_faces = self._group(name)
        return Mesh(faces, self._uv, uv_faces, np.full(len(faces), ID[label]))

    def _labels(self, faces: IntArray, uv_faces: IntArray, neutral: Figure, data: Path) -> IntArray:
        """(F,) classes by the dominant bone; lips by anny's mask; the lower neck down to the collar."""
        labels = self.class_weights[faces].mean(1).argmax(1)
        centre = neutral.rest[faces].mean(1)
        neck = neutral.heads[self.index["neck01"]]
        near = (np.hypot(centre[:, 0] - neck[0], centre[:, 1] - neck[1]) < 0.11) & (centre[:, 2] > neck[2] - COLLAR)
        labels[(labels == ID["Torso"]) & near] = ID["Face_Neck"]
        mask = cv2.imread(str(data / "textures" / "mpfb_lips.jpg"), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        height, width = mask.shape
        at = self._uv[uv_faces].mean(1)
        row, column = ((1 - at[:, 1]) * height).astype(int), (at[:, 0] * width).astype(int)
        lips = mask[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)] > 110
        lips &= labels == ID["Face_Neck"]
        lower = self.bone_weights[:, self.jaw].sum(1)[faces].mean(1) > 0.5
        labels[lips] = np.where(lower[lips], ID["Lower_Lip"], ID["Upper_Lip"])
        return np.asarray(labels, np.int64)

    def figure(self, phenotype: Mapping[str, float], expression: Mapping[str, float]) -> Figure:
        """A body; `phenotype` (age, weight, ...) and `expression` (jawOpen, ...) as anny names them, 0..1."""
        return self._shaped(phenotype, expression)

    def _shaped(self, phenotype: Mapping[str, float], expression: Mapping[str, float]) -> Figure:
        with torch.no_grad():
            shaped = self._model(
                phenotype_kwargs={
                    name: torch.tensor([value], dtype=torch.float64) for name, value in phenotype.items()
                },
                facial_actions={name: torch.tensor([value], dtype=torch.float64) for name, value in expression.items()},
            )
        rest = shaped["rest_vertices"][0].numpy().astype(np.float32)
        heads, tails = shaped["rest_bone_heads"][0].numpy(), shaped["rest_bone_tails"][0].numpy()
        return Figure(rest, heads, tails, self._fields(rest, heads, tails))

    def _fields(self, rest: FloatArray, heads: npt.NDArray[np.float64], tails: npt.NDArray[np.float64]) -> FloatArray:
        """(VERTICES, 4): how far down the arm, down the leg, up the trunk, and how much a vertex belongs to the head.

        Arm: 0 shoulder, 1 elbow, 2 wrist, 3 fingertip; on the trunk negative, falling to -1 at the spine. Leg: 0 hip,
        1 knee, 2 ankle, below it up to 2.6. Trunk: 0 hip, 1 neck.
        """

        def along(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], low: float, high: float) -> FloatArray:
            way = end - start
            return np.asarray(np.clip((rest - start) @ way / (way @ way), low, high), np.float32)

        at = {bone: heads[index] for bone, index in self.index.items()}
        fields = np.full((VERTICES, 4), -1, np.float32)
        hip, neck = at["upperleg01.L"][2], at["neck01"][2]
        fields[:, 2] = (rest[:, 2] - hip) / (neck - hip)
        fields[:, 3] = self.class_weights[:, ID["Face_Neck"]]
        for side, sign in (("L", 1), ("R", -1)):
            word = "Left_" if side == "L" else "Right_"
            arm_weight = sum(self.class_weights[:, ID[word + part]] for part in ("Upper_Arm", "Lower_Arm", "Hand"))
            leg_weight = sum(self.class_weights[:, ID[word + part]] for part in ("Upper_Leg", "Lower_Leg", "Foot"))
            foot_weight = self.class_weights[:, ID[word + "Foot"]]
            here = rest[:, 0] * sign > 0
            shoulder, elbow, wrist = (at[f"{bone}.{side}"] for bone in ("upperarm01", "lowerarm01", "wrist"))
            tip = tails[self.index[f"finger3-3.{side}"]]
            arm = along(shoulder, elbow, -0.3, 1) + along(elbow, wrist, 0, 1) + along(wrist, tip, 0, 1)
            inward = (np.abs(rest[:, 0]) - abs(shoulder[0])) / np.linalg.norm(elbow - shoulder)
            high = np.clip((rest[:, 2] - shoulder[2] + 0.16) / 0.06, 0, 1)  # below the armpit there is no strap to cut
            trunk = np.minimum(0, inward) * high - (1 - high)
            fields[here, 0] = np.where(arm_weight > 0.5, np.maximum(arm, -0.05), trunk)[here]
            fields[here & (arm_weight > 0.5), 2] = 0.9
            joint, knee, ankle = (at[f"{bone}.{side}"] for bone in ("upperleg01", "lowerleg01", "foot"))
            leg = along(joint, knee, -2, 1) + along(knee, ankle, 0, 1)
            leg = np.where(foot_weight > 0.5, 2 + np.clip((ankle[2] - rest[:, 2]) / 0.1, -0.3, 0.6), leg)
            fields[here, 1] = np.where(leg_weight > 0.3, leg, np.minimum(leg, 0.25))[here]
            fields[here & (arm_weight > 0.3), 1] = -1
        skirt = np.unique(self.skirt.faces)
        fields[skirt] = -1
        fields[skirt, 1] = 2 * (hip - rest[skirt, 2]) / (hip - at["foot.L"][2])
        fields[skirt, 2] = (rest[skirt, 2] - hip) / (neck - hip)
        return fields

    def transforms(self, figure: Figure, rotations: Mapping[str, npt.NDArray[np.float64]]) -> Transforms:
        """(bones, 4, 4) of the bones in the world, each turned about its head by its rotation and all its parents'."""
        world = np.zeros((len(self.bones), 4, 4))
        for index, bone in enumerate(self.bones):
            local = np.eye(4)
            if bone in rotations:
                local[:3, :3] = rotations[bone]
                local[:3, 3] = figure.heads[index] - rotations[bone] @ figure.heads[index]
            world[index] = local if self.parents[index] < 0 else world[self.parents[index]] @ local
        return world

    def posed(self, rest: FloatArray, transforms: Transforms) -> FloatArray:
        """The body's vertices moved by its bones (linear blend skinning)."""
        blend = np.einsum("vk,vkm->vm", self._weights, transforms.reshape(-1, 16).astype(np.float32)[self._bones])
        matrix = blend.reshape(-1, 4, 4)
        return np.asarray(np.einsum("vij,vj->vi", matrix[:, :3, :3], rest) + matrix[:, :3, 3], np.float32)

    def loosened(self, vertices: FloatArray, normals: FloatArray, steps: int = 8) -> FloatArray:
        """The body's surface with its hollows filled, as cloth lies."""
        smooth = vertices
        for _ in range(steps):
            smooth = self._averaged(smooth)
        push = np.clip(((smooth - vertices) * normals).sum(1, keepdims=True), -0.003, 0.04)
        for _ in range(3):
            push = self._averaged(push)
        return np.asarray(vertices + normals * push, np.float32)

    def _averaged(self, values: FloatArray) -> FloatArray:
        """Each vertex's values replaced by its neighbours' mean."""
        start, end = self._edges[:, 0], self._edges[:, 1]
        count = np.bincount(start, minlength=VERTICES)
        columns = [np.bincount(start, values[end, k], VERTICES) for k in range(values.shape[1])]
        mean = np.stack(columns, 1) / np.maximum(count, 1)[:, None]
        return np.asarray(np.where(count[:, None] > 0, mean, values), np.float32)
