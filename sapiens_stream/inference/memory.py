"""A device that has not the memory, told from one that fails."""

from __future__ import annotations

import torch


def out_of_memory(error: BaseException) -> bool:
    """Whether a device said so that its memory is short."""
    # TorchScript passes the device's error on as a plain RuntimeError, as do the CPU and MPS.
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "allocate memory" in text)
    )


def share_in_use(device: torch.device) -> float:
    """How much of a CUDA device's memory is taken, by this process at its highest and by others: 0 to 1, else 0."""
    if device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device)
    return (total - free - ours + torch.cuda.max_memory_reserved(device)) / total
