"""Gives what is seen the processor before the model and the encoder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import get_native_id
from typing import TypeVar

from sapiens_stream.threads import apart

Made = TypeVar("Made")

NICENESS = 5  # a third of the weight that a thread of the display has


def step_back() -> None:
    """Lowers the priority of this thread, and of those that it will start; on Linux alone."""
    if sys.platform == "linux":  # elsewhere threads have no priority of their own, or inherit none
        here = get_native_id()
        os.setpriority(os.PRIO_PROCESS, here, min(19, os.getpriority(os.PRIO_PROCESS, here) + NICENESS))


def in_background(make: Callable[[], Made]) -> Made:
    """Calls `make` in a thread that steps back, so that the threads which it starts do so too.

    A model on the CPU takes all cores; with this the picture is shown twice as often on a busy machine, and in two
    thirds of the time on an idle one.
    """

    def lowered() -> Made:
        step_back()
        return make()

    return apart(lowered)
