"""Which device to run on, and in which precision."""

from __future__ import annotations

import torch

from sapiens_stream.errors import DeviceError, UsageError
from sapiens_stream.models.model import Model

DEVICES = "auto, cpu, cuda, cuda:N, mps"
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
PRECISION_NAMES = {dtype: name for name, dtype in PRECISIONS.items()}


def available_devices() -> list[str]:
    """Names of the devices of this machine, the preferred one first; "cpu" is always there."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first CUDA device, else MPS, else the CPU.

    Raises UsageError for a name that is none, and DeviceError for a device that is not there, naming those that are.
    """
    text = name.strip().lower()
    there = available_devices()
    if text == "auto":
        return torch.device(there[0])
    kind, colon, index = text.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and index.isdecimal())):
        raise UsageError(f"no device is called {name!r}; there are {DEVICES}")
    wanted = f"cuda:{int(index or 0)}" if kind == "cuda" else kind
    if wanted not in there:
        reason = "; this torch is built without CUDA" if kind == "cuda" and torch.version.cuda is None else ""
        raise DeviceError(f"no device {name} here{reason}; there are {', '.join(there)}")
    return torch.device(wanted)


def bears_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself, not by way of float32."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)


def resolve_precision(name: str, device: torch.device, model: Model) -> torch.dtype:
    """The dtype to run a model in; "auto" is float32, but on CUDA bfloat16 for weights in it, else float16.

    A model of fixed dtype keeps it. Raises UsageError for a name that is none, or at odds with the model.
    """
    text = name.strip().lower()
    if text != "auto" and text not in PRECISIONS:
        raise UsageError(f"no precision is called {name!r}; there are auto, {', '.join(PRECISIONS)}")
    if model.fixed_dtype:
        if text != "auto" and PRECISIONS[text] != model.dtype:
            own = PRECISION_NAMES.get(model.dtype, str(model.dtype))
            raise UsageError(f"{model.name} runs in {own} alone, not in {text}; leave the precision at auto")
        return model.dtype
    if text != "auto":
        return PRECISIONS[text]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if model.dtype == torch.bfloat16 and bears_bfloat16(device) else torch.float16
