"""A worker and the thread that alone touches it, with the queue of what it has to do."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, get_ident
from weakref import WeakSet

import torch

from sapiens_stream.errors import DeviceError, UsageError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.lost_device import is_lost
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.inference.turns import Turn, Turns
from sapiens_stream.inference.worker import Stage, Worker
from sapiens_stream.threads import ThreadGroup

Batch = Sequence[Frame]
Results = Future[list[Segmentation]]


@dataclass(frozen=True, eq=False)
class Job:
    """A batch, and where its results go."""

    results: Results
    frames: Batch
    refiner: Refiner | None
    turn: Turn

    def fail(self, error: BaseException) -> None:
        """Hands an error over in place of results, unless there are some."""
        with suppress(InvalidStateError):
            self.results.set_exception(error)


@dataclass(eq=False)
class _Life:
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
    """Whether another has taken its place: it touches the queue no more."""


class WorkerThread:
    """Begins to make a worker in a thread of `group`, so that the CPU has one pool of threads a worker.

    `threads` is the size of that pool; None leaves it as it is. Where the worker's device is lost, `on_lost` is called
    with this and the error, in that thread, which ends; the queue stays until this is `restart`ed or `emptied`.
    """

    def __init__(
        self,
        group: ThreadGroup,
        make: Callable[[], Worker],
        *,
        device: torch.device,
        threads: int | None,
        on_lost: Callable[[WorkerThread, BaseException], None],
    ) -> None:
        self.device = device
        self._worker: Worker | None = None
        self._before: dict[Stage, float] = {}
        self._group = group
        self._make = make
        self._threads = threads
        self._on_lost = on_lost
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = Lock()
        self._ended = False
        self.load = 0
        """Batches that are queued or being computed."""
        self._spoiled: WeakSet[Refiner] = WeakSet()
        self._life = _Life()
        self._begin()

    def placed(self) -> Worker:
        """The worker, once its model is on the device. Raises what placing it failed with."""
        worker = self._life.placed.result()
        if (before := self._worker) is not None and before is not worker:
            for stage, spent in before.seconds.items():
                self._before[stage] = self._before.get(stage, 0.0) + spent
        self._worker = worker
        return worker

    @property
    def worker(self) -> Worker:
        """The one that was placed last."""
        return self._worker or self.placed()

    @property
    def seconds(self) -> dict[Stage, float]:
        """What each stage has taken so far."""
        return {stage: spent + self._before.get(stage, 0.0) for stage, spent in self.worker.seconds.items()}

    def submit(self, frames: Batch, refiner: Refiner | None, turns: Turns) -> Results:
        """Queues a batch, whose turn is the next. Raises UsageError once ended."""
        results: Results = Future()
        turn = turns.next()
        results.add_done_callback(lambda _results: turn.end())  # however it ends
        try:
            self.take(Job(results, frames, refiner, turn))
        except UsageError:
            turn.end()
            raise
        return results

    def take(self, job: Job) -> None:
        """Queues what was another's. Raises UsageError once ended."""
        with self._lock:
            if self._ended:
                raise UsageError("the Segmenter is closed; make another one")
            self.load += 1
            job.results.add_done_callback(self._done)
            if job.refiner is not None and job.refiner in self._spoiled:
                spoiled = True
            else:
                spoiled = False
                self._jobs.put(job)
        if spoiled:
            job.fail(_logits_lost(self.device))

    def restart(self, error: BaseException | None = None) -> None:
        """Makes another worker, in another thread, that goes on with the queue, what was in flight first.

        With an `error`, the batch that the old one is at fails with it: it hangs there. Those of a refiner fail in any
        case, since its logits are lost. `placed` tells whether the new worker could be made.
        """
        jobs = self._left(error)
        self._life = _Life(again=deque(jobs))
        self._begin()

    def emptied(self) -> list[Job]:
        """Ends it, and gives what it had in flight and in its queue, in order."""
        jobs = self._left(None)
        with self._lock:
            self._ended = True
        queued = self._queued()
        for job in queued:
            job.turn.end()
        return jobs + queued

    def end(self) -> None:
        """Ends the thread after what is queued."""
        with self._lock:
            self._ended = True
            self._jobs.put(None)

    @property
    def processor_seconds(self) -> float | None:
        """What its thread has computed so far; None where the system does not tell."""
        clock = self._life.clock
        if clock is None:
            return None
        try:
            return time.clock_gettime(clock)
        except OSError:  # it has ended
            return 0.0

    @property
    def waits(self) -> bool:
        """Whether it is at a batch that waits for those of others."""
        at = self._life.at
        return at is not None and at.turn.is_waiting

    def _begin(self) -> None:
        lost = partial(self._on_lost, self)
        self._group.start("worker", partial(_serve, self._jobs, self._life, self._make, self._threads, lost))

    def _left(self, error: BaseException | None) -> list[Job]:
        """What the worker had in flight, which is to be done again, and is not a refiner's, or the one it hangs at."""
        life = self._life
        life.over = True
        jobs = [job for job, _ in life.started]
        jobs += [life.at] if life.at is not None and life.at not in jobs else []
        jobs += life.again
        for job in jobs:  # which may come after others now
            job.turn.end()
        if error is not None and life.at is not None:
            jobs.remove(life.at)
            life.at.fail(error)
        with self._lock:
            self._spoiled.update(job.refiner for job in jobs if job.refiner is not None)
        queued = self._queued()
        for job in queued:
            if job.refiner is None or job.refiner not in self._spoiled:
                self._jobs.put(job)
        if self._ended:
            self._jobs.put(None)
        for job in [*jobs, *queued]:
            if job.refiner is not None and job.refiner in self._spoiled:
                job.fail(_logits_lost(self.device))
        return [job for job in jobs if job.refiner is None]

    def _queued(self) -> list[Job]:
        jobs: list[Job] = []
        with suppress(Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    jobs.append(job)
        return jobs

    def _done(self, _results: Results) -> None:
        with self._lock:
            self.load -= 1


def _logits_lost(device: torch.device) -> DeviceError:
    return DeviceError(
        f"{device} was lost, and with it the logits of the frames before: --steady and --every cannot go on;"
        " --resume begins the clip anew"
    )


class _Lost(Exception):
    """A worker's device is lost, as `__cause__` says."""


def _serve(
    jobs: SimpleQueue[Job | None],
    life: _Life,
    make: Callable[[], Worker],
    threads: int | None,
    lost: Callable[[BaseException], None],
) -> None:
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


def _work(jobs: SimpleQueue[Job | None], life: _Life, worker: Worker) -> None:
    while not life.over:
        try:
            job = life.again.popleft() if life.again else jobs.get(block=not life.started)
        except Empty:  # nothing to overlap with
            _finish(life, worker)
            continue
        if job is None:
            break
        if not (job.results.running() or job.results.set_running_or_notify_cancel()):
            continue
        _start(life, worker, job)
        while len(life.started) > worker.depth and not life.over:
            _finish(life, worker)
    while life.started and not life.over:
        _finish(life, worker)


def _start(life: _Life, worker: Worker, job: Job) -> None:
    life.at = job
    try:
        pending = worker.start(job.frames)
    except BaseException as error:
        _fail(life, job, error)
    else:
        life.started.append((job, pending))
    life.at = None


def _finish(life: _Life, worker: Worker) -> None:
    job, pending = life.started[0]
    life.at = job
    try:
        found = worker.finish(pending, job.refiner, job.turn)
        if job.refiner is not None and not job.frames:
            found = worker.rest(job.refiner)
    except BaseException as error:
        _fail(life, job, error)
    else:
        if not life.over:
            job.results.set_result(found)
    if not life.over:
        life.started.popleft()
    life.at = None


def _fail(life: _Life, job: Job, error: BaseException) -> None:
    """Hands the error over, or raises _Lost, which leaves the job in flight."""
    if life.over:
        return
    if is_lost(error):
        raise _Lost from error
    job.fail(error)
