"""Renders people as cut-outs with the class of every pixel, for training.

python -m sapiens_stream.training.render --assets makehuman --out cutouts --count 6000 --seed 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.dressing import dress
from sapiens_stream.training.joints import seen_joints
from sapiens_stream.training.moments import moved_by, moved_on
from sapiens_stream.training.person import Casting
from sapiens_stream.training.photographer import Photographer
from sapiens_stream.training.scene import Canvas
from sapiens_stream.training.shards import LATER, PICTURES_A_BODY, write_shard

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

WIDTH, HEIGHT = 192, 256
SHARD = 40 * PICTURES_A_BODY
"""Pictures a file: whole bodies, so that a body is held out with all its pictures."""


def render(
    assets: Path, count: int, seed: int, width: int = WIDTH, height: int = HEIGHT, *, moments: bool = False
) -> Iterator[tuple[UInt8Array, UInt8Array, FloatArray]]:
    """Yields rgba (height, width, 4), premultiplied, label (height, width), and the joints as `seen_joints` gives
    them; the same ones for the same seed. With `moments` each is followed by its person a moment later."""
    rng = np.random.default_rng(seed)
    casting, photographer, canvas = Casting(assets, rng), Photographer(width / height, rng), Canvas(width, height)
    moving = np.random.default_rng([seed, 1])  # of its own: who is seen does not depend on it
    for index in range(count):
        if index % PICTURES_A_BODY == 0:
            person = casting.person()
        pose = casting.poser.draw(person.figure)
        clothes = rng.bit_generator.state
        posed = dress(casting, person, pose)
        shot = photographer.shoot(posed.vertices, posed.joints, posed.neck_at)
        yield *canvas.draw(posed.parts, shot), seen_joints(posed.joints, shot.camera)
        if moments:
            following, rng.bit_generator.state = rng.bit_generator.state, clothes
            posed = dress(casting, person, moved_on(pose, moving), moved_by(moving))
            rng.bit_generator.state = following
            yield *canvas.draw(posed.parts, shot), seen_joints(posed.joints, shot.camera)


def contact_sheet(pictures: list[tuple[UInt8Array, UInt8Array, FloatArray]], columns: int = 8) -> UInt8Array:
    """RGB: the pictures over grey, their classes beneath."""
    tiles = []
    for rgba, label, _ in pictures:
        over_grey = rgba[..., :3] + (255 - rgba[..., 3:].astype(int)) * 130 // 255
        tiles.append(np.vstack([over_grey.astype(np.uint8), SAPIENS.palette[label]]))
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles) // columns * columns, columns)]
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--assets", type=Path, required=True, help="MakeHuman's: clothes/, hair/, poses/, skins/, teeth/, ..."
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(WIDTH, HEIGHT), metavar=("WIDTH", "HEIGHT"), help="pixels of a cut-out"
    )
    parser.add_argument("--moments", action="store_true", help="each person a moment later, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="a picture of the first ones")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    started, shard, waiting = time.monotonic(), 0, []
    folders = (given.out, given.out / LATER) if given.moments else (given.out,)
    count, each = given.count * len(folders), len(folders)
    pictures = render(given.assets, given.count, given.seed, *given.size, moments=given.moments)
    for done, picture in enumerate(pictures, 1):
        waiting.append(picture)
        if given.sheet and done == min(count, 48):
            cv2.imwrite(str(given.sheet), contact_sheet(waiting)[..., ::-1])
        if len(waiting) == SHARD * each or done == count:
            for place, folder in reversed(list(enumerate(folders))):  # what is a moment later is there before
                stacks = map(np.stack, zip(*waiting[place::each], strict=True))
                write_shard(folder, f"{given.seed:04d}_{shard:04d}", *stacks)
            shard, waiting = shard + 1, []
            print(f"{done} pictures, {done / (time.monotonic() - started):.2f}/s", flush=True)


if __name__ == "__main__":
    main()
