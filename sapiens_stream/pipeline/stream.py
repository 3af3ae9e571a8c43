"""Source thread, queue, engine thread, queue: an iterator of results that takes its own frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Damaged, Frame, Segmentation, Skipped
from sapiens_stream.inference.refiner import Refiner, Stoppable
from sapiens_stream.people.naming import Naming
from sapiens_stream.pipeline.channel import Cancelled, Channel
from sapiens_stream.pipeline.inference import Inference, processor_seconds
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.weights import MOST_WAITING, UnderWay, weight_of
from sapiens_stream.sources.source import Source
from sapiens_stream.threads import ThreadGroup

_END = object()
"""In place of a frame, where there are no more: None may be what a source of one's own yields by mistake."""


class _Order:
    """Whether to stop. No Event: a signal handler that sets it may have come while its own thread held that's lock."""

    stop = False


class Stream:
    """Iterates over the segmentations of a source, in order, decoding and inferring ahead in two threads.

    Memory is bounded by the queues whatever the length of the source. A failure in either thread ends the other
    and is raised here, after the results before it. Use it as a context manager: leaving it early stops the threads.

    Args:
        source: where the frames come from.
        engine: what infers them.
        statistics: counts and times them; None: its own.
        on_skip: called, from the source's thread, with each input that could not be read.
        on_damage: called there with what is wrong with a frame that could be read in part.
        strict: skip such a frame; it is used otherwise.
        refiner: sees the logits of all frames before their class maps are made.
        under_way: what very large frames wait for; whoever gives it says where their results go.

    >>> with Stream(Video("clip.mp4"), Segmenter("builtin").engine) as stream:
    ...     for found in stream:
    ...         print(found.frame.name, [label.name for label in found.labels])
    """

    def __init__(
        self,
        source: Source,
        engine: Inference,
        *,
        statistics: Statistics | None = None,
        on_skip: Callable[[Skipped], None] | None = None,
        on_damage: Callable[[Damaged], None] | None = None,
        strict: bool = False,
        refiner: Refiner | None = None,
        under_way: UnderWay | None = None,
    ) -> None:
        self.statistics = statistics or Statistics()
        self._source = source
        self._engine = engine
        self._on_skip = on_skip
        self._on_damage = on_damage
        self._strict = strict
        self._naming = Naming()
        self._live = source.info.kind == "live"
        capacity = 1 if self._live else 2 * engine.batch_size
        self._frames: Channel[Frame] = Channel(capacity, newest_wins=self._live, weigh=weight_of, most=MOST_WAITING)
        self._results: Channel[Segmentation] = Channel(
            1 if self._live else engine.batch_size, weigh=lambda result: weight_of(result.frame), most=MOST_WAITING
        )
        self._under_way = under_way
        self._order = order = _Order()
        self._refiner = None if refiner is None else Stoppable(refiner, lambda: order.stop)
        self._read_error: BaseException | None = None
        self._threads = ThreadGroup(self.abandon)
        self._computing: int | None = None

    def stop(self) -> None:
        """Reads no more frames; those that were read still come out, but for those that depend on what follows.

        Safe in a signal handler.
        """
        self._order.stop = True

    def abandon(self) -> None:
        """Reads no more frames, and drops those that were read; what was yielded is done with in good order."""
        self._order.stop = True
        self._results.cancel()
        self._frames.cancel()
        if self._under_way is not None:
            self._under_way.close()

    def give_up(self) -> None:
        """As `abandon`, where one of the threads hangs: `close` waits for none of them."""
        self.statistics.activity.hung = True
        self.abandon()

    def close(self) -> None:
        """Drops what is in flight, ends the threads and closes the source."""
        self._threads.cancel()
        activity = self.statistics.activity
        activity.release(self._source.close)
        if not activity.hung:
            self._threads.join()

    def __iter__(self) -> Iterator[Segmentation]:
        self._threads.start("source", self._read)
        self._threads.start("engine", self._infer)
        yield from self._results

    def _read(self) -> None:
        try:
            items = iter(self._source.frames())
            while not self._order.stop:
                with self.statistics.timed("decode"):
                    item = next(items, _END)
                if item is _END:
                    break
                if isinstance(item, Skipped):
                    self._skip(item)
                elif not isinstance(item, Frame):
                    kind = type(item).__name__
                    raise UsageError(f"a source yields Frame and Skipped; {self._source.info.name} yields {kind}")
                elif item.damaged and self._strict:
                    self._skip(Skipped(item.damaged.name, item.damaged.reason))
                else:
                    if item.damaged:
                        self._tell_damage(item.damaged)
                    self.statistics.decoded += 1
                    if self._under_way is not None:
                        self._under_way.enter(item)
                    self._frames.put(item)
                    self.statistics.dropped = self._frames.dropped
        except Cancelled:
            pass
        except BaseException as error:
            self._read_error = error
        finally:
            self._frames.close()

    def _skip(self, item: Skipped) -> None:
        self.statistics.skip(item)
        if self._on_skip:
            self._on_skip(item)

    def _tell_damage(self, item: Damaged) -> None:
        self.statistics.damage(item)
        if self._on_damage:
            self._on_damage(item)

    def _infer(self) -> None:
        try:
            before = self._engine.timings
            for results in self._engine.run(self._batches(), self._refiner):
                self._wait()
                for stage, seconds in self._engine.timings.items():
                    self.statistics.threads[stage] = len(self._engine.devices)
                    self.statistics.seconds[stage] = seconds - before[stage]
                for result in results:
                    self.statistics.segmented += 1
                    self._hand_on(self._naming.follow(result))
                    del result
                del results  # else its pictures are held until the next have come
                self._compute()
            if not self._order.stop:  # else who goes on sees them with what follows them
                self._hand_on(self._naming.rest())
            if self._read_error is not None:
                raise self._read_error
        except Cancelled:
            pass
        except BaseException as error:
            self._results.fail(error)
        finally:
            self._wait()
            self._results.close()
            self._frames.cancel()

    def _hand_on(self, results: Sequence[Segmentation]) -> None:
        for result in results:
            self._results.put(result)

    def _compute(self) -> None:
        """From here on the engine is at work."""
        self._computing = self.statistics.activity.enter("infer", partial(processor_seconds, self._engine))

    def _wait(self) -> None:
        """From here on it is others that are waited for."""
        if self._computing is not None:
            self.statistics.activity.leave(self._computing)
            self._computing = None

    def _batches(self) -> Iterator[Sequence[Frame]]:
        """Whole batches of a file, smaller ones where pictures are very large; of a live source what is there. An empty
        one follows when the engine should flush: where no more is there, or a picture takes all the room there is."""
        batch: list[Frame] = []
        weight = 0
        self._wait()
        for frame in self._taken():
            batch.append(frame)
            weight += weight_of(frame)
            del frame  # else it is held until the next has come
            whole = len(batch) >= self._engine.batch_size or weight >= MOST_WAITING
            if whole or (self._live and not len(self._frames)):
                self._compute()
                yield batch
                alone = len(batch) == 1 and weight > MOST_WAITING
                batch, weight = [], 0
                if alone or (self._live and not len(self._frames)):
                    yield []
                self._wait()
        self._compute()
        if batch:
            yield batch

    def _taken(self) -> Iterator[Frame]:
        while True:
            if self._under_way is not None:
                self._under_way.want()
            if (frame := next(self._frames, None)) is None:
                return
            yield frame
            del frame

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
