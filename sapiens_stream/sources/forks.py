"""Sources and processes that are forked: the threads that read do not go along, and who waits for them hangs."""

from __future__ import annotations

import os

from sapiens_stream.errors import UsageError

OPEN_IN_EACH = "open it in each process"


def is_elsewhere(process: int) -> bool:
    """Whether the threads begun in a process are not in this one, which was forked from it."""
    return os.getpid() != process


def require_here(process: int, name: str) -> None:
    """Before a source is read whose threads were begun in a process. Raises UsageError in any other."""
    if is_elsewhere(process):
        raise UsageError(
            f"{name}: it was opened before the process was forked, and its threads did not come; {OPEN_IN_EACH}"
        )
