"""TorchScript checkpoints (`*_torchscript.pt2`): run once their code has been looked through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from sapiens_stream.errors import ModelError
from sapiens_stream.models.archive import Archive
from sapiens_stream.models.interface import (
    DEFAULT_SHAPE,
    PRECISION_NAMES,
    Shape,
    last_line,
    logits_of,
    naming,
    quiet_torch,
)
from sapiens_stream.models.model import Network
from sapiens_stream.models.operators import JOIN, MOST_JOINS, allowed
from sapiens_stream.models.pickles import TensorAt, read_pickle
from sapiens_stream.models.script_check import check_code
from sapiens_stream.models.script_source import ForeignError, check_pickles, read_code
from sapiens_stream.models.shape_run import RefusedError, ShapeRuns, run_on_shapes

_RUN_ERRORS = (RuntimeError, ValueError, torch.jit.Error)  # the last is what scripted code raises
_PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


def open_torchscript(path: Path, shape: Shape | None = None, *, trust: bool = False) -> Network:
    """Opens a TorchScript file. `shape` is its input, (height, width); by default what it was traced with, or 1024x768.

    What it takes and returns is found on shapes alone: a batch of two and, if that is refused, of one, in the precision
    of its trace or weights first. The code in the file is held against what networks use before anything else; `trust`
    leaves that out. Raises ModelError.
    """
    with naming(path):
        traced = _traced_input(path)
        height, width = shape or ((traced.size[2], traced.size[3]) if traced else DEFAULT_SHAPE)
        # A batch that the trace did not use tells whether the batch is free.
        traced_batch = traced.size[0] if traced else 1
        other_batch = 3 if traced_batch == 2 else 2
        module = _load(path, torch.device("cpu"), trust)
        weights = {each.dtype for each in module.parameters() if each.is_floating_point()}
        likely = [getattr(torch, traced.storage.dtype)] if traced else []
        precisions = dict.fromkeys([*likely, *sorted(weights, key=str), *_PRECISIONS])
        try:
            logits, batch, dtype = _probe(module, (other_batch, traced_batch), (height, width), list(precisions), trust)
        except _RUN_ERRORS as error:
            wanted = (
                f"it was traced with {traced.size[2]}x{traced.size[3]}" if traced else "give the shape it was made for"
            )
            raise ModelError(
                f"does not run on an input of {height}x{width} (height x width); {wanted}: {last_line(error)}"
            ) from error

    def place(device: torch.device, wanted: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        with naming(path):
            placed = _load(path, device, trust).to(device)
            if wanted != dtype:
                placed = placed.to(wanted)
                _require_precision(placed, (batch, 3, height, width), wanted, dtype)
            return _Forward(placed, trust)

    return Network(
        kind="torchscript",
        channels=logits.shape[1],
        size=(height, width),
        logits_size=(logits.shape[2], logits.shape[3]),
        place=place,
        dtype=dtype,
        fixed_batch=None if batch == other_batch else batch,
        fixed_dtype=dtype != torch.float32 or bool(weights - {dtype}),
        own_dtype=True,
        path=path,
    )


class _Forward:
    """A graph's logits; how much each size of batch takes is found on its shapes before it is first run."""

    def __init__(self, module: torch.jit.ScriptModule, trust: bool) -> None:
        self._module = module
        self._runs = None if trust else ShapeRuns(module)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._runs is not None:
            self._runs.require(pixels)
        return logits_of(self._module(pixels))


def _traced_input(path: Path) -> TensorAt | None:
    """The input that the file says it was traced with, (N, C, height, width); None if it says nothing of the kind."""
    archive = Archive.map(path)
    record = next((name for name in archive.names if name.endswith("/traced_inputs.pkl")), None)
    if record is None:
        return None
    try:
        inputs = read_pickle(archive.read(record))["forward"]
        [pixels] = (each for each in inputs if isinstance(each, TensorAt) and len(each.size) == 4)
    except Exception:  # of any kind, as of any damaged pickle: the file does well without
        return None
    return pixels if getattr(torch, pixels.storage.dtype).is_floating_point and min(pixels.size) > 0 else None


