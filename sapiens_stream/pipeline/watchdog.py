"""What the threads of an input are at and for how long: tells a stage that hangs from one that is slow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from sapiens_stream.threads import ThreadGroup

SLOWEST = 10
"""Times the longest wait for the model so far that one may take, where its work cannot be seen."""
FIRST = 5
"""Times the timeout that the first may take there: kernels are compiled meanwhile."""
_COMPUTING = 0.05  # seconds of processor time, far more than a thread takes that only waits
_OF_THE_SOURCE = ("open", "decode")
_SAID = {
    "open": "opening it",
    "decode": "decoding",
    "infer": "the model",
    "paint": "painting",
    "encode": "encoding",
    "write": "writing",
    "close": "closing its files",
}


@dataclass
class _Busy:
    stage: str
    clock: Callable[[], float | None] | None
    began: float
    age: float = 0.0
    """Seconds since it began, or last moved, as the watchdog has counted them."""
    used: float = 0.0
    """Where the clock stood then."""


@dataclass
class Pace:
    """How long the model was waited for at the longest; the inputs of a batch share it."""

    longest: float = 0.0


@dataclass(frozen=True)
class Hang:
    """A stage that does not move, and for how many seconds."""

    stage: str
    seconds: float

    def __str__(self) -> str:
        return f"{_SAID.get(self.stage, self.stage)} has hung for {self.seconds:.3g} s"


class Activity:
    """What the threads of one input are at: entered and left by them, looked at by whoever watches.

    >>> with activity.at("decode"):
    ...     frame = next(frames)
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self.hung = False
        """Whether one of the threads was given up."""
        self._pace = pace or Pace()
        self._busy: dict[int, _Busy] = {}
        self._lock = Lock()
        self._number = 0

    @contextmanager
    def at(self, stage: str, clock: Callable[[], float | None] | None = None) -> Iterator[None]:
        """The block is work of a stage. `clock` tells the processor time that it has used; None where nothing does.

        A stage with a clock may take as long as it computes. Where that tells nothing, the model is measured by itself,
        and files that are closed are waited for.
        """
        number = self.enter(stage, clock)
        try:
            yield
        finally:
            self.leave(number)

    def enter(self, stage: str, clock: Callable[[], float | None] | None = None) -> int:
        """As `at`, up to `leave` with the number that is returned."""
        busy = _Busy(stage, clock, time.monotonic())
        with self._lock:
            self._number += 1
            self._busy[self._number] = busy
            return self._number

    def leave(self, number: int) -> None:
        """The work has come to its end."""
        with self._lock:
            busy = self._busy.pop(number)
        if busy.stage == "infer":
            self._pace.longest = max(self._pace.longest, time.monotonic() - busy.began)

    def beat(self) -> None:
        """Something came of the source, though no frame yet: it does not hang."""
        with self._lock:
            for busy in self._busy.values():
                if busy.stage in _OF_THE_SOURCE:
                    busy.age = 0.0

    def look(self, seconds: float, timeout: float) -> Hang | None:
        """What hangs, `seconds` after the last look; None where all moves, or nothing is being done.

        Time in which nobody looked does not count: a process that was stopped, or a machine that slept, hung nowhere.
        """
        with self._lock:
            for busy in self._busy.values():
                busy.age += seconds
                if busy.age >= self._limit(busy, timeout):
                    return Hang(busy.stage, busy.age)
        return None

    def release(self, close: Callable[[], None]) -> None:
        """Calls `close`; where a thread hangs it may hang too, and nobody waits for it."""
        if self.hung:
            ThreadGroup(log_late=False).start("release", close)
        else:
            close()

    def _limit(self, busy: _Busy, timeout: float) -> float:
        if busy.age < timeout / 8:  # what moves as it should is not asked: clocks read a file a thread
            return timeout
        used = busy.clock() if busy.clock is not None else None
        if used is None:
            return self._unseen(busy.stage, timeout)
        if used - busy.used >= _COMPUTING:
            busy.used, busy.age = used, 0.0
        return timeout

    def _unseen(self, stage: str, timeout: float) -> float:
        """How long a stage may take whose work cannot be seen."""
        if stage == "infer":
            return max(timeout, SLOWEST * self._pace.longest) if self._pace.longest else FIRST * timeout
        return math.inf if stage == "close" else timeout
