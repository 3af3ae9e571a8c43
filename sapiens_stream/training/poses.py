"""Draws poses: standing, walking, sitting, squatting, hands at places, or one of MakeHuman's with noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.body import Body, Figure

Matrix = npt.NDArray[np.float64]
Pose = dict[str, Matrix]

AHEAD = np.array([0, -1, 0.0])
X, Y, Z = np.eye(3)
LEGS = {
    # hip flexion, knee flexion, spread: degrees
    "stand": ((-6, 12), (0, 14), (-2, 16)),
    "walk": ((-25, 45), (0, 70), (-3, 8)),
    "sit": ((60, 98), (45, 110), (-4, 25)),
    "squat": ((30, 120), (50, 130), (0, 30)),
}
LEG_CHANCES = (0.5, 0.22, 0.21, 0.07)
REACHES = ("face", "chest", "hip", "up", "out", "front", "crossed", "lap")


def turn(axis: npt.ArrayLike, degrees: float) -> Matrix:
    """(3, 3) rotation about an axis."""
    direction = np.asarray(axis, np.float64)
    return np.asarray(cv2.Rodrigues(direction / (np.linalg.norm(direction) + 1e-9) * np.deg2rad(degrees))[0])


def read_bvh(path: Path) -> Pose:
    """The first frame of a MakeHuman pose file, about our rest axes (the file's y is up)."""
    to_ours = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
    bones: list[str] = []
    channels: list[list[str]] = []
    values: list[float] = []
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] in (["ROOT"], ["JOINT"]):
            bones.append(words[1])
        elif words[:1] == ["CHANNELS"]:
            channels.append(words[2:])
        elif len(words) > 50:
            values = [float(word) for word in words]
    pose, at = {}, iter(values)
    for bone, names in zip(bones, channels, strict=True):
        rotation = np.eye(3)
        for name in names:
            value = next(at)
            if name.endswith("rotation"):
                rotation = rotation @ turn({"X": X, "Y": Y, "Z": Z}[name[0]], value)
        pose[bone] = to_ours @ rotation @ to_ours.T
    return pose


