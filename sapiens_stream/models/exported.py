"""torch.export programs (`*_bfloat16.pt2`): run from their JSON, or by torch itself where they are trusted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from sapiens_stream.errors import ModelError
from sapiens_stream.models.archive import Archive
from sapiens_stream.models.export_graph import ExportGraph
from sapiens_stream.models.export_reading import InputsError, OldError, read_graph
from sapiens_stream.models.interface import (
    DEFAULT_SHAPE,
    Shape,
    last_line,
    logits_of,
    naming,
    quiet_torch,
    returning_logits,
)
from sapiens_stream.models.model import Network
from sapiens_stream.models.script_source import ForeignError
from sapiens_stream.models.shape_run import RefusedError, ShapeRuns, run_on_shapes

Forward = Callable[[torch.Tensor], torch.Tensor]

_PLACING = Lock()
"""torch moves a program to a device by changing the one that is shared."""


def open_exported(path: Path, shape: Shape | None = None, *, trust: bool = False) -> Network:
    """Opens a torch.export program. Shapes and precision are the graph's; nothing is computed.

    `shape` matters where the graph leaves height and width free. The graph is read as data and run operator by
    operator, and is refused where it holds others than those of tensors; with `trust` torch.export loads it, with
    whatever code it brings. Raises ModelError.
    """
    with naming(path):
        if trust:
            return _trusted(path, shape)
        graph = _read(path)
        size = _size(graph.pixels, shape)
        fixed_batch = graph.pixels[0]
        batch = fixed_batch or min(2, graph.most or 2)
        logits = _on_shapes(graph.on(torch.device("cpu")), (batch, 3, *size), graph.dtype)

    def place(device: torch.device, _dtype: torch.dtype) -> Forward:
        run = graph.on(device)
        runs = ShapeRuns(run)

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            runs.require(pixels)
            return logits_of(run(pixels))

        return _in_parts(forward, fixed_batch or graph.most)

    return _model(path, size, logits.shape, graph.dtype, fixed_batch, place)


def _read(path: Path) -> ExportGraph:
    try:
        graph = read_graph(Archive.map(path))
    except ForeignError as error:
        raise ModelError(
            f"is not opened, because loading it would run code that it brings: {str(error)[:80]!r}; --trust does"
        ) from error
    except OldError as error:
        raise _of_another_torch(str(error)) from error
    except InputsError as error:
        raise ModelError(str(error)) from error
    except Exception as error:  # of any kind: what is no such JSON fails anywhere in its reader
        raise ModelError(f"is a damaged torch.export program: {last_line(error)}") from error
    if len(graph.pixels) != 4 or graph.pixels[1] != 3:
        raise ModelError("takes something else than one batch of pictures (N, 3, height, width)")
    return graph


def _of_another_torch(version: str) -> ModelError:
    return ModelError(
        f"is a torch.export program saved by torch {version}, which torch {torch.__version__} cannot read;"
        " use the same model's *_torchscript.pt2 file"
    )


def _on_shapes(run: Callable[[torch.Tensor], Any], size: tuple[int, int, int, int], dtype: torch.dtype) -> torch.Tensor:
    try:
        with quiet_torch():
            return logits_of(run_on_shapes(run, size, dtype))
    except RefusedError as error:
        raise ModelError(f"{error}; --trust runs it") from error
    except ModelError:
        raise
    except Exception as error:  # of any kind, as each operator has its own
        raise ModelError(
            f"does not run on an input of {size[2]}x{size[3]} (height x width): {last_line(error)}"
        ) from error


def _model(
    path: Path,
    size: Shape,
    logits: torch.Size,
    dtype: torch.dtype,
    fixed_batch: int | None,
    place: Callable[[torch.device, torch.dtype], Forward],
) -> Network:
    return Network(
        kind="torch-export",
        channels=logits[1],
        size=size,
        logits_size=(logits[2], logits[3]),
        place=place,
        dtype=dtype,
        fixed_batch=fixed_batch,
        fixed_dtype=True,
        own_dtype=True,
        path=path,
    )


def _trusted(path: Path, shape: Shape | None) -> Network:
    """The model as torch.export loads it."""
    from torch.export.passes import move_to_device_pass

    try:
        with quiet_torch(), _tensors_only():
            program = torch.export.load(path)
    except Exception as error:  # of any kind: what another torch has written fails anywhere in the reader
        raise ModelError(f"cannot be read by torch {torch.__version__}: {last_line(error)}") from error
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [values[name] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    if len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor) or inputs[0].ndim != 4 or inputs[0].shape[1] != 3:
        raise ModelError(f"takes {len(inputs)} inputs, not one batch of pictures (N, 3, height, width)")
    pixels = inputs[0]
    size = _size([length if isinstance(length, int) else None for length in pixels.shape], shape)
    fixed_batch = pixels.shape[0] if isinstance(pixels.shape[0], int) else None
    most = fixed_batch or _most(program, pixels.shape[0])

    def place(device: torch.device, _dtype: torch.dtype) -> Forward:
        with quiet_torch(), _PLACING:
            return _in_parts(returning_logits(move_to_device_pass(program, device).module()), most)

    with torch.inference_mode():
        logits = place(torch.device("cpu"), pixels.dtype)(torch.zeros(fixed_batch or 1, 3, *size, dtype=pixels.dtype))
    return _model(path, size, logits.shape, pixels.dtype, fixed_batch, place)


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Has every torch.load within read tensors and plain containers only, whatever its caller asked for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _size(lengths: Sequence[int | None], shape: Shape | None) -> Shape:
    """(height, width) of the input: the graph's where it fixes them, else as wished."""
    wanted = shape or DEFAULT_SHAPE
    height, width = (wish if own is None else own for own, wish in zip(lengths[2:], wanted, strict=True))
    if shape is not None and (height, width) != shape:
        raise ModelError(f"takes an input of {height}x{width} (height x width) alone, not {shape[0]}x{shape[1]}")
    return height, width


def _most(program: torch.export.ExportedProgram, batch: Any) -> int | None:
    """The largest batch that the program accepts; None if it has no bound."""
    bounds = program.range_constraints.get(batch.node.expr)
    upper = None if bounds is None else bounds.upper
    return int(upper) if upper is not None and upper.is_Integer and upper < 1 << 31 else None


def _in_parts(forward: Forward, most: int | None) -> Forward:
    """`forward` for batches larger than the `most` it accepts."""

    def split(pixels: torch.Tensor) -> torch.Tensor:
        if most is None or len(pixels) <= most:
            return forward(pixels)
        return torch.cat([forward(part) for part in torch.split(pixels, most)])

    return split
