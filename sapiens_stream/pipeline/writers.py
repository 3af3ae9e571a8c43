"""The threads that hand results to sinks: one for each ordered sink, a small pool for all others and for painting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock, Thread
from typing import Any

from sapiens_stream.frame import Segmentation
from sapiens_stream.pipeline.channel import Cancelled, Channel
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.settings import WRITE_WORKERS
from sapiens_stream.sinks.sink import Sink

QUEUED_RESULTS = 4  # a sink; a 4K frame holds some 50 MB until it is written


class _Job:
    """A result on its way to several threads; counted as written when the last of them is done."""

    def __init__(self, result: Segmentation, threads: int, statistics: Statistics) -> None:
        self.result = result
        self.spoiled = False
        self.prepared: dict[Sink, Future[Any]] = {}
        """What of it is done ahead, beside the thread that writes in order."""
        self._left = threads
        self._statistics = statistics

    def done(self) -> bool:
        """Called by each thread; True for the last."""
        with self._statistics.lock:
            self._left -= 1
            if not self._left and not self.spoiled:
                self._statistics.written += 1
            return not self._left


class Writers:
    """Writes results to all sinks at once. `write` waits when a sink falls behind, so that memory is bounded.

    The first failure of a sink is raised by the next `write`, or by `close`; the other sinks finish what they have.
    But where `spare`, called with the result and the failure, returns True, only this result is lost.
    `on_written` is called with each result that all sinks have written.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        statistics: Statistics,
        *,
        workers: int = WRITE_WORKERS,
        on_written: Callable[[Segmentation], None] = lambda result: None,
        spare: Callable[[Segmentation, BaseException], bool] = lambda result, error: False,
    ) -> None:
        self._sinks = sinks
        self._statistics = statistics
        self._on_written = on_written
        self._spare = spare
        self._failure: BaseException | None = None
        self._lock = Lock()
        self._channels: list[Channel[_Job]] = []
        self._threads: list[Thread] = []
        self._ordered = [sink for sink in sinks if sink.ordered]
        self._ahead = ThreadPoolExecutor(workers, "paint")
        self._statistics.threads["paint"] = workers
        for sink in self._ordered:
            self._start("encode", [sink], 1)
        if pooled := [sink for sink in sinks if not sink.ordered]:
            self._start("write", pooled, workers)

    def _start(self, stage: str, sinks: Sequence[Sink], count: int) -> None:
        channel: Channel[_Job] = Channel(QUEUED_RESULTS)
        self._channels.append(channel)
        self._statistics.threads[stage] = self._statistics.threads.get(stage, 0) + count
        for _ in range(count):
            thread = Thread(target=self._work, args=(stage, sinks, channel), name=stage, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, stage: str, sinks: Sequence[Sink], channel: Channel[_Job]) -> None:
        try:
            for job in channel:
                wait(job.prepared[sink] for sink in sinks if sink in job.prepared)
                with self._statistics.timed(stage):
                    self._write(job, sinks)
                if job.done() and not job.spoiled:
                    self._on_written(job.result)
        except BaseException as error:
            self._fail(error)
            channel.cancel()

    def _write(self, job: _Job, sinks: Sequence[Sink]) -> None:
        try:
            for sink in sinks:
                if (prepared := job.prepared.get(sink)) is None:
                    sink.write(job.result)
                else:
                    sink.write_prepared(job.result, prepared.result())
        except BaseException as error:
            if not self._spare(job.result, error):
                raise
            job.spoiled = True

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error

    def write(self, result: Segmentation) -> None:
        """Queues one result for every sink. Raises what a sink failed with."""
        job = _Job(result, len(self._channels), self._statistics)
        for sink in self._ordered:
            if (work := sink.prepare(result)) is not None:
                job.prepared[sink] = self._ahead.submit(self._timed, "paint", work)
        try:
            for channel in self._channels:
                channel.put(job)
        except Cancelled:
            pass
        if self._failure is not None:
            raise self._failure

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        with self._statistics.timed(stage):
            return work()

    def close(self) -> None:
        """Finishes what was queued, closes every sink, and raises the first failure."""
        for channel in self._channels:
            channel.close()
        for thread in self._threads:
            thread.join()
        self._ahead.shutdown(cancel_futures=True)
        for sink in self._sinks:
            try:
                sink.close()
            except BaseException as error:
                self._fail(error)
        if self._failure is not None:
            raise self._failure
