"""Probabilities come beside the class map where they are asked for, and lie where the class map does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream import Segmenter
from sapiens_stream.classes import FOREGROUND, numbered
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Frame, PersonBox, Segmentation, UInt8Array
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.models.model import Model
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.soft import AlphaPlane, Extent, RankedPlanes
from tests.moving import scene, seeing
from tests.test_engine import SPEC, engine, model, picture
from tests.test_people_crops import Given
from tests.test_people_crops import engine as engine_for_people

pytestmark = [pytest.mark.usefixtures("one_thread")]

_LEVEL = 1 / 65535


def ramps(pixels: Tensor) -> Tensor:
    """Logits of 8 classes, smooth over the picture, that differ from picture to picture."""
    small = F.avg_pool2d(pixels.float(), 2).mean(1, keepdim=True)
    return torch.cat([small * (index - 3) * 0.7 + torch.sin(small * index) for index in range(8)], 1)


def noise(index: int = 0, size: tuple[int, int] = (90, 70)) -> Frame:
    small = np.random.default_rng(index).integers(0, 256, (6, 5, 3), np.uint8)
    return picture(np.asarray(cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8))


def found(frames: Sequence[Frame], made: Model | None = None, **options: Any) -> list[Segmentation]:
    subject = engine(made or model(ramps), **options)
    try:
        return [each for results in subject.run([frames]) for each in results]
    finally:
        subject.close()


def expected(frame: Frame, classes: Sequence[int]) -> np.ndarray[Any, Any]:
    """By the definition: softmax at the logits' resolution, summed, interpolated."""
    resized = cv2.resize(frame.rgb, (SPEC.width, SPEC.height), interpolation=cv2.INTER_LINEAR)
    pixels = (torch.from_numpy(resized).permute(2, 0, 1)[None].float() - _per_channel(SPEC.mean)) / _per_channel(
        SPEC.std
    )
    likely = ramps(pixels).softmax(1)[:, list(classes)].sum(1, keepdim=True)
    return F.interpolate(likely, frame.size, mode="bilinear", align_corners=False)[0, 0].numpy()


