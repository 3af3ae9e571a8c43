"""Renders the sample clip: five people of different ages, who walk, turn, wave and put hands to their face; with sound.

python -m sapiens_stream.training.clip --assets makehuman --panorama lobby.exr.js --out people.mp4
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from sapiens_stream.training.motions import STEPS_A_SECOND, Motion, hands_to_face, smooth, turning, walking, waving
from sapiens_stream.training.person import Casting, Person
from sapiens_stream.training.photographer import look, perspective, shadow_camera
from sapiens_stream.training.poses import Z, turn
from sapiens_stream.training.scene import Canvas, Shot

UInt8Array = npt.NDArray[np.uint8]

WIDTH, HEIGHT, RATE, SECONDS = 1280, 720, 25, 5
ONE_WIDTH = 480
"""Columns of the piece of the picture in which one person is drawn."""
SOUND_RATE = 44100
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


def placed(x: float, y: float, yaw: float, lowest: float) -> Transforms:
    """(4, 4): to x, y on the floor, turned by `yaw` degrees, feet at z = 0."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn(Z, yaw)
    matrix[:3, 3] = x, y, -lowest
    return matrix


@dataclass(frozen=True, eq=False)
class Actor:
    """Somebody in the clip: what they do, and where they stand (x, y in metres, degrees they are turned by)."""

    person: Person
    clothes: Any
    """State of the random numbers from which they are dressed: the same clothes in each frame."""
    motion: Motion
    place: Callable[[float], tuple[float, float, float]]


@dataclass(frozen=True)
class _Role:
    male: bool
    ages: tuple[float, float]
    place: Callable[[float], tuple[float, float, float]]
    motion: Motion | None
    """None: hands to the face, which depends on whose it is."""


ROLES = (
    _Role(True, (0.55, 0.75), lambda time: (-2.2 + 0.75 * time, 0.9, 84.0), walking),
    _Role(False, (0.5, 0.65), lambda time: (-0.75 + 0.04 * time, 3.4 - 0.75 * time, -4.0), walking),
    _Role(True, (0.44, 0.54), lambda time: (-1.75, 0.1, 20 + 340 * smooth(time, 0.4, 4.6)), turning),
    _Role(False, (0.8, 1.0), lambda _: (0.5, 0.0, -6.0), None),
    _Role(False, (0.2, 0.28), lambda _: (1.4, -0.45, -14.0), waving),
)


class Scene:
    """Five people who keep their clothes from frame to frame."""

    def __init__(self, assets: Path, panorama: UInt8Array, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.casting = Casting(assets, self.rng)
        self.canvas = Canvas(ONE_WIDTH, HEIGHT)
        self.actors = [self._cast(role) for role in ROLES]
        self.camera = perspective(FOV, WIDTH / HEIGHT) @ look(EYE, AT)
        self.backdrop = _backdrop(panorama)

    def _cast(self, role: _Role) -> Actor:
        while True:
            person = self.casting.person()
            if person.male == role.male and role.ages[0] <= person.age <= role.ages[1]:
                motion = role.motion or hands_to_face(self.casting.poser, person.figure)
                return Actor(person, self.rng.bit_generator.state, motion, role.place)

    def frame(self, time: float) -> UInt8Array:
        """(HEIGHT, WIDTH, 3) uint8 RGB."""
        image = self.backdrop.copy()
        for actor in sorted(self.actors, key=lambda actor: -actor.place(time)[1]):  # the farther ones first
            self._draw(image, actor, time)
        grain = np.random.default_rng(int(time * 1000)).normal(0, 1.5, image.shape[:2])[..., None]
        return np.asarray(np.clip(image + grain, 0, 255), np.uint8)

    def _draw(self, image: npt.NDArray[np.float32], actor: Actor, time: float) -> None:
        self.rng.bit_generator.state = actor.clothes
        person, pose, (x, y, yaw) = actor.person, actor.motion(time), actor.place(time)
        still = self.casting.body.transforms(person.figure, pose)
        lowest = float(self.casting.body.posed(person.figure.rest, still)[:, 2].min())
        posed = dress(self.casting, person, pose, placed(x, y, yaw, lowest))
        left = int(np.clip(_seen_at(self.camera, x, y, 0)[0] - ONE_WIDTH / 2, 0, WIDTH - ONE_WIDTH))
        zoom = np.eye(4)
        zoom[0, 0], zoom[0, 3] = WIDTH / ONE_WIDTH, (WIDTH - 2 * left) / ONE_WIDTH - 1
        light = {**LIGHT, "neck_at": posed.neck_at}
        shot = Shot(camera=zoom @ self.camera, sun=shadow_camera(posed.vertices, KEY), light=light)
        rgba, _ = self.canvas.draw(posed.parts, shot)
        _floor_shadow(image, self.camera, x, y)
        here = image[:, left : left + ONE_WIDTH]
        here *= 1 - rgba[..., 3:] / np.float32(255)
        here += rgba[..., :3]


def _seen_at(camera: npt.NDArray[np.float64], x: float, y: float, z: float) -> tuple[float, float]:
    """Column and row of a point of the world."""
    clip = camera @ (x, y, z, 1)
    return float((clip[0] / clip[3] * 0.5 + 0.5) * WIDTH), float((0.5 - clip[1] / clip[3] * 0.5) * HEIGHT)


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
    (column, row), (edge, _) = _seen_at(camera, x, y, 0), _seen_at(camera, x + 0.36, y, 0)
    width = edge - column
    mask = np.zeros(image.shape[:2], np.float32)
    cv2.ellipse(mask, (round(column), round(row)), (round(width), round(0.21 * width)), 0, 0, 360, 1.0, -1)
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
    parser.add_argument("--seed", type=int, default=8)
    given = parser.parse_args()
    scene = Scene(given.assets, read_panorama(given.panorama), given.seed)
    if given.out.suffix == ".png":
        few = [cv2.resize(scene.frame(time), (640, 360), interpolation=cv2.INTER_AREA) for time in (0.2, 1.6, 2.9, 4.4)]
        cv2.imwrite(str(given.out), np.vstack([np.hstack(few[:2]), np.hstack(few[2:])])[..., ::-1])
    else:
        write((scene.frame(index / RATE) for index in range(RATE * SECONDS)), given.out)


if __name__ == "__main__":
    main()
