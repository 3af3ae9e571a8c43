"""ONNX checkpoints: opened by what their files say, run by onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sapiens_stream.classes import MAX_CLASSES
from sapiens_stream.errors import ModelError
from sapiens_stream.models.interface import DEFAULT_SHAPE, PRECISION_NAMES, Shape, naming
from sapiens_stream.models.model import Forward, Network
from sapiens_stream.models.onnx_file import TYPES, OnnxFile, Value
from sapiens_stream.models.onnx_session import OnnxSession, provider_of
from sapiens_stream.models.shape_run import BYTES_A_PIXEL, BYTES_ANYWAY

if TYPE_CHECKING:
    from sapiens_stream.models.checkpoint import Checkpoint

MOST_FRAMES = 64
"""At once."""
_DTYPES = {1: torch.float32, 10: torch.float16}
"""What onnxruntime can be given, as TensorProto counts types."""


def open_onnx(checkpoint: Checkpoint, shape: Shape | None = None, *, trust: bool = False) -> Network:
    """Opens an ONNX file. Its input, classes and precision are read off the file; nothing is run before it is placed.

    `shape` matters where the graph leaves height and width free. Operators that are not ONNX's own, and loops whose end
    is not known, are refused unless the file is trusted (`trust`). Raises ModelError.
    """
    path = checkpoint.path
    with naming(path):
        file = checkpoint.onnx
        if file.refusal is not None and not trust:
            raise ModelError(f"is not run, since its graph brings {file.refusal}; --trust runs it")
        pixels, logits = _pixels(file), _logits(file)
        size = _size(pixels.dims[2:], shape, file)
        dtype = _DTYPES[pixels.type]

    def place(device: torch.device, _dtype: torch.dtype) -> Forward:
        with naming(path):
            most = None if trust else _most_bytes(path, size)
            return OnnxSession(path, device=device, result=logits.name, channels=logits.dims[1], most_bytes=most)

    logits_size = _logits_size(logits.dims[2:], size, file)
    return Network(
        kind="onnx",
        channels=logits.dims[1] or 0,
        size=size,
        logits_size=logits_size,
        place=place,
        dtype=dtype,
        fixed_batch=pixels.dims[0],
        fixed_dtype=True,
        own_dtype=True,
        devices=("cpu", "cuda") if provider_of("cuda") else ("cpu",),
        aspect_step=file.manifest.aspect_step if file.manifest and shape is None and _is_free(pixels) else None,
        photo_detail=file.manifest.photo_detail if file.manifest else 1.0,
        path=path,
    )


def _most_bytes(path: Path, size: Shape) -> int:
    """That a network of this input may allocate: what the largest known takes for MOST_FRAMES, or half the memory."""
    needed = BYTES_ANYWAY + path.stat().st_size + MOST_FRAMES * BYTES_A_PIXEL * size[0] * size[1]
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # of systems that do not say
        return needed
    return min(needed, max(BYTES_ANYWAY, there // 2))


def _pixels(file: OnnxFile) -> Value:
    """The graph's one input."""
    if len(file.inputs) != 1 or len(file.inputs[0].dims) != 4 or file.inputs[0].dims[1] not in (3, None):
        raise ModelError(f"takes {_listed(file.inputs)}, not one batch of pictures (N, 3, height, width)")
    [pixels] = file.inputs
    if pixels.type not in _DTYPES:
        names = ", ".join(PRECISION_NAMES[dtype] for dtype in _DTYPES.values())
        raise ModelError(f"takes {_listed([pixels])}; onnxruntime can be given pixels in {names}")
    return pixels


def _logits(file: OnnxFile) -> Value:
    """The output called "logits", or the only one that can be logits."""
    maps = [each for each in file.outputs if len(each.dims) == 4 and each.type in _DTYPES]
    maps = [each for each in maps if each.name == "logits"] or maps
    if len(maps) != 1:
        raise ModelError(f"returns {_listed(file.outputs)}, not one tensor of logits (N, classes, h, w)")
    channels = maps[0].dims[1]
    if channels is None:
        raise ModelError("does not say how many classes it tells apart: its output has a free number of channels")
    if channels > MAX_CLASSES:
        raise ModelError(f"has {channels} classes; a class map holds 1 to {MAX_CLASSES}")
    return maps[0]


def _is_free(pixels: Value) -> bool:
    return pixels.dims[2:] == (None, None)


def _size(own: Sequence[int | None], shape: Shape | None, file: OnnxFile) -> Shape:
    """(height, width) of the input: the graph's where it fixes them, else as wished, else what the file says."""
    wanted = shape or (file.manifest and file.manifest.size) or DEFAULT_SHAPE
    height, width = (wish if fixed is None else fixed for fixed, wish in zip(own, wanted, strict=True))
    if shape is not None and (height, width) != shape:
        raise ModelError(f"takes an input of {height}x{width} (height x width) alone, not {shape[0]}x{shape[1]}")
    return height, width


def _logits_size(own: Sequence[int | None], size: Shape, file: OnnxFile) -> Shape:
    """(h, w) of the logits; where neither graph nor file say, at most the input's."""
    height, width = own
    if height is not None and width is not None:
        return height, width
    said = file.manifest
    if said is not None and said.logits_size is not None and said.size is not None:
        return size[0] * said.logits_size[0] // said.size[0], size[1] * said.logits_size[1] // said.size[1]
    return size


def _listed(values: Sequence[Value]) -> str:
    said = (f"{TYPES.get(each.type, f'numbers of type {each.type}')} {_dims(each)}" for each in values)
    return ", ".join(said) or "nothing"


def _dims(value: Value) -> str:
    return "(" + ", ".join("any" if each is None else str(each) for each in value.dims) + ")"
