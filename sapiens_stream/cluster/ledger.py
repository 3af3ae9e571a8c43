"""What is to be done, by whom nobody asks here: tasks, what became of them, and what follows from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sapiens_stream.cluster.listing import Entry
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.sources.parts import Part

STRIKES = 3
"""Workers that may die of a task before it is given up: a file that kills its decoder kills each."""
LOSSES = 20
"""The same where the worker's whole node went: that is no fault of the task's, but must have an end too."""

Kind = Literal["video", "chunk", "join"]


@dataclass(frozen=True)
class Task:
    """`video`: a whole one, or to say in which parts it is to be done; `chunk`: one of these; `join`: all of them."""

    kind: Kind
    entry: Entry
    part: Part | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.entry.shown if self.part is None else f"{self.entry.shown} (chunk {self.part.number})"


@dataclass(frozen=True)
class Outcome:
    """What a worker says of a task: `parts` of a video that is to be done so; `error` if it failed."""

    frames: int = 0
    seconds: float = 0.0
    passed: bool = False
    """It was done before."""
    skipped: Sequence[Skipped] = ()
    """Frames that could not be used, now or when it was done before."""
    damaged: Sequence[Damaged] = ()
    """Frames that could be read in part only."""
    parts: Sequence[Part] = ()
    error: str | None = None
    for_good: bool = True
    """Whether trying again is of no use."""
    of_output: bool = False
    """Whether it failed for where results go, and another task would, too."""
    stopped: bool = False


@dataclass
class Ledger:
    """Hands out each task until it is done, and gives up one that has had its strikes.

    Videos that are begun come before others, so that few are half done whenever it ends. Nothing is known here of
    workers: `lost` is told of a task that came back from none.
    """

    waiting: deque[Task] = field(default_factory=deque)
    running: set[Task] = field(default_factory=set)
    done: list[Entry] = field(default_factory=list)
    given_up: list[Skipped] = field(default_factory=list)
    skips: list[Skipped] = field(default_factory=list)
    damages: list[Damaged] = field(default_factory=list)
    frames: int = 0
    repeated: int = 0
    stopped: bool = False
    _strikes: dict[Task, int] = field(default_factory=dict)
    _losses: dict[Task, int] = field(default_factory=dict)
    _open: dict[Entry, set[Task]] = field(default_factory=dict)
    """Of a video in parts, those that are not done."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Ledger:
        """All is still to be done."""
        return cls(deque(Task("video", each) for each in entries))

    @property
    def is_finished(self) -> bool:
        """Whether nothing runs, and nothing is to be handed out."""
        return not self.running and (self.stopped or not self.waiting)

    def next(self) -> Task | None:
        """The task for a worker that is free."""
        if self.stopped or not self.waiting:
            return None
        task = self.waiting.popleft()
        self.running.add(task)
        return task

    def finish(self, task: Task, outcome: Outcome) -> None:
        """A worker came back."""
        self.running.discard(task)
        if outcome.stopped:
            self.waiting.appendleft(task)
        elif outcome.error is not None and not outcome.for_good:
            self._strike(task, f"given up after {STRIKES} tries: {outcome.error}", self._strikes, STRIKES)
        elif outcome.error is not None:
            self._give_up(task, outcome.error)
        elif outcome.parts:
            chunks = [Task("chunk", task.entry, part) for part in outcome.parts]
            self._open[task.entry] = set(chunks)
            self.waiting.extendleft(reversed(chunks))
        else:
            if task.kind != "chunk":  # the join meets them again
                self.skips += outcome.skipped
                self.damages += outcome.damaged
            self.frames += outcome.frames if task.kind != "join" and not outcome.passed else 0
            self._conclude(task)

    def lost(self, task: Task, why: str, *, with_node: bool = False) -> None:
        """A worker died."""
        self.running.discard(task)
        self.repeated += 1
        counts, most = (self._losses, LOSSES) if with_node else (self._strikes, STRIKES)
        self._strike(task, f"given up after {most} workers were lost: {why}", counts, most)

    def _conclude(self, task: Task) -> None:
        if task.kind != "chunk":
            self.done.append(task.entry)
            return
        left = self._open.get(task.entry)
        if left is not None:
            left.discard(task)
            if not left:
                del self._open[task.entry]
                self.waiting.appendleft(replace(task, kind="join", part=None))

    def _strike(self, task: Task, why: str, counts: dict[Task, int], most: int) -> None:
        counts[task] = counts.get(task, 0) + 1
        if counts[task] < most:
            if not self._is_given_up(task):
                self.waiting.appendleft(task)
        else:
            self._give_up(task, why)

    def _give_up(self, task: Task, why: str) -> None:
        """With it goes the rest of its video."""
        if not self._is_given_up(task):
            name = task.entry.shown
            self.given_up.append(Skipped(name, why.removeprefix(f"{name}: ")))
        self._open.pop(task.entry, None)
        self.waiting = deque(each for each in self.waiting if each.entry != task.entry)

    def _is_given_up(self, task: Task) -> bool:
        return any(each.name == task.entry.shown for each in self.given_up)