class Poser:
    """Draws rotations of bones for a figure."""

    def __init__(self, body: Body, folder: Path, rng: np.random.Generator) -> None:
        self.body, self.rng = body, rng
        self._files = [read_bvh(path) for path in sorted(folder.glob("*.bvh"))]

    def draw(self, figure: Figure) -> Pose:
        rng = self.rng
        if self._files and rng.random() < 0.12:
            still = ("finger", "toe", "root")
            chosen = self._files[rng.integers(len(self._files))]
            noise = {
                bone: np.eye(3) if bone.startswith(still) else turn(rng.normal(size=3), rng.uniform(0, 6))
                for bone in chosen
            }
            return {bone: rotation @ noise[bone] for bone, rotation in chosen.items()}
        legs = str(rng.choice(list(LEGS), p=LEG_CHANCES))
        arms = str(rng.choice(["idle", "loose", "reach"], p=[0.28, 0.24, 0.48]))
        same = str(rng.choice(REACHES)) if rng.random() < 0.5 else None
        pose: Pose = {}
        for side, sign in (("L", 1), ("R", -1)):
            reach = same or (str(rng.choice(REACHES)) if rng.random() < 0.6 else None)
            self._arm(pose, figure, side, sign, arms, reach if arms == "reach" else None)
            self._hand(pose, figure, side, sign)
            self._leg(pose, side, sign, legs)
        self._trunk(pose)
        return pose

    def _arm(self, pose: Pose, figure: Figure, side: str, sign: int, kind: str, reach: str | None) -> None:
        rng = self.rng
        _, upper, lower = self._arm_of(figure, side)
        hinge = np.cross(lower, AHEAD)
        if reach is not None:
            arm, bend = self.reach(figure, side, sign, self._target(figure, sign, reach))
        elif kind == "loose":
            arm = (
                turn(Z, -sign * rng.uniform(-20, 80))
                @ turn(Y, sign * rng.uniform(-60, 45))
                @ turn(upper, rng.uniform(-40, 40))
            )
            bend = turn(hinge, rng.uniform(0, 130))
        else:
            arm = (
                turn(Z, -sign * rng.uniform(-15, 30))
                @ turn(Y, sign * rng.uniform(15, 44))
                @ turn(upper, rng.uniform(-30, 30))
            )
            bend = turn(hinge, rng.uniform(3, 45))
        pose[f"upperarm01.{side}"], pose[f"lowerarm01.{side}"] = arm, bend
        pose[f"lowerarm02.{side}"] = turn(lower, rng.uniform(-60, 60))

    def _target(self, figure: Figure, sign: int, reach: str) -> Matrix:
        """Where the wrist should go, metres, in the rest frame."""
        between, index = self.rng.uniform, self.body.index
        head, neck, hip = (figure.heads[index[bone]] for bone in ("head", "neck01", "root"))
        ranges = {
            "face": (head, (0.02, 0.16), (-0.22, -0.1), (-0.08, 0.14)),
            "chest": (neck, (-0.05, 0.15), (-0.35, -0.12), (-0.3, -0.05)),
            "hip": (hip, (0.17, 0.25), (-0.12, 0.05), (0.02, 0.15)),
            "up": (head, (0.05, 0.4), (-0.3, 0.1), (0.15, 0.5)),
            "out": (neck, (0.5, 0.8), (-0.4, 0.1), (-0.3, 0.3)),
            "front": (neck, (-0.05, 0.3), (-0.65, -0.4), (-0.35, 0.15)),
            "crossed": (neck, (-0.16, -0.05), (-0.24, -0.15), (-0.28, -0.12)),
            "lap": (hip, (-0.02, 0.15), (-0.35, -0.15), (-0.02, 0.15)),
        }
        start, aside, ahead, up = ranges[reach]
        target: Matrix = np.add(start, (sign * between(*aside), between(*ahead), between(*up)))
        return target

    def _arm_of(self, figure: Figure, side: str) -> tuple[Matrix, Matrix, Matrix]:
        """The shoulder, and from there to the elbow, and from there to the wrist."""
        shoulder, elbow, wrist = (
            figure.heads[self.body.index[f"{bone}.{side}"]] for bone in ("upperarm01", "lowerarm01", "wrist")
        )
        return shoulder, elbow - shoulder, wrist - elbow

    def reach(self, figure: Figure, side: str, sign: int, target: Matrix) -> tuple[Matrix, Matrix]:
        """Rotations of shoulder and elbow that bring the wrist to the target: the best of many random ones, which is
        simple, and as varied as people are."""
        shoulder, upper, lower = self._arm_of(figure, side)
        hinge = np.cross(lower, AHEAD)
        rng, best = self.rng, (np.inf, np.eye(3), np.eye(3))
        for _ in range(60):
            arm = (
                turn(Z, -sign * rng.uniform(-25, 110))
                @ turn(Y, sign * rng.uniform(-75, 45))
                @ turn(upper, rng.uniform(-70, 70))
            )
            bend = turn(hinge, rng.uniform(0, 145))
            miss = float(np.linalg.norm(shoulder + arm @ (upper + bend @ lower) - target))
            if miss < best[0]:
                best = miss, arm, bend
        return best[1], best[2]

    def _hand(self, pose: Pose, figure: Figure, side: str, sign: int) -> None:
        rng, index = self.rng, self.body.index
        lower = figure.heads[index[f"wrist.{side}"]] - figure.heads[index[f"lowerarm01.{side}"]]
        pose[f"wrist.{side}"] = turn(rng.normal(size=3), rng.uniform(0, 40))
        curl = rng.uniform(0, 75) if rng.random() < 0.7 else rng.uniform(0, 12)
        pointing = int(rng.integers(2, 6)) if rng.random() < 0.15 else 0
        for finger in range(2, 6):
            for joint in (1, 2, 3):
                bend = 3.0 if finger == pointing else curl * rng.uniform(0.5, 1.1)
                pose[f"finger{finger}-{joint}.{side}"] = turn(np.cross(lower, -Z), bend)
        for joint in (2, 3):
            pose[f"finger1-{joint}.{side}"] = turn(Z, -sign * curl * 0.4)

    def _leg(self, pose: Pose, side: str, sign: int, kind: str) -> None:
        between = self.rng.uniform
        flexion, knee, spread = (between(*limits) for limits in LEGS[kind])
        pose[f"upperleg01.{side}"] = turn(Y, -sign * spread) @ turn(np.cross(-Z, AHEAD), flexion)
        pose[f"lowerleg01.{side}"] = turn(np.cross(-Z, -AHEAD), knee)
        pose[f"foot.{side}"] = turn(X, between(-25, 15))

    def _trunk(self, pose: Pose) -> None:
        rng = self.rng
        lean = rng.uniform(-4, 8) + (rng.uniform(5, 30) if rng.random() < 0.25 else 0)
        for bone in ("spine04", "spine03", "spine02", "spine01"):
            pose[bone] = turn(X, lean / 3) @ turn(rng.normal(size=3), rng.uniform(0, 6))
        pose["neck01"] = turn(rng.normal(size=3), rng.uniform(0, 16))
        pose["head"] = turn(Z, rng.normal(0, 18)) @ turn(X, rng.normal(3, 12)) @ turn(Y, rng.normal(0, 7))
