"""Many inputs, one after the other or a few side by side, each in a thread of its own that may hang without harm."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Literal, Protocol

from sapiens_stream.cores import usable_cores
from sapiens_stream.errors import Stalled
from sapiens_stream.pipeline.failures import belongs_to_input
from sapiens_stream.pipeline.run import Run
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.watchdog import Activity, Hang, Pace
from sapiens_stream.settings import STALL_TIMEOUT
from sapiens_stream.threads import ThreadGroup

TICK = 0.1  # seconds between two looks at what the threads are at
LEAVING_SECONDS = 10.0  # in which a run that was given up has closed its files, while the next input is on its way
MOST_JOBS = 8
_IDLE = 0.3  # share of the cores that are free, above which another input is begun
_LOOK_AT_CORES_EVERY = 2.0  # seconds

Jobs = int | Literal["auto"]


@dataclass(frozen=True)
class BatchInput:
    """An input by its printable name, what its results are called, and how its run is begun.

    `begin` is called in the input's thread; it says what it is at, and raises what an input cannot be begun with.
    """

    input: str
    name: str
    begin: Callable[[Activity], AbstractContextManager[Run]]


@dataclass(eq=False)
class Turn:
    """An input on its way. `run` is there once its source is open, `error` once it has failed."""

    index: int
    what: BatchInput
    activity: Activity
    run: Run | None = None
    error: BaseException | None = None
    dropped: bool = False
    """Nobody waits for it any more: it is not to begin."""
    leave_by: float | None = field(default=None, repr=False)

    @property
    def interrupted(self) -> bool:
        """Whether it was ended early, by whoever stopped the batch."""
        return self.error is None and (self.run is None or self.run.status == "interrupted")


class Onlooker(Protocol):
    """Is told how a batch goes. `begun` and `moved` are called in the input's thread, the others in the batch's."""

    def begun(self, turn: Turn) -> None:
        """Its run is about to start."""

    def moved(self, turn: Turn, statistics: Statistics) -> None:
        """Another result."""

    def ended(self, turn: Turn) -> None:
        """It is over, with or without an error; as soon as it is, in any order."""

    def looked(self) -> None:
        """Called some times a second, as long as anything goes on."""


class Batch:
    """Executes inputs, `jobs` of them side by side ("auto": more while cores are idle); `onlooker` is told of each.

    An input of which a stage hangs for `stall_timeout` seconds (0: for ever) is given up and fails with Stalled, and
    the next is begun; `renew` is called, in a thread, where the model hangs. What the watchdog goes by: `Activity`.

    An input's failure is the input's; one that would meet the others too ends the batch and is raised by `execute`.

    >>> Batch(onlooker, jobs=2).execute([BatchInput("a.mp4", "a", begin_a), BatchInput("b.mp4", "b", begin_b)])
    """

    def __init__(
        self,
        onlooker: Onlooker,
        *,
        jobs: Jobs = 1,
        stall_timeout: float = STALL_TIMEOUT,
        renew: Callable[[Stalled], None] = lambda error: None,
    ) -> None:
        self.stopping = False
        self._onlooker = onlooker
        self._stall_timeout = stall_timeout
        self._renew = renew
        self._pace = Pace()
        self._running: list[Turn] = []
        self._leaving: list[Turn] = []
        self._ended: SimpleQueue[Turn] = SimpleQueue()
        self._threads = ThreadGroup()  # of which one may hang for ever, so that nobody joins it
        self._looked = time.monotonic()
        self._cores = _Cores() if jobs == "auto" else None
        self._jobs = 1 if jobs == "auto" else jobs

    def stop(self) -> None:
        """Begins no more inputs, and ends those on their way in good order. Safe in a signal handler."""
        self.stopping = True
        for turn in [*self._running]:
            if turn.run is not None:
                turn.run.stop()

    def abandon(self) -> None:
        """As `stop`, but without the frames in flight. Safe in a signal handler."""
        self.stop()
        for turn in [*self._running]:
            if turn.run is not None:
                turn.run.abandon()

    def execute(self, inputs: Iterable[tuple[int, BatchInput]]) -> None:
        """Runs all of them, each under its number, to their ends."""
        waiting = deque(inputs)
        fatal: BaseException | None = None
        while (waiting and not self.stopping) or self._running or self._leaving:
            while waiting and not self.stopping and len(self._running) < self._at_once():
                self._begin(*waiting.popleft())
            ended = self._wait()
            if ended is not None and ended.error is not None and not belongs_to_input(ended.error):
                fatal = fatal or ended.error
                self.stop()
            self._look()
        if fatal is not None:
            raise fatal

    def _begin(self, index: int, what: BatchInput) -> None:
        turn = Turn(index, what, Activity(self._pace))
        self._running.append(turn)
        self._threads.start(f"input {index}", partial(self._work, turn))

    def _work(self, turn: Turn) -> None:
        try:
            with turn.what.begin(turn.activity) as run:
                turn.run = run
                if turn.dropped:
                    return
                if self.stopping:
                    run.stop()
                self._onlooker.begun(turn)
                run.execute(lambda statistics: self._onlooker.moved(turn, statistics))
            turn.error = turn.error or run.error
        except BaseException as error:
            turn.error = turn.error or error
        finally:
            self._ended.put(turn)

    def _wait(self) -> Turn | None:
        """The next that has ended, if one does soon."""
        try:
            turn = self._ended.get(timeout=TICK)
        except Empty:
            return None
        for those in (self._running, self._leaving):
            if turn in those:
                those.remove(turn)
                self._onlooker.ended(turn)
                return turn
        return None

    def _look(self) -> None:
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * TICK), now
        self._onlooker.looked()
        for turn in [*self._running]:
            hang = turn.activity.look(passed, self._stall_timeout) if self._stall_timeout else None
            if hang is not None:
                self._give_up(turn, hang)
            elif self.stopping and turn.run is None and turn.error is None:  # else it is over, and comes of its own
                turn.dropped = True
                if turn.run is None:  # which its thread looks at in the other order
                    self._running.remove(turn)
                    self._onlooker.ended(turn)
        for turn in [*self._leaving]:
            if turn.leave_by is not None and now > turn.leave_by:
                self._leaving.remove(turn)
                self._onlooker.ended(turn)

    def _give_up(self, turn: Turn, hang: Hang) -> None:
        turn.dropped = turn.activity.hung = True
        turn.error = error = Stalled(f"{turn.what.input}: {hang}")
        self._running.remove(turn)
        if hang.stage == "infer":
            self._threads.start("renew", partial(self._renew, error))  # which may hang as well
        if turn.run is None:
            self._onlooker.ended(turn)
        else:
            turn.leave_by = time.monotonic() + LEAVING_SECONDS
            self._leaving.append(turn)
            turn.run.give_up(error)

    def _at_once(self) -> int:
        if self._cores is not None and len(self._running) == self._jobs and self._cores.are_idle():
            self._jobs = min(self._jobs + 1, MOST_JOBS, usable_cores())
        return self._jobs


class _Cores:
    """How busy this process keeps the machine's cores."""

    def __init__(self) -> None:
        self._at = time.monotonic(), time.process_time()

    def are_idle(self) -> bool:
        """Whether some were, since the last time it was asked for, which is long enough ago."""
        wall, processor = time.monotonic() - self._at[0], time.process_time() - self._at[1]
        if wall < _LOOK_AT_CORES_EVERY:
            return False
        self._at = time.monotonic(), time.process_time()
        return processor / wall < (1 - _IDLE) * usable_cores()
