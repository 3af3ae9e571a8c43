"""What a worker's thread does: a batch at a time from a queue, until that ends or the device is lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty
from threading import Condition, get_ident

import torch

from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.lost_device import is_lost
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.turns import Refining, Turn
from sapiens_stream.inference.worker import Worker

Batch = Sequence[Frame]
Results = Future[list[Segmentation]]


@dataclass(frozen=True, eq=False)
class Job:
    """A batch, and where its results go."""

    results: Results
    frames: Batch
    refining: Refining | None
    turn: Turn

    def begin(self) -> bool:
        """Whether it is still to be computed; it may be begun again by another worker."""
        if self.results.running():
            return True
        if self.results.done() and not self.results.cancelled():  # by a worker that seemed to hang
            return False
        return self.results.set_running_or_notify_cancel()

    @property
    def waits(self) -> bool:
        """Whether it waits for others."""
        return self.turn.is_waiting or (self.refining is not None and self.refining.turn.is_waiting)

    @property
    def lost(self) -> str | None:
        """Why its refiner cannot go on; None if it can."""
        return self.refining.turn.turns.lost if self.refining is not None else None

    def resolve(self, found: list[Segmentation]) -> None:
        """Hands its results over, unless there are some, or an error."""
        with suppress(InvalidStateError):
            self.results.set_result(found)

    def fail(self, error: BaseException) -> None:
        """Hands an error over in place of results, unless there are some."""
        with suppress(InvalidStateError):
            self.results.set_exception(error)


@dataclass(eq=False)
class Life:
    """What a worker's thread is at, from its making to its end."""

    placed: Future[Worker] = field(default_factory=Future)
    started: deque[tuple[Job, list[PendingBatch]]] = field(default_factory=deque)
    at: Job | None = None
    """What it computes, or waits for."""
    again: deque[Job] = field(default_factory=deque)
    """What comes before the queue: another had it in flight."""
    clock: int | None = None
    """Its processor time, by `time.clock_gettime`."""
    over: bool = False
    """Whether another has taken its place: it takes nothing more from the queue."""


class Jobs:
    """A worker's queue, in the order of the turns, up to a None. May be asked from any thread."""

    def __init__(self) -> None:
        self._change = Condition()
        self._queued: deque[Job | None] = deque()

    def put(self, job: Job | None) -> None:
        """Behind all others."""
        with self._change:
            self._queued.append(job)
            self._change.notify_all()

    def take(self, life: Life) -> Job | None:
        """What a life is at from now on; None at the end of the queue, or of the life.

        Raises Empty where nothing is queued, and it has started others that it can finish.
        """
        with self._change:
            if not life.again:
                self._change.wait_for(lambda: self._queued or life.started or life.over)
            if life.over:
                return None
            if not (life.again or self._queued):
                raise Empty
            life.at = (life.again or self._queued).popleft()
            return life.at

    def leave(self, life: Life) -> tuple[Job | None, list[Job]]:
        """Ends a life. What it is at, and all that it had in flight or was to do again, that among it, in order."""
        with self._change:
            life.over = True
            self._change.notify_all()
            at = life.at  # before what it has started, which it may just become
            jobs = [job for job, _ in list(life.started)]
            return at, [*jobs, *([at] if at is not None and at not in jobs else []), *life.again]

    def drained(self) -> list[Job]:
        """All that was queued, which is no more."""
        with self._change:
            jobs = [job for job in self._queued if job is not None]
            self._queued.clear()
            return jobs


class _Lost(Exception):
    """A worker's device is lost, as `__cause__` says."""


def serve(
    jobs: Jobs,
    life: Life,
    make: Callable[[], Worker],
    threads: int | None,
    lost: Callable[[BaseException], None],
) -> None:
    """Makes the worker and works through the queue up to a None, or until the device is `lost`, which is told why.

    `threads` is the size of the CPU's pool of this thread; None leaves it as it is.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if hasattr(time, "pthread_getcpuclockid"):
        life.clock = time.pthread_getcpuclockid(get_ident())
    try:
        worker = make()
    except BaseException as error:
        life.placed.set_exception(error)
        return
    life.placed.set_result(worker)
    try:
        _work(jobs, life, worker)
    except _Lost as error:
        assert error.__cause__ is not None
        lost(error.__cause__)
    else:
        if not life.over:
            worker.close()


def _work(jobs: Jobs, life: Life, worker: Worker) -> None:
    while not life.over:
        try:
            job = jobs.take(life)
        except Empty:  # nothing to overlap with
            _finish(life, worker)
            continue
        if job is None:
            break
        if not job.begin():
            life.at = None
            continue
        _start(life, worker, job)
        del job  # else its pictures are held until the next has come
        while len(life.started) > worker.depth and not life.over:
            _finish(life, worker)
    while life.started and not life.over:
        _finish(life, worker)


def _start(life: Life, worker: Worker, job: Job) -> None:
    try:
        pending = worker.start(job.frames)
    except BaseException as error:
        _fail(life, job, error)
    else:
        life.started.append((job, pending))
    life.at = None


def _finish(life: Life, worker: Worker) -> None:
    job, pending = life.started[0]
    life.at = job
    try:
        found = worker.finish(pending, job.refining, job.turn)
        if job.refining is not None and not job.frames:
            found = worker.rest(job.refining)
    except BaseException as error:
        _fail(life, job, error)
    else:
        if not life.over:
            job.resolve(found)
    if not life.over:
        life.started.popleft()
    life.at = None


def _fail(life: Life, job: Job, error: BaseException) -> None:
    """Hands the error over, or raises _Lost, which leaves the job in flight."""
    if life.over:
        return
    if is_lost(error):
        raise _Lost from error
    job.fail(error)
