"""Checkpoints of every kind opened, run, and refused."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models import open_model
from sapiens_stream.models.model import Model
from sapiens_stream.models.shape_run import run_on_shapes
from tests.checkpoints import tiny_export, tiny_torchscript
from tests.hostile_checkpoints import rewritten

CPU = torch.device("cpu")
Make = Callable[..., Path]
BOTH = pytest.mark.parametrize("make", [tiny_torchscript, tiny_export])


def labels(model: Model, device: torch.device = CPU, dtype: torch.dtype | None = None, batch: int = 2) -> np.ndarray:
    """The class at the middle of each of the stripes of a picture that holds every class's colour."""
    count, spec = len(model.classes), model.input
    stripes = np.linspace(0, count, spec.height, endpoint=False).astype(int)
    picture = np.repeat(model.classes.palette[stripes][:, None], spec.width, 1)
    pixels = torch.from_numpy((picture - np.array(spec.mean)) / np.array(spec.std)).permute(2, 0, 1)
    dtype = dtype or model.dtype
    with torch.inference_mode():
        logits = model.place(device, dtype)(pixels.expand(batch, -1, -1, -1).to(device, dtype))
    assert logits.shape == (batch, count, *model.logits_size)
    middles = ((np.arange(count) + 0.5) * model.logits_size[0] / count).astype(int)
    return logits.argmax(1)[:, middles, 5].cpu().numpy()


@BOTH
@pytest.mark.parametrize("channels", [5, 28, 29])
def test_a_checkpoint_tells_the_colours_of_its_classes_apart(tmp_path: Path, make: Make, channels: int) -> None:
    model = open_model(make(tmp_path / "model.pt2", channels=channels))
    assert (model.name, len(model.classes), model.fixed_batch) == ("model", channels, None)
    assert (model.input.height, model.input.width, model.logits_size) == (256, 192, (128, 96))
    np.testing.assert_array_equal(labels(model), np.tile(np.arange(channels), (2, 1)))


def test_the_sapiens_interface_is_found_in_the_file(goliath: Path) -> None:
    model = open_model(goliath)
    assert (model.kind, model.classes, model.dtype, model.fixed_dtype) == ("torchscript", SAPIENS, torch.float32, False)
    assert (model.input.height, model.input.width, model.logits_size) == (1024, 768, (512, 384))
    assert model.sha256 == hashlib.sha256(goliath.read_bytes()).hexdigest()


def test_formats_are_told_apart_by_content_and_not_by_name(colour_torchscript: Path, colour_export: Path) -> None:
    assert open_model(colour_torchscript).kind == "torchscript"
    assert open_model(colour_export).kind == "torch-export"


@pytest.mark.parametrize(
    ("options", "fixed"),
    [
        ({"batch": 1}, None),
        ({"batch": 2}, None),
        ({"batch": 1, "fixed_batch": True}, 1),
        ({"batch": 2, "fixed_batch": True}, 2),
        ({"batch": 4, "fixed_batch": True}, 4),
    ],
)
def test_a_batch_fixed_by_the_trace_is_found(tmp_path: Path, options: dict[str, Any], fixed: int | None) -> None:
    model = open_model(tiny_torchscript(tmp_path / "model.pt2", **options))
    assert model.fixed_batch == fixed
    assert len(labels(model, batch=fixed or 3)) == (fixed or 3)


def test_a_fixed_batch_of_an_export_is_read_from_its_graph(tmp_path: Path) -> None:
    assert open_model(tiny_export(tmp_path / "model.pt2", dynamic_batch=False)).fixed_batch == 1


def test_a_batch_above_the_bound_of_an_export_is_run_in_parts(tmp_path: Path) -> None:
    model = open_model(tiny_export(tmp_path / "model.pt2", most=2))
    np.testing.assert_array_equal(labels(model, batch=5), np.tile(np.arange(28), (5, 1)))


