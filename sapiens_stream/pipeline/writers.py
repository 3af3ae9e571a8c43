"""The threads that hand results to sinks, and what happens where those fall behind: the run waits, or drops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from sapiens_stream.frame import Segmentation
from sapiens_stream.pipeline.channel import Cancelled, Channel
from sapiens_stream.pipeline.processor_time import clock_with_libraries
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.weights import MOST_WAITING, weight_of
from sapiens_stream.settings import WRITE_WORKERS
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.threads import Pool, ThreadGroup

# A sink; a 4K frame holds some 50 MB until it is written. Where the oldest are dropped, an encoder may fall behind for
# a moment without a loss.
QUEUED_RESULTS = {"wait": 4, "drop": 8}


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
    """Writes results to all sinks at once, in threads. Memory is bounded, by one of two policies.

    `when_full="wait"`: `write` waits when a sink falls behind. Each ordered sink has a thread of its own, all others
    and what can be painted ahead a pool of `workers`. `"drop"`: `write` returns at once, and the oldest results that
    wait give way, for all sinks alike; one thread writes, so that a result is in all files or in none.

    The first failure of a sink is raised by the next `write` that waits, or by `close`; the other sinks finish what
    they have. `on_failure` is called with each failure, in the thread that had it. But where `spare`, called with the
    result and the failure, returns True, only this result is lost. `on_written` is called with each result that all
    sinks have written, `on_left` with each that they have done with, a lost one too; `on_start` by each thread before
    it begins.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        statistics: Statistics,
        *,
        when_full: Literal["wait", "drop"] = "wait",
        workers: int = WRITE_WORKERS,
        on_written: Callable[[Segmentation], None] = lambda result: None,
        on_left: Callable[[Segmentation], None] = lambda result: None,
        on_failure: Callable[[BaseException], None] = lambda error: None,
        on_start: Callable[[], None] = lambda: None,
        spare: Callable[[Segmentation, BaseException], bool] = lambda result, error: False,
    ) -> None:
        self.statistics = statistics
        self.failure: BaseException | None = None
        self._sinks = sinks
        self._when_full = when_full
        self._on_written = on_written
        self._on_left = on_left
        self._on_failure = on_failure
        self._on_start = on_start
        self._spare = spare
        self._lost = 0
        self._lock = Lock()
        self._channels: list[Channel[_Job]] = []
        self._threads = ThreadGroup(self.end, join_seconds=math.inf)  # as long as its end takes
        self._ahead = Pool(workers, "paint")  # `join` ends it
        self._painted_ahead: list[Sink] = []
        works: list[tuple[str, Callable[[], None]]] = []
        if when_full == "drop":
            works += self._to_do("write", sinks, 1)
        else:
            self._painted_ahead = [sink for sink in sinks if sink.ordered]
            statistics.threads["paint"] = workers
            for sink in self._painted_ahead:
                works += self._to_do("encode", [sink], 1)
            works += self._to_do("write", [sink for sink in sinks if not sink.ordered], workers)
        self._busy = len(works)
        for stage, work in works:
            self._threads.start(stage, work)

    @property
    def dropped(self) -> int:
        """Results that were not written because a sink fell behind, or had failed."""
        return self._lost + sum(channel.dropped for channel in self._channels)

    @property
    def files(self) -> list[Path]:
        """The files that span many frames, once closed."""
        return [path for sink in self._sinks for path in sink.written]

    def write(self, result: Segmentation) -> None:
        """Queues one result for every sink. Raises what a sink failed with, if it waits for them."""
        job = _Job(result, len(self._channels), self.statistics)
        for sink in self._painted_ahead:
            if (work := sink.prepare(result)) is not None:
                job.prepared[sink] = self._ahead.submit(self._timed, "paint", work)
        try:
            for channel in self._channels:
                channel.put(job)
        except Cancelled:
            self._lose(1)
        if not self._channels:
            self._on_left(result)
        if self.failure is not None and self._when_full == "wait":
            raise self.failure

    def end(self) -> None:
        """Takes no more; what waits is written and the sinks are closed, in the threads."""
        for channel in self._channels:
            channel.close()

    def join(self) -> None:
        """Waits until the sinks are closed; call it after `end`."""
        self._threads.close()
        self._ahead.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Finishes what was queued, closes every sink, and raises the first failure."""
        self.end()
        self.join()
        if self.failure is not None:
            raise self.failure

    def _to_do(self, stage: str, sinks: Sequence[Sink], count: int) -> Sequence[tuple[str, Callable[[], None]]]:
        """Work for so many threads, which take from a channel of their own."""
        if not sinks:
            return []
        drop = self._when_full == "drop"
        channel: Channel[_Job] = Channel(
            QUEUED_RESULTS[self._when_full],
            newest_wins=drop,
            weigh=lambda job: weight_of(job.result.frame),
            most=MOST_WAITING,
        )
        self._channels.append(channel)
        self.statistics.threads[stage] = self.statistics.threads.get(stage, 0) + count
        return [(stage, partial(self._work, stage, sinks, channel))] * count

    def _work(self, stage: str, sinks: Sequence[Sink], channel: Channel[_Job]) -> None:
        self._on_start()
        clock = clock_with_libraries() if stage == "encode" else None  # some take minutes for a frame
        try:
            for job in channel:
                wait(job.prepared[sink] for sink in sinks if sink in job.prepared)
                with self.statistics.timed(stage, clock):
                    self._write(job, sinks)
                if job.done():
                    if not job.spoiled:
                        self._on_written(job.result)
                    self._on_left(job.result)
                del job  # else the picture is held until the next has come
        except BaseException as error:
            self._lose(1 + len(channel))
            channel.cancel()
            self._fail(error)
        self._leave()

    def _leave(self) -> None:
        """The last thread closes the sinks."""
        with self._lock:
            self._busy -= 1
            last = not self._busy
        if not last:
            return
        with self.statistics.activity.at("close", clock_with_libraries()):
            for sink in self._sinks:
                try:
                    sink.close()
                except BaseException as error:
                    self._fail(error)

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

    def _lose(self, count: int) -> None:
        with self._lock:
            self._lost += count

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self.failure = self.failure or error
        self._on_failure(error)

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        with self.statistics.timed(stage):
            return work()
