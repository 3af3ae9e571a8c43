"""The processor, memory and disk that this process may use. None, or nothing, where the system does not tell."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from sapiens_stream.control_groups import Group, groups_of
from sapiens_stream.cores import quota, usable_cores
from sapiens_stream.text import whole_number

# Of a processor's many flags, those that decide how fast matrices multiply; "bf16", "i8mm" and "fphp" are ARM's.
MATRIX_FLAGS = (
    *("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_fp16"),
    *("bf16", "i8mm", "fphp"),
)

_MEMORY_FILES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}
"""By the version of control groups, what tells the limit and what is used, bytes."""


@dataclass(frozen=True, kw_only=True)
class Processor:
    """`cores` is how many this process may use, by its affinity and its quota; `capability` what torch uses.

    `quota` is the processor time a second, in seconds, that a container leaves it; None without such a limit.
    """

    name: str
    cores: int
    capability: str
    flags: tuple[str, ...]
    quota: float | None = None


@dataclass(frozen=True, kw_only=True)
class Space:
    """Bytes."""

    total: int
    free: int


def processor() -> Processor:
    return Processor(
        name=_processor_name(),
        cores=usable_cores(),
        capability=torch.backends.cpu.get_cpu_capability(),
        flags=_flags(),
        quota=quota(),
    )


def memory() -> Space | None:
    """The memory of this machine, or what a container or batch system leaves of it where that is less.

    macOS does not tell how much is free.
    """
    found = {
        name: int(rest.split()[0]) << 10
        for name, _, rest in (line.partition(":") for line in _lines(Path("/proc/meminfo")))
        if name in ("MemTotal", "MemAvailable")
    }
    if len(found) < 2:
        total = _system_memory()
        return None if total is None else Space(total=total, free=total)
    total, free = found["MemTotal"], found["MemAvailable"]
    for group in groups_of("memory"):
        limit, used = (whole_number(group.says(name)) for name in _MEMORY_FILES[group.version])
        if limit is not None and used is not None and limit < found["MemTotal"]:
            total = min(total, limit)
            free = max(0, min(free, limit - used + _given_up(group)))
    return Space(total=total, free=free)


def _given_up(group: Group) -> int:
    """Bytes of files that a group's processes have read, and that the kernel drops once they need the room."""
    sizes = dict(line.split(maxsplit=1) for line in group.says("memory.stat").splitlines() if " " in line)
    name = "inactive_file" if group.version == 2 else "total_inactive_file"  # with those of the groups in it
    return whole_number(sizes.get(name, "").strip()) or 0


def disk(folder: Path) -> Space | None:
    """The disk that a folder is on; None where it does not tell."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return Space(total=usage.total, free=usage.free) if usage.total else None


def answer(*command: str) -> str:
    """The first line that a program prints; "" where it is not there, fails, or takes five seconds."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout.strip().partition("\n")[0] if run.returncode == 0 else ""


def _processor_name() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return answer("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()


def _flags() -> tuple[str, ...]:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.lower().startswith(("flags", "features")):
            there = set(line.partition(":")[2].split())
            return tuple(flag for flag in MATRIX_FLAGS if flag in there)
    return ()


def _system_memory() -> int | None:
    size = answer("sysctl", "-n", "hw.memsize")
    return int(size) if size.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
