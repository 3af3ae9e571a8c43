"""A run: one source through an engine into sinks, to its end, its interruption or its failure, with a record of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from sapiens_stream.errors import FolderLost, UsageError, cause
from sapiens_stream.frame import Damaged, Segmentation, Skipped
from sapiens_stream.people.boxes_given import BoxesGiven
from sapiens_stream.pipeline.earlier_run import EarlierRun, written_before
from sapiens_stream.pipeline.failures import belongs_to_input
from sapiens_stream.pipeline.file_list import planned_files
from sapiens_stream.pipeline.inference import Inference, QueuedInference
from sapiens_stream.pipeline.numbered_names import NumberedNames
from sapiens_stream.pipeline.record import RunRecord, earlier_starts
from sapiens_stream.pipeline.resumption import Resumption
from sapiens_stream.pipeline.run_folder import RunFolder
from sapiens_stream.pipeline.run_log import HASHING_PATIENCE, LoggedRun, RunLog
from sapiens_stream.pipeline.space import require_space
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

LOOK_EVERY = 1.0  # seconds: how soon a deleted folder is noticed


@dataclass(frozen=True)
class Done:
    """A frame that is done: its name, and the bytes of its files."""

    name: str
    bytes: int
    before: bool = False
    """By an earlier start."""


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
        self.passed_over = False
        self._executed = self._began = False
        self._frames = source
        self._source = source.info
        self._sinks = sinks
        self._refiner = refiner
        self._folder: RunFolder | None = None
        if record_path is not None:
            planned = planned_files(source, sinks, record_path.parent)
            self._folder = RunFolder(record_path, planned, spare=spare_record, shared=shared)
        self._record = RunRecord(source=source.info, engine=engine, settings=settings or {})
        self._log = RunLog(self._record, self._folder, overwrite=overwrite, resume=resume, keep=source.info.path)
        self._resumption: Resumption | None = None
        if resume:
            self._resumption = Resumption(cast("QueuedInference", engine))
            engine = self._resumption.engine
        self._workers = workers
        self._note = note
        self._remarks = BoxesGiven(remarks)
        self.stopping = False
        self._tell_skipped = _one_at_a_time(on_skip)
        self._on_done = on_done
        self._names = NumberedNames()
        """Of the frames that were written."""
        self._threads = ThreadGroup()
        self._under_way = UnderWay()
        self._stream = Stream(
            source,
            engine,
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
            self._claim()
            if not self.passed_over:
                self._log.wait_for_checksum(HASHING_PATIENCE)
                self._log.save(self.record())
                self._write_all(on_result)
                if self.error is not None:  # an onlooker's
                    raise self.error
                self._conclude()
            self._log.status = "interrupted" if self.stopping else "complete"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._log.fail(self._reason(error))
        finally:
            self.statistics.stop()
            self._threads.join()
            self._end()
            if not self._began:
                self._frames.close()  # else the stream has
        if check and self.error is not None:
            raise self.error

    def _claim(self) -> None:
        if self._folder is None:
            return
        for sink in self._sinks:
            if sink.numbered is not None:
                sink.numbered.require_room(self._source)
        self._log.claim(self._after_claim)
        for sink in self._sinks:
            sink.on_file = self._folder.wrote

    def _after_claim(self) -> None:
        assert self._folder is not None
        previous = self._folder.previous
        if previous is not None and self._resumption is not None:
            self._go_on(self._resumption, self._folder, previous)
        elif previous is not None and previous.get("status") != "complete":
            self._note(
                f"{self._folder.root} holds a part of this run ({self._folder.record_path.name}:"
                f" {written_before(previous)} frames), which starts over; --resume continues it"
            )
        if not self.passed_over:
            self._require_space()

    def _go_on(self, resumption: Resumption, folder: RunFolder, previous: Mapping[str, Any]) -> None:
        earlier = EarlierRun(folder, previous, self._record.fingerprint)
        self._log.starts, self._log.reached = earlier_starts(previous), earlier.reached
        self.passed_over = earlier.is_complete()
        if not self.passed_over:
            resumption.take_up(
                earlier,
                self._frames,
                self._sinks,
                partial(self._pass, folder),
                stopping=lambda: self.stopping,
                note=self._note,
            )
            if self._log.reached and (reason := resumption.engine.infers_all(self._refiner)) is not None:
                self._note(
                    f"{self._source.name}: all {self._log.reached} frames that are there are inferred again, {reason}"
                )

    def _pass(self, folder: RunFolder, name: str, files: Sequence[tuple[str, int]]) -> None:
        self.statistics.passes()
        folder.keep(name, files)
        self._on_done(Done(name, sum(size for _, size in files), before=True))

    def _write_all(self, on_result: Callable[[Statistics], None] | None) -> None:
        looked, noted = time.monotonic(), False
        self._began = True
        with self._stream as stream:
            writers = Writers(
                self._sinks,
                self.statistics,
                workers=self._workers,
                on_written=self._settle,
                on_left=lambda result: self._under_way.leave(result.frame),
                on_failure=lambda error: self._under_way.close(),
                spare=self._spare,
            )
            try:
                for result in stream:
                    if not noted:
                        self._note_space(result)
                        noted = True
                    self._require_new(result.frame.name)
                    self._under_way.hand_on(result.frame)
                    writers.write(result)
                    self._remarks.see(result)
                    del result  # else the picture is held until the next has come
                    self._count_stored()
                    if on_result:
                        on_result(self.statistics)
                    now = time.monotonic()
                    if now - looked > LOOK_EVERY:
                        looked = now
                        self._require_folder()
                    if self._log.is_due:
                        self._log.save(self.record())
            finally:
                if self._resumption is not None:
                    self._resumption.close()
                self._log.wait_for_checksum()
                for sink in self._sinks:
                    sink.identify(self._record.fingerprint.digest(self._log.sha256))
                writers.close()

    def _require_new(self, name: str) -> None:
        if name in self._names:
            raise UsageError(
                f"{self.name}: each frame has its own name; the files of a second {name!r} would replace the first's"
            )
        self._names.add(name)

    def _require_space(self, first: Segmentation | None = None) -> str | None:
        if self._folder is None or self._source.kind == "photos":  # of photos each has its own size
            return None
        there = self._folder.before.bytes_in(self._folder.root) if self._resumption is not None else 0
        return require_space(self._sinks, self._source, self._folder.root, first, there=there)

    def _note_space(self, first: Segmentation) -> None:
        if (line := self._require_space(first)) is not None:
            self._note(line)

    def _count_stored(self) -> None:
        if self._resumption is not None:
            self.statistics.stored = self._resumption.engine.found

    def _settle(self, result: Segmentation) -> None:
        name = result.frame.name
        self._on_done(Done(name, self._folder.settle(name) if self._folder is not None else 0))

    def _spare(self, result: Segmentation, error: BaseException) -> bool:
        """Photos are inputs of their own: one that cannot be written is skipped."""
        if self._source.kind != "photos" or not belongs_to_input(error):
            return False
        if self._folder is not None:
            self._folder.spoil(result.frame.name)
        self.skip(Skipped(result.frame.name, cause(error)))
        return True

    def skip(self, item: Skipped) -> None:
        """Counts and reports what could not be used.

        Args:
            item: its name, and why.
        """
        self.statistics.skip(item)
        self._tell_skipped(item)

    def _require_folder(self) -> None:
        if self._folder is not None:
            self._folder.require_present()

    def _reason(self, error: BaseException) -> BaseException:
        """That the folder is gone, where a sink says so of its own file first; else the error itself."""
        if belongs_to_input(error):
            try:
                self._require_folder()
            except FolderLost as lost:
                return lost
        return error

    def _conclude(self) -> None:
        """Makes sure that what was written is there."""
        if self.statistics.segmented and (unused := self._remarks.unused(self._source.name)) is not None:
            self._note(unused)
        if self._folder is not None:
            self._folder.finish(self.outputs)
            self._folder.require_complete()

    def _end(self) -> None:
        with self._log.ending():
            if self._folder is None or not self._log.claimed or self.passed_over:
                return
            if self.status == "complete":
                self._folder.remove_stale()
            else:
                self._folder.finish([path for path in self.outputs if path.exists()])
            self._log.save(self.record())

    @property
    def outputs(self) -> list[Path]:
        """The files that span the whole source; those of single frames lie beside them."""
        return [path for sink in self._sinks for path in sink.written]

    @property
    def resumed(self) -> bool:
        """Whether an earlier start had done a part of it."""
        return bool(self._log.starts) and not self.passed_over

    @property
    def bytes(self) -> int:
        """What its files take."""
        if self._folder is None:
            return 0
        return self._folder.before.bytes_in(self._folder.root) if self.passed_over else self._folder.size

    @property
    def record_name(self) -> str | None:
        """Of the file that its record is kept in."""
        return self._folder.record_path.name if self._folder is not None else None

    def record(self) -> dict[str, Any]:
        """The record as it stands now, as JSON types."""
        if self.passed_over and self._folder is not None and self._folder.previous is not None:
            return dict(self._folder.previous)
        self._count_stored()
        record = self._log.as_dict(self.statistics, self.outputs) | self._remarks.record()
        return record if self._refiner is None else record | self._refiner.record()


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