def _per_channel(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


@pytest.mark.parametrize(
    "wanted, classes",
    [
        ("foreground", range(1, 8)),
        ([3], [3]),
        (["class_2", 5], [2, 5]),
        (range(8), range(8)),
        ([0, 1, 2, 3, 4, 5], range(6)),
    ],
)
@pytest.mark.parametrize("size", [(90, 70), (31, 57), (1, 9)])
def test_alpha_is_the_summed_probability(wanted: Any, classes: Sequence[int], size: tuple[int, int]) -> None:
    frames = [noise(index, size) for index in range(3)]
    for frame, result in zip(frames, found(frames, alpha_of=wanted), strict=True):
        assert result.alpha is not None
        assert result.alpha.values.shape == (32, 24)
        assert result.alpha.classes == frozenset(classes)
        assert np.abs(result.alpha.full() - expected(frame, classes)).max() < 2 * _LEVEL + 1e-5


def test_off_there_is_nothing() -> None:
    [result] = found([noise()])
    assert result.alpha is None and result.ranked is None


@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_the_likeliest_classes_come_first(ranks: int) -> None:
    [result] = found([noise()], ranks=ranks)
    assert result.ranked is not None
    assert result.ranked.ids.shape == result.ranked.values.shape == (ranks, 32, 24)
    assert (np.diff(result.ranked.values.astype(int), axis=0) <= 0).all()
    if ranks == 8:
        for index in range(8):
            assert np.abs(result.ranked.full(index) - expected(result.frame, [index])).max() < 2 * _LEVEL + 1e-5
    covered = sum(result.ranked.full(index) for index in result.ranked.found())
    assert np.max(covered) < 1 + 9 * _LEVEL


def test_ranks_beyond_the_classes_are_all_there_are() -> None:
    [result] = found([noise()], model(lambda pixels: ramps(pixels)[:, :3], classes=numbered(3)), ranks=8)
    assert result.ranked is not None and len(result.ranked.ids) == 3


def test_of_one_channel_alpha_is_half_where_the_class_map_turns() -> None:
    made = model(lambda pixels: ramps(pixels)[:, 4:5], classes=FOREGROUND, threshold=-0.8)
    [result] = found([noise(size=(64, 48))], made, alpha_of="foreground", ranks=2)
    assert result.alpha is not None and result.ranked is not None
    full = result.alpha.full()
    assert (((full > 0.5) == (result.class_map > 0)) | (np.abs(full - 0.5) < 0.05)).all()
    assert np.array_equal(result.ranked.full(1), full)


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(60, 120), (121, 37), (64, 48)])
def test_it_lies_where_the_class_map_does(fit: str, size: tuple[int, int]) -> None:
    block = np.full((*size, 3), 16, np.uint8)
    block[size[0] // 4 : size[0] // 2, size[1] // 3 : size[1] // 2] = 7 * 32 + 16
    [result] = found([picture(block)], model(), fit=fit, alpha_of="foreground")
    assert result.alpha is not None
    full = result.alpha.full()
    assert full.shape == size
    assert ((full > 0.5) != (result.class_map > 0)).mean() < 0.01 + 2 / min(size)
    assert full[-1, -1] < 0.01 and full[0, 0] < 0.01


def test_what_the_model_did_not_see_is_nobody() -> None:
    [result] = found([noise(size=(48, 200))], fit="crop", alpha_of=range(8))
    assert result.alpha is not None
    full = result.alpha.full()
    assert not full[:, :50].any() and full[:, 90:110].min() > 0.99


def test_a_region_between_cells_is_interpolated_as_a_picture_of_its_own() -> None:
    plane = np.random.default_rng(1).random((20, 30), np.float32)
    whole = Extent((55, 77), (0, 0, 55, 77), (0.0, 0.0, 8.0, 10.0)).enlarged(plane[4:12, 6:16].copy())
    part = Extent((55, 77), (0, 0, 55, 77), (4.0, 6.0, 8.0, 10.0)).enlarged(plane)
    assert np.abs(whole - part).max() < 1e-5


def test_each_frame_of_a_batch_has_its_own() -> None:
    frames = [noise(index, size) for index, size in enumerate([(90, 70), (31, 57), (90, 70)])]
    together = found(frames, alpha_of="foreground", ranks=2, batch_size=3)
    for frame, one in zip(frames, together, strict=True):
        [alone] = found([frame], alpha_of="foreground", ranks=2)
        assert one.alpha is not None and alone.alpha is not None and one.ranked is not None and alone.ranked is not None
        assert np.abs(one.alpha.values.astype(int) - alone.alpha.values).max() <= 1
        assert one.alpha.extent == alone.alpha.extent
        assert one.ranked.extent.size == frame.size


@pytest.mark.parametrize("steady, every", [(1, 1), (0, 3), (2, 2)])
def test_refined_frames_have_theirs_from_what_the_class_map_is_made_of(steady: int, every: int) -> None:
    frames = [scene(index) for index in range(7)]
    made = seeing(0.3)
    subject = engine(made, alpha_of="foreground")
    try:
        results = [
            each
            for several in subject.run([[frame] for frame in frames], refiner_for(made, steady=steady, every=every))
            for each in several
        ]
    finally:
        subject.close()
    assert [each.frame.index for each in results] == list(range(7))
    for each in results:
        assert each.alpha is not None
        sure = np.abs(each.alpha.full() - 0.5) > 0.2
        assert ((each.alpha.full() > 0.5) == (each.class_map > 0))[sure].mean() > 0.995


def test_a_second_look_makes_it_finer() -> None:
    block = np.full((480, 640, 3), 16, np.uint8)
    block[200:280, 300:330] = 3 * 32 + 16
    person = PersonBox(300, 200, 30, 80)
    subject = engine_for_people(Given([person]), alpha_of=[3])
    try:
        [[result]] = list(subject.run([[picture(block)]]))
    finally:
        subject.close()
    assert result.alpha is not None
    assert result.alpha.values.shape[0] > 32
    full = result.alpha.full()
    assert full[240, 315] > 0.99 and full[240, 200] < 0.01 and full[100, 315] < 0.01


def test_several_devices_give_the_same() -> None:
    frames = [noise(index) for index in range(4)]
    subject = engine(device="cpu,cpu", alpha_of="foreground")
    try:
        results = [each for several in subject.run([[frame] for frame in frames]) for each in several]
    finally:
        subject.close()
    assert all(each.alpha is not None for each in results)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"alpha_of": "hair"}, "alpha_of is 'hair'"),
        ({"alpha_of": ["hair"]}, "no class 'hair'"),
        ({"alpha_of": []}, "names no class"),
        ({"alpha_of": [9]}, "no class '9'"),
        ({"ranks": 9}, "0 to 8"),
        ({"ranks": -1}, "0 to 8"),
        ({"ranks": True}, "0 to 8"),
    ],
)
def test_what_there_is_not_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        engine(model(), **options).close()


def test_the_built_in_model_is_sure_of_a_person(samples_photo: UInt8Array) -> None:
    with Segmenter("builtin", device="cpu", alpha_of="foreground", ranks=6) as subject:
        result = subject(samples_photo)
    assert result.alpha is not None and result.ranked is not None
    full = result.alpha.full()
    assert full[result.class_map > 0].mean() > 0.9 and full[result.class_map == 0].mean() < 0.1
    assert np.array_equal(result.matte(edge="soft"), full)
    assert np.array_equal(result.matte(edge="hard") > 0, result.class_map > 0)
    assert np.abs(result.matte() - full).mean() < 0.1
    with pytest.raises(UsageError, match="give alpha_of"):
        result.matte("hair", edge="soft")
    assert isinstance(result.alpha, AlphaPlane) and isinstance(result.ranked, RankedPlanes)


@pytest.fixture
def samples_photo() -> UInt8Array:
    from pathlib import Path

    photo = cv2.imread(str(Path(__file__).parents[1] / "samples" / "astronaut.jpg"))
    return np.asarray(photo[:, :, ::-1], np.uint8)


def test_options_are_kept_as_given() -> None:
    options = InferenceOptions(alpha_of=["hair", 2])
    assert options.alpha_of == ("hair", 2)
    assert replace(options, ranks=3).alpha_of == ("hair", 2)
