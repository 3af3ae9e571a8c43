"""Measuring one way of doing a thing against another, in one process, in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Medians in seconds, and the median of the ratios baseline / ours, pair by pair (above 1: ours is faster)."""

    ours: float
    baseline: float
    speedup: float


def compare(ours: Callable[[], object], baseline: Callable[[], object], *, repeats: int = 5) -> Comparison:
    """Runs both in turn, after one run of each that is not counted; pairs cancel what the machine does meanwhile."""
    ours(), baseline()
    pairs = [(seconds(ours), seconds(baseline)) for _ in range(repeats)]
    return Comparison(
        ours=statistics.median(pair[0] for pair in pairs),
        baseline=statistics.median(pair[1] for pair in pairs),
        speedup=statistics.median(pair[1] / pair[0] for pair in pairs),
    )


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_memory(arguments: list[str]) -> int:
    """Peak resident memory, bytes, of `python -m ARGUMENTS` run as a process of its own. Linux only.

    Read from /proc, because `getrusage` counts what the process that started it held, too.
    """
    code = (
        "import runpy, sys\n"
        "from pathlib import Path\n"
        "sys.argv = sys.argv[1:]\n"
        "try:\n"
        "    runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print('peak', status.split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) * 1024
