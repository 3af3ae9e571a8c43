"""Threads that belong to one owner: started, failed, cancelled and joined in one place, as in trio's nurseries.

All threads of the package are of a group, but those of a `Pool`: that owns its threads in the same way, and fits where
each piece of work has a result that somebody waits for. Who makes one shuts it down.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import TIMEOUT_MAX, BoundedSemaphore, Lock, Thread, current_thread
from typing import ParamSpec, TypeVar

from sapiens_stream.cores import usable_cores
from sapiens_stream.errors import UsageError, cause

Made = TypeVar("Made")
Given = ParamSpec("Given")

JOIN_SECONDS = 10.0  # a thread stuck in a system call must not hold the program for ever

SMALL_STEPS = BoundedSemaphore(max(1, usable_cores() // 2))
"""To be held for work of many small steps of numpy, so that not every thread is at such work at once.

Each step lets go of the interpreter's lock and takes it again: threads that do so side by side hand it to and fro. On
two cores, that takes 1 to 4 % of the CPU time of a whole run.
"""


def _nothing() -> None:
    """What is left to cancel of a group that is over."""


class ThreadGroup:
    """Threads of which none outlives its owner for long, and whose first failure is kept.

    Args:
        cancel: is called once, in the thread that fails or by `close`: it has to wake and end all of them.
        join_seconds: how long `join` waits for all of them together; `math.inf` where they end by themselves.
        log_late: whether `join` logs who did not end in time.

    Its own threads may close it: they are not waited for then.

    >>> group = ThreadGroup(cancel=channel.cancel)
    >>> group.start("source", read)
    >>> group.close()
    ()
    """

    def __init__(
        self,
        cancel: Callable[[], None] = _nothing,
        *,
        join_seconds: float = JOIN_SECONDS,
        log_late: bool = True,
    ) -> None:
        self.failure: BaseException | None = None
        """What the first thread that failed was ended by."""
        self._cancel = cancel
        self._cancelled = False
        self._join_seconds = join_seconds
        self._log_late = log_late
        self._threads: list[Thread] = []
        self._lock = Lock()

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Runs `work` in a thread of that name. RuntimeError if the group is over or the system has no more threads."""
        if self._cancelled:
            raise RuntimeError(f"thread {name}: its group has ended")
        thread = Thread(target=self._run, args=(work,), name=name, daemon=True)
        thread.start()
        self._threads = [each for each in self._threads if each.is_alive()]  # a source connects again for weeks
        self._threads.append(thread)

    def cancel(self) -> None:
        """Has all threads end; returns at once."""
        with self._lock:
            self._cancelled = True
            # Forgotten, because a group and the owner of its `cancel` are a circle, which keeps all that the owner has
            # until Python looks for circles.
            cancel, self._cancel = self._cancel, _nothing
        cancel()

    def join(self) -> tuple[str, ...]:
        """Waits for all of them together, `join_seconds` at most. Returns, and logs, who did not end in time."""
        end = time.monotonic() + self._join_seconds
        others = [thread for thread in self._threads if thread is not current_thread()]
        for thread in others:
            thread.join(min(TIMEOUT_MAX, max(0.0, end - time.monotonic())))
        late = tuple(thread.name for thread in others if thread.is_alive())
        for name in late if self._log_late else ():
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


class Pool(ThreadPoolExecutor):
    """A ThreadPoolExecutor that serves a program's threads also when its main thread has ended before them.

    Python shuts every pool down at that moment, though the program goes on until its threads are done.

    >>> with Pool(4, "photo") as pool:
    ...     photos = list(pool.map(decode, paths))
    """

    def submit(self, fn: Callable[Given, Made], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Made]:
        """The result to be of a call in one of the threads; after the main thread's end, in one of its own."""
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError as error:
            if "interpreter shutdown" not in str(error):
                raise
        future: Future[Made] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        Thread(target=work, name="late", daemon=True).start()  # as many as are submitted at once: they may wait in turn
        return future


def apart(make: Callable[[], Made]) -> Made:
    """Calls `make` in a thread of its own, so that signals are heard while it waits within a library.

    On an interrupt it is left to itself, and is not waited for.
    """
    thread = Pool(1, "apart")
    try:
        return thread.submit(make).result()
    finally:
        thread.shutdown(wait=False)


class OwnProcess:
    """The process that it is made in: threads begun there do not go along where that is forked, and who waits for them
    hangs."""

    def __init__(self) -> None:
        self._id = os.getpid()

    @property
    def left(self) -> bool:
        """Whether this is another, forked from it."""
        return os.getpid() != self._id

    def require(self, done: str, instead: str) -> None:
        """Before threads are needed. Raises UsageError in another process.

        Args:
            done: what was, where they were begun.
            instead: what to do.
        """
        if self.left:
            raise UsageError(f"{done} before the process was forked, and its threads did not come; {instead}")
