"""Threads that belong to one owner: started, failed, cancelled and joined in one place, as in trio's nurseries."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock, Thread, current_thread

from sapiens_stream.errors import cause

JOIN_SECONDS = 10.0  # a thread stuck in a system call must not hold the program for ever


class ThreadGroup:
    """Threads of which none outlives its owner for long, and whose first failure is kept.

    `cancel` is called once, in the thread that fails or by `close`: it has to wake and end all of them.

    >>> group = ThreadGroup(cancel=channel.cancel)
    >>> group.start("source", read)
    >>> group.close()
    ()
    """

    def __init__(self, cancel: Callable[[], None] = lambda: None, *, join_seconds: float = JOIN_SECONDS) -> None:
        self.failure: BaseException | None = None
        """What the first thread that failed was ended by."""
        self._cancel = cancel
        self._cancelled = False
        self._join_seconds = join_seconds
        self._threads: list[Thread] = []
        self._lock = Lock()

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Runs `work` in a thread of that name. RuntimeError if the group is over or the system has no more threads."""
        if self._cancelled:
            raise RuntimeError(f"thread {name}: its group has ended")
        thread = Thread(target=self._run, args=(work,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def cancel(self) -> None:
        """Has all threads end; returns at once."""
        with self._lock:
            first, self._cancelled = not self._cancelled, True
        if first:
            self._cancel()

    def join(self) -> tuple[str, ...]:
        """Waits for all of them together, `join_seconds` at most. Returns, and logs, who did not end in time."""
        end = time.monotonic() + self._join_seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        late = tuple(thread.name for thread in self._threads if thread.is_alive())
        for name in late:
            logging.getLogger(__name__).warning("thread %s did not end within %g s", name, self._join_seconds)
        return late

    def close(self) -> tuple[str, ...]:
        """`cancel`, then `join`."""
        self.cancel()
        return self.join()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            logging.getLogger(__name__).warning("thread %s failed: %s", current_thread().name, cause(error))
            with self._lock:
                self.failure = self.failure or error
            self.cancel()
