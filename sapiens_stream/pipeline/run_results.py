"""What a run leaves in its folder, and what an earlier start of it has left there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sapiens_stream.errors import FolderLost
from sapiens_stream.frame import Segmentation
from sapiens_stream.people.boxes_given import BoxesGiven
from sapiens_stream.pipeline.earlier_run import EarlierRun, written_before
from sapiens_stream.pipeline.failures import belongs_to_input
from sapiens_stream.pipeline.file_list import planned_files
from sapiens_stream.pipeline.inference import Inference, QueuedInference
from sapiens_stream.pipeline.record import RunRecord, earlier_starts
from sapiens_stream.pipeline.resumption import Resumption
from sapiens_stream.pipeline.run_folder import RunFolder
from sapiens_stream.pipeline.run_log import RunLog
from sapiens_stream.pipeline.space import require_space
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.source import Source

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


class RunResults:
    """Keeps a run's folder and record, if it has any, from the claim to the last word.

    `claim` comes first; a run that is complete already is `passed_over`, and nothing more happens. Else `engine` infers
    what no class map is left of, `expect` is called before each result is written, `keep_up` after, `settle` or `spoil`
    once its files are there or cannot be; `close` before the sinks close, and then `conclude`. `end` comes last in any
    case. The arguments are those of `Run`.
    """

    def __init__(
        self,
        source: Source,
        engine: Inference,
        sinks: Sequence[Sink],
        *,
        record_path: Path | None,
        spare_record: Path | None,
        overwrite: bool,
        resume: bool,
        shared: bool,
        settings: Mapping[str, Any],
        statistics: Statistics,
        refiner: Refiner | None,
        note: Callable[[str], None],
        remarks: Callable[[], Mapping[str, Any]],
        on_done: Callable[[Done], None],
    ) -> None:
        self.passed_over = False
        self.engine = engine
        self._source = source
        self._info = source.info
        self._sinks = sinks
        self._statistics = statistics
        self._refiner = refiner
        self._note = note
        self._remarks = BoxesGiven(remarks)
        self._on_done = on_done
        self._folder: RunFolder | None = None
        if record_path is not None:
            planned = planned_files(source, sinks, record_path.parent)
            self._folder = RunFolder(record_path, planned, spare=spare_record, shared=shared)
        self._record = RunRecord(source=self._info, engine=engine, settings=settings)
        self.log = RunLog(self._record, self._folder, overwrite=overwrite, resume=resume, keep=source.info.path)
        self._resumption: Resumption | None = None
        if resume:
            self._resumption = Resumption(cast("QueuedInference", engine))
            self.engine = self._resumption.engine
        self._noted = False
        self._looked = time.monotonic()

    def claim(self, stopping: Callable[[], bool]) -> None:
        """Takes the folder, and what is there of the same run if it goes on. Raises what `RunLog.claim` does.

        Where that are many photos, no more are looked at once the run is `stopping`.
        """
        if self._folder is None:
            return
        for sink in self._sinks:
            if sink.numbered is not None:
                sink.numbered.require_room(self._info)
        self.log.claim(partial(self._after_claim, self._folder, stopping))
        for sink in self._sinks:
            sink.on_file = self._folder.wrote

    def expect(self, result: Segmentation) -> None:
        """Raises OutputError where the disk cannot hold what a run will write whose first result this is."""
        if not self._noted and (line := self._require_space(result)) is not None:
            self._note(line)
        self._noted = True
        self._remarks.see(result)

    def keep_up(self) -> None:
        """Keeps the record current. Raises FolderLost once the folder is deleted or replaced."""
        self._count_stored()
        now = time.monotonic()
        if now - self._looked > LOOK_EVERY:
            self._looked = now
            self._require_folder()
        if self.log.is_due:
            self.save()

    def settle(self, name: str) -> None:
        """All files of a result are written."""
        self._on_done(Done(name, self._folder.settle(name) if self._folder is not None else 0))

    def spoil(self, name: str) -> None:
        """A result could not be written whole: what there is of it is removed."""
        if self._folder is not None:
            self._folder.spoil(name)

    def close(self) -> None:
        """Lets go of what an earlier start left, and has the sinks know the model by its checksum."""
        if self._resumption is not None:
            self._resumption.close()
        self.log.wait_for_checksum()
        for sink in self._sinks:
            sink.identify(self._record.fingerprint.digest(self.log.sha256))

    def conclude(self) -> None:
        """Makes sure that what was written is there. Raises FolderLost."""
        if self._statistics.segmented and (unused := self._remarks.unused(self._info.name)) is not None:
            self._note(unused)
        if self._folder is not None:
            self._folder.finish(self.outputs)
            self._folder.require_complete()

    def reason(self, error: BaseException) -> BaseException:
        """That the folder is gone, where a sink says so of its own file first; else the error itself."""
        if belongs_to_input(error):
            try:
                self._require_folder()
            except FolderLost as lost:
                return lost
        return error

    def end(self) -> None:
        """Writes the last record and lets go of the folder."""
        with self.log.ending():
            if self._folder is None or not self.log.claimed or self.passed_over:
                return
            if self.log.status == "complete":
                self._folder.remove_stale()
            else:
                self._folder.finish([path for path in self.outputs if path.exists()])
            self.save()

    def save(self) -> None:
        """Writes the record as it stands now."""
        self.log.save(self.record())

    def record(self) -> dict[str, Any]:
        """The record as it stands now, as JSON types."""
        if self.passed_over and self._folder is not None and self._folder.previous is not None:
            return dict(self._folder.previous)
        self._count_stored()
        record = self.log.as_dict(self._statistics, self.outputs) | self._remarks.record()
        return record if self._refiner is None else record | self._refiner.record()

    @property
    def outputs(self) -> list[Path]:
        """The files that span the whole source."""
        return [path for sink in self._sinks for path in sink.written]

    @property
    def resumed(self) -> bool:
        """Whether an earlier start had done a part of it."""
        return bool(self.log.starts) and not self.passed_over

    @property
    def bytes(self) -> int:
        """What its files take."""
        if self._folder is None:
            return 0
        return self._folder.before.bytes_in(self._folder.root) if self.passed_over else self._folder.size

    @property
    def record_name(self) -> str | None:
        """Of the file that the record is kept in."""
        return self._folder.record_path.name if self._folder is not None else None

    def _after_claim(self, folder: RunFolder, stopping: Callable[[], bool]) -> None:
        previous = folder.previous
        if previous is not None and self._resumption is not None:
            self._go_on(self._resumption, folder, previous, stopping)
        elif previous is not None and previous.get("status") != "complete":
            self._note(
                f"{folder.root} holds a part of this run ({folder.record_path.name}:"
                f" {written_before(previous)} frames), which starts over; --resume continues it"
            )
        if not self.passed_over:
            self._require_space()

    def _go_on(
        self, resumption: Resumption, folder: RunFolder, previous: Mapping[str, Any], stopping: Callable[[], bool]
    ) -> None:
        earlier = EarlierRun(folder, previous, self._record.fingerprint)
        self.log.starts, self.log.reached = earlier_starts(previous), earlier.reached
        self.passed_over = earlier.is_complete()
        if self.passed_over:
            return
        passed = partial(self._pass, folder)
        resumption.take_up(earlier, self._source, self._sinks, passed, stopping=stopping, note=self._note)
        if self.log.reached and (reason := resumption.engine.infers_all(self._refiner)) is not None:
            name = self._info.name
            self._note(f"{name}: all {self.log.reached} frames that are there are inferred again, {reason}")

    def _pass(self, folder: RunFolder, name: str, files: Sequence[tuple[str, int]]) -> None:
        self._statistics.passes()
        folder.keep(name, files)
        self._on_done(Done(name, sum(size for _, size in files), before=True))

    def _require_space(self, first: Segmentation | None = None) -> str | None:
        if self._folder is None or self._info.kind == "photos":  # of photos each has its own size
            return None
        there = self._folder.before.bytes_in(self._folder.root) if self._resumption is not None else 0
        return require_space(self._sinks, self._info, self._folder.root, first, there=there)

    def _require_folder(self) -> None:
        if self._folder is not None:
            self._folder.require_present()

    def _count_stored(self) -> None:
        if self._resumption is not None:
            self._statistics.stored = self._resumption.engine.found
