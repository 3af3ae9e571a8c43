"""The runs of `sapiens-stream video`: a video each, with its own outputs and record."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from sapiens_stream.cli import guesses
from sapiens_stream.cli.output_options import Choices, classes_of, outputs_of
from sapiens_stream.cli.runner import Runner
from sapiens_stream.errors import InputError, ModelError, SapiensStreamError, Stalled, cause, out_of_memory
from sapiens_stream.frame import Skipped, SourceInfo
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.batch import BatchInput
from sapiens_stream.pipeline.known_files import KNOWN
from sapiens_stream.pipeline.part_run import run_of_part
from sapiens_stream.pipeline.watchdog import Activity
from sapiens_stream.settings import RUN_FILE, frame_name
from sapiens_stream.sinks.files import fitting
from sapiens_stream.sources.clip import open_clip
from sapiens_stream.sources.parts import Part, VideoPart
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.video_input import parse_video, printable
from sapiens_stream.threads import apart

if TYPE_CHECKING:
    from sapiens_stream.api import Segmenter


class VideoRuns:
    """Begins a run for each video. `open_model` is called once, after the first input proved readable.

    Raises UsageError for `choices` of outputs that there are not.
    """

    def __init__(
        self,
        open_model: Callable[[], Segmenter],
        choices: Choices,
        folder: Path,
        runner: Runner,
        *,
        overlay_file: Path | None,
        rate: Fraction | None,
        max_pixels: int,
        steady: int,
        every: int,
        overwrite: bool,
        resume: bool,
        settings: Mapping[str, Any],
        strict: bool,
    ) -> None:
        self._open_model = open_model
        self._segmenter: Segmenter | None = None
        self._choices = choices
        self._outputs = outputs_of(choices, overlay_file=overlay_file)
        self._opening = Lock()
        self._folder = folder
        self._runner = runner
        self.rate = rate
        self.max_pixels = max_pixels
        self._steady, self._every = steady, every
        self._overwrite = overwrite
        self._resume = resume
        self._settings = settings
        self._strict = strict

    def renew(self, error: Stalled) -> None:
        """Has the model run by other workers than those that hang."""
        if self._segmenter is not None:
            self._segmenter.engine.replace_hung(error)

    def close(self) -> None:
        """Ends the model's threads. Left to the collector, Ctrl-C would meanwhile be a traceback, and nothing else."""
        if self._segmenter is not None:
            self._segmenter.close()

    def files(self, inputs: Sequence[tuple[int, BatchInput]]) -> list[Path]:
        """Their results that are no frame's."""
        return [path for _, each in inputs for path in self._outputs.paths(self._folder, each.name)]

    def inputs(
        self,
        names: Sequence[str],
        *,
        among: Sequence[str],
    ) -> tuple[list[tuple[int, BatchInput]], list[tuple[int, str, Skipped | InputError]]]:
        """The inputs whose results overwrite neither another's nor one of all `among` which they are; and the others.

        Each comes with its place there, the others with their names and why. Where `*.mp4` takes in what the same
        command has written before, that is left out, and not what it was made of.
        """
        written = self._written_before()
        again = {
            real: name
            for name in among
            for path in self._paths_of(name)
            if (real := os.path.realpath(path)) in written and real != os.path.realpath(name)
        }
        originals = {os.path.realpath(name) for name in among} - again.keys()
        taken: dict[str, str] = {}
        good: list[tuple[int, BatchInput]] = []
        bad: list[tuple[int, str, Skipped | InputError]] = []
        places = range(len(names)) if names is among else [among.index(name) for name in names]
        for place, name in zip(places, names, strict=True):
            try:
                stem = parse_video(name).stem
            except InputError as problem:
                bad.append((place, name, problem))
                continue
            paths = self._outputs.paths(self._folder, stem)
            if (origin := again.get(os.path.realpath(name))) is not None:
                reason = f"it is the result of {printable(origin)}, of an earlier run"
                bad.append((place, name, Skipped(printable(name), reason)))
            elif stem in taken:
                reason = f"its results would overwrite those of {printable(taken[stem])}; give it another --output"
                bad.append((place, name, Skipped(printable(name), reason)))
            elif (among_results := self._folder_shared(name, stem)) is not None:
                reason = f"its pictures lie where its results go, in {among_results}; choose another --output"
                bad.append((place, name, Skipped(name, reason)))
            elif taking := next((path for path in paths if os.path.realpath(path) in originals), None):
                reason = f"{taking} is an input itself; choose another --output"
                bad.append((place, name, Skipped(name, reason)))
            else:
                taken[stem] = name
                begin = partial(self._begun, name, stem)
                good.append((place, BatchInput(printable(name), stem, begin)))
        return good, bad

    def _paths_of(self, name: str) -> list[Path]:
        try:
            return self._outputs.paths(self._folder, parse_video(name).stem)
        except InputError:
            return []

    def _folder_shared(self, name: str, stem: str) -> Path | None:
        """The folder of numbered pictures that would hold the files of their frames too."""
        pattern, results = parse_pattern(name), (self._folder / frame_name(stem, 0)).parent
        if pattern is not None and os.path.realpath(pattern.folder) == os.path.realpath(results):
            return results
        return None

    def _note_rate(self, source: SourceInfo) -> None:
        if source.pictures and self.rate is None:
            self._runner.display.note(
                f"{source.name}: {source.frame_count} pictures as a clip of {source.frame_rate} frames a second;"
                " --fps says another"
            )

    def _written_before(self) -> set[str]:
        """The videos and tables that the folder's records list."""
        if not self._folder.is_dir():
            return set()
        with suppress(OSError):
            found = KNOWN.in_folder(self._folder)
            return {os.path.realpath(self._folder / path) for _, files in found for path in files.single}
        return set()

    @contextmanager
    def _begun(
        self,
        name: str,
        stem: str,
        activity: Activity,
    ) -> Iterator[Run]:
        with activity.at("open"):
            if problem := guesses.video_problem(name):
                raise InputError(problem)
            source = open_clip(name, rate=self.rate, max_pixels=self.max_pixels, alive=activity.beat)
        self._note_rate(source.info)
        try:
            segmenter = self._ready()
            from sapiens_stream.people.chain import refiner_for  # which loads torch

            sinks = self._outputs.sinks(
                self._folder, stem, source.info, segmenter.model.classes, self._runner.display.warn
            )
            yield Run(
                source,
                segmenter.engine,
                sinks,
                record_path=fitting(self._folder, stem, RUN_FILE),
                overwrite=self._overwrite,
                resume=self._resume,
                settings=self._settings,
                on_skip=self._runner.skip,
                on_damage=self._runner.damage,
                strict=self._strict,
                refiner=refiner_for(segmenter.model, steady=self._steady, every=self._every),
                note=self._runner.display.note,
                remarks=segmenter.engine.record,
                activity=activity,
            )
        finally:
            activity.release(source.close)

    def execute_part(self, name: str, part: Part) -> None:
        """Runs a part of one video, for its class maps alone."""
        stem = parse_video(name).stem
        segmenter = apart(self._ready)
        from sapiens_stream.people.chain import refiner_for  # which loads torch

        try:
            source = VideoPart(name, part, rate=self.rate, max_pixels=self.max_pixels)
        except InputError as error:
            self._runner.reject(printable(name), error)
            return
        with source:
            run = run_of_part(
                source,
                segmenter.engine,
                folder=self._folder,
                stem=stem,
                settings=self._settings,
                only=self._outputs.only,
                refiner=refiner_for(segmenter.model, steady=self._steady, every=self._every),
                overwrite=self._overwrite,
                strict=self._strict,
                on_skip=self._runner.skip,
                on_damage=self._runner.damage,
                warn=self._runner.display.warn,
                note=self._runner.display.note,
            )
            self._runner.execute(run, str(self._folder))

    def _opened(self) -> Segmenter:
        try:
            return self._open_model()
        except Exception as error:
            if isinstance(error, SapiensStreamError) or not out_of_memory(error):
                raise
            raise ModelError(cause(error)) from error  # which the next input would meet too

    def _ready(self) -> Segmenter:
        with self._opening:
            if self._segmenter is None:
                self._segmenter = self._opened()
                self._outputs = replace(
                    self._outputs,
                    gpu=self._segmenter.engine.devices[0].index,
                    only=classes_of(self._choices, self._segmenter.model.classes),
                )
            return self._segmenter