def test_an_export_is_placed_on_one_device_at_a_time(colour_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.export import passes

    placing, most, real = 0, 0, passes.move_to_device_pass

    def slowly(*given: Any) -> Any:
        nonlocal placing, most
        placing += 1
        most = max(most, placing)
        time.sleep(0.05)
        placing -= 1
        return real(*given)

    monkeypatch.setattr(passes, "move_to_device_pass", slowly)
    model = open_model(colour_export, trust=True)
    with ThreadPoolExecutor(4) as pool:
        placed = list(pool.map(lambda _: model.place(torch.device("cpu"), model.dtype), range(4)))
    assert len(placed) == 4 and most == 1


def test_an_export_runs_in_its_own_precision(colour_export: Path) -> None:
    model = open_model(colour_export)
    assert (model.dtype, model.fixed_dtype) == (torch.bfloat16, True)


def test_weights_in_half_precision_are_probed_and_reported_as_such(tmp_path: Path) -> None:
    assert open_model(tiny_torchscript(tmp_path / "model.pt2", dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_torchscript_runs_in_the_precision_asked_for(colour_torchscript: Path) -> None:
    model = open_model(colour_torchscript)
    np.testing.assert_array_equal(labels(model, dtype=torch.bfloat16), np.tile(np.arange(28), (2, 1)))


@pytest.mark.parametrize(
    "make", [tiny_torchscript, lambda path: tiny_export(path, dynamic_shape=True)], ids=["torchscript", "export"]
)
def test_the_shape_can_be_chosen_where_the_graph_leaves_it_free(tmp_path: Path, make: Make) -> None:
    model = open_model(make(tmp_path / "model.pt2"), shape=(512, 320))
    assert (model.input.height, model.input.width, model.logits_size) == (512, 320, (256, 160))
    np.testing.assert_array_equal(labels(model), np.tile(np.arange(28), (2, 1)))


@pytest.mark.parametrize("returns", ["tuple", "dict"])
@BOTH
def test_logits_are_found_in_a_tuple_or_dict(tmp_path: Path, make: Make, returns: str) -> None:
    model = open_model(make(tmp_path / "model.pt2", returns=returns))
    np.testing.assert_array_equal(labels(model), np.tile(np.arange(28), (2, 1)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"returns": "tokens"}, r"float\w+ \(.*, 28, 12288\), not one tensor of logits \(N, classes, h, w\)"),
        ({"returns": "pair"}, "not one tensor of logits"),
        ({"returns": "ids"}, r"int64 .*not one tensor of logits"),
        ({"channels": 300}, "300 classes; a class map holds 1 to 256"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
@BOTH
def test_what_is_no_segmentation_model_is_refused_with_what_it_returns(
    tmp_path: Path, make: Make, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "channels" in options:
        monkeypatch.setattr("tests.checkpoints.numbered", lambda count: _Plain(count))
    refused(make(tmp_path / "model.pt2", **options), said)


class _Plain:
    def __init__(self, count: int) -> None:
        self.palette = np.zeros((count, 3), np.uint8)


def refused(path: Path, said: str, **options: Any) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        open_model(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 400, message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "does not run on an input of 1024x768 .* traced with 256x192"),
        ({"frozen": True}, "does not run on an input of 1024x768 .* give the shape it was made for"),
    ],
    ids=["traced", "frozen"],
)
def test_another_input_shape_is_refused_with_the_one_wanted(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    path = tiny_torchscript(tmp_path / "model.pt2", fixed_shape=True, **options)
    refused(path, said, shape=(1024, 768))
    assert open_model(path, shape=(256, 192)).logits_size == (128, 96)


class _Choosy(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.shape[2] != 256:
            raise ValueError("only 256 rows will do")
        return pixels


def test_what_scripted_code_raises_reaches_the_user(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    torch.jit.script(_Choosy()).save(str(path))
    refused(path, "does not run on an input of 1024x768 .*: only 256 rows will do$")


def test_another_input_shape_is_refused_by_an_export(colour_export: Path) -> None:
    refused(colour_export, "takes an input of 256x192 .* alone, not 1024x768", shape=(1024, 768))


def _text(path: Path) -> None:
    path.write_text("not a model\n")


def _web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html>sign in</html>")


def _pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")


def _cut(path: Path) -> None:
    whole = tiny_torchscript(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def _damaged(path: Path) -> None:
    """A TorchScript archive whose code is no code."""
    rewritten(tiny_torchscript(path), lambda name, data: b"nonsense" if name.endswith(".py") else data)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "is a folder"),
        (Path.touch, "an empty file"),
        (_text, "not a checkpoint but text"),
        (_web_page, "a web page"),
        (_pointer, "Git LFS pointer"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" * 30), "a file of another kind"),
        (_arrays, "some other archive"),
        (_cut, "cut short or damaged"),
        (_damaged, "damaged TorchScript"),
        (lambda path: torch.save({"state_dict": {"a": torch.zeros(2)}}, path), "bare weights .*neither Sapiens"),
        (lambda path: torch.save(nn.Linear(2, 2), path), "something else than a dict of weights"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "something else than a dict of weights"),
        (lambda path: save_file({"a": torch.zeros(2)}, path), r"bare weights \(safetensors\)"),
    ],
    ids=[
        *("missing", "folder", "empty", "text", "web page", "pointer", "photo", "npz", "cut", "damaged"),
        *("state dict", "module", "pickle", "safetensors"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, make: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / "model.pt2"
    make(path)
    refused(path, said)


def test_a_name_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: File name too long"):
        open_model(tmp_path / ("x" * 300) / "model.pt2")


def _json_changed(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    def rewrite(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        graph = json.loads(data)
        change(graph)
        return json.dumps(graph).encode()

    return rewrite


@pytest.mark.parametrize("saved_by", ["2.2.1", None])
def test_an_export_of_another_torch_names_it_and_the_file_to_use(
    tmp_path: Path, colour_export: Path, saved_by: str | None
) -> None:
    def age(graph: dict[str, Any]) -> None:
        graph["schema_version"]["major"] = 3
        graph["torch_version"] = saved_by

    path = shutil.copy(colour_export, tmp_path / "model.pt2")
    rewritten(path, _json_changed(age))
    refused(
        path,
        f"saved by torch {saved_by or 'another'}.* torch {re.escape(torch.__version__)} cannot .*_torchscript.pt2",
    )


def test_an_export_in_the_layout_of_torch_2_2_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", json.dumps({"graph_module": {}, "schema_version": [3, 1]}))
        archive.writestr("serialized_state_dict.pt", b"")
        archive.writestr("version", "3.1")
    refused(path, "saved by torch another version.*_torchscript.pt2")


class _Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def _operator(graph: dict[str, Any], trap: Path) -> None:
    node = graph["graph_module"]["graph"]["nodes"][0]
    node["target"] = "torch.os.system"
    node["inputs"] = [{"name": "", "arg": {"as_string": f"touch {trap}"}, "kind": 1}]


def _expression(graph: dict[str, Any], trap: Path) -> None:
    sizes = graph["graph_module"]["graph"]["tensor_values"]["pixels"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(trap)!r}).touch()"


@pytest.mark.parametrize("attack", [_operator, _expression, None], ids=["operator", "expression", "pickle"])
def test_an_export_that_brings_code_is_not_run(
    tmp_path: Path, colour_export: Path, attack: Callable[[dict[str, Any], Path], None] | None
) -> None:
    trap = tmp_path / "sprung"
    path = shutil.copy(colour_export, tmp_path / "model.pt2")
    if attack is None:
        torch.save(((_Trap(trap),), {}), tmp_path / "inputs")
        payload = (tmp_path / "inputs").read_bytes()
        rewritten(path, lambda name, data: payload if "sample_inputs" in name else data)
        refused(path, "damaged torch.export program")
    else:
        rewritten(path, _json_changed(lambda graph: attack(graph, trap)))
        refused(path, "would run code that it brings")
    assert not trap.exists()


def test_the_trap_itself_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("broken", [False, True])
def test_torch_says_nothing_of_its_own(
    tmp_path: Path,
    goliath: Path,
    colour_export: Path,
    broken: bool,
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for original in (goliath, colour_export):
        path = shutil.copy(original, tmp_path / "model.pt2")
        if broken:
            rewritten(path, lambda name, data: b"{}" if name.endswith("model.json") else data.replace(b"silu", b"xilu"))
            with pytest.raises(ModelError), caplog.at_level(logging.WARNING):
                open_model(path)
        else:
            open_model(path).place(CPU, torch.float32)
    assert not recwarn.list and not caplog.records
    assert capfd.readouterr() == ("", "")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"no model 'sapiens-9b'.*builtin, sapiens-0.3b.*sapiens2-5b"):
        open_model("sapiens-9b")


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_torchscript: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(colour_torchscript, "sapiens-1b")
    assert open_model("sapiens-1b").path == Path("sapiens-1b")


def test_a_convolution_has_a_shape_whichever_way_a_graph_calls_it() -> None:
    called = []

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            called.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    aten, weight = torch.ops.aten, torch.zeros(4, 3, 3, 3)
    how = [1, 1], [0, 0], [1, 1], False, [0, 0], 1

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = aten._convolution.default(pixels, weight, None, *how, False, False, True, True)
        return found

    with Calls():  # sees what the run on shapes asks of torch, which in some versions knows no shape of `_convolution`
        found = run_on_shapes(forward, (2, 3, 8, 10), torch.float32)
    assert found.shape == (2, 4, 6, 8)
    assert aten.convolution in called and aten._convolution not in called


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@BOTH
def test_a_checkpoint_runs_on_cuda(tmp_path: Path, make: Make, dtype: torch.dtype) -> None:
    model = open_model(make(tmp_path / "model.pt2", dtype=dtype))
    np.testing.assert_array_equal(labels(model, torch.device("cuda"), dtype), np.tile(np.arange(28), (2, 1)))
    np.testing.assert_array_equal(labels(model, CPU, model.dtype), np.tile(np.arange(28), (2, 1)))
