"""The class map is that of F.interpolate + argmax, whatever the logits and sizes, and takes little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream.inference import class_map as subject
from sapiens_stream.inference.class_map import class_map

GOLDEN = Path(__file__).parent / "data" / "golden"


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def noisy(classes: int, height: int, width: int) -> Tensor:
    return random(classes, height, width)


def smooth(classes: int, height: int, width: int) -> Tensor:
    coarse = random(1, classes, max(2, height // 12), max(2, width // 12))
    return F.interpolate(coarse, size=(height, width), mode="bicubic")[0]


def fine(classes: int, height: int, width: int) -> Tensor:
    """Between the two: about a fifth to a half of the cells at a boundary."""
    coarse = random(1, classes, max(2, height // 4), max(2, width // 4))
    return F.interpolate(coarse, size=(height, width), mode="bicubic")[0] + 0.02 * noisy(classes, height, width)


def constant(classes: int, height: int, width: int) -> Tensor:
    return torch.full((classes, height, width), -1.5)


def quantised(classes: int, height: int, width: int) -> Tensor:
    """Few values, so that classes tie at most corners."""
    return smooth(classes, height, width).mul(2).round()


def expected(logits: Tensor, size: tuple[int, int], threshold: float = 0.0) -> tuple[Tensor, Tensor]:
    """The definition: the class map, and the interpolated logits."""
    values = F.interpolate(logits[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    if len(values) == 1:
        return (values[0] > threshold).to(torch.uint8), torch.cat((torch.full_like(values, threshold), values))
    return values.argmax(0).to(torch.uint8), values


def assert_same(logits: Tensor, size: tuple[int, int], **settings: float) -> None:
    """At most 3 pixels differ, and where one does the two classes tie within float32's rounding.

    Where the logits have few values, whole lines tie exactly, and F.interpolate, which has several kernels, rounds them
    now this way, now that: there any number of ties may differ.
    """
    result = class_map(logits, size, **settings)
    wanted, values = expected(logits, size, **settings)
    assert result.dtype == torch.uint8
    assert result.shape == size
    differ = result != wanted
    assert int(differ.sum()) <= 3 or len(logits.unique()) < 40
    ours, theirs = (values.gather(0, each.long()[None])[0][differ] for each in (result, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [noisy, smooth, fine, constant, quantised])
@pytest.mark.parametrize("classes", [1, 2, 28, 29, 255])
@pytest.mark.parametrize(
    ("logits_size", "size"),
    [
        pytest.param((32, 24), (135, 240), id="up"),
        pytest.param((32, 24), (20, 13), id="down"),
        pytest.param((32, 24), (32, 24), id="equal"),
        pytest.param((32, 24), (16, 211), id="down and up"),
        pytest.param((32, 24), (211, 16), id="up and down"),
        pytest.param((31, 23), (97, 101), id="odd"),
        pytest.param((32, 24), (96, 72), id="threefold, some pixels on a logit"),
        pytest.param((32, 24), (1, 1), id="to one pixel"),
        pytest.param((32, 24), (1, 500), id="to one row"),
        pytest.param((1, 1), (40, 50), id="of one logit"),
        pytest.param((1, 24), (40, 150), id="of one row"),
        pytest.param((32, 1), (150, 40), id="of one column"),
        pytest.param((2, 2), (300, 200), id="blocks longer than one step"),
    ],
)
def test_equals_interpolate_and_argmax(
    make: Callable[[int, int, int], Tensor], classes: int, logits_size: tuple[int, int], size: tuple[int, int]
) -> None:
    assert_same(make(classes, *logits_size), size)


@pytest.mark.parametrize("make", [noisy, smooth, fine])
@pytest.mark.parametrize("size", [(1080, 1920), (720, 405)])
def test_equals_interpolate_and_argmax_at_the_models_size(
    make: Callable[[int, int, int], Tensor], size: tuple[int, int]
) -> None:
    assert_same(make(6, 512, 384), size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_compared_in_float32(dtype: torch.dtype) -> None:
    assert_same(fine(28, 32, 24).to(dtype), (135, 240))


@pytest.mark.parametrize("threshold", [-0.7, 0.0, 0.3])
def test_one_channel_is_foreground_above_the_threshold(threshold: float) -> None:
    assert_same(smooth(1, 32, 24), (135, 240), threshold=threshold)
    assert not class_map(torch.full((1, 4, 4), threshold), (33, 33), threshold=threshold).any()


def test_a_random_search_finds_no_difference_but_ties() -> None:
    random_numbers = np.random.default_rng(5)
    for _ in range(120):
        classes, height, width = (int(random_numbers.integers(*span)) for span in ((1, 40), (1, 40), (1, 40)))
        size = int(random_numbers.integers(1, 160)), int(random_numbers.integers(1, 160))
        make = (noisy, smooth, fine, quantised)[random_numbers.integers(4)]
        assert_same(make(classes, height, width), size)


def test_the_way_for_a_device_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps for CUDA are the same torch operations; here they run on the CPU, in several chunks."""
    monkeypatch.setattr(subject.class_map_cpu, "filled", subject._filled)
    monkeypatch.setattr(subject, "_CHUNK", 1 << 16)
    assert_same(smooth(28, 64, 48), (400, 300))


@pytest.mark.cuda
@pytest.mark.parametrize("make", [noisy, smooth, fine])
def test_cuda_gives_what_the_cpu_gives(make: Callable[[int, int, int], Tensor]) -> None:
    logits = make(28, 128, 96)
    there = class_map(logits.cuda(), (1080, 1920))
    assert there.device.type == "cuda"
    assert int((there.cpu() != class_map(logits, (1080, 1920))).sum()) <= 3


