"""TorchScript checkpoints (`*_torchscript.pt2`): read by any newer torch; loading one runs no pickled code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import torch

from sapiens_stream.classes import class_set
from sapiens_stream.errors import ModelError
from sapiens_stream.models.interface import (
    DEFAULT_SHAPE,
    Shape,
    input_spec,
    last_line,
    logits_of,
    naming,
    quiet_torch,
    returning_logits,
    threshold,
)
from sapiens_stream.models.model import Model

META_PROBE_BYTES = 64 << 20  # below, running the model is faster than the imports that meta tensors need

_RUN_ERRORS = (RuntimeError, ValueError, torch.jit.Error)  # the last is what scripted code raises


def open_torchscript(path: Path, shape: Shape | None = None) -> Model:
    """Opens a TorchScript file. `shape` is its input, (height, width); by default what it was traced with, or 1024x768.

    A batch of two and, if that is refused, of one are probed: without computing (meta tensors) for large files.
    Raises ModelError.
    """
    with naming(path):
        traced = traced_shape(path)
        height, width = shape or (traced[1:] if traced else DEFAULT_SHAPE)
        # A batch that the trace did not use tells whether the batch is free.
        traced_batch = traced[0] if traced else 1
        other_batch = 3 if traced_batch == 2 else 2
        try:
            logits, batch, dtype = _probe(path, (other_batch, traced_batch), (3, height, width))
        except _RUN_ERRORS as error:
            wanted = f"it was traced with {traced[1]}x{traced[2]}" if traced else "give the shape it was made for"
            raise ModelError(
                f"does not run on an input of {height}x{width} (height x width); {wanted}: {last_line(error)}"
            ) from error

    def place(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        with naming(path):
            return returning_logits(_load(path, device).to(device, dtype))

    channels = logits.shape[1]
    return Model(
        name=path.stem,
        kind="torchscript",
        classes=class_set(channels),
        input=input_spec(channels, (height, width)),
        logits_size=(logits.shape[2], logits.shape[3]),
        place=place,
        dtype=dtype,
        fixed_batch=None if batch == other_batch else batch,
        threshold=threshold(channels),
        path=path,
    )


def traced_shape(path: Path) -> tuple[int, int, int] | None:
    """(N, height, width) of the input that the file says it was traced with; None if it says nothing of the kind."""
    with ZipFile(path) as archive:
        record = next((name for name in archive.namelist() if name.endswith("/traced_inputs.pkl")), None)
        if record is None:
            return None
        with archive.open(record) as file:
            try:
                inputs = _ShapeUnpickler(file).load()["forward"]
            except (pickle.UnpicklingError, LookupError, TypeError, ValueError, EOFError):
                return None
    sizes = [size for size in inputs if isinstance(size, tuple) and len(size) == 4]
    return (sizes[0][0], sizes[0][2], sizes[0][3]) if len(sizes) == 1 else None


class _ShapeUnpickler(pickle.Unpickler):
    """Reads the record of traced inputs with a tensor's size in place of the tensor; knows no other name than these."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("torch.jit._pickle", "restore_type_tag"): lambda value, _tag: value,
        ("torch._utils", "_rebuild_tensor_v2"): lambda _storage, _offset, size, *_rest: size,
        ("collections", "OrderedDict"): dict,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name.endswith("Storage"):
            return None
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} in a record of shapes") from None

    def persistent_load(self, pid: Any) -> None:
        return None


def _load(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    # Constants of the graph do not move with `.to`, so CUDA gets them at loading. MPS would refuse the double ones,
    # which as CPU scalars it takes.
    with quiet_torch():
        try:
            module = torch.jit.load(path, map_location=device if device.type == "cuda" else "cpu")  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"is a damaged TorchScript file: {last_line(error)}") from error
    return module.eval()  # type: ignore[no-any-return]


def _probe(path: Path, batches: tuple[int, int], size: tuple[int, int, int]) -> tuple[torch.Tensor, int, torch.dtype]:
    """The logits of the first batch that runs, that batch, the weights' dtype; raises what the last one raised."""
    if path.stat().st_size > META_PROBE_BYTES:
        try:
            return _first(_without_weights(_load(path, torch.device("cpu"))), batches, size)
        except Exception:
            pass  # refused for good, or an operator that meta tensors do not know: only running it tells
    return _first(_load(path, torch.device("cpu")), batches, size)


def _first(
    module: torch.jit.ScriptModule, batches: tuple[int, int], size: tuple[int, int, int]
) -> tuple[torch.Tensor, int, torch.dtype]:
    weights = next((each for each in module.parameters() if each.is_floating_point()), torch.empty(0))
    for batch in batches:
        try:
            with torch.inference_mode(), quiet_torch():
                logits = logits_of(module(torch.zeros(batch, *size, dtype=weights.dtype, device=weights.device)))
            if len(logits) != batch:
                raise ModelError(f"returns {len(logits)} results for a batch of {batch}")
        except (*_RUN_ERRORS, ModelError):
            if batch == batches[-1]:
                raise
        else:
            return logits, batch, weights.dtype
    raise AssertionError("no batch to probe")


def _without_weights(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The module with shapes (meta tensors) in place of its weights, so that running it costs nothing."""
    for owner in module.modules():
        for name, tensor in [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]:
            setattr(owner, name, tensor.to("meta"))
    return module
