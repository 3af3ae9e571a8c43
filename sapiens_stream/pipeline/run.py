"""A run: one source through an engine into sinks, to its end, its interruption or its failure, with a record of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from sapiens_stream.errors import UsageError, cause
from sapiens_stream.frame import Damaged, Segmentation, Skipped
from sapiens_stream.pipeline.failures import belongs_to_input
from sapiens_stream.pipeline.inference import Inference
from sapiens_stream.pipeline.numbered_names import NumberedNames
from sapiens_stream.pipeline.run_log import HASHING_PATIENCE, LoggedRun
from sapiens_stream.pipeline.run_results import Done, RunResults
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.stream import Stream
from sapiens_stream.pipeline.watchdog import Activity
from sapiens_stream.pipeline.weights import UnderWay
from sapiens_stream.pipeline.writers import Writers
from sapiens_stream.settings import WRITE_WORKERS
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.source import Source
from sapiens_stream.threads import ThreadGroup

if TYPE_CHECKING:  # torch takes seconds to load, and a missing input is reported before
    from sapiens_stream.inference.refiner import Refiner


class Run(LoggedRun):
    """Takes every frame of a source through an engine into sinks, to its end, and keeps a record of it.

    What `RunLog` says of the record holds for it, and what `RunFolder` says of other runs' results for its folder.

    Args:
        source: where the frames come from; it is closed at the end, also of a run that does nothing.
        engine: what infers them, such as a Segmenter's `engine`.
        sinks: what is written; they are closed at the end of a run that got as far as its first frame. One whose folder
            is another run's, or that is complete already, touches no sink.
        record_path: the record's file, in the folder of the results; None: no record, and no lock on a folder.
        spare_record: another name for it, where the folder holds a run that shares none of its files.
        overwrite: remove another run's results first.
        resume: go on with what the same run has left in the record's folder, however that ended. Stored class maps are
            not inferred again, unless a refiner or people's boxes need every frame; the rest is made of them, and the
            results are those of a run without a break. Photos that are done are not read again, and a run that is
            complete does nothing: `passed_over`. Without it `note` is called with what starts over.
        shared: others write the rest of the same run into the folder.
        settings: the choices that stand in the record.
        workers: threads that write.
        on_skip: called with each input that could not be used.
        on_damage: called with what is wrong with a frame that was read in part.
        strict: skip such a frame.
        refiner: the clip's own, if its class maps are to be refined.
        note: called with a sentence such as the disk space that the run will need.
        remarks: what it tells stands in the record too.
        on_done: called, from any thread, with each frame whose files are all there.
        activity: what its threads are at, for whoever watches them.

    Raises:
        UsageError: for what is no source, engine or sink.

    >>> with open_source("clip.mp4") as source, Segmenter("builtin") as model:
    ...     sinks = Outputs().sinks(Path("out"), "clip", source.info, model.model.classes, print)
    ...     run = Run(source, model.engine, sinks, record_path=Path("out/clip_run.json"))
    ...     run.execute(check=True)
    >>> run.status, run.statistics.written
    ('complete', 250)
    """

    def __init__(
        self,
        source: Source,
        engine: Inference,
        sinks: Sequence[Sink],
        *,
        record_path: Path | None = None,
        spare_record: Path | None = None,
        overwrite: bool = False,
        resume: bool = False,
        shared: bool = False,
        settings: Mapping[str, Any] | None = None,
        workers: int = WRITE_WORKERS,
        on_skip: Callable[[Skipped], None] | None = None,
        on_damage: Callable[[Damaged], None] | None = None,
        strict: bool = False,
        refiner: Refiner | None = None,
        note: Callable[[str], None] = lambda sentence: None,
        remarks: Callable[[], Mapping[str, Any]] = dict,
        on_done: Callable[[Done], None] = lambda done: None,
        activity: Activity | None = None,
    ) -> None:
        _require_parts(source, engine, sinks)
        self.statistics = Statistics(activity=activity or Activity())
        self.name = source.info.name
        self.frame_count = source.info.frame_count
        self._executed = self._began = False
        self._source = source
        self._sinks = sinks
        self._results = RunResults(
            source,
            engine,
            sinks,
            record_path=record_path,
            spare_record=spare_record,
            overwrite=overwrite,
            resume=resume,
            shared=shared,
            settings=settings or {},
            statistics=self.statistics,
            refiner=refiner,
            note=note,
            remarks=remarks,
            on_done=on_done,
        )
        self._log = self._results.log
        self._workers = workers
        self.stopping = False
        self._tell_skipped = _one_at_a_time(on_skip)
        self._names = NumberedNames()
        """Of the frames that were written."""
        self._threads = ThreadGroup()
        self._under_way = UnderWay()
        self._stream = Stream(
            source,
            self._results.engine,
            statistics=self.statistics,
            on_skip=self._tell_skipped,
            on_damage=on_damage,
            strict=strict,
            refiner=refiner,
            under_way=self._under_way,
        )

    def stop(self) -> None:
        """Ends the run early: the frames in flight are finished and the files closed. Safe in a signal handler."""
        self.stopping = True
        self._stream.stop()

    def give_up(self, error: BaseException) -> None:
        """Ends the run with the `error` that an onlooker found, one of its threads hanging: it is waited for no more.

        What was done till then is finished, in the thread that executes the run.
        """
        self._log.fail(error)
        self.stop()
        self._stream.give_up()

    def abandon(self) -> None:
        """As `stop`, but without the frames in flight. Safe in a signal handler."""
        self.stop()
        self._threads.start("abandon", self._stream.abandon)  # this one may hold the locks that it takes

    def execute(self, on_result: Callable[[Statistics], None] | None = None, *, check: bool = False) -> None:
        """Runs to the end; what happened is then in `status`, and what it failed with in `error`.

        That is InputError of the source, UsageError where two of its frames have one name, ModelError or DeviceError of
        the engine, OutputError of a sink or the record, or whatever a source or sink of your own raised. With `check`
        it is raised as well, once all is closed and the record written. KeyboardInterrupt is always raised again.

        `on_result` is called after each result, in this thread. Raises UsageError where it was executed before.
        """
        if self._executed:
            raise UsageError(f"{self.name}: a run is executed once; make another")
        self._executed = True
        self._log.start()
        try:
            self._results.claim(lambda: self.stopping)
            if not self.passed_over:
                self._log.wait_for_checksum(HASHING_PATIENCE)
                self._results.save()
                self._write_all(on_result)
                if self.error is not None:  # an onlooker's
                    raise self.error
                self._results.conclude()
            self._log.come_to("interrupted" if self.stopping else "complete")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._log.fail(self._results.reason(error))
        finally:
            self.statistics.stop()
            self._threads.join()
            self._results.end()
            if not self._began:
                self._source.close()  # else the stream has
        if check and self.error is not None:
            raise self.error

    def _write_all(self, on_result: Callable[[Statistics], None] | None) -> None:
        self._began = True
        with self._stream as stream:
            writers = Writers(
                self._sinks,
                self.statistics,
                workers=self._workers,
                on_written=lambda result: self._results.settle(result.frame.name),
                on_left=lambda result: self._under_way.leave(result.frame),
                on_failure=lambda error: self._under_way.close(),
                spare=self._spare,
            )
            try:
                for result in stream:
                    self._require_new(result.frame.name)
                    self._results.expect(result)
                    self._under_way.hand_on(result.frame)
                    writers.write(result)
                    del result  # else the picture is held until the next has come
                    self._results.keep_up()
                    if on_result:
                        on_result(self.statistics)
            finally:
                self._results.close()
                writers.close()

    def _require_new(self, name: str) -> None:
        if name in self._names:
            raise UsageError(
                f"{self.name}: each frame has its own name; the files of a second {name!r} would replace the first's"
            )
        self._names.add(name)

    def _spare(self, result: Segmentation, error: BaseException) -> bool:
        """Photos are inputs of their own: one that cannot be written is skipped."""
        if self._source.info.kind != "photos" or not belongs_to_input(error):
            return False
        self._results.spoil(result.frame.name)
        self.skip(Skipped(result.frame.name, cause(error)))
        return True

    def skip(self, item: Skipped) -> None:
        """Counts and reports what could not be used.

        Args:
            item: its name, and why.
        """
        self.statistics.skip(item)
        self._tell_skipped(item)

    @property
    def passed_over(self) -> bool:
        """Whether it did nothing, since all was there."""
        return self._results.passed_over

    @property
    def outputs(self) -> list[Path]:
        """The files that span the whole source; those of single frames lie beside them."""
        return self._results.outputs

    @property
    def resumed(self) -> bool:
        """Whether an earlier start had done a part of it."""
        return self._results.resumed

    @property
    def bytes(self) -> int:
        """What its files take."""
        return self._results.bytes

    @property
    def record_name(self) -> str | None:
        """Of the file that its record is kept in."""
        return self._results.record_name

    def record(self) -> dict[str, Any]:
        """The record as it stands now, as JSON types."""
        return self._results.record()


def _one_at_a_time(tell: Callable[[Skipped], None] | None) -> Callable[[Skipped], None]:
    """Several threads skip. (No method: the stream that has it would hold the run, and all of it.)"""
    lock = Lock()

    def told(item: Skipped) -> None:
        if tell is not None:
            with lock:
                tell(item)

    return told


def _require_parts(source: object, engine: object, sinks: Sequence[object]) -> None:
    if not isinstance(source, Source):
        raise UsageError(f"a run's source is an open Source, as open_source makes one; got {type(source).__name__}")
    if not callable(getattr(engine, "run", None)):
        raise UsageError(f"a run's engine is what infers, as a Segmenter's `engine` does; got {type(engine).__name__}")
    if not isinstance(sinks, Sequence):
        raise UsageError(f"a run's sinks are a list; got {type(sinks).__name__}")
    for each in sinks:
        if not isinstance(each, Sink):
            raise UsageError(f"a run's sinks are each a Sink; got {type(each).__name__}")
