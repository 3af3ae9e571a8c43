"""Renders the sample clip: two people, one walking by, one talking and waving, with sound.

python -m sapiens_stream.training.clip --assets makehuman --panorama lobby.exr.js --out people.mp4
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.backgrounds import read_panorama
from sapiens_stream.training.body import Transforms
from sapiens_stream.training.dressing import dress
from sapiens_stream.training.person import Casting, Person
from sapiens_stream.training.photographer import look, perspective, shadow_camera
from sapiens_stream.training.poses import AHEAD, Pose, X, Y, Z, turn
from sapiens_stream.training.scene import Canvas, Shot

UInt8Array = npt.NDArray[np.uint8]

WIDTH, HEIGHT, RATE, SECONDS = 1280, 720, 25, 5
SOUND_RATE = 44100
STEPS_A_SECOND = 1.8
WALK_SPEED = 0.75
"""Metres a second; he strolls."""
EYE, AT, FOV = np.array([0.0, -5.2, 1.45]), np.array([0.0, 0.0, 0.95]), np.deg2rad(30)
KEY = np.array([0.5, -0.75, 0.75]) / np.linalg.norm([0.5, -0.75, 0.75])
LIGHT = {
    "eye": tuple(EYE),
    "key": tuple(KEY),
    "key_colour": (1.25, 1.2, 1.1),
    "fill": (-0.8, -0.5, 0.33),
    "fill_colour": (0.2, 0.22, 0.27),
    "sky": (0.6, 0.6, 0.62),
    "ground": (0.22, 0.2, 0.18),
    "aside": (0.05, 0.0, -0.05),
}
SIDES = (("L", 1), ("R", -1))


def _arms_down(pose: Pose, swing: dict[str, float], bend: float) -> None:
    """`swing` ahead and `bend` of the elbow, degrees, from arms that hang; they rest half raised."""
    for side, sign in SIDES:
        pose[f"upperarm01.{side}"] = turn(X, -swing[side]) @ turn(Y, sign * 38)
        pose[f"lowerarm01.{side}"] = turn(Z, -sign * bend)
        for finger in range(2, 6):
            for joint in (1, 2, 3):
                pose[f"finger{finger}-{joint}.{side}"] = turn(np.cross([sign, 0, -1.0], -Z), 18)


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
    raised = float(np.clip((time - 0.4) / 0.7, 0, 1) * np.clip((4.5 - time) / 0.7, 0, 1))
    raised = raised * raised * (3 - 2 * raised)
    pose["upperarm01.L"] = turn(X, -4 - 20 * raised) @ turn(Y, 38 - 62 * raised)
    pose["lowerarm01.L"] = turn(Y, (-75 - 14 * np.sin(time * 8.5)) * raised) @ turn(Z, -12 * (1 - raised))
    gesture = 0.5 - 0.5 * np.cos(time * 2.2)
    pose["upperarm01.R"] = turn(X, -4 - 22 * gesture) @ turn(Y, -38 + 4 * gesture)
    pose["lowerarm01.R"] = turn(X, -55 * gesture) @ turn(Z, 20)
    pose["spine02"] = turn(Y, 2 * sway)
    pose["head"] = turn(Z, 8 * np.sin(time * 1.1)) @ turn(Y, 4 * sway) @ turn(X, 3)
    return pose


def placed(x: float, y: float, yaw: float, lowest: float) -> Transforms:
    """(4, 4): to x, y on the floor, turned by `yaw` degrees, feet at z = 0."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn(Z, yaw)
    matrix[:3, 3] = x, y, -lowest
    return matrix


