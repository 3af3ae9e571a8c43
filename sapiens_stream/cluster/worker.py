"""What a worker does: it holds the model, and takes one task after the other, each of which may be repeated."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.cluster.bridge import Bridge
from sapiens_stream.cluster.ledger import Outcome, Task
from sapiens_stream.cluster.listing import Entry, is_remote
from sapiens_stream.cluster.storage import Place
from sapiens_stream.errors import FolderBusy, InputError, OutputError, SapiensStreamError, UsageError, cause
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.earlier_run import EarlierRun, told_of
from sapiens_stream.pipeline.failures import belongs_to_input
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.pipeline.fingerprint import Fingerprint
from sapiens_stream.pipeline.known_files import read_record
from sapiens_stream.pipeline.part_run import PART_FILES, margin_of, part_path, run_of_part, whole_because
from sapiens_stream.pipeline.run_folder import RunFolder
from sapiens_stream.results import join as joining
from sapiens_stream.results.render import Renamed
from sapiens_stream.settings import MAX_PIXELS, RUN_FILE
from sapiens_stream.sinks import Outputs
from sapiens_stream.sinks.files import fitting
from sapiens_stream.sources import Source
from sapiens_stream.sources.clip import open_clip
from sapiens_stream.sources.key_frames import find_key_frames
from sapiens_stream.sources.parts import KeyFrames, Margin, Part, VideoPart

if TYPE_CHECKING:  # torch takes seconds to load
    from sapiens_stream.api import Segmenter

_WEB = ("http://", "https://")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all workers do alike. `outputs` and `only` (names of classes) say what is written; `settings` stand in the
    records. A video of more than `chunk_seconds` is done in parts of about that length.
    """

    model: str
    inference: InferenceOptions
    outputs: Outputs
    only: str | None
    place: str
    settings: Mapping[str, Any]
    chunk_seconds: float = 300.0
    steady: int = 0
    every: int = 1
    rate: Fraction | None = None
    """Frames a second of numbered pictures."""
    max_pixels: int = MAX_PIXELS
    strict: bool = False
    overwrite: bool = False


