"""A worker and the thread that alone touches it, with the queue of what it has to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock

import torch

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.inference.worker import Worker
from sapiens_stream.threads import ThreadGroup

Batch = Sequence[Frame]
Results = Future[list[Segmentation]]


@dataclass(frozen=True)
class _Job:
    results: Results
    frames: Batch
    refiner: Refiner | None


class WorkerThread:
    """Begins to make a worker in a thread of `group`, so that the CPU has one pool of threads a worker.

    `threads` is the size of that pool; None leaves it as it is.
    """

    def __init__(self, group: ThreadGroup, make: Callable[[], Worker], *, threads: int | None) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._placed: Future[Worker] = Future()
        self._lock = Lock()
        self._ended = False
        self.load = 0
        """Batches that are queued or being computed."""
        # The thread holds neither this nor the engine, whose end ends it.
        group.start("worker", partial(_serve, self._jobs, self._placed, make, threads))

    def placed(self) -> Worker:
        """The worker, once its model is on the device. Raises what placing it failed with."""
        return self._placed.result()

    def submit(self, frames: Batch, refiner: Refiner | None = None) -> Results:
        """Queues a batch. Raises UsageError once ended."""
        results: Results = Future()
        results.add_done_callback(self._done)
        with self._lock:
            if self._ended:
                raise UsageError("the Segmenter is closed; make another one")
            self.load += 1
            self._jobs.put(_Job(results, frames, refiner))
        return results

    def end(self) -> None:
        """Ends the thread after what is queued."""
        with self._lock:
            self._ended = True
            self._jobs.put(None)

    def _done(self, _results: Results) -> None:
        with self._lock:
            self.load -= 1


def _serve(
    jobs: SimpleQueue[_Job | None],
    placed: Future[Worker],
    make: Callable[[], Worker],
    threads: int | None,
) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        worker = make()
    except BaseException as error:
        placed.set_exception(error)
        return
    placed.set_result(worker)
    started: deque[tuple[_Job, list[PendingBatch]]] = deque()
    while True:
        try:
            job = jobs.get(block=not started)
        except Empty:  # nothing to overlap with
            _finish(worker, *started.popleft())
            continue
        if job is None:
            break
        if not job.results.set_running_or_notify_cancel():
            continue
        try:
            started.append((job, worker.start(job.frames)))
        except BaseException as error:
            job.results.set_exception(error)
        while len(started) > worker.depth:
            _finish(worker, *started.popleft())
    for each in started:
        _finish(worker, *each)
    worker.close()


def _finish(worker: Worker, job: _Job, pending: list[PendingBatch]) -> None:
    try:
        found = worker.finish(pending, job.refiner)
        if job.refiner is not None and not job.frames:
            found = worker.rest(job.refiner)
    except BaseException as error:
        job.results.set_exception(error)
    else:
        job.results.set_result(found)
