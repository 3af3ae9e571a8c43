"""The processor time of a thread and of the libraries' own that work for it, such as an encoder's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

_TASKS = Path("/proc/self/task")


def clock_with_libraries() -> Callable[[], float | None]:
    """What tells the seconds that this thread, and threads that are not Python's, have computed, but for a constant.

    They leap where another thread of Python ends. None where the system does not tell, as only Linux does.
    """
    own = threading.get_native_id()

    def seconds() -> float | None:
        try:
            return time.process_time() - sum(map(_nanoseconds_of, _others(own))) / 1e9
        except (OSError, ValueError):
            return None

    return seconds


def _others(own: int) -> list[int]:
    return [each.native_id for each in threading.enumerate() if each.native_id not in (None, own)]


def _nanoseconds_of(thread: int) -> int:
    try:
        return int((_TASKS / str(thread) / "schedstat").read_text().split()[0])
    except FileNotFoundError:
        if _TASKS.is_dir() and not (_TASKS / str(thread)).exists():  # it has just ended
            return 0
        raise
