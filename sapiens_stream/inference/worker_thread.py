"""A worker and the thread that alone touches it, with the queue of what it has to do."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Lock

import torch

from sapiens_stream.errors import DeviceError, UsageError
from sapiens_stream.inference.turns import Refining, Turns, end_turns
from sapiens_stream.inference.worker import Stage, Worker
from sapiens_stream.inference.worker_loop import Batch, Job, Jobs, Life, Results, serve
from sapiens_stream.threads import ThreadGroup


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
        self._jobs = Jobs()
        self._lock = Lock()
        self._ended = False
        self.load = 0
        """Batches that are queued or being computed."""
        self._life = Life()
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

    def submit(self, frames: Batch, refining: Refining | None, turns: Turns) -> Results:
        """Queues a batch, whose turn is the next. Raises UsageError once ended."""
        job = Job(Future(), frames, refining, turns.next())
        ends = partial(end_turns, job.turn, refining)  # not of the job, which would hold itself, and its frames
        job.results.add_done_callback(lambda _results: ends())  # however it ends
        try:
            self.take(job)
        except UsageError:
            ends()
            raise
        return job.results

    def take(self, job: Job) -> None:
        """Queues what was another's. Raises UsageError once ended."""
        with self._lock:
            if self._ended:
                raise UsageError("the Segmenter is closed; make another one")
            self.load += 1
            job.results.add_done_callback(self._done)
            if (lost := job.lost) is None:
                self._jobs.put(job)
        if lost is not None:
            job.fail(DeviceError(lost))

    def restart(self, error: BaseException | None = None) -> None:
        """Makes another worker, in another thread, that goes on with the queue, what was in flight first.

        With an `error`, the batch that the old one is at fails with it: it hangs there. Those of a refiner fail in any
        case, since its logits are lost. `placed` tells whether the new worker could be made.
        """
        jobs = self._left(error)
        self._life = Life(again=deque(jobs))
        self._begin()

    def emptied(self) -> list[Job]:
        """Ends it, and gives what it had in flight and in its queue, in order."""
        jobs = self._left(None)
        with self._lock:
            self._ended = True
        queued = self._jobs.drained()
        self._lose_logits(queued)
        for job in queued:
            job.turn.end()
        return jobs + _without_lost(queued)

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
        return at is not None and at.waits

    def _begin(self) -> None:
        lost = partial(self._on_lost, self)
        try:
            self._group.start("worker", partial(serve, self._jobs, self._life, self._make, self._threads, lost))
        except RuntimeError as error:  # the engine is being closed, or the system has no more threads
            self._life.placed.set_exception(error)

    def _left(self, error: BaseException | None) -> list[Job]:
        """What the worker had in flight, which is to be done again, and is not a refiner's, or the one it hangs at."""
        at, jobs = self._jobs.leave(self._life)
        self._lose_logits(jobs)  # before these end, and others have their turn
        for job in jobs:  # which may come after others now
            job.turn.end()
        if error is not None and at is not None:
            jobs.remove(at)
            at.fail(error)
        with self._lock:  # what is submitted meanwhile comes behind these, whose turns are before its own
            queued = self._jobs.drained()
            for job in queued:
                if job.lost is None:
                    self._jobs.put(job)
            if self._ended:
                self._jobs.put(None)
        _without_lost(queued)
        return _without_lost(jobs)

    def _lose_logits(self, jobs: Sequence[Job]) -> None:
        """Those of the frames before each: where it has a refiner, neither it nor what comes after can be done."""
        for job in jobs:
            if job.refining is not None:
                job.refining.turn.turns.lose(
                    f"{self.device} was lost, and with it the logits of the frames before: --steady and --every cannot"
                    " go on; --resume begins the clip anew"
                )

    def _done(self, _results: Results) -> None:
        with self._lock:
            self.load -= 1


def _without_lost(jobs: Sequence[Job]) -> list[Job]:
    """Those that can be done; the others fail."""
    for job in jobs:
        if (lost := job.lost) is not None:
            job.fail(DeviceError(lost))
    return [job for job in jobs if job.lost is None]
