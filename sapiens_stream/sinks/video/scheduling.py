"""Keeps an encoder from taking the machine for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """What is opened within it does not change how threads are scheduled.

    SVT-AV1, run as root, makes the thread that opens it and all of its own real-time at the highest priority:
    everything else on the machine then stands still, and child processes inherit it.
    """
    before = _policies()
    try:
        yield
    finally:
        for thread, policy in _policies().items():
            if policy in (os.SCHED_FIFO, os.SCHED_RR) and before.get(thread) != policy:
                with suppress(OSError):  # it may have ended
                    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _policies() -> dict[int, int]:
    """How each thread of this process is scheduled; nothing where the system does not tell."""
    found: dict[int, int] = {}
    if _TASKS.is_dir() and hasattr(os, "sched_getscheduler"):
        for task in _TASKS.iterdir():
            with suppress(OSError):
                found[int(task.name)] = os.sched_getscheduler(int(task.name))
    return found
