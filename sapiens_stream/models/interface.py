"""What all checkpoint formats share: the pixels they take, and what counts as logits."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sapiens_stream.classes import MAX_CLASSES
from sapiens_stream.errors import ModelError

Shape = tuple[int, int]
"""(height, width), pixels."""

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
PRECISION_NAMES = {dtype: name for name, dtype in PRECISIONS.items()}

DEFAULT_SHAPE: Shape = (1024, 768)


def logits_of(output: Any) -> torch.Tensor:
    """The (N, C, h, w) logits in what a checkpoint returned: the tensor, or the only such one in a tuple or dict.

    Raises ModelError, which says what was returned, if there is none or more than one, or C is not 1 to 256.
    """
    if isinstance(output, Mapping):
        named = output.get("logits")
        items: Sequence[Any] = list(output.values()) if named is None else [named]
    else:
        items = output if isinstance(output, (tuple, list)) else [output]
    tensors = [item for item in items if isinstance(item, torch.Tensor)]
    maps = [tensor for tensor in tensors if tensor.ndim == 4 and tensor.is_floating_point()]
    if len(maps) != 1:
        given = ", ".join(f"{str(item.dtype).removeprefix('torch.')} {tuple(item.shape)}" for item in tensors)
        raise ModelError(f"returns {given or type(output).__name__}, not one tensor of logits (N, classes, h, w)")
    channels = maps[0].shape[1]
    if not 1 <= channels <= MAX_CLASSES:
        raise ModelError(f"has {channels} classes; a class map holds 1 to {MAX_CLASSES}")
    return maps[0]


def returning_logits(module: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """`module`, with its logits taken out of whatever it returns them in."""
    return lambda pixels: logits_of(module(pixels))


def last_line(error: BaseException) -> str:
    """The line of a torch error that says what happened; above it may stand the trace of the traced code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [match[1] for line in lines if (match := re.match(r"(?:[\w.]+Error|Exception): (.+)", line))]
    return (said or lines or [type(error).__name__])[-1 if said else 0]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Begins the message of any ModelError from within with the file's path, unless it does."""
    try:
        yield
    except ModelError as error:
        if str(error).startswith(f"{path} "):
            raise
        raise ModelError(f"{path} {error}") from error


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Keeps torch's deprecation warnings and logged tracebacks from the terminal; what matters is raised."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch._export", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
