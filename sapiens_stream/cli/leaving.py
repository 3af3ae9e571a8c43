"""The end of the process, which a thread that hangs must not keep from coming."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_left_behind = False


def leave_threads_behind() -> None:
    """From now on a thread may be stuck for ever, in a system call or in a library."""
    global _left_behind
    _left_behind = True


def end_process(code: int) -> None:
    """Ends the process at once where a thread was left behind: Python would wait for it. Else does nothing."""
    if _left_behind:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
