"""A device that is out of memory, told from one that fails."""

from __future__ import annotations

import math

import torch

from sapiens_stream.models.model import Model

# cuBLAS and cuDNN have words of their own for it, and so have the CPU's allocators and Metal.
_SAYINGS = ("out of memory", "allocate memory", "not enough memory", "status_alloc_failed")
_METAL_ARRAY = 1 << 32
"""Bytes of one array, above which Metal's kernels abort the process."""
_WIDEST = 768
"""Channels of the widest array of a published network's head, which has the size of the logits."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a device said so that its memory is short."""
    # TorchScript passes the device's error on as a plain RuntimeError, as do the CPU and MPS.
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(saying in text for saying in _SAYINGS)
    )


def most_frames(batch_size: int, model: Model, device: torch.device, dtype: torch.dtype) -> int:
    """`batch_size`, or on Metal what of it keeps the arrays of a network as wide as the published ones in bounds."""
    if device.type != "mps":
        return batch_size
    a_frame = math.prod(model.logits_size) * _WIDEST * dtype.itemsize
    return max(1, min(batch_size, (_METAL_ARRAY - 1) // a_frame))


def share_in_use(device: torch.device) -> float:
    """How much of a CUDA device's memory is taken, by this process at its highest and by others: 0 to 1, else 0."""
    if device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device)
    return (total - free - ours + torch.cuda.max_memory_reserved(device)) / total