@pytest.mark.parametrize(
    "region", [(0, 0, 32, 24), (5, 0, 20, 24), (0, 7, 32, 9), (3, 4, 1, 1)], ids=lambda region: str(region)
)
def test_a_region_of_whole_numbers_is_a_cut(region: tuple[int, int, int, int]) -> None:
    logits = fine(28, 32, 24)
    top, left, height, width = region
    part = logits[:, top : top + height, left : left + width]
    result = class_map(logits, (135, 240), region=region)
    assert int((result != expected(part, (135, 240))[0]).sum()) <= 3


def test_a_region_of_fractions_lies_where_it_says() -> None:
    """Class 1 is right of coordinate 12, class 2 below 16, counted from edge to edge of the logits."""
    logits = torch.zeros(3, 32, 24)
    logits[1, :, 12:] = 1
    logits[2, 16:] = 2
    result = class_map(logits, (400, 200), region=(6.5, 4.25, 20.0, 10.0))
    columns, rows = np.flatnonzero(result[0].numpy() == 1), np.flatnonzero(result[:, 0].numpy() == 2)
    assert columns[0] == pytest.approx((12 - 4.25) / 10 * 200, abs=11)  # a boundary is half a logit wide at most
    assert rows[0] == pytest.approx((16 - 6.5) / 20 * 400, abs=11)


def test_logits_stay_as_they_are() -> None:
    logits = fine(28, 32, 24)
    before = logits.clone()
    class_map(logits, (300, 200))
    assert torch.equal(logits, before)


def test_not_a_number_does_not_stop_it() -> None:
    logits = smooth(28, 32, 24)
    logits[:, 10:20, 5:9] = torch.nan
    result = class_map(logits, (300, 200))
    wanted, _ = expected(logits.nan_to_num(0), (300, 200))
    far = np.s_[:80]
    assert torch.equal(result[far], wanted[far])


@pytest.mark.parametrize(
    ("size", "limit"), [((2160, 3840), 100e6), ((8700, 11500), 250e6)], ids=["4K", "100 megapixels"]
)
def test_memory_is_bounded(size: tuple[int, int], limit: float) -> None:
    """Beyond the logits, and with the class map itself; interpolating takes 958 MB at 4K."""
    code = f"""
import torch, torch.nn.functional as F
from benchmarks.class_map import extra_memory
from sapiens_stream.inference.class_map import class_map
logits = F.interpolate(torch.randn(1, 28, 16, 12), size=(512, 384), mode="bicubic")[0].contiguous()
print(extra_memory(lambda: class_map(logits, {size})))
"""
    root = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    size_of_result = size[0] * size[1]
    assert size_of_result < int(run.stdout) < limit


def golden_logits(photo: Path, checkpoint: Path) -> tuple[Tensor, tuple[int, int]]:
    picture = cv2.imread(str(photo))
    pixels = cv2.resize(picture, (768, 1024))[..., ::-1].astype(np.float32)
    pixels = (pixels - np.float32((123.5, 116.5, 103.5))) / np.float32((58.5, 57.0, 57.5))
    with torch.inference_mode():
        logits = torch.jit.load(str(checkpoint))(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))[0]
    return logits, (picture.shape[0], picture.shape[1])


@pytest.mark.parametrize("name", ["astronaut.png", "astronaut_crop.jpg", "astronaut_wide.jpg"])
def test_golden_photos(name: str, goliath: Path) -> None:
    logits, size = golden_logits(GOLDEN / name, goliath)
    result = class_map(logits, size)
    assert int((result != expected(logits, size)[0]).sum()) <= 3
    stored = cv2.imread(str(GOLDEN / f"{Path(name).stem}_seg.png"), cv2.IMREAD_UNCHANGED)
    # Near-ties: another build's forward pass rounds otherwise.
    assert int((result.numpy() != stored).sum()) <= max(3, stored.size * 5e-6)


@pytest.mark.parametrize("name", ["coco_241", "coco_544", "reel_4k_10"])
def test_golden_photos_of_the_larger_set(name: str, goliath: Path, shared: Path) -> None:
    logits, size = golden_logits(shared / "golden" / "input" / f"{name}.jpg", goliath)
    result = class_map(logits, size).numpy()
    stored = cv2.imread(str(shared / "golden" / "expected" / f"{name}_seg.png"), cv2.IMREAD_UNCHANGED)
    assert int((result != stored).sum()) <= max(3, stored.size * 5e-6)


@pytest.mark.parametrize("make", [smooth, fine, noisy])
@pytest.mark.parametrize("region", [None, (2.5, 1.0, 17.0, 21.5)])
@pytest.mark.parametrize("size", [(135, 240), (25, 30)])
@pytest.mark.parametrize("classes", [1, 28])
def test_pictures_laid_one_below_the_other_do_not_touch(
    make: Callable[[int, int, int], Tensor],
    region: tuple[float, float, float, float] | None,
    size: tuple[int, int],
    classes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a device does them, with its way of filling too."""
    batch = torch.stack([make(classes, 20, 24).roll(index, 0) * (1 + index) for index in range(3)])
    each = torch.stack([class_map(logits, size, threshold=0.1, region=region) for logits in batch])
    together = subject._stacked(batch.transpose(0, 1), size, 0.1, region)
    assert torch.equal(together, each)
    monkeypatch.setattr(subject.class_map_cpu, "filled", subject._filled)
    assert int((subject._stacked(batch.transpose(0, 1), size, 0.1, region) != each).sum()) <= 3
