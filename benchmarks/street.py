"""Renders a street in which people walk to and fro before each other, with whose each pixel is, and its class.

    python -m benchmarks.street --assets DIR --panorama FILE --out CLIP.mp4 [--seconds 30] [--people 8] [--seed 1]

Needs the extra `train`; the assets are those of `sapiens_stream.training.render`. Beside CLIP.mp4 it leaves CLIP.npz
with `maps` and `ids`, (frames, H, W) uint8: ids from 1 on, 0 nobody. Each person is drawn once for each moment of a
step, and then set into the frames, so that a long clip takes hardly longer than a short one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.backgrounds import read_panorama
from sapiens_stream.training.clip import KEY, LIGHT, placed
from sapiens_stream.training.dressing import dress
from sapiens_stream.training.motions import STEPS_A_SECOND, walking
from sapiens_stream.training.person import Casting, Person
from sapiens_stream.training.photographer import look, perspective, shadow_camera
from sapiens_stream.training.scene import Canvas, Shot
from sapiens_stream.training.targets import LEFT_RIGHT

UInt8Array = npt.NDArray[np.uint8]
Floats = npt.NDArray[Any]  # float32; OpenCV's stubs cannot tell

WIDTH, HEIGHT, RATE = 1280, 720, 25
MOMENTS = 28
"""Drawn of two steps."""
DRAWN_WIDTH, DRAWN_HEIGHT, SEEN = 320, 440, 2.4
"""Pixels of a drawing, and the metres that its height shows."""
FEET = 0.06
"""Of a drawing's height, below the feet."""
FOCAL, EYE_HEIGHT, HORIZON = 1100, 1.7, 300
"""The street's camera: pixels, metres, row."""
NEAR, FAR = 7.5, 15.0
"""Metres from the camera at which people walk."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """Somebody at a moment: (h, w, 4) premultiplied, and (h, w) the classes."""

    rgba: UInt8Array
    label: UInt8Array

    def mirrored(self) -> Drawing:
        """The other way round, with left and right as they are then."""
        return Drawing(np.ascontiguousarray(self.rgba[:, ::-1]), np.ascontiguousarray(LEFT_RIGHT[self.label[:, ::-1]]))


@dataclass(frozen=True, eq=False)
class Walker:
    """Somebody who walks to and fro, across the picture or towards the camera and back."""

    there: list[Drawing]
    back: list[Drawing]
    across: bool
    middle: tuple[float, float]
    """Metres to the right of the camera's axis, and from the camera."""
    reach: float
    speed: float
    """Metres a second."""
    start: float
    """Seconds that they are ahead of the others."""

    def at(self, time: float) -> tuple[float, float, Drawing]:
        """Where they are, as `middle`, and what they look like."""
        time += self.start
        way = self.speed * time / (2 * self.reach) % 2
        along = self.reach * (2 * way - 1 if way < 1 else 3 - 2 * way)
        moment = int(time * STEPS_A_SECOND / 2 * MOMENTS) % MOMENTS
        x, z = self.middle
        drawing = (self.there if way < 1 else self.back)[moment]
        return (x + along, z, drawing) if self.across else (x, z + along, drawing)


