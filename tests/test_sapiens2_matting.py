"""Sapiens2's matting network, of a small random configuration: its alpha is the library's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_stream import Segmenter
from sapiens_stream.classes import FOREGROUND
from sapiens_stream.errors import ModelError
from sapiens_stream.models import open_model
from tests.media import make_video
from tests.program import Program, record_of
from tests.test_mattes import planes
from tests.test_sapiens2 import SHAPE, config, logits, pixels

transformers = pytest.importorskip("transformers", "5.10.1", reason="the extra sapiens2 is not installed")
if not hasattr(transformers, "Sapiens2ForImageMatting"):
    pytest.skip("this transformers has no matting network of Sapiens2", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("one_thread")
HEAD = {"upsample_out_channels": [16, 12, 8, 8], "upsample_kernel_sizes": [3, 3, 3, 3], "conv_out_channels": [8, 8]}
HEAD |= {"conv_kernel_sizes": [3, 3], "use_pixel_shuffle": True}


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(3)
    made = transformers.Sapiens2ForImageMatting(config(num_labels=4, head_config=HEAD)).eval()
    with torch.no_grad():  # so that there is something opaque and something clear
        made.decode_head.predictor.weight.mul_(8)
    return made


@pytest.fixture(scope="module")
def folder(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub") / "sapiens2-matting-tiny"
    network.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def lone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights alone, as they are published: under Meta's names."""
    path = tmp_path_factory.mktemp("download") / "sapiens2_tiny_matting.safetensors"
    weights = load_file(folder / "model.safetensors")
    assert "decode_head.conv_matting.weight" in weights and "decode_head.input_conv.0.weight" in weights
    save_file(weights, path)
    return path


def in_transformers_names(network: Any, folder: Path, lone: Path, path: Path) -> Path:
    network.save_pretrained(path, save_original_format=False)
    return Path(shutil.move(path / "model.safetensors", path / "own.safetensors"))


@pytest.mark.parametrize(
    "given",
    [lambda network, folder, lone, path: folder, lambda network, folder, lone, path: lone, in_transformers_names],
    ids=["folder", "file alone", "transformers' names"],
)
def test_its_alpha_is_the_librarys_own(
    given: Callable[..., Path], network: Any, folder: Path, lone: Path, tmp_path: Path
) -> None:
    model = open_model(given(network, folder, lone, tmp_path), shape=SHAPE)
    with torch.inference_mode():
        expected = network(pixels()).alphas
    assert (model.kind, model.classes, model.logits_size) == ("sapiens2-matting", FOREGROUND, SHAPE)
    assert model.threshold == 0 and model.assumed is None
    found = logits(model, pixels())
    assert found.shape == (2, 1, *SHAPE) and found.isfinite().all()
    torch.testing.assert_close(found.sigmoid(), expected, rtol=0, atol=2e-6)


def test_the_class_map_is_foreground_from_a_half_on(lone: Path) -> None:
    photo = np.random.default_rng(2).integers(0, 256, (*SHAPE, 3), np.uint8)
    with Segmenter(lone, device="cpu", shape=SHAPE, alpha_of="foreground") as model:
        result = model(photo)
    assert result.alpha is not None and result.alpha.values.shape == SHAPE
    soft = result.matte(edge="soft")
    assert ((soft > 0.5) == (result.class_map > 0))[np.abs(soft - 0.5) > 1e-4].all()
    assert 0 < (result.class_map > 0).mean() < 1


def test_a_matte_of_a_video_is_its_alpha(program: Program, lone: Path, tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=2, size=(64, 48))
    out = tmp_path / "out"
    outcome = program(
        "video", clip, "-m", lone, "-o", out, "--shape", *SHAPE, "--overlay", "none", "--save", "none",
        "--matte", "ffv1", "--edge", "soft", "--steady", 1,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert record_of(out)["model"]["kind"] == "sapiens2-matting"
    [grey] = planes(out / "clip_matte_ffv1.mkv")[0]
    assert grey.dtype == np.uint16 and len(np.unique(grey)) > 50


def test_what_a_file_is(program: Program, lone: Path) -> None:
    outcome = program("models", "info", lone, "--json")
    assert outcome.code == 0, outcome
    facts = json.loads(outcome.stdout)
    assert "matting" in facts["run_by"] and facts["classes"] == 2


def test_the_published_one_has_a_name(program: Program) -> None:
    assert any(line.startswith("sapiens2-matting-1b") for line in program("models", "list").stdout.splitlines())
    outcome = program("models", "info", "sapiens2-matting-1b")
    assert outcome.code == 0 and "models pull sapiens2-matting-1b" in outcome.stdout


def test_a_network_of_other_channels_is_named(network: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    wrong = transformers.Sapiens2ForNormalEstimation(config(num_labels=3, head_config=HEAD))
    wrong.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="it is not of the segmentation model"):
        open_model(tmp_path, shape=SHAPE)
