"""ONNX checkpoints: run as the network they were written from, and refused by name where they are more than one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import DeviceError, ModelError
from sapiens_stream.models import open_model
from sapiens_stream.models.export import export_model
from sapiens_stream.models.inspection import inspect_checkpoint
from sapiens_stream.models.onnx_graph import Graph
from tests.program import WAIT, Program

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
helper = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def written(
    path: Path,
    nodes: list[Any] | None = None,
    *,
    pixels: tuple[Any, ...] = ("n", 3, 64, 48),
    logits: tuple[Any, ...] = ("n", 5, 64, 48),
    numbers: list[Any] | None = None,
    kind: int = FLOAT,
    **more: Any,
) -> Path:
    """A 1x1 convolution to 5 classes, or other nodes."""
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(5, 3, 1, 1)).astype(np.float32), "w")
    graph = helper.make_graph(
        nodes or [helper.make_node("Conv", ["pixels", "w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("pixels", kind, pixels)],
        [helper.make_tensor_value_info("logits", kind, logits)],
        numbers if numbers is not None else [weight],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.mine", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8, **more).SerializeToString())
    return path


def refused(path: Path, said: str, **options: Any) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        open_model(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500, message
    assert message.count(str(path)) == 1, message


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    path = tmp_path_factory.mktemp("onnx") / "small"  # told apart by content, not by name
    export_model(open_model("builtin", shape=(64, 96)), "onnx", path)
    return path


def test_our_own_export_is_the_model_it_was_written_from(exported: Path) -> None:
    source, model = open_model("builtin", shape=(64, 96)), open_model(exported)
    assert (model.kind, model.classes, model.input, model.assumed) == ("onnx", SAPIENS, source.input, None)
    assert (model.logits_size, model.fixed_batch, model.threshold) == (source.logits_size, None, 0.0)
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    maps = [Segmenter(each, device="cpu", precision="fp32")(picture).class_map for each in (source, model)]
    assert (maps[0] != maps[1]).mean() < 1e-3  # where two classes tie, sums in another order decide


def test_the_commands_take_it_by_its_content(exported: Path, program: Program, tmp_path: Path) -> None:
    import cv2

    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 96, 3), np.uint8))
    done = program("images", exported, "--input", tmp_path / "a.png", "--device", "cpu", "-o", tmp_path / "out")
    assert done.code == 0 and (tmp_path / "out" / "a_seg.npy").is_file()
    told = program("models", "info", exported).stdout
    assert "onnx" in told and "its own ONNX graph, by onnxruntime" in told


def test_of_another_network_nothing_is_taken_for_granted(tmp_path: Path) -> None:
    model = open_model(written(tmp_path / "a.onnx", logits=("n", 5, "h", "w")))
    assert model.classes.names[4] == "Class_4" and model.assumed is not None
    assert (model.input.height, model.input.width) == (64, 48)
    logits = model.place(torch.device("cpu"), model.dtype)(torch.zeros(2, 3, 64, 48))
    assert logits.shape == (2, 5, 64, 48)


def test_a_graph_of_any_size_keeps_the_aspect_if_it_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "a.onnx", pixels=("n", 3, "h", "w"), logits=("n", 5, "h", "w"))
    assert open_model(path, shape=(32, 80)).input.width == 80
    content = onnx.load(path)
    said = {"mean": "[1, 2, 3]", "std": "[4, 5, 6]", "input": "[64, 96]", "logits": "[64, 96]", "aspect_step": "32"}
    said["photo_detail"] = "2.0"
    helper.set_model_props(content, said)
    path.write_bytes(content.SerializeToString())
    model = open_model(path)
    assert (model.aspect_step, model.input.mean) == (32, (1.0, 2.0, 3.0))
    assert model.input_for((64, 256)).width > model.input_for((64, 96)).width
    photo = model.input_for((640, 960), photo=True)
    assert (photo.height, photo.width) == (96, 128)
    closer = open_model(path, detail=4)
    assert (closer.input.height, closer.input.width, closer.photo_detail) == (128, 192, 1)


def _external(location: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        weight = onnx.TensorProto(name="w", data_type=FLOAT, dims=[5, 3, 1, 1], data_location=1)
        weight.external_data.add(key="location", value=location)
        return written(path, numbers=[weight])

    return make


def _linked(path: Path) -> Path:
    path.with_name("weights").symlink_to("/etc/passwd")
    return _external("weights")(path)


def _lying(path: Path) -> Path:
    weight = onnx.TensorProto(name="w", data_type=FLOAT, dims=[1 << 20, 1 << 20], raw_data=b"1234")
    return written(path, numbers=[weight])


def _custom(path: Path) -> Path:
    return written(path, [helper.make_node("Steal", ["pixels"], ["logits"], domain="com.mine")])


def _within(path: Path) -> Path:
    inner = helper.make_graph([helper.make_node("Steal", [], ["y"], domain="com.mine")], "i", [], [])
    return written(path, [helper.make_node("If", ["pixels"], ["logits"], then_branch=inner, else_branch=inner)])


def _function(path: Path) -> Path:
    again = helper.make_function(
        "com.mine",
        "Again",
        ["x"],
        ["y"],
        [helper.make_node("Again", ["x"], ["y"], domain="com.mine")],
        [helper.make_opsetid("com.mine", 1)],
    )
    return written(path, [helper.make_node("Again", ["pixels"], ["logits"], domain="com.mine")], functions=[again])


def _looping(path: Path) -> Path:
    inner = helper.make_graph([], "i", [], [])
    return written(path, [helper.make_node("Loop", ["", "", "pixels"], ["logits"], body=inner)])


def _cut(path: Path) -> Path:
    whole = written(path).read_bytes()
    path.write_bytes(whole[:-20])
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "numbers above": (_external("../weights"), "in '../weights', outside of its own folder"),
    "numbers anywhere": (_external("/etc/passwd"), "in '/etc/passwd', outside of its own folder"),
    "numbers behind a link": (_linked, "in 'weights', outside of its own folder"),
    "numbers that are not there": (_external("weights"), "in 'weights', which is not beside it"),
    "a size that is not there": (_lying, "a damaged ONNX file: .*a tensor of 1048576x1048576 in 4 bytes"),
    "an operator of another's": (_custom, "the operator Steal of the domain com.mine.*--trust runs it"),
    "one within": (_within, "the operator Steal of the domain com.mine"),
    "a function without an end": (_function, "the function Again, which calls itself"),
    "a loop": (_looping, "Loop, a loop whose end is not known"),
    "cut": (_cut, "damaged ONNX file"),
    "tokens for logits": (
        lambda path: written(path, logits=("n", 5, 100)),
        r"returns float32 \(any, 5, 100\), not one",
    ),
    "a free number of classes": (lambda path: written(path, logits=("n", "c", 1, 1)), "a free number of channels"),
    "grey pictures": (lambda path: written(path, pixels=("n", 1, 4, 4)), r"takes float32 \(any, 1, 4, 4\), not one"),
    "whole numbers": (lambda path: written(path, kind=onnx.TensorProto.UINT8), "takes numbers of type 2"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_network_is_refused_by_name(case: str, tmp_path: Path) -> None:
    make, said = HOSTILE[case]
    refused(make(tmp_path / "model.onnx"), said)


def test_info_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def never(*given: Any, **options: Any) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    told = inspect_checkpoint(written(tmp_path / "a.onnx"))
    assert told.problem is None and (told.parameters, told.precision) == (15, "float32")


def test_what_it_allocates_is_bounded(tmp_path: Path) -> None:
    graph = Graph()
    enormous = graph.node("ConstantOfShape", graph.constant(np.array([400_000, 400_000], np.int64)))
    result = graph.node("Add", "pixels", graph.node("ReduceSum", enormous))
    (tmp_path / "a.onnx").write_bytes(graph.finished("pixels", ("n", 3, 64, 48), result, ("n", 3, 64, 48)))
    with pytest.raises((ModelError, DeviceError)) as caught:
        Segmenter(tmp_path / "a.onnx", device="cpu", warn=lambda sentence: None)(np.zeros((64, 48, 3), np.uint8))
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_opened_or_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.onnx").read_bytes()
    chance = np.random.default_rng(3)
    for number in range(200):
        mutant = bytearray(whole)
        for at in chance.integers(0, len(whole), 1 + number % 5):
            mutant[at] = int(chance.integers(0, 256))
        path = tmp_path / "mutant.onnx"
        path.write_bytes(bytes(mutant[: len(whole) if number % 2 else int(chance.integers(1, len(whole)))]))
        try:
            open_model(path)
        except ModelError as error:
            assert "\n" not in str(error)


def test_numbers_beside_it_are_read(tmp_path: Path) -> None:
    content = onnx.load(written(tmp_path / "one.onnx"))
    onnx.save(content, tmp_path / "two.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    pixels = torch.randn(1, 3, 64, 48)
    first, second = (
        open_model(tmp_path / name).place(torch.device("cpu"), torch.float32)(pixels)
        for name in ("one.onnx", "two.onnx")
    )
    assert torch.equal(first, second)
    shutil.copy(tmp_path / "w.bin", tmp_path / "whole.bin")
    (tmp_path / "w.bin").write_bytes(b"12")
    refused(tmp_path / "two.onnx", "cut short")


def test_where_onnxruntime_has_no_cuda_it_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sapiens_stream.inference import device

    monkeypatch.setattr(device, "available_devices", lambda: ["cuda:0", "cpu"])
    model = open_model(written(tmp_path / "a.onnx"))
    assert [each.type for each in device.resolve_devices("auto", model)] == ["cpu"]
    with pytest.raises(
        DeviceError, match=r"a is run by onnxruntime, which here runs on cpu, not on cuda:0; .*onnxruntime-gpu"
    ):
        device.resolve_devices("cuda", model)


def test_onnxruntime_gives_the_machine_no_id_and_reports_nothing(tmp_path: Path) -> None:
    code = "from sapiens_stream.models.onnx_session import provider_of; assert provider_of('cpu')"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    own = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")}
    subprocess.run([sys.executable, "-c", code], env=environment | own, check=True, timeout=WAIT)
    assert not list(tmp_path.rglob("*onnxruntime*"))
