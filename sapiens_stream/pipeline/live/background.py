"""Gives what is seen the processor before the model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import get_native_id
from typing import TypeVar

Made = TypeVar("Made")

NICENESS = 5  # a third of the weight that a thread of the display has


def in_background(make: Callable[[], Made]) -> Made:
    """Calls `make` in a thread of lower priority, which the threads that it starts inherit; on Linux alone.

    Where the model computes on the CPU it takes all cores; with this the picture is shown twice as often on a busy
    machine, and in two thirds of the time on an idle one.
    """
    if sys.platform != "linux":  # elsewhere threads have no priority of their own, or inherit none
        return make()

    def lowered() -> Made:
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, get_native_id(), min(19, niceness + NICENESS))
        return make()

    with ThreadPoolExecutor(1) as background:
        return background.submit(lowered).result()
