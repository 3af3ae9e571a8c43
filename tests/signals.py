"""What a signal handler may meet: it comes between any two lines of its thread, which may just hold a lock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

WAIT = 20.0  # seconds; far longer than anything here takes


def ends_with_signals_in_locks(execute: Callable[[Callable[[], None]], object], handler: Callable[[], None]) -> bool:
    """Whether `execute` comes to its end though `handler` is called between all lines at which it holds a lock of
    Python's `threading`, from where it calls what it is given on."""
    due = False

    def begin() -> None:
        nonlocal due
        due = True

    def on_line(frame: FrameType, event: str, argument: object) -> Any:
        if due and event == "line":
            handler()
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> Any:
        return on_line if frame.f_code.co_filename == threading.__file__ else None

    def work() -> None:
        sys.settrace(on_call)
        try:
            execute(begin)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(WAIT)
    return not thread.is_alive()
