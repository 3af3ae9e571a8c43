"""Which device to run on, and in which precision."""

from __future__ import annotations

import torch

from sapiens_stream.cores import limited_cores
from sapiens_stream.errors import DeviceError, UsageError
from sapiens_stream.models.interface import PRECISION_NAMES as PRECISION_NAMES
from sapiens_stream.models.interface import PRECISIONS as PRECISIONS
from sapiens_stream.models.model import Model
from sapiens_stream.text import whole_number

DEVICES = "auto, cpu, cuda, cuda:N, cuda:all, mps, or several such as cuda:0,cuda:1"
MAX_SPREAD = 8
"""Frames at once on the CPU; beyond, decoding and writing cannot keep up with a model so small."""


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
    number = whole_number(index) if colon else 0
    if kind not in ("cpu", "cuda", "mps") or number is None or (number and kind != "cuda"):
        raise UsageError(f"no device is called {name!r}; there are {DEVICES}")
    wanted = f"cuda:{number}" if kind == "cuda" else kind
    if wanted not in there:
        reason = "; this torch is built without CUDA" if kind == "cuda" and torch.version.cuda is None else ""
        raise DeviceError(f"no device {name} here{reason}; there are {', '.join(there)}")
    return torch.device(wanted)


def resolve_devices(names: str, model: Model) -> list[torch.device]:
    """The devices that share the frames: one name of `resolve_device`, several separated by commas, or "cuda:all".

    The CPU alone stands there once for each core (up to MAX_SPREAD) for a model that says `spread`: a model so small
    gains little from several threads on one frame, and much from several frames. Where a model runs on some kinds of
    device alone, "auto" is one of them. Raises what `resolve_device` does, and DeviceError for another kind.
    """
    if names.strip().lower() == "cuda:all":
        there = [name for name in available_devices() if name.startswith("cuda")]
        devices = [torch.device(name) for name in there] or [resolve_device("cuda")]
    else:
        devices = [resolve_device(name) for name in names.split(",")]
    if len({each.type for each in devices}) > 1:
        raise UsageError(f"the devices {names} are of several kinds; they have to be of one")
    wrong = [each for each in devices if model.devices is not None and each.type not in model.devices]
    if wrong and names.strip().lower() == "auto":
        devices = [torch.device("cpu")]
    elif wrong:
        kinds = " or ".join(model.devices or ())
        hint = "; for CUDA install onnxruntime-gpu in the place of onnxruntime" * (wrong[0].type == "cuda")
        raise DeviceError(f"{model.name} is run by onnxruntime, which here runs on {kinds}, not on {wrong[0]}{hint}")
    if len(devices) == 1 and devices[0].type == "cpu" and model.spread:
        return devices * min(cpu_threads(), MAX_SPREAD)
    return devices


def cpu_threads() -> int:
    """With how many threads a model computes on the CPU: torch's number, or the cores of a quota that are fewer."""
    threads = torch.get_num_threads()
    return min(threads, limited_cores() or threads)


def bears_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself, not by way of float32."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)


def resolve_precision(name: str, device: torch.device, model: Model) -> torch.dtype:
    """The dtype to run a model in; "auto" is float32, but on CUDA bfloat16 for weights in it, else float16.

    The graph of a file is run in its own dtype by "auto", and keeps it where it is fixed. Raises UsageError for a name
    that is none, or at odds with the model.
    """
    text = name.strip().lower()
    if text != "auto" and text not in PRECISIONS:
        raise UsageError(f"no precision is called {name!r}; there are auto, {', '.join(PRECISIONS)}")
    if model.fixed_dtype:
        if text != "auto" and PRECISIONS[text] != model.dtype:
            own = PRECISION_NAMES.get(model.dtype, str(model.dtype))
            raise UsageError(
                f"{model.name} runs in {own} alone, not in {text}; leave the precision at auto,"
                f" or export the model anew with --precision {text}"
            )
        return model.dtype
    if text != "auto":
        return PRECISIONS[text]
    if model.own_dtype:
        return model.dtype
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if model.dtype == torch.bfloat16 and bears_bfloat16(device) else torch.float16
