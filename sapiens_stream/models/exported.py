"""torch.export programs (`*_bfloat16.pt2`): tied to the torch that saved them, and code unless looked through first."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
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

# torch 2.8 and later, and before: where the graph stands in the archive.
_GRAPH = re.compile(r"(^|/)(models/[^/]+|serialized_exported_program)\.json$")
# Members that torch.export.load would run or unpickle without any restriction.
_CODE = re.compile(r"(^|/)(aotinductor/|constants/(custom|opaque)_obj_)|\.so$")
# The pass changes the program itself: of two devices that place it at once, one would get parts of the other's.
_PLACING = Lock()
_OPERATORS = re.compile(r"(torch\.ops\.|torch\.sym_\w+$|_operator\.\w+$|math\.\w+$)")
# Sizes are evaluated by sympy: names of symbols and functions, numbers, arithmetic; no attribute, no dunder.
_EXPRESSION = re.compile(r"(?!.*__)(?!.*\.\s*[A-Za-z_])[\w\s+\-*/%(),.=<>']*")
_EXPRESSION_NAMES = re.compile(
    r"[suzif]+\d+|Symbol|Integer|Rational|Float|Add|Mul|Abs|positive|nonnegative|integer|True|False|oo"
    r"|int_oo|Max|Min|Eq|Ne|And|Or|Not"
    r"|\w*Div|\w*Mod|Pow\w*|Floor\w*|Ceil\w*|Trunc\w*|Round\w*|ModularIndexing|Where|[LR]Shift|floor|ceiling"
)


def open_exported(path: Path, shape: Shape | None = None) -> Model:
    """Opens a torch.export program. Shapes and precision are the graph's; nothing is computed.

    `shape` matters where the graph leaves height and width free. Raises ModelError, also for a file whose loading
    would run code that it brings: torch.export.load by itself unpickles and evaluates what it finds.
    """
    with naming(path):
        return _describe(path, _load(path), shape)


def _load(path: Path) -> torch.export.ExportedProgram:
    with ZipFile(path) as archive:
        names = archive.namelist()
        try:
            graphs = [json.loads(archive.read(name)) for name in names if _GRAPH.search(name)]
        except ValueError as error:
            raise ModelError(f"is a damaged torch.export program: {last_line(error)}") from error
    foreign = next((name for name in names if _CODE.search(name)), None) or next(
        (text for graph in graphs for text in _foreign(graph)), None
    )
    if foreign:
        raise ModelError(f"is not opened, because loading it would run code that it brings: {foreign[:80]!r}")
    try:
        with quiet_torch(), _tensors_only():
            return torch.export.load(path)
    except Exception as error:  # of any kind: what another torch has written fails anywhere in the reader
        saved_by = next((graph["torch_version"] for graph in graphs if graph.get("torch_version")), "another version")
        if saved_by == torch.__version__:
            raise ModelError(f"is a damaged torch.export program: {last_line(error)}") from error
        raise ModelError(
            f"is a torch.export program saved by torch {saved_by}, which torch {torch.__version__} can not read;"
            " use the same model's *_torchscript.pt2 file"
        ) from error


def _foreign(node: Any) -> Iterator[str]:
    """The operators and expressions in a graph's JSON that are more than tensor operations and arithmetic."""
    if isinstance(node, list):
        for item in node:
            yield from _foreign(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "target" and isinstance(value, str) and not _OPERATORS.match(value):
                yield value
            elif key == "expr_str" and not _harmless(str(value)):
                yield str(value)
            else:
                yield from _foreign(value)


def _harmless(expression: str) -> bool:
    names = re.findall(r"[A-Za-z_]\w*", expression)
    return bool(_EXPRESSION.fullmatch(expression)) and all(_EXPRESSION_NAMES.fullmatch(name) for name in names)


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


def _describe(path: Path, program: torch.export.ExportedProgram, shape: Shape | None) -> Model:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [values[name] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    if len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor) or inputs[0].ndim != 4 or inputs[0].shape[1] != 3:
        raise ModelError(f"takes {len(inputs)} inputs, not one batch of pictures (N, 3, height, width)")
    pixels = inputs[0]
    size = _size(pixels.shape[2:], shape)
    logits = logits_of([values[name] for name in program.graph_signature.user_outputs if isinstance(name, str)])
    fixed_batch = pixels.shape[0] if isinstance(pixels.shape[0], int) else None
    most = fixed_batch or _most(program, pixels.shape[0])

    def place(device: torch.device, _dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        from torch.export.passes import move_to_device_pass

        with quiet_torch(), _PLACING:
            return _in_parts(returning_logits(move_to_device_pass(program, device).module()), most)

    if not all(isinstance(length, int) for length in logits.shape[1:]):  # they follow from a free input size
        with torch.inference_mode():
            example = torch.zeros(fixed_batch or 1, 3, *size, dtype=pixels.dtype)
            logits = place(torch.device("cpu"), pixels.dtype)(example)
    channels = logits.shape[1]
    return Model(
        name=path.stem,
        kind="torch-export",
        classes=class_set(channels),
        input=input_spec(channels, size),
        logits_size=(logits.shape[2], logits.shape[3]),
        place=place,
        dtype=pixels.dtype,
        fixed_batch=fixed_batch,
        fixed_dtype=True,
        threshold=threshold(channels),
        path=path,
    )


def _size(lengths: torch.Size, shape: Shape | None) -> Shape:
    """(height, width) of the input: the graph's where it fixes them, else as wished."""
    wanted = shape or DEFAULT_SHAPE
    height, width = (int(own) if isinstance(own, int) else wish for own, wish in zip(lengths, wanted, strict=True))
    if shape is not None and (height, width) != shape:
        raise ModelError(f"takes an input of {height}x{width} (height x width) alone, not {shape[0]}x{shape[1]}")
    return height, width


def _most(program: torch.export.ExportedProgram, batch: Any) -> int | None:
    """The largest batch that the program accepts; None if it has no bound."""
    bounds = program.range_constraints.get(batch.node.expr)
    upper = None if bounds is None else bounds.upper
    return int(upper) if upper is not None and upper.is_Integer and upper < 1 << 31 else None


def _in_parts(
    forward: Callable[[torch.Tensor], torch.Tensor], most: int | None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """`forward` for batches larger than the `most` it accepts."""

    def split(pixels: torch.Tensor) -> torch.Tensor:
        if most is None or len(pixels) <= most:
            return forward(pixels)
        return torch.cat([forward(part) for part in torch.split(pixels, most)])

    return split
