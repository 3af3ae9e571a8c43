"""Class maps carried along by optical flow: where nothing moves, where something does, and on a real clip."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.inference.propagation import LONG_SIDE, MaskPropagator, low_resolution, moved
from sapiens_stream.sources import Video

SAMPLE = Path(__file__).parents[1] / "samples" / "people.mp4"
STEP = 2  # pixels a frame


def noise(seed: int, size: tuple[int, int]) -> UInt8Array:
    """(height, width, 3): a texture with something to see at every scale, as clothes and walls have."""
    random = np.random.default_rng(seed)
    height, width = size
    layers = [cv2.resize(random.random((height // n, width // n, 3)), (width, height)) for n in (4, 12, 40)]
    return np.asarray(np.mean(layers, axis=0) * 255, np.uint8)


def patch_at(index: int) -> tuple[slice, slice]:
    left = 40 + STEP * index
    return slice(60, 180), slice(left, left + 90)


def scene(index: int, turns: int = 0, planar: bool = False) -> Segmentation:
    """A patch of class 5 that has moved `index` steps to the right over a still background."""
    picture, class_map = noise(0, (240, 320)), np.zeros((240, 320), np.uint8)
    picture[patch_at(index)] = noise(1, (120, 90))
    class_map[patch_at(index)] = 5
    stored = np.ascontiguousarray(np.rot90(picture, -turns))
    decoded = av.VideoFrame.from_ndarray(stored, "rgb24").reformat(format="yuv420p") if planar else stored
    frame = Frame(index=index, name=f"scene/{index}", decoded=decoded, quarter_turns=turns)
    return Segmentation(frame=frame, class_map=class_map, classes=SAPIENS)


def iou(one: UInt8Array, other: UInt8Array) -> float:
    """Of everything that is not background."""
    return float(((one > 0) & (one == other)).sum() / ((one > 0) | (other > 0)).sum())


class TestMoved:
    @pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (97, 161), (854, 480)])
    @pytest.mark.parametrize("cells", [0, 3])
    def test_a_whole_shift_is_exact_at_any_size(self, size: tuple[int, int], cells: int) -> None:
        height, width = size
        blocks = np.random.default_rng(0).integers(0, 28, (height // 7 + 1, width // 7 + 1))
        class_map = np.kron(blocks, np.ones((7, 7)))[:height, :width].astype(np.uint8)
        scale = min(1.0, LONG_SIDE / max(size))
        rows, columns = round(height * scale), round(width * scale)
        field = np.zeros((rows, columns, 2), np.float32)
        field[..., 0] = cells
        source = np.clip(np.rint(np.arange(width) + cells * width / columns).astype(int), 0, width - 1)
        assert (moved(class_map, field) == class_map[:, source]).mean() > 0.999

    def test_a_map_without_foreground_stays_empty(self) -> None:
        assert not moved(np.zeros((50, 60), np.uint8), np.ones((50, 60, 2), np.float32)).any()


class TestCarrier:
    @pytest.mark.parametrize("turns, planar", [(0, False), (0, True), (1, True)])
    def test_a_map_stays_on_what_moves(self, turns: int, planar: bool) -> None:
        propagator, first = MaskPropagator(), scene(0, turns, planar)
        for index in range(1, 13):
            now = scene(index, turns, planar)
            carried = propagator.carry(first, now.frame)
        assert iou(carried, now.class_map) > 0.8 > 0.6 > iou(first.class_map, now.class_map)

    def test_a_newer_map_takes_over_from_where_it_was_inferred(self) -> None:
        propagator, base, following = MaskPropagator(), scene(0), scene(4)
        for index in range(1, 9):  # the model is at work on the fourth frame meanwhile
            propagator.carry(base, scene(index).frame, following=[following.frame])
        for index in range(9, 16):
            now = scene(index)
            carried = propagator.carry(following, now.frame)
        assert iou(carried, now.class_map) > 0.85

    def test_frames_may_be_left_out_and_a_still_picture_stays_as_it_is(self) -> None:
        propagator, first = MaskPropagator(), scene(0)
        for index in (3, 9):
            carried = propagator.carry(first, scene(index).frame)
        assert iou(carried, scene(9).class_map) > 0.85
        still = Frame(index=1, name="still", decoded=first.frame.decoded)
        assert (MaskPropagator().carry(first, still) == first.class_map).all()

    def test_people_are_carried_as_their_classes_are(self) -> None:
        propagator, first = MaskPropagator(), scene(0)
        carried = propagator.carry(first, scene(3).frame)
        people = propagator.carry_people(np.where(first.class_map > 0, 300, 0).astype(np.uint16))
        assert carried.any() and (people == np.where(carried > 0, 300, 0)).all()

    def test_a_camera_that_changes_its_size(self) -> None:
        propagator, first = MaskPropagator(), scene(0)
        propagator.carry(first, scene(1).frame)
        small = Frame(index=2, name="small", decoded=noise(3, (100, 100)))
        result = Segmentation(frame=small, class_map=np.ones((100, 100), np.uint8), classes=SAPIENS)
        later = Frame(index=3, name="small", decoded=noise(3, (100, 100)))
        assert (propagator.carry(result, later, following=[scene(1).frame]) == 1).all()

    def test_a_real_clip(self) -> None:
        segmenter, results = Segmenter("builtin", device="cpu"), []
        first, last = 30, 38  # while people walk and turn
        with Video(SAMPLE) as video:
            for frame in video.frames():
                assert isinstance(frame, Frame)
                if frame.index < first:
                    continue
                small = Frame(index=frame.index, name=frame.name, decoded=cv2.resize(frame.rgb, (640, 360)))
                class_map = segmenter(small.rgb).class_map if frame.index in (first, last) else np.empty(0, np.uint8)
                results.append(Segmentation(frame=small, class_map=class_map, classes=SAPIENS))
                if frame.index == last:
                    break
        propagator = MaskPropagator()
        for result in results[1:]:
            carried = propagator.carry(results[0], result.frame)
        foreground = [each > 0 for each in (results[0].class_map, carried, results[-1].class_map)]
        in_place, carried_iou = (float((a & foreground[2]).sum() / (a | foreground[2]).sum()) for a in foreground[:2])
        assert carried_iou > in_place + 0.1


@pytest.mark.parametrize(
    "size, low",
    [((480, 640), (240, 320)), ((1920, 1080), (320, 180)), ((60, 80), (60, 80)), ((1000, 20), (320, 16))],
)
def test_flow_is_computed_at_a_bounded_size(size: tuple[int, int], low: tuple[int, int]) -> None:
    frame = Frame(index=0, name="x", decoded=np.zeros((*size, 3), np.uint8))
    assert low_resolution(frame).shape == low
