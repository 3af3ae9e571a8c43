"""How the people of the sample clip move: rotations of bones at a time in seconds."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from sapiens_stream.training.body import Figure
from sapiens_stream.training.poses import AHEAD, Matrix, Pose, Poser, X, Y, Z, turn

STEPS_A_SECOND = 1.8
SIDES = (("L", 1), ("R", -1))

Motion = Callable[[float], Pose]


def _arms_down(pose: Pose, swing: dict[str, float], bend: float) -> None:
    """`swing` ahead and `bend` of the elbow, degrees, from arms that hang; they rest half raised."""
    for side, sign in SIDES:
        pose[f"upperarm01.{side}"] = turn(X, -swing[side]) @ turn(Y, sign * 38)
        pose[f"lowerarm01.{side}"] = turn(Z, -sign * bend)
        for finger in range(2, 6):
            for joint in (1, 2, 3):
                pose[f"finger{finger}-{joint}.{side}"] = turn(np.cross([sign, 0, -1.0], -Z), 18)


def smooth(time: float, start: float, end: float) -> float:
    """0 before `start`, 1 after `end`, without a jerk between them."""
    share = float(np.clip((time - start) / (end - start), 0, 1))
    return share * share * (3 - 2 * share)


def between(first: Matrix, second: Matrix, share: float) -> Matrix:
    """The rotation a share of the way from one to another."""
    along = cv2.Rodrigues(first.T @ second)[0]
    return np.asarray(first @ cv2.Rodrigues(along * share)[0])


def walking(time: float) -> Pose:
    phase = np.pi * STEPS_A_SECOND * time
    pose: Pose = {}
    for side, sign in SIDES:
        stride = np.sin(phase + (0 if side == "L" else np.pi))
        lift = max(0.0, np.cos(phase + (0 if side == "L" else np.pi)))
        pose[f"upperleg01.{side}"] = turn(np.cross(-Z, AHEAD), 24 * stride + 8 * lift) @ turn(Y, sign * 2)
        pose[f"lowerleg01.{side}"] = turn(np.cross(-Z, -AHEAD), 8 + 48 * lift)
        pose[f"foot.{side}"] = turn(X, 8 * stride)
    _arms_down(pose, {"L": -20 * np.sin(phase) - 8, "R": 20 * np.sin(phase) - 8}, -8)
    pose["spine02"] = turn(Z, 5 * np.sin(phase))
    pose["head"] = turn(Z, -12 + 6 * np.sin(time * 1.3)) @ turn(X, 4)
    return pose


def waving(time: float) -> Pose:
    pose: Pose = {}
    _arms_down(pose, {"L": 0.0, "R": 0.0}, 0)
    sway = np.sin(time * 1.6)
    raised = smooth(time, 0.4, 1.1) * (1 - smooth(time, 3.8, 4.5))
    pose["upperarm01.L"] = turn(X, -4 - 20 * raised) @ turn(Y, 38 - 62 * raised)
    pose["lowerarm01.L"] = turn(Y, (-75 - 14 * np.sin(time * 8.5)) * raised) @ turn(Z, -12 * (1 - raised))
    gesture = 0.5 - 0.5 * np.cos(time * 2.2)
    pose["upperarm01.R"] = turn(X, -4 - 22 * gesture) @ turn(Y, -38 + 4 * gesture)
    pose["lowerarm01.R"] = turn(X, -55 * gesture) @ turn(Z, 20)
    pose["spine02"] = turn(Y, 2 * sway)
    pose["head"] = turn(Z, 8 * np.sin(time * 1.1)) @ turn(Y, 4 * sway) @ turn(X, 3)
    return pose


def turning(time: float) -> Pose:
    """Steps on the spot, while whoever places the person turns them."""
    pose: Pose = {}
    phase = 2 * np.pi * time
    for side, sign in SIDES:
        lift = 9 * max(0.0, sign * np.sin(phase))
        pose[f"upperleg01.{side}"] = turn(Y, -sign * 3) @ turn(np.cross(-Z, AHEAD), lift)
        pose[f"lowerleg01.{side}"] = turn(np.cross(-Z, -AHEAD), 2.2 * lift)
    _arms_down(pose, {"L": 6 * np.sin(phase / 2), "R": -6 * np.sin(phase / 2)}, -10)
    pose["spine02"] = turn(Z, 4 * np.sin(phase / 2))
    pose["head"] = turn(Z, 14) @ turn(X, 3 * np.sin(time))
    return pose


def hands_to_face(poser: Poser, figure: Figure) -> Motion:
    """A hand to the chin, then the other one too, before the mouth."""
    head = figure.heads[poser.body.index["head"]]
    reached = {
        side: poser.reach(figure, side, sign, head + np.array([sign * 0.05, -0.16, -0.02])) for side, sign in SIDES
    }

    def motion(time: float) -> Pose:
        pose: Pose = {}
        _arms_down(pose, {"L": 0.0, "R": 0.0}, -12)
        raised = {
            "R": smooth(time, 0.3, 1.1) * (1 - smooth(time, 4.0, 4.8)),
            "L": smooth(time, 1.9, 2.7) * (1 - smooth(time, 3.6, 4.4)),
        }
        for side, (arm, bend) in reached.items():
            for bone, there in ((f"upperarm01.{side}", arm), (f"lowerarm01.{side}", bend)):
                pose[bone] = between(pose[bone], there, raised[side])
        pose["head"] = turn(X, 6 + 4 * np.sin(time * 1.7)) @ turn(Z, 7 * np.sin(time * 0.9))
        pose["spine02"] = turn(Y, 2 * np.sin(time * 1.2))
        return pose

    return motion
