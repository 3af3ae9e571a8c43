"""Sapiens2: weights without their network, of a random small one and of the published sizes."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS2
from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.install_line import install_line
from sapiens_stream.models import open_model
from sapiens_stream.models.model import Model
from sapiens_stream.models.sapiens2.sizes import Sizes
from tests.program import Program

transformers = pytest.importorskip("transformers", "5.10.1", reason="the extra sapiens2 is not installed")

SHAPE = (64, 48)
SAMPLES = Path(__file__).parents[1] / "samples"
Tensors = dict[str, torch.Tensor]
pytestmark = pytest.mark.usefixtures("one_thread")


def config(**changed: Any) -> Any:
    """A small network of every part that the published ones have: grouped heads in the middle, four upsamplings."""
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads_per_layer": [4, 2, 4],
        "num_register_tokens": 2,
        "num_labels": 29,
        "head_config": {"upsample_out_channels": [16, 12, 8, 8], "conv_out_channels": [8, 8]},
    }
    return transformers.Sapiens2Config(**sizes | changed)


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(5)
    return transformers.Sapiens2ForSemanticSegmentation(config()).eval()


@pytest.fixture(scope="module")
def folder(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the library writes: config.json, and model.safetensors under Meta's names of the tensors."""
    path = tmp_path_factory.mktemp("hub") / "sapiens2-tiny"
    network.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def lone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights alone, under the other published name, with the buffer that Meta's files bring along."""
    path = tmp_path_factory.mktemp("download") / "sapiens2_tiny_seg.safetensors"
    periods = {"backbone.rope_embed.periods": torch.ones(2)}
    save_file(load_file(folder / "model.safetensors") | periods, path)
    return path


def logits(model: Model, pixels: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with torch.inference_mode():
        return model.place(torch.device("cpu"), dtype)(pixels.to(dtype))


def test_a_folder_of_parts_is_refused_with_how_to_join_them(program: Program, network: Any, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path, max_shard_size="50KB")
    for arguments in (("models", "info", tmp_path), ("images", tmp_path, "--input", SAMPLES / "astronaut.jpg")):
        outcome = program(*arguments)
        assert outcome.code == 1
        assert "safetensors files; one is needed" in outcome.stderr and "max_shard_size" in outcome.stderr


def test_info_takes_the_one_file_of_a_folder_whatever_its_name(program: Program, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "config.json", tmp_path)
    shutil.copy(folder / "model.safetensors", tmp_path / "weights.safetensors")
    told = json.loads(program("models", "info", tmp_path, "--json").stdout)
    assert (told["path"], told["problem"]) == (str(tmp_path / "weights.safetensors"), None)


def pixels(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, *SHAPE, generator=torch.Generator().manual_seed(1))


def in_transformers_names(network: Any, path: Path) -> Path:
    network.save_pretrained(path, save_original_format=False)
    return path / "model.safetensors"


def without_its_suffix(folder: Path, path: Path) -> Path:
    return Path(shutil.copy(folder / "model.safetensors", path / "weights.pt2"))


@pytest.mark.parametrize(
    "given",
    [
        lambda network, folder, lone, path: folder,
        lambda network, folder, lone, path: folder / "model.safetensors",
        lambda network, folder, lone, path: lone,
        lambda network, folder, lone, path: in_transformers_names(network, path),
        lambda network, folder, lone, path: without_its_suffix(folder, path),
    ],
    ids=["folder", "file with its config", "file alone", "transformers' names", "any file name"],
)
def test_logits_are_the_librarys_own(
    given: Callable[..., Path], network: Any, folder: Path, lone: Path, tmp_path: Path
) -> None:
    model = open_model(given(network, folder, lone, tmp_path), shape=SHAPE)
    with torch.inference_mode():
        expected = network(pixels()).logits
    assert (model.kind, model.classes, model.logits_size) == ("sapiens2", SAPIENS2, SHAPE)
    assert model.input.mean == (123.675, 116.28, 103.53) and model.input.std == (58.395, 57.12, 57.375)
    torch.testing.assert_close(logits(model, pixels()), expected, rtol=0, atol=0)


def test_half_precision_follows(lone: Path) -> None:
    model = open_model(lone, shape=SHAPE)
    full, half = logits(model, pixels()), logits(model, pixels(), torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).norm() / full.norm() < 0.05  # 8 bits of mantissa through a dozen layers


@pytest.mark.cuda
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 5e-3), (torch.float16, 0.02), (torch.bfloat16, 0.1)])
def test_the_logits_are_the_same_on_cuda(lone: Path, dtype: torch.dtype, most: float) -> None:
    model = open_model(lone, shape=SHAPE)
    here = logits(model, pixels())
    with torch.inference_mode():
        there = model.place(torch.device("cuda"), dtype)(pixels().to("cuda", dtype)).float().cpu()
    assert (there - here).norm() / here.norm() < most  # convolutions in float32 have TF32's 10 bits


