"""What this machine can do with this program, and what a report of a bug needs: facts, for others to print."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from sapiens_stream.doctor.devices import FRAME_TFLOP, WEIGHTS_BYTES, Device, Rate, devices, nvidia_driver
from sapiens_stream.doctor.machine import Processor, Space, disk, memory, processor
from sapiens_stream.doctor.timing import BUSY, share_of_cores
from sapiens_stream.doctor.video import CAMERA_INPUTS, Ability, cameras, encoders, hardware_decoders, inputs
from sapiens_stream.errors import cause
from sapiens_stream.install_line import pip_install
from sapiens_stream.models.catalogue import PUBLISHED
from sapiens_stream.models.published import on_disk

__all__ = ["FRAME_TFLOP", "Ability", "Device", "Problem", "Processor", "Rate", "Report", "Space", "examine"]


@dataclass(frozen=True)
class Problem:
    """Something that will stand in the user's way, and what to do about it."""

    what: str
    cure: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The preferred device stands first in `devices`. `disk` is that of the folder examined.

    `models` are the published ones on disk, by the names that ask for them, `damaged_models` those cut short.
    `torchvision_failure` says why torchvision does not load beside this torch, None where it does.
    `share_of_cores` is what this process got of its cores while it measured, 1 where nobody else wanted them.
    """

    versions: dict[str, str]
    system: str
    processor: Processor
    memory: Space | None
    disk: Space | None
    devices: tuple[Device, ...]
    nvidia_driver: str | None
    encoders: tuple[Ability, ...]
    hardware_decoders: tuple[Ability, ...]
    inputs: tuple[Ability, ...]
    cameras: tuple[str, ...]
    models: tuple[str, ...]
    damaged_models: tuple[str, ...]
    share_of_cores: float = 1.0
    torchvision_failure: str | None = None

    @property
    def busy(self) -> bool:
        """Whether others used the processor so much that what was measured is too low."""
        return self.share_of_cores < BUSY

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The worst first; none on a machine where all is well."""
        return (*_torch_problems(self), *_memory_problems(self), *_model_problems(self), *_video_problems(self))

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON types; sizes in bytes, rates in TFLOP/s, estimates of frames a second named so."""
        report = asdict(self)
        for device, described in zip(self.devices, report["devices"], strict=True):
            for rate, entry in zip(device.rates, described["rates"], strict=True):
                entry["estimated_frames_per_second"] = rate.frames_per_second
            described["builtin_frames_per_second"] = described.pop("builtin")
        return report | {"busy": self.busy, "problems": [asdict(problem) for problem in self.problems]}


def examine(folder: Path | None = None) -> Report:
    """Looks at this machine, for results to be written in `folder`, by default the current one. No network.

    Takes some seconds, as encoders, decoders, matrix products and the built-in model are tried.
    """
    models = [each for model in PUBLISHED.values() for each in on_disk(model)]
    before = share_of_cores()
    measured = devices()
    share = min(before, share_of_cores())
    return Report(
        versions=_versions(),
        system=f"{platform.platform()} {platform.machine()}",
        processor=processor(),
        memory=memory(),
        disk=disk(folder or Path.cwd()),
        devices=measured,
        share_of_cores=share,
        nvidia_driver=nvidia_driver(),
        encoders=encoders(),
        hardware_decoders=hardware_decoders(),
        inputs=inputs(),
        cameras=cameras(),
        models=tuple(each.name for each in models if not each.damaged),
        damaged_models=tuple(each.name for each in models if each.damaged),
        torchvision_failure=_torchvision_failure(),
    )


def _versions() -> dict[str, str]:
    return {
        "sapiens-stream": _version_of("sapiens-stream"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": _version_of("torchvision"),
        "cuda": torch.version.cuda or "none",
        "cudnn": str(torch.backends.cudnn.version() or "none"),  # type: ignore[no-untyped-call]
        "huggingface_hub": version("huggingface_hub"),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "av": av.__version__,
        "ffmpeg": av.ffmpeg_version_info,
        **{name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()},
    }


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _torchvision_failure() -> str | None:
    """Its wheels hold code for one torch, and for CUDA or none: beside another it is there but does not load."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        return cause(error)
    return None


