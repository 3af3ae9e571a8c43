"""Rates as this machine has them although others may use it too: the best of many short runs; and who else is busy."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from sapiens_stream.cores import usable_cores
from sapiens_stream.threads import ThreadGroup

BUSY = 0.85
"""The share of its cores below which measurements suffer: what an idle machine gives is above 0.95."""

_AGREEING = 3
_WITHIN = 1.1
_LEAST, _MOST = 0.3, 1.5  # seconds
_SAMPLE = 0.3  # seconds
_BLOCK = bytes(1 << 20)


def fastest(run: Callable[[], object]) -> float:
    """Seconds that the fastest of many runs takes.

    A run should be short: one that nobody disturbed is then among them, also where others use the machine. They go on
    until three agree within a tenth, for a second and a half at most.
    """
    seconds: list[float] = []
    begun = time.perf_counter()
    while True:
        start = time.perf_counter()
        run()
        end = time.perf_counter()
        seconds.append(end - start)
        best = sorted(seconds)[:_AGREEING]
        agree = len(best) == _AGREEING and best[-1] <= _WITHIN * best[0]
        if end - begun > (_LEAST if agree else _MOST):
            return best[0]


def share_of_cores() -> float:
    """How much of its cores this process gets if it asks for all: 1 on an idle machine, a half where another asks too.

    Takes a third of a second.
    """
    cores = usable_cores()
    until = time.perf_counter() + _SAMPLE

    def work() -> None:
        while time.perf_counter() < until:
            hashlib.sha256(_BLOCK).digest()  # without the interpreter's lock

    threads = ThreadGroup()
    begun, used = time.perf_counter(), time.process_time()
    for core in range(cores):
        threads.start(f"core {core}", work)
    threads.join()
    return min(1.0, (time.process_time() - used) / (time.perf_counter() - begun) / cores)
