"""The run of a part of a long video: its class maps alone, of which the whole video's results are made later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Damaged, Frame, Segmentation, Skipped
from sapiens_stream.pipeline.inference import ModelFacts, QueuedInference
from sapiens_stream.pipeline.run import Run
from sapiens_stream.settings import LABEL_VIDEO_FILE, RUN_FILE
from sapiens_stream.sinks.files import fitting
from sapiens_stream.sinks.label_video import LabelVideoSink
from sapiens_stream.sources.parts import Part, VideoPart

if TYPE_CHECKING:  # torch takes seconds to load
    from sapiens_stream.inference.refiner import Refiner

CHUNK = "chunk"
"""What stands in the settings of such a run, and in its record."""


def margin_of(*, steady: int, every: int) -> int:
    """How many frames beyond its own a part has to see, so that its ends are as in the whole."""
    return steady + (2 * every if every > 1 else 0)


def part_path(folder: Path, stem: str, part: Part, ending: str) -> Path:
    """Where a file of a part lies."""
    return fitting(folder, f"{stem}_{part.label}", ending)


def run_of_part(
    source: VideoPart,
    engine: QueuedInference,
    *,
    folder: Path,
    stem: str,
    settings: Mapping[str, Any],
    only: tuple[int, ...] | None = None,
    refiner: Refiner | None = None,
    overwrite: bool = False,
    strict: bool = False,
    on_skip: Callable[[Skipped], None] | None = None,
    on_damage: Callable[[Damaged], None] | None = None,
    warn: Callable[[str], None],
    note: Callable[[str], None] = lambda sentence: None,
) -> Run:
    """A run, still to be executed, that leaves a label video and a record of its own; what is done it passes over.

    `settings` are those of the whole. Raises UsageError where people are looked for one by one, who are told apart by
    all the frames before.
    """
    if engine.looks_closer:
        raise UsageError("people are followed through a video from its beginning; --people and --boxes take it whole")
    if engine.gives_soft:
        raise UsageError("chunks are of class maps alone, and hold no probabilities; that takes the video whole")
    part = source.part
    sink = LabelVideoSink(
        part_path(folder, stem, part, LABEL_VIDEO_FILE), source.info, first=source.first, only=only, warn=warn
    )
    where = {"number": part.number, "count": part.count, "begin": _text(part.begin), "end": _text(part.end)}
    return Run(
        source,
        OwnFrames(engine, source),
        [sink],
        record_path=part_path(folder, stem, part, RUN_FILE),
        overwrite=overwrite,
        resume=True,
        settings={**settings, CHUNK: where},
        on_skip=on_skip,
        on_damage=on_damage,
        strict=strict,
        refiner=refiner,
        note=note,
        remarks=lambda: {CHUNK: {**where, "first": _text(source.began), "following": _text(source.following)}},
    )


class OwnFrames:
    """An engine whose results are those of the part's own frames; it sees the others too."""

    def __init__(self, engine: QueuedInference, source: VideoPart) -> None:
        self._engine = engine
        self._source = source

    @property
    def model(self) -> ModelFacts:
        """The engine's, as all here."""
        return self._engine.model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, batches: Iterable[Sequence[Frame]], refiner: Refiner | None = None) -> Iterator[list[Segmentation]]:
        """As `Engine.run`."""
        for results in self._engine.run(batches, refiner):
            yield [each for each in results if self._source.is_kept(each.frame)]


def _text(time: object) -> str | None:
    return None if time is None else str(time)
