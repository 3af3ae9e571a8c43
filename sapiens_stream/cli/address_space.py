"""A shell's limit of memory (`ulimit -v`), tried in another process before this one meets it."""

from __future__ import annotations

import os
import subprocess
import sys

from sapiens_stream.errors import DeviceError

_SPARE = 256 << 20
"""Bytes for the threads, and for what a small checkpoint takes more than the built-in model."""
_PATIENCE = 120.0  # seconds
_TRIAL = """
import resource, sys
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
import numpy
from sapiens_stream import Segmenter
Segmenter("builtin", device="cpu")(numpy.zeros((64, 64, 3), numpy.uint8))
"""


def check_address_space() -> None:
    """Raises DeviceError where torch cannot be loaded within the limit; at once where there is none.

    Where an allocation fails, the libraries below torch end the process, or abort it, without a word that helps: no
    handler of this process would be asked.
    """
    if sys.platform == "win32":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    trial = [sys.executable, "-P", "-c", _TRIAL, str(max(limit - _SPARE, 0))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(trial, env=environment, capture_output=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):  # then this process shows whether it can
        return
    if done.returncode:
        raise DeviceError(
            f"out of memory: this shell's limit of {limit / 1e9:.1f} GB (ulimit -v) is too low for torch to be loaded"
        )
