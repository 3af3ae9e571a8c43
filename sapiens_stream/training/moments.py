"""A person a moment later, as in the next frame of a video: a network learns to say the same of both."""

from __future__ import annotations

import numpy as np

from sapiens_stream.training.body import Transforms
from sapiens_stream.training.poses import Pose, Z, turn

TURNS = (("upperarm", 4.0), ("lowerarm", 5.0), ("wrist", 4.0), ("finger", 2.0), ("upperleg", 3.0), ("lowerleg", 3.0))
"""Standard deviations of the degrees by which bones turn in a 25th of a second, by how their names begin."""
OTHERWISE = 1.0
"""The same of all other bones."""
STEP, SWAY = 0.015, 1.5
"""Standard deviations of how far the whole person goes, metres each way, and turns, degrees."""


def moved_on(pose: Pose, rng: np.random.Generator) -> Pose:
    """The pose a moment later."""
    return {bone: rotation @ turn(rng.normal(size=3), rng.normal(0, _spread(bone))) for bone, rotation in pose.items()}


def moved_by(rng: np.random.Generator) -> Transforms:
    """(4, 4): how the whole person moves in the world."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn(Z, rng.normal(0, SWAY))
    matrix[:3, 3] = rng.normal(0, STEP, 3) * (1, 1, 0.3)
    return matrix


def _spread(bone: str) -> float:
    return next((degrees for start, degrees in TURNS if bone.startswith(start)), OTHERWISE)
