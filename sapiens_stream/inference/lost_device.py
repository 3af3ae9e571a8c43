"""A device that is lost, told from one that is short of memory and from a model that fails."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sapiens_stream.inference.memory import out_of_memory

# What CUDA, cuDNN, cuBLAS and the driver say after which a context is of no use; ECC and Xid are the hardware's.
_SAYINGS = (
    "unspecified launch failure",
    "illegal memory access",
    "illegal instruction",
    "illegal address",
    "misaligned address",
    "device-side assert",
    "launch timed out",
    "ecc error",
    "uncorrectable",
    "xid",
    "fallen off the bus",
    "gpu is lost",
    "device is lost",
    "device lost",
    "device not ready",
    "devices unavailable",
    "busy or unavailable",
    "no cuda-capable device",
    "invalid device context",
    "context is destroyed",
    "driver shutting down",
    "hardware stack error",
    "mps client",
    "unknown error",
    "system not yet initialized",
    "nvlink",
    "_execution_failed",
    "_internal_error",
)
# A model or a build that a device cannot run at all; another worker would fail as well.
_OF_THE_MODEL = (
    "no kernel image",
    "invalid argument",
    "invalid configuration",
    "invalid device function",
    "not supported",
    "_not_supported",
    "_arch_mismatch",
)


def is_lost(error: BaseException) -> bool:
    """Whether an error, or one that it came of, says that the device itself has failed."""
    return any(_says_so(each) for each in _chain(error))


def _says_so(error: BaseException) -> bool:
    text = str(error).lower()
    if not isinstance(error, RuntimeError) or out_of_memory(error) or any(each in text for each in _OF_THE_MODEL):
        return False
    of_torch = isinstance(error, torch.AcceleratorError)
    return of_torch or ("cu" in text and any(saying in text for saying in _SAYINGS))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__