def _load(path: Path, device: torch.device, trust: bool) -> torch.jit.ScriptModule:
    if not trust:
        _look_through(path)
    # Constants of the graph do not move with `.to`, so CUDA gets them at loading. MPS would refuse the double ones,
    # which as CPU scalars it takes.
    with quiet_torch():
        try:
            module = torch.jit.load(path, map_location=device if device.type == "cuda" else "cpu")  # type: ignore[no-untyped-call]
            foreign = None if trust else next(_foreign(module.inlined_graph), None)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"is a damaged TorchScript file: {last_line(error)}") from error
    if foreign is not None:
        raise _refusal(foreign)
    return module.eval()  # type: ignore[no-any-return]


def _look_through(path: Path) -> None:
    """Before it is loaded, since loading can run code of the file. Raises ModelError."""
    archive = Archive.map(path)
    try:
        code = read_code(archive)
        check_code(code)
        check_pickles(archive, code)
    except ForeignError as error:
        raise _refusal(str(error)) from error
    except Exception as error:  # of any kind: what is no code fails anywhere in its reader
        raise ModelError(f"is a damaged TorchScript file: {last_line(error)}") from error


def _foreign(graph: Any) -> Iterator[str]:
    """The operators in a graph, and in the blocks within, that are none of those allowed."""
    joins = 0
    for name, looped in _operators(graph, False):
        joins += name == JOIN
        if not allowed(name) or (name == JOIN and (looped or joins > MOST_JOINS)):
            yield name


def _operators(block: Any, looped: bool) -> Iterator[tuple[str, bool]]:
    """The operators, and whether they stand in a loop."""
    for node in block.nodes():
        schema = node.schema()
        yield (node.kind() if schema == "(no schema)" else schema.partition("(")[0]), looped
        for inner in node.blocks():
            yield from _operators(inner, looped or node.kind() == "prim::Loop")


def _refusal(what: str) -> ModelError:
    return ModelError(f"is not run, since its graph brings more than a network's operators: {what}; --trust runs it")


def _probe(
    module: torch.jit.ScriptModule,
    batches: tuple[int, int],
    size: Shape,
    precisions: list[torch.dtype],
    trust: bool,
) -> tuple[torch.Tensor, int, torch.dtype]:
    """The logits of the first batch that runs, that batch, its precision; raises what that of the trace did."""
    failure: Exception | None = None
    for dtype in precisions:
        for batch in batches:
            try:
                with quiet_torch():
                    logits = logits_of(_probed(module, (batch, 3, *size), dtype, trust))
                if len(logits) != batch:
                    raise ModelError(f"returns {len(logits)} results for a batch of {batch}")
            except RefusedError as error:
                raise ModelError(f"{error}; --trust runs it") from error
            except (*_RUN_ERRORS, ModelError) as error:
                failure = error if failure is None or dtype == precisions[0] else failure
            else:
                return logits, batch, dtype
    assert failure is not None
    raise failure


def _probed(module: torch.jit.ScriptModule, size: tuple[int, int, int, int], dtype: torch.dtype, trust: bool) -> Any:
    try:
        return run_on_shapes(module, size, dtype)
    except Exception:
        if not trust:
            raise
        with torch.inference_mode():
            return module(torch.zeros(size, dtype=dtype))


def _require_precision(
    module: torch.jit.ScriptModule, size: tuple[int, int, int, int], wanted: torch.dtype, own: torch.dtype
) -> None:
    try:
        run_on_shapes(module, size, wanted)
    except _RUN_ERRORS as error:
        raise ModelError(
            f"runs in {PRECISION_NAMES.get(own, own)} alone, not in {PRECISION_NAMES.get(wanted, wanted)};"
            " leave the precision at auto"
        ) from error
