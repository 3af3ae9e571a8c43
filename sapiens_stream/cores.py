"""How many of the machine's cores this process may use: by its affinity, and by the quota of its container."""

from __future__ import annotations

import math
import os

from sapiens_stream.control_groups import Group, groups_of
from sapiens_stream.text import whole_number

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

    Of groups within each other the tightest counts. What is malformed limits nothing.
    """
    return min((limit for group in groups_of("cpu") if (limit := _quota_of(group)) is not None), default=None)


def _by_affinity() -> int:
    # Windows and macOS have no affinity to ask for.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota_of(group: Group) -> float | None:
    """The processor time a second of one group, of two numbers of microseconds; no limit is "max" or -1."""
    if group.version == 2:
        time, _, period = group.says("cpu.max").partition(" ")
    else:
        time, period = group.says("cpu.cfs_quota_us"), group.says("cpu.cfs_period_us")
    used, of = whole_number(time), whole_number(period)
    return used / of if used and of else None
