"""ONNX graphs run by onnxruntime: on a CPU, or on CUDA where it offers that."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from sapiens_stream.errors import ModelError
from sapiens_stream.install_line import pip_install

_ALLOCATING = Lock()
"""Sessions find the allocator that was registered last."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxSession:
    """A graph from pixels to logits; called from one thread.

    On a CPU it computes with as many threads as torch would in the thread that makes it. What it allocates for pictures
    of one size is kept for the next of that size, and is at most `most_bytes` where that is given. `channels` are those
    that the logits have to have.

    Raises ModelError for a graph that onnxruntime refuses, and a device that it does not run on.
    """

    def __init__(
        self,
        graph: bytes | Path,
        *,
        device: torch.device = torch.device("cpu"),  # noqa: B008
        result: str | None = None,
        channels: int | None = None,
        most_bytes: int | None = None,
    ) -> None:
        onnxruntime = _onnxruntime()
        provider = provider_of(device.type)
        if provider is None:
            raise ModelError(_not_there(device.type))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait for work by spinning take the cores from those that decode and write.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors are raised as well
        if most_bytes is not None and device.type == "cpu":
            options.add_session_config_entry("session.use_env_allocators", "1")
        given = str(graph) if isinstance(graph, Path) else graph
        place = {"device_id": device.index or 0} if device.type == "cuda" else {}
        try:
            with _ALLOCATING:
                if most_bytes is not None and device.type == "cpu":
                    _limit(most_bytes)
                self._session = onnxruntime.InferenceSession(given, options, providers=[(provider, place)])
        except Exception as error:  # onnxruntime's own are no RuntimeErrors, as torch's are
            raise ModelError(f"is not run by onnxruntime: {_reason(error)}") from error
        if provider not in self._session.get_providers():  # which it leaves out where its libraries are not there
            raise ModelError(
                f"is not run: onnxruntime cannot load {provider}, which takes CUDA's and cuDNN's libraries"
            )
        self._shrinking = onnxruntime.RunOptions()
        if device.type == "cpu":
            self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._name = self._session.get_inputs()[0].name
        self._results = None if result is None else [result]
        self._device = device
        self._channels = channels
        self._shape: torch.Size | None = None

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        # The memory of the sizes before would else be held beside that of the new one.
        options = None if pixels.shape == self._shape else self._shrinking
        self._shape = pixels.shape
        try:
            (logits,) = self._session.run(self._results, {self._name: pixels.contiguous().cpu().numpy()}, options)
        except Exception as error:
            raise RuntimeError(str(error).replace("std::bad_alloc", "cannot allocate memory")) from error
        found = torch.from_numpy(logits)
        if self._channels is not None and (found.ndim != 4 or found.shape[:2] != (len(pixels), self._channels)):
            raise RuntimeError(f"it returns {tuple(found.shape)}, not ({len(pixels)}, {self._channels}, h, w)")
        return found.to(self._device)


def _onnxruntime() -> Any:
    """The module. Unless the user wants it, it gives this machine no id and reports nothing to its maker."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # is looked at on import
    import onnxruntime

    return onnxruntime


def _limit(most_bytes: int) -> None:
    """Has the sessions that are made from now on, and that share an allocator, allocate no more than this each."""
    onnxruntime = _onnxruntime()
    kind, of = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    arena = onnxruntime.OrtArenaCfg({"max_mem": most_bytes, "arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, of), arena)


def provider_of(device: str) -> str | None:
    """What onnxruntime calls a type of device, None where it does not run on it here."""
    provider = _PROVIDERS.get(device)
    return provider if provider in _onnxruntime().get_available_providers() else None


def onnx_session(graph: Callable[[], bytes]) -> OnnxSession | None:
    """A session for the graph on the CPU, or None where onnxruntime is not installed or does not run here."""
    try:
        return OnnxSession(graph())
    except ImportError:
        return None


def _not_there(device: str) -> str:
    offered = f"{pip_install()} onnxruntime-gpu in its place, or choose another device: --device cpu"
    if device == "cuda":
        return f"is run by onnxruntime, which offers no CUDA here: {offered}"
    return f"is run by onnxruntime, which does not run on {device}: --device cpu"


def _reason(error: Any) -> str:
    """What onnxruntime says, in a line and without its own numbers."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.rpartition("[ONNXRuntimeError] : ")[2][:300]
