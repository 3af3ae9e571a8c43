"""The devices that torch can run a model on, and how fast each multiplies matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from sapiens_stream.cores import usable_cores
from sapiens_stream.doctor.builtin import frames_per_second
from sapiens_stream.doctor.machine import Space, answer, memory, processor
from sapiens_stream.doctor.timing import fastest
from sapiens_stream.errors import SapiensStreamError, cause
from sapiens_stream.inference.device import PRECISIONS, available_devices, bears_bfloat16
from sapiens_stream.models.catalogue import PUBLISHED

_SHOWN = [PUBLISHED[name] for name in ("sapiens-0.3b", "sapiens-0.6b", "sapiens-1b")]

FRAME_TFLOP = {model.name: model.tflop for model in _SHOWN if model.tflop is not None}
"""What one frame costs, head and attention included."""

WEIGHTS_BYTES = {model.name: 4 * model.parameters for model in _SHOWN}
"""The weights in float32."""

_SIDES = {"cpu": 512, "cuda": 4096, "mps": 2048}  # matrices large enough to keep a device busy, and that fit any


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A measured rate of matrix products. `frames_per_second` is an estimate: an upper bound that such a rate sets."""

    precision: str
    tflops: float

    @property
    def frames_per_second(self) -> dict[str, float]:
        return {model: self.tflops / cost for model, cost in FRAME_TFLOP.items()}


@dataclass(frozen=True, kw_only=True)
class Device:
    """`capability` and `driver` are CUDA's. `precisions` are those the device computes in itself."""

    name: str
    title: str
    memory: Space | None
    precisions: tuple[str, ...]
    rates: tuple[Rate, ...]
    capability: str | None = None
    driver: str | None = None
    builtin: float | None = None
    """Frames a second of the built-in model, measured."""
    failure: str | None = None
    """Why its rates could not be measured."""


def devices() -> tuple[Device, ...]:
    """The preferred device first."""
    return tuple(_examine(torch.device(name), name) for name in available_devices())


def nvidia_driver() -> str | None:
    """The version of the NVIDIA driver of this machine, used by torch or not; None where there is none."""
    return answer("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") or None


def _examine(device: torch.device, name: str) -> Device:
    precisions = tuple(each for each in PRECISIONS if _bears(device, each))
    rates, failure, builtin = [], None, None
    try:
        for precision in PRECISIONS if device.type == "cpu" else precisions:
            rates.append(Rate(precision=precision, tflops=_tflops(device, precision)))
        builtin = frames_per_second(device)
    except (RuntimeError, SapiensStreamError) as error:  # a driver or build that does not suit the device shows here
        failure = cause(error)
    if device.type != "cuda":
        title = processor().name if device.type == "cpu" else "Apple GPU"
        return Device(
            name=name,
            title=title,
            memory=memory(),
            precisions=precisions,
            rates=tuple(rates),
            builtin=builtin,
            failure=failure,
        )
    properties = torch.cuda.get_device_properties(device)
    return Device(
        name=name,
        title=properties.name,
        memory=_cuda_memory(device),
        precisions=precisions,
        rates=tuple(rates),
        capability=f"{properties.major}.{properties.minor}",
        driver=nvidia_driver(),
        builtin=builtin,
        failure=failure,
    )


def _bears(device: torch.device, precision: str) -> bool:
    if device.type == "cpu":
        flags = processor().flags
        fast = {
            "fp32": True,
            "fp16": bool({"avx512_fp16", "amx_fp16", "fphp"} & set(flags)),
            "bf16": bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags)),
        }
        return fast[precision]
    return precision != "bf16" or bears_bfloat16(device)


def _cuda_memory(device: torch.device) -> Space | None:
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:
        return None
    return Space(total=total, free=free)


def _tflops(device: torch.device, precision: str) -> float:
    """TFLOP/s of square matrix products, 2 n**3 operations each; the fastest, as others may be using the device.

    On a CPU that of one core times their number: threads that wait for one another are slower twenty times over as
    soon as another program wants a core.
    """
    # What a processor only emulates is tens of times slower: smaller matrices tell that as well.
    side = _SIDES[device.type] // (1 if _bears(device, precision) else 2)
    repeats, cores = (1, usable_cores()) if device.type == "cpu" else (8, 1)
    with _one_thread(device), torch.inference_mode():
        matrix = torch.full((side, side), 1 / side, dtype=PRECISIONS[precision], device=device)
        out = matrix @ matrix

        def run() -> None:
            for _ in range(repeats):
                torch.mm(matrix, matrix, out=out)
            _synchronise(device)

        _synchronise(device)
        best = fastest(run) / repeats
    return cores * 2 * side**3 / best / 1e12


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