def _oldest_torch() -> str:
    """The lower bound that this package declares; "0" where it is not installed."""
    try:
        bounds = [re.match(r"torch\s*>=\s*([\d.]+)", each) for each in requires("sapiens-stream") or ()]
    except PackageNotFoundError:
        return "0"
    return next((bound[1] for bound in bounds if bound), "0")


def _release(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", number)[:2])


def _torch_problems(report: Report) -> list[Problem]:
    problems = []
    number = report.versions["torch"]
    oldest = _oldest_torch()
    if _release(number) < _release(oldest):
        problems.append(
            Problem(f"torch {number} is older than {oldest}", f"{pip_install()} --upgrade 'torch>={oldest}'")
        )
    if report.torchvision_failure:
        problems.append(
            Problem(
                f"torchvision {report.versions['torchvision']} does not load beside torch {number}: "
                f"{report.torchvision_failure}",
                f"install both together, from one index: {pip_install()} --upgrade --force-reinstall torch torchvision",
            )
        )
    has_cuda = any(device.name.startswith("cuda") for device in report.devices)
    if report.nvidia_driver and not has_cuda:
        if report.versions["cuda"] == "none":
            problems.append(
                Problem(
                    f"an NVIDIA driver ({report.nvidia_driver}) is here, but torch {number} is built without CUDA",
                    "install torch for CUDA: https://pytorch.org/get-started/locally",
                )
            )
        else:
            problems.append(
                Problem(
                    f"torch for CUDA {report.versions['cuda']} does not see a GPU with driver {report.nvidia_driver}",
                    "update the NVIDIA driver, or install torch for an older CUDA; check CUDA_VISIBLE_DEVICES",
                )
            )
    problems += [
        Problem(
            f"{device.name} ({device.title}) does not compute: {device.failure}",
            f"install a torch that supports compute capability {device.capability}, or give --device cpu",
        )
        for device in report.devices
        if device.failure
    ]
    return problems


def _memory_problems(report: Report) -> list[Problem]:
    """Weights are read in float32, and what is computed takes about half as much again."""
    problems = []
    for device in report.devices:
        if device.memory is None:
            continue
        lacking = [name for name, weights in WEIGHTS_BYTES.items() if 1.5 * weights > device.memory.free]
        if lacking:
            where = "memory" if device.name == "cpu" else f"memory of {device.name}"
            problems.append(
                Problem(
                    f"{device.memory.free / 1e9:.1f} GB of free {where} are too few for {', '.join(lacking)}",
                    "close other programs, or use a smaller model",
                )
            )
    return problems


def _model_problems(report: Report) -> list[Problem]:
    return [
        Problem(f"{name} is cut short or damaged on disk", f"fetch it again: sapiens-stream models pull {name} --force")
        for name in report.damaged_models
    ]


def _video_problems(report: Report) -> list[Problem]:
    problems = []
    works = {ability.name for ability in (*report.encoders, *report.inputs) if ability.works}
    if "libx264" not in works:
        others = ", ".join(ability.name for ability in report.encoders if ability.works) or "none"
        problems.append(
            Problem(
                f"the encoder libx264 of overlay videos is missing; those that work are: {others}",
                f"install av from PyPI ({pip_install()} --force-reinstall av), or choose another with --codec",
            )
        )
    if works.isdisjoint(CAMERA_INPUTS):
        problems.append(
            Problem(
                f"no camera input ({', '.join(CAMERA_INPUTS)}) in this build of FFmpeg",
                f"install av from PyPI ({pip_install()} --force-reinstall av); streams by URL work without",
            )
        )
    return problems
