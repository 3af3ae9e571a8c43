"""How many of the machine's cores this process may use: by its affinity, and by the quota of its container."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from sapiens_stream.text import whole_number

_PROCESS = Path("/proc/self")
_MOST_READ = 1 << 20
"""Bytes of a list of mounts: some 8000 of them."""
_MOST_NESTED = 64
"""Groups within each other that are looked at, the innermost first."""
_VARIABLES = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "TORCHINDUCTOR_COMPILE_THREADS")
"""By which torch and numpy, OpenCV, and torch.compile are told how many threads to start."""


def usable_cores() -> int:
    """The cores of this process' affinity, or as many as its quota has the time of, where that is fewer."""
    return limited_cores() or _by_affinity()


def limited_cores() -> int | None:
    """As many cores as the quota has the time of, where those are fewer than the affinity has; else None.

    Libraries know of the affinity, and start a thread for each core of it: those are what has to be told of a quota.
    """
    time = quota()
    cores = None if time is None else max(1, math.ceil(time))
    return cores if cores is not None and cores < _by_affinity() else None


def keep_to_quota() -> None:
    """Has libraries that are not loaded yet start no more threads than the quota has cores, unless the user says."""
    if (cores := limited_cores()) is not None:
        for name in _VARIABLES:
            os.environ.setdefault(name, str(cores))


def quota() -> float | None:
    """The seconds of processor time a second that the control groups of this process leave it; None without a limit.

    Of groups within each other the tightest counts; both versions of the kernel's control groups are read. What is
    malformed limits nothing.
    """
    paths = {kind: path for line in _text(_PROCESS / "cgroup").splitlines() for kind, path in _group(line)}
    return min(
        (
            limit
            for line in _text(_PROCESS / "mountinfo").splitlines()
            for kind, root, place in _mount(line)
            if kind in paths
            for folder in _nested(paths[kind], root, place)
            if (limit := _QUOTAS[kind](folder)) is not None
        ),
        default=None,
    )


def _by_affinity() -> int:
    # Windows and macOS have no affinity to ask for.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _group(line: str) -> Iterator[tuple[str, PurePosixPath]]:
    """The version of a group that may have a quota, and its path, of a line such as "4:cpu,cpuacct:/a" or "0::/a"."""
    number, _, rest = line.partition(":")
    controllers, colon, path = rest.partition(":")
    if colon and number == "0" and not controllers:
        yield "cgroup2", PurePosixPath(path)
    elif colon and "cpu" in controllers.split(","):
        yield "cgroup", PurePosixPath(path)


def _mount(line: str) -> Iterator[tuple[str, PurePosixPath, Path]]:
    """The version of the groups that are mounted, which of them is at the top, and where, as proc(5) tells it."""
    first, dash, last = line.partition(" - ")
    before, after = first.split(), last.split()
    if dash and len(before) >= 5 and len(after) >= 3:
        kind = after[0]
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in after[2].split(",")):
            yield kind, PurePosixPath(_unescaped(before[3])), Path(_unescaped(before[4]))


def _nested(path: PurePosixPath, root: PurePosixPath, place: Path) -> list[Path]:
    """The folders of a group and of those that it is in, as far as the mount shows them."""
    # Paths of a container may be those of its machine, where another group is at the top of what is mounted.
    inside = path.relative_to(root) if path.is_relative_to(root) and ".." not in path.parts else PurePosixPath()
    return [place / each for each in (inside, *inside.parents)[:_MOST_NESTED]]


def _quota_2(folder: Path) -> float | None:
    time, _, period = _text(folder / "cpu.max").strip().partition(" ")
    return _share(time, period)


def _quota_1(folder: Path) -> float | None:
    return _share(_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip())


_QUOTAS: Mapping[str, Callable[[Path], float | None]] = {"cgroup2": _quota_2, "cgroup": _quota_1}


def _share(time: str, period: str) -> float | None:
    """Of two numbers of microseconds; no limit is "max" or -1."""
    used, of = whole_number(time), whole_number(period)
    return used / of if used and of else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _text(path: Path) -> str:
    """What a file says, "" where it cannot be read."""
    try:
        with path.open(errors="replace") as file:
            return file.read(_MOST_READ)
    except (OSError, ValueError):
        return ""
