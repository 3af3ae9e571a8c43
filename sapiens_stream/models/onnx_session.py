"""ONNX graphs run by onnxruntime on a CPU, where it is installed."""

from __future__ import annotations

from collections.abc import Callable

import torch

Forward = Callable[[torch.Tensor], torch.Tensor]


class OnnxSession:
    """A graph from pixels to logits, float32, on the CPU; called from one thread.

    It computes with as many threads as torch would in the thread that makes it. What it allocates for pictures of one
    size is kept for the next of that size.
    """

    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait for work by spinning take the cores from those that decode and write.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors are raised as well
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._name = self._session.get_inputs()[0].name
        self._shape: torch.Size | None = None

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        # The memory of the sizes before would otherwise be held beside that of the new one.
        options = None if pixels.shape == self._shape else self._shrinking
        self._shape = pixels.shape
        try:
            (logits,) = self._session.run(None, {self._name: pixels.contiguous().numpy()}, options)
        except Exception as error:  # onnxruntime's own are no RuntimeErrors, as torch's are
            raise RuntimeError(str(error).replace("std::bad_alloc", "cannot allocate memory")) from error
        return torch.from_numpy(logits)


def onnx_session(graph: Callable[[], bytes]) -> OnnxSession | None:
    """A session for the graph, or None where onnxruntime is not installed or does not run here."""
    try:
        return OnnxSession(graph())
    except ImportError:
        return None
