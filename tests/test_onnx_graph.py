"""The built-in model as an ONNX graph, run by onnxruntime on the CPU."""

import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sapiens_stream import Segmenter
from sapiens_stream.inference.memory import out_of_memory
from sapiens_stream.models import open_model
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.export import export_model
from sapiens_stream.models.onnx_session import OnnxSession

GOLDEN = Path(__file__).parent / "data" / "golden"
TIE = 1e-3
"""Difference of two logits below which either class may come first."""


@pytest.fixture(scope="module")
def model():
    return load_builtin()


def both(model, pixels):
    """Logits by torch and by onnxruntime."""
    cpu = torch.device("cpu")
    with torch.inference_mode():
        return model.place(cpu, torch.float32)(pixels), model.runner(cpu, torch.float32)(pixels)


@pytest.mark.parametrize(
    "shape",
    [(1, 3, 288, 352), (2, 3, 224, 416), (3, 3, 416, 224), (1, 3, 32, 32), (1, 3, 250, 333)],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_the_logits_are_torchs_at_any_batch_and_size(model, shape):
    by_torch, by_onnx = both(model, torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert by_torch.shape == by_onnx.shape
    assert (by_torch - by_onnx).abs().max() < 1e-4 * by_torch.abs().max()


def test_class_maps_are_torchs_but_for_ties(model, shared):
    pictures = [*sorted(GOLDEN.glob("*.png")), *sorted((shared / "labelled").glob("*.jpg"))]
    photos = [cv2.imread(str(path)) for path in pictures if not path.stem.endswith("_seg")]
    assert len(photos) >= 5
    for photo in photos:
        spec = model.input_for(photo.shape[:2])
        seen = cv2.resize(photo[..., ::-1], (spec.width, spec.height), interpolation=cv2.INTER_AREA)
        pixels = (torch.from_numpy(seen).float() - torch.tensor(spec.mean)) / torch.tensor(spec.std)
        by_torch, by_onnx = both(model, pixels.permute(2, 0, 1)[None])
        differ = by_torch.argmax(1) != by_onnx.argmax(1)
        first, second = by_torch.topk(2, 1).values.unbind(1)
        assert (first - second)[differ].lt(TIE).all()
        assert differ.float().mean() < 1e-3


def test_it_is_what_runs_on_the_cpu_by_default(monkeypatch):
    ran = []
    monkeypatch.setattr(OnnxSession, "__call__", lambda self, pixels: ran.append(pixels.shape) or _zeros(pixels))
    Segmenter("builtin", device="cpu")(np.zeros((120, 160, 3), np.uint8))
    assert ran == [(1, 3, 288, 352)]


def _zeros(pixels):
    return torch.zeros(len(pixels), 28, pixels.shape[2] // 2, pixels.shape[3] // 2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions_are_torchs(model, precision):
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert model.runner(torch.device("cpu"), dtype) is None


def test_without_onnxruntime_torch_runs_it(monkeypatch):
    picture = cv2.imread(str(GOLDEN / "astronaut.png"))[..., ::-1].copy()
    usual = Segmenter("builtin", device="cpu")(picture).class_map
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    without = Segmenter("builtin", device="cpu")(picture).class_map
    assert (usual != without).mean() < 1e-3


def test_the_engines_threads_are_the_sessions():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            session = load_builtin().runner(torch.device("cpu"), torch.float32)
            options = session.session._session.get_session_options()
            assert options.intra_op_num_threads == threads
    finally:
        torch.set_num_threads(before)


def test_a_lack_of_memory_is_known_as_such(model, monkeypatch):
    session = model.runner(torch.device("cpu"), torch.float32).session

    def fail(*_):
        raise Exception(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bfc_arena.cc:360 Failed to allocate memory for it"
        )

    monkeypatch.setattr(session, "_session", type("Full", (), {"run": staticmethod(fail)}))
    with pytest.raises(RuntimeError) as error:
        session(torch.zeros(1, 3, 32, 32))
    assert out_of_memory(error.value)


def test_the_exported_graph_is_clean(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    file = tmp_path / "builtin.onnx"
    export_model(open_model("builtin"), "onnx", file)
    counts = Counter(node.op_type for node in onnx.load(file).graph.node)
    assert {op: counts[op] for op in ("ScatterND", "Slice", "Transpose", "Pad") if counts[op]} == {}
    assert counts["Conv"] == 67
