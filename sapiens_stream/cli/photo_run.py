"""The run of `sapiens-stream images`: one model over many photos, each of which is an input of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.cli.batch_runner import BatchRunner
from sapiens_stream.cli.leaving import leave_threads_behind
from sapiens_stream.cli.output_options import Choices, classes_of
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.batch import BatchInput
from sapiens_stream.pipeline.photo_endings import PhotoEndings
from sapiens_stream.pipeline.watchdog import Activity
from sapiens_stream.settings import RUN_FILE
from sapiens_stream.sinks.files import fitting

if TYPE_CHECKING:
    from sapiens_stream.api import Segmenter
    from sapiens_stream.sinks import Outputs
    from sapiens_stream.sources import Photos


class PhotoRun:
    """Executes the run over `source` into `root` by `runner`; the model is opened first of all."""

    def __init__(
        self,
        source: Photos,
        open_model: Callable[[], Segmenter],
        outputs: Outputs,
        choices: Choices,
        root: Path,
        runner: BatchRunner,
        *,
        stem: str,
        own_record: Path | None,
        **settings: Any,
    ) -> None:
        self._source = source
        self._open_model = open_model
        self._segmenter: Segmenter | None = None
        self._outputs = outputs
        self._choices = choices
        self._root = root
        self._runner = runner
        self._stem = stem
        self._own_record = own_record
        self._settings = settings
        self._photos = PhotoEndings(source, runner.note_ending)

    def execute(self, *, stall_timeout: float) -> None:
        """To the end; what became of it is the runner's to say."""
        name = self._source.info.name
        count = self._source.info.frame_count or 0
        several = count > 1 or bool(self._settings["shared"])
        self._runner.begin(count, str(self._root), self._root, (), file=several, one_run=True)
        try:
            turn = BatchInput(name, self._stem, self._begun)
            self._runner.run([(0, turn)], stall_timeout=stall_timeout, renew=lambda error: None)
        finally:
            if self._source.hung:
                leave_threads_behind()
            if self._segmenter is not None:
                self._segmenter.close()  # left to the collector, Ctrl-C would meanwhile be a traceback

    @contextmanager
    def _begun(self, activity: Activity) -> Iterator[Run]:
        source, display = self._source, self._runner.display
        source.alive = activity.beat
        try:
            segmenter = self._segmenter = self._open_model()
            known = segmenter.model.classes
            outputs = replace(self._outputs, only=classes_of(self._choices, known))
            run = Run(
                source,
                segmenter.engine,
                outputs.sinks(self._root, self._stem, source.info, known, display.warn),
                record_path=fitting(self._root, self._stem, RUN_FILE),
                spare_record=self._own_record,
                on_skip=self._skip,
                on_damage=self._damage,
                note=display.note,
                on_done=self._photos.done,
                remarks=segmenter.engine.record,
                activity=activity,
                **self._settings,
            )
            self._photos.begin(run.record_name)
            yield run
        finally:
            activity.release(source.close)

    def _skip(self, item: Skipped) -> None:
        self._runner.skip(item)
        self._photos.skipped(item)

    def _damage(self, item: Damaged) -> None:
        self._runner.damage(item)
        self._photos.damaged(item)
