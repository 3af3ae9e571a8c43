"""Ctrl-C, SIGTERM, and SIGHUP of a closed terminal, which end a program in the same way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sapiens_stream.cli.leaving import leave_threads_behind


def ending_signals() -> list[signal.Signals]:
    """Those that end a program; SIGHUP is not among them where nohup has it ignored."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Has each of them raise KeyboardInterrupt, for all that comes before and after a run, which has its own handlers.

    The process is about to end then: it waits for no thread, such as one in which a library still loads a model, and
    another signal does not turn its end into a traceback.
    """
    interrupted = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        leave_threads_behind()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is on_signal:  # a run that was stopped has them ignored
                signal.signal(number, signal.SIG_IGN if interrupted else handler)