class Worker:
    """Does tasks, one at a time; `stop` may be called meanwhile, from another thread."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._place = Place(job.place)
        self._segmenter: Segmenter | None = None
        self._bridge: Bridge | None = None
        self._run: Run | None = None
        self._skips: list[Skipped] = []
        self._damages: list[Damaged] = []
        self._stopping = False

    def ready(self) -> str:
        """Opens the model, and says on what it runs."""
        return str(self._opened().engine.device)

    def stop(self) -> None:
        """Ends the task that is being done, in good order."""
        self._stopping = True
        if (run := self._run) is not None:  # once, as it may end meanwhile
            run.stop()

    def do(self, task: Task) -> Outcome:
        """Does it. What a user can mend, and what is wrong with the input, is in the outcome; all else is raised."""
        started = time.monotonic()
        self._skips, self._damages = [], []
        try:
            outcome = {"video": self._video, "chunk": self._chunk, "join": self._join}[task.kind](task)
        except SapiensStreamError as error:
            outcome = _failed(error)
        finally:
            self._run = None
        return replace(
            outcome, seconds=time.monotonic() - started, skipped=tuple(self._skips), damaged=tuple(self._damages)
        )

    def _video(self, task: Task) -> Outcome:
        entry, segmenter = task.entry, self._opened()
        address = self._address(entry)
        with ExitStack() as stack:
            source = stack.enter_context(self._source(address, entry))
            record = fitting(Path(), entry.stem, RUN_FILE).name
            in_parts = self._is_long(source) and whole_because(self._job.inference, self._job.only) is None
            if self._place.is_remote or in_parts:
                with self._place.work_in(entry.folder, [record]) as folder:
                    told = read_record(folder / record)
                    if told is not None and self._is_done(folder / record, told, entry, source):
                        return self._passed(told)
            if in_parts:
                assert source.info.duration is not None
                count = max(1, round(float(source.info.duration) / self._job.chunk_seconds))
                parts = self._key_frames(address, entry).parts(count, self._margin())
                if len(parts) > 1:
                    return Outcome(parts=parts)
            folder = stack.enter_context(self._place.work_in(entry.folder))
            from sapiens_stream.people.chain import refiner_for  # which loads torch

            outputs = replace(self._job.outputs, only=self._only())
            run = Run(
                source,
                segmenter.engine,
                outputs.sinks(folder, entry.stem, source.info, segmenter.model.classes, _silent),
                record_path=folder / record,
                overwrite=self._job.overwrite,
                resume=not self._job.overwrite,
                settings=self._job.settings,
                on_skip=self._skips.append,
                on_damage=self._damages.append,
                strict=self._job.strict,
                refiner=refiner_for(segmenter.model, steady=self._job.steady, every=self._job.every),
            )
            return self._execute(run)

    def _chunk(self, task: Task) -> Outcome:
        assert task.part is not None
        entry, part, job = task.entry, task.part, self._job
        segmenter = self._opened()
        names = _files_of(entry, part)
        from sapiens_stream.people.chain import refiner_for

        with self._place.work_in(entry.folder, names) as folder:
            address, called = self._address(entry), entry.shown
            with VideoPart(address, part, rate=job.rate, max_pixels=job.max_pixels, called=called) as source:
                run = run_of_part(
                    source,
                    segmenter.engine,
                    folder=folder,
                    stem=entry.stem,
                    settings=job.settings,
                    only=self._only(),
                    refiner=refiner_for(segmenter.model, steady=job.steady, every=job.every),
                    overwrite=job.overwrite,
                    strict=job.strict,
                    on_skip=self._skips.append,
                    on_damage=self._damages.append,
                    warn=_silent,
                )
                return self._execute(run)

    def _join(self, task: Task) -> Outcome:
        entry = task.entry
        names = self._chunk_names(entry)
        with self._place.work_in(entry.folder, names) as folder:
            chunks = _whole(each for each in joining.chunks_in(folder) if each.stem == entry.stem)
            run = joining.join(
                chunks,
                lambda: self._source(self._address(entry), entry),
                lambda classes: replace(
                    self._job.outputs, only=classes.ids(self._job.only.split(",")) if self._job.only else None
                ),
                overwrite=self._job.overwrite,
                on_skip=self._skips.append,
                on_damage=self._damages.append,
                warn=_silent,
            )
            outcome = self._execute(run)
            if outcome.error is None and not outcome.stopped:
                chunks.remove()
        if outcome.error is None and not outcome.stopped:
            self._place.remove(entry.folder, names)
        return outcome

    def _execute(self, run: Run) -> Outcome:
        self._run = run
        if self._stopping:
            run.stop()
        run.execute()
        self._run = None
        if run.status == "interrupted":
            return Outcome(stopped=True)
        if run.error is not None:
            if not isinstance(run.error, Exception):
                raise run.error
            return _failed(run.error)
        return self._passed(run.record()) if run.passed_over else Outcome(frames=run.statistics.written)

    def _passed(self, record: Mapping[str, Any]) -> Outcome:
        """What was done before is as spoiled as it was then."""
        self._skips += told_of(record, "skipped", Skipped)
        self._damages += told_of(record, "damaged", Damaged)
        return Outcome(passed=True)

    def _chunk_names(self, entry: Entry) -> list[str]:
        """The files of all its chunks, which are at an address."""
        if not self._place.is_remote:
            return []
        address = self._address(entry)
        with self._source(address, entry) as video:
            assert video.info.duration is not None
            count = max(1, round(float(video.info.duration) / self._job.chunk_seconds))
        parts = self._key_frames(address, entry).parts(count)
        return [name for part in parts for name in _files_of(entry, part)]

    def _margin(self) -> Margin:
        job = self._job
        return margin_of(steady=job.steady, every=job.every, people=job.inference.looks_for_people)

    def _is_long(self, source: Source) -> bool:
        return source.info.duration is not None and source.info.duration > 1.5 * self._job.chunk_seconds

    def _is_done(self, record_path: Path, record: Mapping[str, Any], entry: Entry, source: Source) -> bool:
        """Whether the whole video's results are there, by their record, which its worker writes last."""
        if self._job.overwrite:
            return False
        fingerprint = Fingerprint(source.info, self._opened().engine, self._job.settings)
        if self._place.is_remote:
            files = FileList.from_dict(record.get("files"))
            whole = record.get("status") == "complete" and not fingerprint.differences(record.get("fingerprint"))
            return whole and self._place.has(entry.folder, files.single)
        return EarlierRun(RunFolder(record_path, FileList()), record, fingerprint).is_complete()

    def _address(self, entry: Entry) -> str:
        """As `Video` reads it."""
        if not is_remote(entry.input) or entry.input.startswith(_WEB):
            return entry.input
        if self._bridge is None:
            self._bridge = Bridge()
        return self._bridge.address_of(entry.input)

    def _source(self, address: str, entry: Entry) -> Source:
        """The video at `address`, by its own name, under the names of its results."""
        job = self._job
        clip = open_clip(address, rate=job.rate, max_pixels=job.max_pixels, called=entry.shown)
        return Renamed(clip, entry.stem)

    def _key_frames(self, address: str, entry: Entry) -> KeyFrames:
        job = self._job
        return find_key_frames(address, rate=job.rate, max_pixels=job.max_pixels, called=entry.shown)

    def _only(self) -> tuple[int, ...] | None:
        return self._opened().model.classes.ids(self._job.only.split(",")) if self._job.only else None

    def _opened(self) -> Segmenter:
        if self._segmenter is None:
            from sapiens_stream.api import Segmenter

            self._segmenter = Segmenter(self._job.model, options=self._job.inference, warn=_silent)
        return self._segmenter


def _whole(found: Iterable[joining.Chunks]) -> joining.Chunks:
    """Those that are all there: others may be left of a start with chunks of another length."""
    last = InputError("there are no chunks of it")
    for chunks in found:
        try:
            chunks.require_whole()
        except InputError as error:
            last = error
        else:
            return chunks
    raise last


def _files_of(entry: Entry, part: Part) -> list[str]:
    return [part_path(Path(), entry.stem, part, ending).name for ending in PART_FILES]


def _failed(error: Exception) -> Outcome:
    """A task that ended so. A folder that a worker taken for dead still writes to is free in the end."""
    is_inputs = belongs_to_input(error)
    return Outcome(
        error=cause(error),
        for_good=not isinstance(error, FolderBusy) and (isinstance(error, UsageError) or is_inputs),
        of_output=isinstance(error, OutputError) and not is_inputs,
    )


def _silent(sentence: str) -> None:
    pass