def test_a_picture_is_segmented_at_the_published_size(lone: Path) -> None:
    segmenter = Segmenter(lone, device="cpu")
    assert (segmenter.model.input.height, segmenter.model.input.width) == (1024, 768)
    result = segmenter(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    assert result.class_map.shape == (90, 120) and result.class_map.max() < 29


@pytest.mark.parametrize(
    ("hidden", "layers", "heads"),
    [(1024, 24, 16), (1280, 32, 16), (1536, 40, 24), (2432, 56, 32)],
    ids=["0.4b", "0.8b", "1b", "5b"],
)
def test_the_published_sizes_are_read_off_the_shapes(hidden: int, layers: int, heads: int) -> None:
    published = config(
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads_per_layer=None,
        num_key_value_attention_heads=heads // 2,
        num_register_tokens=8,
        head_config={"upsample_out_channels": [512, 256, 128, 64], "conv_out_channels": [64, 64]},
    )
    with torch.device("meta"):
        network = transformers.Sapiens2ForSemanticSegmentation(published)
    sizes = Sizes.of({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})
    assert (sizes.patch, sizes.scale, sizes.classes) == (16, 16, 29)
    found, wanted = transformers.Sapiens2Config(**sizes.settings), published
    assert found.head_config.to_dict() == wanted.head_config.to_dict()
    assert [getattr(found, name) for name in sizes.settings if name != "head_config"] == [
        getattr(wanted, name) for name in sizes.settings if name != "head_config"
    ]


def test_what_shapes_do_not_tell_comes_from_the_config_beside(folder: Path, tmp_path: Path) -> None:
    for name, theta in (("as saved", "100.0"), ("other", "7.0")):
        shutil.copytree(folder, tmp_path / name)
        text = (tmp_path / name / "config.json").read_text()
        (tmp_path / name / "config.json").write_text(re.sub(r'("rope_theta": )[\d.]+', rf"\g<1>{theta}", text))
    saved, other = (logits(open_model(tmp_path / name, shape=SHAPE), pixels()) for name in ("as saved", "other"))
    assert not torch.equal(saved, other)


@pytest.mark.parametrize(
    ("name", "value"), [("hidden_act", "x"), ("hidden_act", 3), ("rope_theta", "1"), ("rms_norm_eps", 1e30)]
)
def test_a_config_that_says_what_cannot_be_is_named(folder: Path, tmp_path: Path, name: str, value: object) -> None:
    shutil.copytree(folder, tmp_path / "it")
    config = tmp_path / "it/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), name: value}))
    with pytest.raises(ModelError, match=rf"it/?\S* has a config.json that says {name} '[^\n]*$"):
        open_model(tmp_path / "it", shape=SHAPE)


def test_a_config_that_is_too_deep_does_not_count(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "it")
    (tmp_path / "it/config.json").write_text("[" * 100_000)
    assert open_model(tmp_path / "it", shape=SHAPE).classes.title == "Sapiens2"


def changed(lone: Path, path: Path, change: Callable[[Tensors], None]) -> Path:
    tensors = load_file(lone)
    change(tensors)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("backbone.ln1.weight"), "1 missing: model.norm.weight"),
        (lambda tensors: tensors.update(spare=torch.zeros(2)), "1 unknown: spare"),
        (
            lambda tensors: tensors.update({"decode_head.conv_seg.bias": torch.zeros(3)}),
            "1 misshapen: decode_head.predictor.bias",
        ),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_weights_that_do_not_fit_are_listed(
    lone: Path, tmp_path: Path, change: Callable[[Tensors], None], said: str
) -> None:
    path = changed(lone, tmp_path / "wrong.safetensors", change)
    with pytest.raises(ModelError) as caught:
        logits(open_model(path, shape=SHAPE), pixels())
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_another_tasks_weights_are_refused(lone: Path, tmp_path: Path) -> None:
    def to_pose(tensors: Tensors) -> None:
        tensors["decode_head.conv_pose.weight"] = tensors.pop("decode_head.conv_seg.weight")

    with pytest.raises(ModelError, match="no classifier"):
        open_model(changed(lone, tmp_path / "pose.safetensors", to_pose))


def test_a_file_cut_short_is_refused_at_once(lone: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(lone.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"cut\.safetensors is a damaged safetensors file, fetch it again"):
        open_model(path)


def test_a_shape_is_of_whole_patches(lone: Path) -> None:
    with pytest.raises(UsageError, match=r"100x96 .*multiples of 16"):
        open_model(lone, shape=(100, 96))


@pytest.mark.parametrize("version", [None, "5.10.0", "4.57.6"])
def test_without_the_library_the_error_says_how_to_install_it(
    lone: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    def installed(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", installed)
    with pytest.raises(ModelError, match=re.escape(install_line("sapiens2"))):
        open_model(lone)


def test_nothing_is_fetched(folder: Path, lone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for path in (folder, lone):
        logits(open_model(path, shape=SHAPE), pixels())


def test_a_load_is_silent(lone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logits(open_model(lone, shape=SHAPE), pixels())
    assert capfd.readouterr() == ("", "")
