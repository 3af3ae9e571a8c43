"""The flow that `--steady` mixes along: of what is narrow, over one frame and over two."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sapiens_stream.frame import Frame
from sapiens_stream.people.motion import pair_of
from sapiens_stream.people.steps import Steps

SIZE = 480, 848
LEFT, TOP, HEIGHT = 300, 150, 130
STEP = 5, -2
"""Pixels right and down, a frame."""


def frame_of(picture: np.ndarray, index: int) -> Frame:
    return Frame(index=index, name=str(index), decoded=picture)


def textured(height: int, width: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def clip(width: int, count: int = 4) -> list[np.ndarray]:
    """Somebody `width` pixels wide, who goes before a wall that stands."""
    wall, person = textured(*SIZE, 0), textured(HEIGHT, width, 1)
    pictures = []
    for index in range(count):
        picture = wall.copy()
        x, y = LEFT + STEP[0] * index, TOP + STEP[1] * index
        picture[y : y + HEIGHT, x : x + width] = person
        pictures.append(np.dstack([picture] * 3))
    return pictures


def miss(pair, width: int, index: int, frames: int) -> float:
    """Median distance, source pixels, of where the flow leads from in the person to where it was `frames` before."""
    field = pair.forth.field
    scale = field.shape[1] / SIZE[1]
    x, y = (LEFT + STEP[0] * index) * scale, (TOP + STEP[1] * index) * scale
    inside = field[round(y) + 2 : round(y + HEIGHT * scale) - 2, round(x) + 1 : round(x + width * scale) - 1]
    expected = -np.array(STEP) * frames * scale
    return float(np.median(np.linalg.norm(inside - expected, axis=2))) / scale


@pytest.mark.parametrize("width", [24, 40, 120])
def test_somebody_is_followed_however_narrow(width):
    frames = [frame_of(picture, index) for index, picture in enumerate(clip(width))]
    steps = Steps(2)
    pairs = [steps.to(frame) for frame in frames]
    one, two = pairs[3][0].result(), pairs[3][1].result()
    assert miss(one, width, 3, 1) < 0.75
    assert miss(two, width, 3, 2) < 1.5


def test_the_flow_of_before_lost_who_is_narrow():
    frames = [frame_of(picture, index) for index, picture in enumerate(clip(24))]
    assert miss(pair_of(frames[3], frames[2]).result(), 24, 3, 1) > 3


def test_there_are_no_more_pairs_than_frames_before():
    frames = [frame_of(picture, index) for index, picture in enumerate(clip(40, 3))]
    steps = Steps(2)
    assert [len(steps.to(frame)) for frame in frames] == [0, 1, 2]


def test_nothing_leads_over_a_cut():
    pictures = clip(40, 2) + [np.dstack([textured(*SIZE, 9) // 3] * 3)] * 2
    steps = Steps(2)
    pairs = [steps.to(frame_of(picture, index)) for index, picture in enumerate(pictures)]
    assert [[pair.result().cut for pair in each] for each in pairs] == [[], [False], [True, True], [False, True]]
