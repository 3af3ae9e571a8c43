"""Models written as files of each format, read back and compared."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import ModelError, OutputError, UsageError
from sapiens_stream.install_line import install_line
from sapiens_stream.models import open_model
from sapiens_stream.models.export import TARGETS, Target, export_model
from sapiens_stream.models.manifest import NAME
from sapiens_stream.models.model import Model
from sapiens_stream.models.sapiens.config import SapiensConfig
from sapiens_stream.models.sapiens.network import Sapiens
from tests.checkpoints import tiny_torchscript
from tests.hostile_checkpoints import rewritten
from tests.program import Program, finish, start

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
RUN_HERE = pytest.mark.parametrize("to", ["torchscript", "torch-export"])


@pytest.fixture(scope="module")
def sapiens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Sapiens of three layers with random weights."""
    torch.manual_seed(3)
    config = SapiensConfig(dim=96, layers=3, heads=6, head_channels=16, grid=(8, 6))
    path = tmp_path_factory.mktemp("sapiens") / "tiny.pth"
    torch.save({"state_dict": Sapiens(config).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def sapiens2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Sapiens2 of two layers with random weights."""
    transformers = pytest.importorskip("transformers", "5.10.1", reason="the extra sapiens2 is not installed")
    torch.manual_seed(4)
    config = transformers.Sapiens2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads_per_layer=[4, 2],
        num_labels=29,
        head_config={"upsample_out_channels": [8, 8], "conv_out_channels": [8, 8]},
    )
    path = tmp_path_factory.mktemp("sapiens2") / "tiny"
    transformers.Sapiens2ForSemanticSegmentation(config).save_pretrained(path)
    return path


@pytest.fixture(params=["sapiens", "sapiens2", "builtin"])
def model(request: pytest.FixtureRequest) -> Model:
    if request.param == "builtin":
        return open_model("builtin", shape=(64, 96))
    return open_model(request.getfixturevalue(request.param), shape=(128, 96))


def logits(model: Model, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.place(CPU, torch.float32)(pixels)


def pixels(model: Model, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 3, model.input.height, model.input.width, generator=generator)


def assert_equal_but_for_rounding(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).norm() / expected.norm() < 1e-5  # the same sums in float32, in another order


@RUN_HERE
def test_what_is_written_runs_here_and_gives_the_same_class_map(model: Model, to: Target, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "model.pt2"
    export_model(model, to, file)
    again = open_model(file, as_is=True)
    assert (again.kind, again.input, again.classes, again.fixed_batch) == (to, model.input, model.classes, None)
    assert again.logits_size == model.logits_size
    for batch in (1, 3):
        assert_equal_but_for_rounding(logits(again, pixels(model, batch)), logits(model, pixels(model, batch)))
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    before, after = (Segmenter(each, device="cpu")(picture).class_map for each in (model, again))
    np.testing.assert_array_equal(after, before)
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("model", ["sapiens", "sapiens2"], indirect=True)
def test_onnx_says_how_to_feed_it_and_gives_the_same_logits(model: Model, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    file = tmp_path / "model.onnx"
    export_model(model, "onnx", file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        given = pixels(model, batch)
        [found] = session.run(["logits"], {"pixels": given.numpy()})
        assert_equal_but_for_rounding(torch.from_numpy(found), logits(model, given))
    told = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert tuple(told["mean"]) == model.input.mean and tuple(told["std"]) == model.input.std
    assert tuple(told["classes"]) == model.classes.names
    assert told["input"] == [model.input.height, model.input.width] and told["logits"] == list(model.logits_size)


@RUN_HERE
def test_sapiens_written_as_a_graph_is_still_run_by_its_own_module(sapiens: Path, to: Target, tmp_path: Path) -> None:
    model = open_model(sapiens)
    export_model(model, to, tmp_path / "model.pt2")
    again = open_model(tmp_path / "model.pt2")
    assert again.kind == "sapiens"
    assert torch.equal(logits(again, pixels(model, 1)), logits(model, pixels(model, 1)))


@RUN_HERE
def test_the_precision_is_the_one_asked_for(sapiens: Path, to: Target, tmp_path: Path) -> None:
    export_model(open_model(sapiens), to, tmp_path / "model.pt2", dtype=torch.bfloat16)
    assert open_model(tmp_path / "model.pt2", as_is=True).dtype == torch.bfloat16


PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.mark.parametrize("name", ["sapiens", "builtin"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("told", [True, False], ids=["as written", "without our metadata"])
@RUN_HERE
def test_a_graph_runs_in_its_own_precision(
    request: pytest.FixtureRequest, to: Target, told: bool, precision: str, name: str, tmp_path: Path
) -> None:
    source = open_model(request.getfixturevalue(name) if name == "sapiens" else name, shape=(64, 64))
    file = tmp_path / "small.pt2"
    export_model(source, to, file, dtype=PRECISIONS[precision])
    if not told:
        rewritten(file, lambda member, data: None if member.endswith(NAME) else data)
    model = open_model(file, as_is=True)
    assert model.dtype == PRECISIONS[precision]
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    segmenter = Segmenter(model, device="cpu")
    assert segmenter.engine.dtype == PRECISIONS[precision]
    expected = Segmenter(source, shape=(64, 64), device="cpu")(picture).class_map
    if told:
        assert (segmenter(picture).class_map == expected).mean() > 0.9  # 8 bits of bf16 move some borders of noise


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@RUN_HERE
def test_another_precision_than_the_graphs_is_refused_with_what_to_do(
    program: Program, to: Target, precision: str, tmp_path: Path
) -> None:
    file, photos = tmp_path / "small.pt2", tmp_path / "photos"
    export_model(open_model("builtin", shape=(64, 64)), to, file, dtype=PRECISIONS[precision])
    photos.mkdir()
    assert cv2.imwrite(str(photos / "a.png"), np.zeros((64, 64, 3), np.uint8))
    refused = program("images", file, "--input", photos, "--precision", "fp32", "--device", "cpu")
    assert refused.code == 2
    [complaint] = refused.complaints
    assert f"small runs in {precision} alone, not in fp32; leave the precision at auto, or export" in complaint
    assert program("images", file, "--input", photos, "--device", "cpu", "--quiet").code == 0
    assert (photos / "output" / "a_seg.npy").is_file()


def test_a_batch_can_be_fixed(sapiens: Path, tmp_path: Path) -> None:
    export_model(open_model(sapiens), "torch-export", tmp_path / "model.pt2", batch=3)
    assert open_model(tmp_path / "model.pt2", as_is=True).fixed_batch == 3


@pytest.mark.parametrize(("to", "batch", "said"), [("torchscript", 2, "takes any"), ("onnx", 0, "1 or more")])
def test_a_batch_that_cannot_be_is_refused(sapiens: Path, tmp_path: Path, to: Target, batch: int, said: str) -> None:
    with pytest.raises(UsageError, match=f"a batch of {batch} alone: .*{said}"):
        export_model(open_model(sapiens), to, tmp_path / "model", batch=batch)


@pytest.mark.parametrize("checkpoint", ["colour_torchscript", "colour_export"])
def test_the_graph_of_an_unknown_network_is_refused_and_what_was_there_stays(
    checkpoint: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    file = tmp_path / "model.pt2"
    file.write_text("as it was")
    with pytest.raises(ModelError, match=r"colour is a graph \(.*\), which runs as it is"):
        export_model(open_model(request.getfixturevalue(checkpoint)), "torchscript", file)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("model.pt2", "as it was")]


def test_no_folder_is_left_of_a_file_that_does_not_come(colour_torchscript: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="runs as it is"):
        export_model(open_model(colour_torchscript), "torchscript", tmp_path / "a" / "b" / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named(sapiens: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match=r"taken/model\.pt2 can't be written"):
        export_model(open_model(sapiens), "torchscript", tmp_path / "taken" / "model.pt2")


@pytest.mark.parametrize("to", TARGETS)
def test_a_disk_that_cannot_hold_the_file_is_told(to: Target, small_disk: Path) -> None:
    outcome = finish(start("models", "export", "builtin", "--to", to, "-o", small_disk / "model"))
    assert outcome.code == 1, outcome
    assert "can't be written: it takes" in outcome.stderr
    assert not list(small_disk.iterdir())


def test_without_the_libraries_the_error_says_how_to_install_them(
    sapiens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sapiens_stream.models.export.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=re.escape(install_line("onnx"))):
        export_model(open_model(sapiens), "onnx", tmp_path / "model.onnx")


def with_manifest(path: Path, out: Path, told: Any) -> Path:
    """A copy of an archive that says this of itself."""
    shutil.copy(path, out)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(f"colour/extra/{NAME}", json.dumps(told))
    return out


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "does not say mean and std"),
        ([1], "does not say mean and std"),
        ({"mean": [1, 2], "std": [1, 1, 1]}, "three numbers each"),
        ({"mean": [0, 0, 0], "std": [1, 0, 1]}, "an impossible normalisation"),
        ({"mean": [0, 0, float("nan")], "std": [1, 1, 1]}, "an impossible normalisation"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused(told: Any, said: str, tmp_path: Path) -> None:
    plain = tiny_torchscript(tmp_path / "colour.pt2")
    with pytest.raises(ModelError, match=said):
        open_model(with_manifest(plain, tmp_path / "other.pt2", told))


def test_one_that_is_damaged_is_refused(colour_torchscript: Path, tmp_path: Path) -> None:
    """What the file says of itself is held against its checksum."""
    content = bytearray(colour_torchscript.read_bytes())
    content[content.index(b'"mean"')] ^= 1
    (tmp_path / "damaged.pt2").write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        open_model(tmp_path / "damaged.pt2")


def test_the_command_says_what_it_wrote(program: Program, sapiens: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.pt2"
    arguments = ("models", "export", sapiens, "--to", "torchscript", "--shape", 64, 64, "-o", file)
    plain = program(*arguments)
    assert plain.code == 0 and plain.stdout.startswith(f"{file}: tiny as torchscript in fp32, ")
    assert "(N, 3, 64, 64)" in plain.stdout and plain.stderr == ""
    told = json.load(io.StringIO(program(*arguments, "--json").stdout))
    assert told["size"] == file.stat().st_size and told["logits"] == [None, len(SAPIENS), 32, 32]
    assert program(*arguments, "--quiet").stdout == ""


@pytest.mark.parametrize(("arguments", "code"), [(("--to", "tflite"), 2), (("--to", "torchscript", "--batch", 2), 2)])
def test_the_command_refuses_what_cannot_be(
    program: Program, tmp_path: Path, arguments: tuple[object, ...], code: int
) -> None:
    refused = program("models", "export", "builtin", "-o", tmp_path / "model", *arguments)
    assert refused.code == code and len(refused.complaints) == 1


@pytest.mark.parametrize(
    ("output", "said"),
    [(".", "is a folder"), ("folder", "is a folder"), ("link.pt", "is the model itself"), ("tiny.pth", "model itself")],
)
def test_the_command_writes_neither_over_the_model_nor_over_a_folder(
    program: Program, sapiens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path(shutil.copy(sapiens, tmp_path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.pt").symlink_to(own)
    refused = program("models", "export", own, "--to", "torchscript", "-o", output)
    assert refused.code == 2 and said in refused.complaints[0]
    assert own.read_bytes() == sapiens.read_bytes()
