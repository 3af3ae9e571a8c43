"""Networks compiled for the device by torch.compile; what is compiled is kept for later runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sapiens_stream.errors import DeviceError, UsageError, cause
from sapiens_stream.home import expanded
from sapiens_stream.install_line import pip_install
from sapiens_stream.models.model import Model

Forward = Callable[[Tensor], Tensor]


def compiled(forward: Forward, model: Model) -> Forward:
    """The network to be compiled at its first batch, once for each size of batch, and where each picture keeps its
    aspect, for those of all sizes at once.

    No CUDA graphs: launching takes microseconds of a batch's milliseconds, and a graph's output is written over by the
    next batch. Raises UsageError for a model whose graph is not ours to compile.
    """
    if not isinstance(forward, nn.Module):
        raise UsageError(f"{model.name} runs as the {model.kind} graph of its file, which is not compiled further")
    keep_compiled()
    return torch.compile(forward, dynamic=model.aspect_step is not None)


def keep_compiled() -> str:
    """Has torch keep what it compiles in the user's cache, unless the user says where; returns the folder.

    By default it is lost with the temporary folder.
    """
    name = "TORCHINDUCTOR_CACHE_DIR"
    if name not in os.environ:
        folder = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sapiens-stream" / "compiled"
        if not folder.is_absolute():  # no home is known
            return "the temporary folder"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return "the temporary folder"
        os.environ[name] = str(folder)
    return os.environ[name]


def warm_up(compute: Callable[[], None], what: str, note: Callable[[str], None]) -> None:
    """Runs a compiled network once, so that it is compiled before there are frames to wait for it.

    `what` says the network, and for what it is compiled. Raises DeviceError where that fails, saying what is missing.
    """
    note(f"compiling {what}, which can take minutes; kept for later runs in {keep_compiled()}")
    start = time.perf_counter()
    try:
        compute()
    except Exception as error:  # of any kind: each part of the compiler has its own
        raise DeviceError(f"cannot compile {what}: {_reason(error)}") from error
    note(f"compiled in {time.perf_counter() - start:.1f} s")


def _reason(error: Exception) -> str:
    text = str(error)
    if "C++ compiler" in text or "CppCompileError" in text:
        return "that takes a C++ compiler (g++ or clang++) and Python's headers"
    if "C compiler" in text:  # which Triton needs for what starts its kernels
        return "that takes a C compiler (gcc or clang) and Python's headers"
    if "triton" in text.lower():
        return f"that takes Triton ({pip_install()} triton) and a GPU that it knows"
    return cause(error)
