"""The runs of `sapiens-stream video`: one video after the other, each with its own outputs and record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.cli import guesses
from sapiens_stream.cli.output_options import Choices, classes_of, outputs_of
from sapiens_stream.cli.runner import Runner
from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.frame import Skipped
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.part_run import margin_of, run_of_part
from sapiens_stream.settings import RUN_FILE
from sapiens_stream.sinks.files import fitting
from sapiens_stream.sources import Video
from sapiens_stream.sources.parts import Part, VideoPart
from sapiens_stream.sources.video_input import parse_video, printable

if TYPE_CHECKING:
    from sapiens_stream.api import Segmenter


class VideoRuns:
    """Executes a run for each video. `open_model` is called once, after the first input proved readable.

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
        self._folder = folder
        self._runner = runner
        self.max_pixels = max_pixels
        self._steady, self._every = steady, every
        self._overwrite = overwrite
        self._resume = resume
        self._settings = settings
        self._strict = strict

    def without_clashes(self, inputs: Sequence[str], *, among: Sequence[str]) -> list[str]:
        """The inputs whose results overwrite neither another's nor one of all `among` which they are.

        The others are named and counted.
        """
        originals = {os.path.realpath(name) for name in among}
        taken: dict[str, str] = {}
        for name in inputs:
            try:
                stem = parse_video(name).stem
            except InputError as problem:
                self._runner.reject(printable(name), problem)
                continue
            paths = self._outputs.paths(self._folder, stem)
            if stem in taken:
                reason = f"its results would overwrite those of {printable(taken[stem])}; give it another --output"
                self._runner.skip(Skipped(printable(name), reason))
            elif taking := next((path for path in paths if os.path.realpath(path) in originals), None):
                self._runner.skip(Skipped(name, f"{taking} is an input itself; choose another --output"))
            else:
                taken[stem] = name
        return list(taken.values())

    def execute(self, name: str) -> None:
        """Runs one video to its end; one that cannot be read or written is named and counted."""
        try:
            if problem := guesses.video_problem(name):
                raise InputError(problem)
            source = Video(name, max_pixels=self.max_pixels)
        except InputError as error:
            self._runner.reject(printable(name), error)
            return
        with source:
            segmenter = self._ready()
            from sapiens_stream.people.chain import refiner_for  # which loads torch

            stem = parse_video(name).stem
            warn, note = self._runner.display.warn, self._runner.display.note
            try:
                sinks = self._outputs.sinks(self._folder, stem, source.info, segmenter.model.classes, warn)
            except OutputError as refusal:
                self._runner.reject(source.info.name, refusal)
                return
            run = Run(
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
                note=note,
                remarks=segmenter.engine.record,
            )
            self._runner.execute(run, str(self._outputs.overlay_file or self._folder))

    def execute_part(self, name: str, part: Part) -> None:
        """Runs a part of one video, for its class maps alone."""
        stem = parse_video(name).stem
        segmenter = self._ready()
        from sapiens_stream.people.chain import refiner_for  # which loads torch

        margin = margin_of(steady=self._steady, every=self._every)
        try:
            source = VideoPart(name, part, margin=margin, max_pixels=self.max_pixels)
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

    def _ready(self) -> Segmenter:
        if self._segmenter is None:
            self._segmenter = self._open_model()
            self._outputs = replace(
                self._outputs,
                gpu=self._segmenter.engine.devices[0].index,
                only=classes_of(self._choices, self._segmenter.model.classes),
            )
        return self._segmenter
