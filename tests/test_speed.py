"""The batch size that is tried for, and networks that torch compiles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sapiens_stream import Segmenter
from sapiens_stream.classes import numbered
from sapiens_stream.errors import DeviceError, UsageError
from sapiens_stream.inference import batch_probe
from sapiens_stream.inference.compilation import compiled, warm_up
from sapiens_stream.models import open_model
from sapiens_stream.models.model import InputSpec, Model
from tests.checkpoints import NearestColour
from tests.program import Program

SHAPE = (64, 48)
COLOURS = numbered(28)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler (g++) to compile for the CPU")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing compiled before, and nothing kept in the user's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache" / "compiled"))
    yield tmp_path / "cache" / "compiled"
    torch.compiler.reset()


class Counting(nn.Module):
    """A network that says which batches it was given."""

    def __init__(self, batches: list[int]) -> None:
        super().__init__()
        self.network = NearestColour(28, None, 2, None, "tensor")
        self.batches = batches

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(pixels))
        logits: torch.Tensor = self.network(pixels)
        return logits


def colour_model(make: Callable[[], nn.Module]) -> Model:
    """A model that tells colours apart, of a network that is ours."""

    def place(device: torch.device, dtype: torch.dtype) -> nn.Module:
        return make().eval().requires_grad_(False).to(device, dtype)

    return Model(
        name="colour",
        kind="test",
        classes=COLOURS,
        input=InputSpec(height=SHAPE[0], width=SHAPE[1], mean=(123.5, 116.5, 103.5), std=(58.5, 57.0, 57.5)),
        logits_size=(SHAPE[0] // 2, SHAPE[1] // 2),
        place=place,
    )


def of_one_colour(class_id: int) -> np.ndarray:
    return np.full((90, 60, 3), COLOURS.palette[class_id], np.uint8)


class Device:
    """A device of which it is known how long a batch takes, and how much memory."""

    def __init__(self, seconds: dict[int, float], memory: dict[int, float] | None = None, room: int = 1 << 30) -> None:
        self.seconds, self.memory, self.room = seconds, memory or {}, room
        self.now, self.last = 0.0, 0
        self.tried: list[int] = []

    def compute(self, batch: int) -> None:
        if batch > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.tried += [batch] if batch != self.last else []
        self.now += self.seconds.get(batch, batch / 10)
        self.last = batch

    def in_use(self) -> float:
        return self.memory.get(self.last, 0.1)


@pytest.mark.parametrize(
    ("device", "chosen", "tried"),
    [
        (Device({1: 0.1, 2: 0.2, 4: 0.4}), 1, [1, 2, 4]),
        (Device({1: 0.1, 2: 0.11, 4: 0.12, 8: 0.24, 16: 0.48}), 4, [1, 2, 4, 8, 16]),
        (Device({1: 0.1, 2: 0.21, 4: 0.2, 8: 0.4, 16: 0.8}), 4, [1, 2, 4, 8, 16]),
        (Device({1: 0.1, 2: 0.199, 4: 0.4}), 1, [1, 2, 4]),
        (Device({1: 0.1, 2: 0.1, 4: 0.1, 8: 0.1}, memory={4: 0.8}), 2, [1, 2, 4]),
        (Device({1: 0.1, 2: 0.1, 4: 0.1}, room=2), 2, [1, 2]),
        (Device({1: 3.0, 2: 3.0, 4: 3.0}), 1, [1]),
        (Device(dict.fromkeys((1, 2, 4, 8, 16, 32, 64, 128), 0.01)), 64, [1, 2, 4, 8, 16, 32, 64]),
    ],
    ids=["no gain", "saturates", "a dip", "a gain not worth it", "memory fills", "memory short", "slow", "ever faster"],
)
def test_the_probe_ends_where_a_larger_batch_brings_nothing(
    monkeypatch: pytest.MonkeyPatch, device: Device, chosen: int, tried: list[int]
) -> None:
    monkeypatch.setattr(batch_probe.time, "perf_counter", lambda: device.now)
    assert batch_probe.fastest(batch_probe.frame_rates(device.compute, device.in_use)) == chosen
    assert device.tried == tried


def test_memory_short_for_one_frame_is_raised() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        batch_probe.frame_rates(Device({}, room=0).compute, lambda: 0.1)


def test_batch_size_auto_is_found_by_running_the_model() -> None:
    batches: list[int] = []
    notes: list[str] = []
    segmenter = Segmenter(colour_model(lambda: Counting(batches)), device="cpu", batch_size="auto", note=notes.append)
    assert {1, 2, 4} <= set(batches)
    assert notes == [next(note for note in notes if f"cpu: {segmenter.engine.batch_size} at once" in note)]
    assert (segmenter(of_one_colour(7)).class_map == 7).all()


@needs_compiler
def test_a_compiled_network_gives_the_same_classes_and_is_kept(own_cache: Path) -> None:
    notes: list[str] = []
    model = colour_model(lambda: NearestColour(28, None, 2, None, "tensor"))
    segmenter = Segmenter(model, device="cpu", compile=True, batch_size=2, note=notes.append)
    assert notes[0].startswith("compiling colour for batches of 2 in fp32 on cpu") and str(own_cache) in notes[0]
    assert notes[1].startswith("compiled in ")
    assert any(own_cache.rglob("*.so"))
    counters = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for class_id in (3, 9):  # a batch that is not full is filled up, not compiled for
        assert (segmenter(of_one_colour(class_id)).class_map == class_id).all()
    assert counters == torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@needs_compiler
def test_a_compiled_network_keeps_each_pictures_aspect_and_is_compiled_once(own_cache: Path) -> None:
    model = replace(colour_model(lambda: NearestColour(28, None, 2, None, "tensor")), aspect_step=8)
    plain, compiled = (Segmenter(model, device="cpu", batch_size=2, compile=compile) for compile in (False, True))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for size in ((90, 60), (60, 90), (50, 210)):
        picture = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
        np.testing.assert_array_equal(plain(picture).class_map, compiled(picture).class_map)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs > 0


def test_without_a_compiler_the_error_says_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, str(tmp_path / "no-compiler")))
    model = colour_model(lambda: NearestColour(28, None, 2, None, "tensor"))
    forward = compiled(model.place(torch.device("cpu"), torch.float32), model)
    with (
        torch.inference_mode(),
        pytest.raises(DeviceError, match=r"cannot compile colour: .* C\+\+ compiler") as caught,
    ):
        warm_up(lambda: forward(torch.zeros(1, 3, *SHAPE)), "colour", lambda note: None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (
            "Failed to find C compiler. Please specify via CC environment variable.",
            r"takes a C compiler \(gcc",
        ),
        ("Cannot find a working triton installation.", r"takes Triton \(.*pip install .*triton\)"),
    ],
)
def test_what_a_gpu_lacks_to_compile_for_it_is_told_apart(failure: str, says: str) -> None:
    def compute() -> None:
        raise RuntimeError(f"backend='inductor' raised:\n{failure}\n\n(file triton/runtime/build.py)")

    with pytest.raises(DeviceError, match=says):
        warm_up(compute, "colour", lambda note: None)


def test_the_graph_of_a_file_is_not_compiled(colour_torchscript: Path) -> None:
    with pytest.raises(UsageError, match="colour runs as the torchscript graph of its file"):
        Segmenter(open_model(colour_torchscript), device="cpu", compile=True)


def test_the_command_takes_a_number_or_auto(program: Program, tmp_path: Path) -> None:
    photo = Path(__file__).parents[1] / "samples" / "astronaut.jpg"
    given = ("images", "builtin", "--input", photo, "--output_root", tmp_path, "--shape", 64, 64, "--device", "cpu")
    auto = program(*given, "--batch_size", "auto", "--json")
    assert auto.code == 0 and " at once (frames/s by batch size, 1: " in auto.stderr
    assert isinstance(json.loads(auto.stdout.splitlines()[0])["batch_size"], int)
    assert program(*given, "--batch-size", 2).code == 0
    for wrong in ("0", "-1", "many"):
        refused = program(*given, "--batch-size", wrong)
        assert refused.code == 2 and f"'{wrong}'; it is 1 or more, or auto" in refused.stderr


@pytest.mark.cuda
def test_a_compiled_network_gives_the_same_classes_on_cuda() -> None:
    model = colour_model(lambda: NearestColour(28, None, 2, None, "tensor"))
    segmenter = Segmenter(model, device="cuda", compile=True, batch_size="auto")
    for class_id in (3, 9):
        assert (segmenter(of_one_colour(class_id)).class_map == class_id).all()