class Scene:
    """Two people who keep their clothes from frame to frame."""

    def __init__(self, assets: Path, panorama: UInt8Array, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.casting = Casting(assets, self.rng)
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.people: list[tuple[Person, Any]] = []
        while len(self.people) < 2:
            person = self.casting.person()
            if not person.child and person.male == bool(self.people):
                self.people.append((person, self.rng.bit_generator.state))
        self.camera = perspective(FOV, WIDTH / HEIGHT) @ look(EYE, AT)
        self.backdrop = _backdrop(panorama)

    def frame(self, time: float) -> UInt8Array:
        """(HEIGHT, WIDTH, 3) uint8 RGB."""
        image = self.backdrop.copy()
        stroll = -1.9 + WALK_SPEED * time
        acts = (
            (self.people[1], walking(time), (stroll, 0.9, 90.0 - 6)),
            (self.people[0], waving(time), (0.55, -0.3, -8.0)),
        )
        for (person, state), pose, (x, y, yaw) in acts:
            self.rng.bit_generator.state = state  # the same clothes again
            still = self.casting.body.transforms(person.figure, pose)
            lowest = float(self.casting.body.posed(person.figure.rest, still)[:, 2].min())
            posed = dress(self.casting, person, pose, placed(x, y, yaw, lowest))
            light = {**LIGHT, "neck_at": posed.neck_at}
            shot = Shot(camera=self.camera, sun=shadow_camera(posed.vertices, KEY), light=light)
            rgba, _ = self.canvas.draw(posed.parts, shot)
            _floor_shadow(image, self.camera, x, y)
            image *= 1 - rgba[..., 3:] / np.float32(255)
            image += rgba[..., :3]
        grain = np.random.default_rng(int(time * 1000)).normal(0, 1.5, image.shape[:2])[..., None]
        return np.asarray(np.clip(image + grain, 0, 255), np.uint8)


def _backdrop(panorama: UInt8Array) -> npt.NDArray[np.float32]:
    """(HEIGHT, WIDTH, 3): the panorama out of focus above, a floor below."""
    shift = panorama.shape[1] // 3
    rows = slice(int(panorama.shape[0] * 0.34), int(panorama.shape[0] * 0.62))
    strip = np.roll(panorama, shift, 1)[rows, : int(panorama.shape[1] * 0.26)]
    wall = cv2.GaussianBlur(cv2.resize(strip, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), (0, 0), 13)
    image = wall.astype(np.float32) * 0.85
    depth = np.linspace(0, 1, HEIGHT)[:, None, None]
    floor = np.array([142, 130, 118], np.float32) * (0.72 + 0.4 * (depth - 0.6))
    share = np.clip((depth - 0.6) / 0.05, 0, 1)
    return np.asarray(image * (1 - share) + floor * share, np.float32)


def _floor_shadow(image: npt.NDArray[np.float32], camera: npt.NDArray[np.float64], x: float, y: float) -> None:
    """A soft dark ellipse where the person stands, in place."""
    clip = camera @ (x, y, 0, 1)
    column = (clip[0] / clip[3] * 0.5 + 0.5) * WIDTH
    row = (0.5 - clip[1] / clip[3] * 0.5) * HEIGHT
    mask = np.zeros(image.shape[:2], np.float32)
    cv2.ellipse(mask, (int(column), int(row)), (95, 20), 0, 0, 360, 1.0, -1)
    image *= 1 - 0.45 * cv2.GaussianBlur(mask, (0, 0), 16)[..., None]


def sound() -> npt.NDArray[np.float32]:
    """(1, samples): a soft chord, and steps."""
    time = np.arange(SOUND_RATE * SECONDS) / SOUND_RATE
    chord = sum(np.sin(2 * np.pi * pitch * time) / (k + 2) for k, pitch in enumerate((220.0, 277.18, 329.63, 440.0)))
    fade = np.clip(time / 0.6, 0, 1) * np.clip((SECONDS - time) / 0.8, 0, 1)
    wave = 0.06 * chord * fade * (0.8 + 0.2 * np.sin(2 * np.pi * 0.4 * time))
    noise = np.random.default_rng(0).normal(0, 1, len(time))
    dull = np.convolve(noise, np.ones(60) / 60, "same")
    since_step = time * STEPS_A_SECOND % 1 / STEPS_A_SECOND
    return np.asarray(wave + 0.5 * dull * np.exp(-since_step * 60), np.float32)[None]


def write(frames: Iterator[UInt8Array], path: Path) -> None:
    """H.264 and AAC in an MP4 that starts before it is loaded."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "24", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        audio.bit_rate = 64_000
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        samples = av.AudioFrame.from_ndarray(sound(), format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        container.mux(audio.encode(samples))
        container.mux(audio.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--panorama", type=Path, required=True, help="an .exr.js of npm's @pmndrs/assets")
    parser.add_argument("--out", type=Path, required=True, help="a .mp4, or a .png of a few frames to look at")
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    scene = Scene(given.assets, read_panorama(given.panorama), given.seed)
    if given.out.suffix == ".png":
        few = [cv2.resize(scene.frame(time), (640, 360), interpolation=cv2.INTER_AREA) for time in (0.2, 1.6, 2.9, 4.4)]
        cv2.imwrite(str(given.out), np.vstack([np.hstack(few[:2]), np.hstack(few[2:])])[..., ::-1])
    else:
        write((scene.frame(index / RATE) for index in range(RATE * SECONDS)), given.out)


if __name__ == "__main__":
    main()