class Street:
    """The same people, ways and background for the same seed."""

    def __init__(self, assets: Path, panorama: UInt8Array, people: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._casting = Casting(assets, self._rng)
        self._canvas = Canvas(DRAWN_WIDTH, DRAWN_HEIGHT)
        self._walkers = [self._walker(place, people) for place in range(people)]
        self._ground = _ground(panorama)

    def frame(self, time: float) -> tuple[UInt8Array, UInt8Array, UInt8Array]:
        """The picture, (HEIGHT, WIDTH, 3) RGB, its classes and its ids, (HEIGHT, WIDTH)."""
        image = self._ground.copy()
        classes, ids = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(2))
        seen = [(*walker.at(time), number) for number, walker in enumerate(self._walkers, 1)]
        for x, z, drawing, number in sorted(seen, key=lambda each: -each[1]):  # the farther ones first
            _set_in(image, classes, ids, drawing, (x, z), number)
        grain = np.random.default_rng(int(time * 1000)).normal(0, 1.5, image.shape[:2])[..., None]
        return np.clip(image + grain, 0, 255).astype(np.uint8), classes, ids

    def _walker(self, place: int, people: int) -> Walker:
        rng = self._rng
        person, clothes = self._casting.person(), rng.bit_generator.state
        across = place % 4 != 3
        z = NEAR + (FAR - NEAR) * (place + 0.5) / people
        there = [self._drawn(person, clothes, 84.0 if across else 180.0, moment) for moment in range(MOMENTS)]
        if across:  # half of two steps later the other leg is ahead, as in a mirror
            back = [there[(moment + MOMENTS // 2) % MOMENTS].mirrored() for moment in range(MOMENTS)]
        else:
            back = [self._drawn(person, clothes, 0.0, moment) for moment in range(MOMENTS)]
        beyond = rng.uniform(0.6, 1.15) * WIDTH / 2 / FOCAL * z
        return Walker(
            there=there,
            back=back,
            across=across,
            middle=(0.0, z) if across else (rng.uniform(-3, 3), (NEAR + FAR) / 2),
            reach=float(beyond) if across else (FAR - NEAR) / 2,
            speed=float(rng.uniform(0.8, 1.5)),
            start=float(rng.uniform(0, 40)),
        )

    def _drawn(self, person: Person, clothes: Any, yaw: float, moment: int) -> Drawing:
        self._rng.bit_generator.state = clothes
        pose = walking(moment / MOMENTS * 2 / STEPS_A_SECOND)
        body = self._casting.body
        lowest = float(body.posed(person.figure.rest, body.transforms(person.figure, pose))[:, 2].min())
        posed = dress(self._casting, person, pose, placed(0, 0, yaw, lowest))
        middle, away = SEEN * (0.5 - FEET), 10.0
        camera = perspective(2 * np.arctan(SEEN / 2 / away), DRAWN_WIDTH / DRAWN_HEIGHT) @ look(
            np.array([0.0, -away, middle]), np.array([0.0, 0.0, middle])
        )
        light = {**LIGHT, "neck_at": posed.neck_at}
        rgba, label = self._canvas.draw(
            posed.parts, Shot(camera=camera, sun=shadow_camera(posed.vertices, KEY), light=light)
        )
        return Drawing(rgba, label)


def _set_in(
    image: Floats, classes: UInt8Array, ids: UInt8Array, drawing: Drawing, place: tuple[float, float], number: int
) -> None:
    """Puts a drawing before what is there, in place."""
    x, z = place
    scale = FOCAL / z * SEEN / DRAWN_HEIGHT
    column, row = WIDTH / 2 + FOCAL * x / z, HORIZON + FOCAL * EYE_HEIGHT / z
    left, top = column - scale * DRAWN_WIDTH / 2, row - scale * DRAWN_HEIGHT * (1 - FEET)
    low = np.clip(np.floor([left, top]), 0, (WIDTH, HEIGHT)).astype(int)
    high = np.clip(np.ceil([left + scale * DRAWN_WIDTH, top + scale * DRAWN_HEIGHT]), 0, (WIDTH, HEIGHT)).astype(int)
    if (high <= low).any():
        return
    rgba, shrunk = drawing.rgba, min(1.0, 1.2 * scale)
    if shrunk < 1:  # averaged before it is moved, or edges alias
        rgba = cv2.resize(rgba, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
    size = tuple((high - low).tolist())
    rows, columns = drawing.label.shape

    def moved(plane: UInt8Array, how: int) -> UInt8Array:
        across, down = scale * columns / plane.shape[1], scale * rows / plane.shape[0]
        # Centres of pixels on centres of pixels.
        matrix = np.array([[across, 0, left - low[0] + across / 2 - 0.5], [0, down, top - low[1] + down / 2 - 0.5]])
        return np.asarray(cv2.warpAffine(plane, matrix, size, flags=how), np.uint8)

    colour = moved(np.asarray(rgba, np.uint8), cv2.INTER_LINEAR).astype(np.float32)
    label = moved(drawing.label, cv2.INTER_NEAREST)
    where = slice(low[1], high[1]), slice(low[0], high[0])
    alpha = colour[..., 3:] / np.float32(255)
    image[where] = image[where] * (1 - alpha) + colour[..., :3]
    there = (alpha[..., 0] > 0.5) & (label > 0)
    classes[where][there] = label[there]
    ids[where][there] = number


def _ground(panorama: UInt8Array) -> Floats:
    """(HEIGHT, WIDTH, 3) float32: a piece of a panorama, and a floor in the light of its lower half."""
    rows = slice(int(panorama.shape[0] * 0.3), int(panorama.shape[0] * 0.6))
    strip = panorama[rows, : int(panorama.shape[1] * 0.27)]
    image = cv2.resize(strip, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32) * np.float32(0.9)
    noise = cv2.resize(np.random.default_rng(0).normal(0, 1, (90, 160)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    floor = np.array([128, 120, 112], np.float32) + 7 * noise[..., None].astype(np.float32)
    share = np.clip((np.arange(HEIGHT) - HORIZON - 60) / 40, 0, 1)[:, None, None]
    return np.asarray(image * (1 - share) + floor * share, np.float32)


def write(street: Street, path: Path, seconds: float) -> None:
    """The clip, and beside it what is true of it."""
    maps, ids = [], []
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, (image, classes, own) in enumerate(_frames(street, seconds)):
            maps.append(classes)
            ids.append(own)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    np.savez_compressed(path.with_suffix(".npz"), maps=np.stack(maps), ids=np.stack(ids))


def _frames(street: Street, seconds: float) -> Iterator[tuple[UInt8Array, UInt8Array, UInt8Array]]:
    for index in range(round(RATE * seconds)):
        yield street.frame(index / RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--panorama", type=Path, required=True, help="an .exr.js of npm's @pmndrs/assets")
    parser.add_argument("--out", type=Path, required=True, help="a .mp4")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    write(Street(given.assets, read_panorama(given.panorama), given.people, given.seed), given.out, given.seconds)


if __name__ == "__main__":
    main()
