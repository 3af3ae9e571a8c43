"""Optical flow goes by its two pictures alone, whatever a thread has met before them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sapiens_stream.frame import Frame, UInt8Array
from sapiens_stream.inference.flow import Flow
from sapiens_stream.people import motion, steps
from sapiens_stream.people.motion import Pair
from sapiens_stream.people.steps import Steps

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
SIZE = 120, 160


def moved(size: tuple[int, int], seed: int = 1) -> tuple[UInt8Array, UInt8Array]:
    """A picture of (height, width), and the same a few pixels further."""
    height, width = size
    noise = np.random.default_rng(seed).integers(0, 256, (height + 3, width + 3), dtype=np.uint8)
    wide = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    return wide[3:, 2 : width + 2].copy(), wide[:height, :width].copy()


@pytest.mark.parametrize("small", [(16, 16), (24, 32), (48, 64), (60, 80), (161, 97)], ids=str)
@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_small_pictures_before_change_nothing(preset: int, small: tuple[int, int]) -> None:
    flow = Flow(preset)
    first = flow(*moved(small))
    np.testing.assert_array_equal(flow(*moved(small)), first)
    np.testing.assert_array_equal(flow(*moved(SIZE)), Flow(preset)(*moved(SIZE)))


def frame(index: int, grey: UInt8Array) -> Frame:
    return Frame(index=index, name=f"clip/{index:06d}", decoded=np.dstack([grey] * 3))


def pairs_of(size: tuple[int, int]) -> list[Pair]:
    """As `--every`, `--people` and `--steady` have them."""
    frames = [frame(index, grey) for index, grey in enumerate(moved(size)[::-1])]
    clip = Steps(1)
    clip.to(frames[0])
    return [motion.pair_of(frames[1], frames[0]).result(), clip.to(frames[1])[0].result()]


def test_a_clip_moves_alike_before_and_after_one_of_small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the threads has met those is chance."""
    for room in (motion, steps):
        monkeypatch.setattr(room, "_local", type(room._local)())
    before = pairs_of(SIZE)
    for size in ((16, 16), (48, 64), (60, 80)) * 4:
        pairs_of(size)
    for pair, own in zip(pairs_of(SIZE), before, strict=True):
        np.testing.assert_array_equal(pair.forth.field, own.forth.field)
        np.testing.assert_array_equal(pair.back.field, own.back.field)
