"""Sapiens by our own module: the published logits, from every file that its weights come in."""

from __future__ import annotations

import json
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from sapiens_stream import Segmenter
from sapiens_stream.classes import FOREGROUND, SAPIENS
from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models import open_model
from sapiens_stream.models.model import Model
from sapiens_stream.models.sapiens import Sapiens, SapiensConfig
from tests.program import Program
from tests.sapiens import DIM, SHAPE, PublishedSapiens, Wrapped, export, export_of_old, pixels, torchscript

CPU = torch.device("cpu")
# Both are float32 sums of some hundred terms in another order, three times over; a wrong epsilon alone gives 1e-4.
SAME = 5e-6
PHOTOS = Path(__file__).parent / "data" / "golden"
Make = Callable[[Path, torch.nn.Module], Path]


def off(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The norm of the difference against that of what is wanted."""
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())


def logits(model: Model, given: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with torch.inference_mode():
        result = model.place(CPU, dtype)(given.to(dtype))
    assert result.shape[2:] == model.logits_size
    return result


def pth(path: Path, network: torch.nn.Module) -> Path:
    torch.save({"meta": {"epoch": 194}, "state_dict": network.state_dict()}, path)
    return path


def bare_pth(path: Path, network: torch.nn.Module) -> Path:
    torch.save(network.state_dict(), path)
    return path


def old_pth(path: Path, network: torch.nn.Module) -> Path:
    torch.save({"state_dict": network.state_dict()}, path, _use_new_zipfile_serialization=False)
    return path


def safetensors(path: Path, network: torch.nn.Module) -> Path:
    save_file(network.state_dict(), path)
    return path


def repacked(path: Path, network: torch.nn.Module) -> Path:
    """By a tool that compresses, and aligns nothing."""
    with zipfile.ZipFile(torchscript(path, network)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, data) in enumerate(members.items()):
            archive.writestr(name, data, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2])
    return path


def export_of_torch_2_1(path: Path, network: torch.nn.Module) -> Path:
    return export_of_old(path, network, "serialized_state_dict.json")


def export_of_torch_2_8(path: Path, network: torch.nn.Module) -> Path:
    return export_of_old(path, network, "model/data/weights/model.pt")


FORMATS = [pth, bare_pth, old_pth, safetensors, torchscript, repacked, export]
FORMATS += [export_of_old, export_of_torch_2_1, export_of_torch_2_8]


def test_the_logits_are_those_of_the_published_network(shared: Path) -> None:
    recorded = np.load(shared / "golden" / "tiny_sapiens_v1_io.npz")
    model = open_model(shared / "golden" / "tiny_sapiens_v1.pth")
    assert (model.kind, model.input.height, model.input.width) == ("sapiens", 256, 192)
    assert off(logits(model, torch.from_numpy(recorded["input"])), torch.from_numpy(recorded["logits"])) < SAME


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-13), (torch.float32, SAME)])
def test_the_logits_are_those_of_a_traced_graph_with_the_same_weights(
    tmp_path: Path, dtype: torch.dtype, most: float
) -> None:
    path = torchscript(tmp_path / "model.pt2", PublishedSapiens().double())
    graph = logits(open_model(path, as_is=True), pixels(), torch.float64)
    assert off(logits(open_model(path), pixels(), dtype), graph) < most


@pytest.mark.parametrize("make", FORMATS)
def test_it_runs_from_every_file_that_holds_its_weights(tmp_path: Path, make: Make) -> None:
    network = PublishedSapiens()
    model = open_model(make(tmp_path / "model.pt2", network))
    assert (model.name, model.kind, model.classes, model.fixed_batch) == ("model", "sapiens", SAPIENS, None)
    assert (model.input.height, model.input.width, model.dtype) == (*SHAPE, torch.float32)
    assert off(logits(model, pixels()), network(pixels())) < SAME


@pytest.mark.parametrize("make", [pth, safetensors, torchscript, export_of_old])
def test_its_precision_is_that_of_the_weights_in_the_file(tmp_path: Path, make: Make) -> None:
    model = open_model(make(tmp_path / "model.pt2", PublishedSapiens().bfloat16()))
    assert (model.dtype, model.fixed_dtype) == (torch.bfloat16, False)


@pytest.mark.parametrize("make", [pth, torchscript])
def test_what_wraps_the_network_is_looked_through(tmp_path: Path, make: Make) -> None:
    network = Wrapped(PublishedSapiens())
    model = open_model(make(tmp_path / "model.pt2", network))
    assert off(logits(model, pixels()), network(pixels())) < SAME


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_what_training_keeps_beside_the_weights_is_left_alone(tmp_path: Path, key: str) -> None:
    network = PublishedSapiens()
    weights = {f"_orig_mod.{name}": tensor for name, tensor in network.state_dict().items()}  # of a compiled network
    kept = {"optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}, "args": Namespace(lr=1e-4), key: weights}
    torch.save(kept, tmp_path / "model.pth")
    assert off(logits(open_model(tmp_path / "model.pth"), pixels()), network(pixels())) < SAME


def test_numbers_of_preprocessing_are_no_weights(tmp_path: Path) -> None:
    weights = PublishedSapiens().state_dict() | {"data_preprocessor.mean": torch.zeros(3)}
    torch.save(weights, tmp_path / "model.pth")
    assert open_model(tmp_path / "model.pth").kind == "sapiens"


@pytest.mark.parametrize("most", [1, 40_000, 100_000])
def test_a_norm_in_parts_is_the_norm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int) -> None:
    model = open_model(pth(tmp_path / "a.pth", PublishedSapiens()))
    given = pixels(5)
    whole = logits(model, given)
    monkeypatch.setattr("sapiens_stream.models.sapiens.network.MOST_IN_LAYER_NORM", most)
    assert torch.equal(logits(model, given), whole)


def test_one_class_is_foreground(tmp_path: Path) -> None:
    model = open_model(pth(tmp_path / "model.pth", PublishedSapiens(classes=1)))
    assert model.classes == FOREGROUND and model.threshold < 0


def test_weights_serve_again_in_another_precision(tmp_path: Path) -> None:
    network = PublishedSapiens()
    model = open_model(pth(tmp_path / "model.pth", network))
    assert 1e-3 < off(logits(model, pixels(), torch.bfloat16), network(pixels())) < 0.1
    assert off(logits(model, pixels()), network(pixels())) < SAME


@pytest.mark.parametrize("shape", [(64, 48), (96, 128), (256, 192)])
def test_another_input_has_its_positions_interpolated(tmp_path: Path, shape: tuple[int, int]) -> None:
    model = open_model(pth(tmp_path / "model.pth", PublishedSapiens()), shape=shape)
    assert (model.input.height, model.input.width) == shape
    network = PublishedSapiens().at(shape[0] // 16, shape[1] // 16)
    assert off(logits(model, pixels(shape=shape)), network(pixels(shape=shape))) < SAME


def test_an_input_is_of_whole_patches(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a shape of 100x96 .* takes multiples of 16"):
        open_model(pth(tmp_path / "model.pth", PublishedSapiens()), shape=(100, 96))


@pytest.mark.parametrize(("make", "kind"), [(torchscript, "torchscript"), (export, "torch-export")])
def test_as_is_runs_the_files_own_graph(tmp_path: Path, make: Make, kind: str) -> None:
    network = PublishedSapiens()
    model = open_model(make(tmp_path / "model.pt2", network), as_is=True)
    assert model.kind == kind
    assert off(logits(model, pixels()), network(pixels())) < SAME


def test_a_graph_around_other_weights_is_offered_as_it_is(tmp_path: Path) -> None:
    network = PublishedSapiens()
    network.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    path = torchscript(tmp_path / "model.pt2", network)
    with pytest.raises(ModelError, match=r"1 left over \(extra\); --as-is runs the file's own graph$"):
        open_model(path)
    assert off(logits(open_model(path, as_is=True), pixels()), network(pixels())) < SAME


@pytest.mark.parametrize("make", [pth, safetensors])
def test_bare_weights_have_no_graph_to_run_as_it_is(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ModelError, match=r"^.*model.pth holds bare weights .* leave --as-is out$"):
        open_model(make(tmp_path / "model.pth", PublishedSapiens()), as_is=True)


def test_segmenter_and_command_line_take_as_is_and_the_record_says_which(tmp_path: Path, program: Program) -> None:
    path = torchscript(tmp_path / "model.pt2", PublishedSapiens())
    kinds = []
    for options in ([], ["--as-is"]):
        ran = program("images", path, "--input", PHOTOS / "astronaut_crop.jpg", "--output-root", tmp_path, *options)
        assert ran.code == 0, ran.stderr
        kinds.append(json.loads((tmp_path / "golden_run.json").read_text())["model"]["kind"])
    assert kinds == ["sapiens", "torchscript"]
    assert Segmenter(path, as_is=True).model.kind == "torchscript"


Change = Callable[[dict[str, torch.Tensor]], Any]
QKV = "backbone.layers.1.attn.qkv.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop(QKV), rf"1 missing \({QKV}\)$"),
        (lambda weights: weights.update(extra=torch.zeros(1)), r"1 left over \(extra\)$"),
        (
            lambda weights: weights.update({QKV: torch.zeros(3, DIM)}),
            rf"1 misshapen \({QKV} \(3, 96\) for \(288, 96\)\)$",
        ),
        (lambda weights: weights.update({QKV: weights[QKV].byte()}), rf"1 not floating point \({QKV}\)$"),
        (
            lambda weights: [weights.pop(name) for name in list(weights) if name.startswith("backbone.layers.0.")],
            r"12 missing \(backbone.layers.0.ln1.weight, backbone.layers.0.ln1.bias, .*, \.\.\.\)",
        ),
        (lambda weights: weights.pop("decode_head.conv_seg.weight"), "without decode_head.conv_seg.weight"),
        (lambda weights: weights.pop("backbone.pos_embed"), "without backbone.pos_embed"),
        (lambda weights: weights.update({"backbone.pos_embed": torch.zeros(1, 50, DIM)}), "50 positions.*no grid"),
        (
            lambda weights: weights.update({"backbone.pos_embed": torch.zeros(48, DIM)}),
            r"pos_embed of shape \(48, 96\)",
        ),
        (
            lambda weights: weights.update({"backbone.patch_embed.projection.weight": torch.zeros(100, 3, 16, 16)}),
            "of width 100; those known are 1024, 1280, 1536, 1920, 96",
        ),
        (
            lambda weights: weights.update({"decode_head.conv_seg.weight": torch.zeros(300, 16, 1, 1)}),
            "300 classes; a class map holds 1 to 256",
        ),
    ],
)
def test_weights_that_do_not_fit_are_listed(tmp_path: Path, change: Change, said: str) -> None:
    weights = dict(PublishedSapiens().state_dict())
    change(weights)
    path = tmp_path / "model.pth"
    torch.save(weights, path)
    with pytest.raises(ModelError, match=said) as caught:
        open_model(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message


@pytest.mark.parametrize(("size", "published"), [("0.3b", 0.336e9), ("0.6b", 0.664e9)])
def test_it_has_as_many_parameters_as_published(size: str, published: float) -> None:
    with torch.device("meta"):
        network = Sapiens(SapiensConfig.of(size))
    count = sum(each.numel() for name, each in network.named_parameters() if name != "backbone.pos_embed")
    assert count == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize(("size", "tflop"), [("0.3b", 4.73), ("0.6b", 7.38), ("1b", 11.26)])
def test_it_costs_as_much_as_published(size: str, tflop: float) -> None:
    with torch.device("meta"):
        network, given = Sapiens(SapiensConfig.of(size)), torch.zeros(1, 3, 1024, 768)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        assert network(given).shape == (1, 28, 512, 384)
    assert counter.get_total_flops() / 1e12 == pytest.approx(tflop, abs=0.006)


class _Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def _trapped_pth(path: Path, trap: _Trap) -> None:
    torch.save({"state_dict": PublishedSapiens().state_dict(), "history": [trap], "buffer": np.ones(3)}, path)


def _trapped_old_pth(path: Path, trap: _Trap) -> None:
    torch.save(PublishedSapiens().state_dict() | {"trap": trap}, path, _use_new_zipfile_serialization=False)


def _trapped_export(path: Path, trap: _Trap) -> None:
    """The graph and the sample inputs of an export, which are not ours to read, bring code."""
    with zipfile.ZipFile(export(path, PublishedSapiens())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    torch.save(((trap,), {}), path)
    payload = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            data = data.replace(b"torch.ops.aten.linear.default", b"torch.os.system")
            archive.writestr(name, payload if "sample_inputs" in name else data)


def _trapped_old_export(path: Path, trap: _Trap) -> None:
    network = PublishedSapiens()
    torch.save({**network.state_dict(), "trap": trap}, path)
    weights = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", weights)


@pytest.mark.parametrize(
    ("make", "opens"),
    [(_trapped_pth, True), (_trapped_old_pth, False), (_trapped_export, True), (_trapped_old_export, True)],
)
def test_code_that_a_file_brings_is_not_run(tmp_path: Path, make: Callable[[Path, _Trap], None], opens: bool) -> None:
    path, sprung = tmp_path / "model.pt2", tmp_path / "sprung"
    make(path, _Trap(sprung))
    if opens:
        assert off(logits(open_model(path), pixels()), PublishedSapiens()(pixels())) < SAME
    else:
        with pytest.raises(ModelError, match="not opened"):
            open_model(path)
    assert not sprung.exists()


def test_weights_that_reach_beyond_their_storage_are_damage(tmp_path: Path) -> None:
    path = pth(tmp_path / "model.pth", PublishedSapiens())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:40] if "/data/1" in name else data)
    with pytest.raises(ModelError, match="damaged"):
        open_model(path)


# The share of a photo's pixels that may have another class than in fp32: a third more than was measured.
@pytest.mark.parametrize(
    ("model", "precision", "most"),
    [("sapiens", "fp16", 0.003), ("sapiens", "bf16", 0.02), ("builtin", "fp16", 0.004), ("builtin", "bf16", 0.022)],
)
def test_few_pixels_change_their_class_in_half_precision(
    tmp_path: Path, model: str, precision: str, most: float
) -> None:
    subject = pth(tmp_path / "model.pth", PublishedSapiens()) if model == "sapiens" else model
    for photo in sorted(PHOTOS.glob("astronaut*.jpg")):
        assert changed(subject, precision, photo) < most


@pytest.mark.parametrize(("precision", "most"), [("fp16", 0.003), ("bf16", 0.02)])
def test_few_pixels_change_their_class_with_the_larger_toy(shared: Path, precision: str, most: float) -> None:
    photos = sorted((shared / "golden" / "input").glob("coco_*.jpg"))
    for photo in photos[:2]:
        assert changed(shared / "golden" / "tiny_sapiens_v1.pth", precision, photo) < most


def changed(model: str | Path, precision: str, photo: Path) -> float:
    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    half, full = (Segmenter(model, precision=each)(image).class_map for each in (precision, "fp32"))
    return float((half != full).mean())


@pytest.mark.cuda
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-3), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_the_logits_are_the_same_on_cuda(tmp_path: Path, dtype: torch.dtype, most: float) -> None:
    network = PublishedSapiens()
    model = open_model(torchscript(tmp_path / "model.pt2", network))
    with torch.inference_mode():
        got = model.place(torch.device("cuda"), dtype)(pixels().to("cuda", dtype)).cpu()
    assert off(got, network(pixels())) < most
