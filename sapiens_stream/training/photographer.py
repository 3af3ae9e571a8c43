"""Where the camera stands and how the light falls."""

from __future__ import annotations

import numpy as np

from sapiens_stream.training.mesh import FloatArray
from sapiens_stream.training.scene import Matrix, Shot

FRAMINGS = {
    # chance; height of what is seen, metres (None: the whole body)
    "body": (0.36, None),
    "knees": (0.13, (1.05, 1.5)),
    "waist": (0.22, (0.62, 1.05)),
    "head": (0.16, (0.24, 0.6)),
    "mouth": (0.03, (0.09, 0.18)),
    "hand": (0.06, (0.25, 0.6)),
    "feet": (0.04, (0.35, 0.8)),
}


def look(eye: Matrix, at: Matrix, roll: float = 0.0) -> Matrix:
    """(4, 4) from the world to a camera at `eye`, z up, turned by `roll` radians."""
    forward = (at - eye) / np.linalg.norm(at - eye)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    up = np.cross(right, forward)
    right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
    view = np.eye(4)
    view[:3, :3] = right, up, -forward
    view[:3, 3] = -view[:3, :3] @ eye
    return view


def perspective(fov: float, aspect: float, near: float = 0.03, far: float = 40.0) -> Matrix:
    """(4, 4) to clip space; `fov` is vertical, radians."""
    scale = 1 / np.tan(fov / 2)
    matrix = np.diag([scale / aspect, scale, (far + near) / (near - far), 0])
    matrix[2, 3], matrix[3, 2] = 2 * far * near / (near - far), -1
    return matrix


def shadow_camera(vertices: FloatArray, key: Matrix) -> Matrix:
    """(4, 4): a parallel view of the whole person from the light."""
    low, high = vertices.min(0), vertices.max(0)
    radius = np.linalg.norm(high - low) * 0.55
    box = np.diag([1 / radius, 1 / radius, -1 / 3, 1])
    box[2, 3] = -1
    middle = (low + high) / 2
    return np.asarray(box @ look(middle + key * 3, middle))


class Photographer:
    """Draws shots of a posed body."""

    def __init__(self, aspect: float, rng: np.random.Generator) -> None:
        self.aspect, self.rng = aspect, rng

    def shoot(self, vertices: FloatArray, joints: dict[str, Matrix], neck_at: tuple[float, float, float]) -> Shot:
        """`vertices` of the posed body; `joints` where its bones' heads are; `neck_at` in the rest frame."""
        rng = self.rng
        framing = str(rng.choice(list(FRAMINGS), p=[chance for chance, _ in FRAMINGS.values()]))
        yaw = rng.normal(0, 42) if rng.random() < 0.4 else rng.uniform(-180, 180)
        if framing in ("head", "mouth") and abs(yaw) > 90:
            yaw *= 0.5 if framing == "head" else 0.25
        pitch = rng.normal(5, 12)
        yaw, pitch, fov = np.deg2rad([yaw, pitch, rng.uniform(18, 62)])
        away = np.array([np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
        half = np.tan(fov / 2)
        at, distance = self._aim(framing, vertices[::7], joints, away, half)
        eye = at + distance * away
        camera = perspective(fov, self.aspect) @ look(eye, at, np.deg2rad(rng.normal(0, 6)))
        turned = yaw + (rng.uniform(-1.5, 1.5) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi))
        key = np.array([np.sin(turned), -np.cos(turned), rng.uniform(0.05, 1.3)])
        key /= np.linalg.norm(key)
        light = {"eye": tuple(eye), "key": tuple(key), "neck_at": neck_at, **self._light(key)}
        return Shot(camera=camera, sun=shadow_camera(vertices, key), light=light)

    def _aim(
        self, framing: str, some: FloatArray, joints: dict[str, Matrix], away: Matrix, half: float
    ) -> tuple[Matrix, float]:
        """The point looked at, and how far from it the camera is."""
        rng, span = self.rng, FRAMINGS[framing][1]
        if span is None:
            right = np.cross(-away, (0, 0, 1))
            right /= np.linalg.norm(right)
            up = np.cross(right, -away)
            at = (some.min(0) + some.max(0)) / 2
            for axis in (right, up):
                across = (some - at) @ axis
                at = at + axis * (across.max() + across.min()) / 2
            offset = some - at
            extent = np.maximum(np.abs(offset @ up), np.abs(offset @ right) / self.aspect)
            return at, float((extent / half + offset @ away).max()) * 1.04
        head, hips = joints["head"] + (0, 0, 0.05), joints["root"]
        side = str(rng.choice(["L", "R"]))
        centres = {
            "knees": (head + hips) / 2 - (0, 0, 0.12),
            "waist": head * 0.62 + hips * 0.38,
            "head": head - (0, 0, rng.uniform(-0.03, 0.1)),
            "mouth": joints["oris05"],
            "hand": joints[f"finger3-1.{side}"],
            "feet": joints[f"foot.{side}"],
        }
        height = rng.uniform(*span)
        at = centres[framing] + rng.normal(0, 0.08 * height, 3) * (1, 1, 0.6)
        return at, height / 2 / half + 0.12

    def _light(self, key: Matrix) -> dict[str, tuple[float, float, float]]:
        rng = self.rng

        def tinted(strength: float) -> tuple[float, float, float]:
            red, green, blue = np.exp(rng.normal(0, 0.12, 3)) * strength
            return float(red), float(green), float(blue)

        fill = np.array([-key[0], key[1], 0.3])
        soft = rng.random() < 0.4
        return {
            "key_colour": tinted(rng.uniform(0.1, 0.6) if soft else rng.uniform(0.6, 2.2)),
            "fill": tuple(fill / np.linalg.norm(fill)),
            "fill_colour": tinted(rng.uniform(0, 0.5)),
            "sky": tinted(rng.uniform(0.25, 0.95)),
            "ground": tinted(rng.uniform(0.06, 0.5)),
            "aside": tuple(rng.normal(0, 0.14, 3)),
        }
