"""The run of a part of a long video: its class maps alone, of which the whole video's results are made later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.frame import Damaged, Frame, Segmentation, Skipped
from sapiens_stream.people.track import KEPT
from sapiens_stream.pipeline.inference import ModelFacts, QueuedInference
from sapiens_stream.pipeline.run import Run
from sapiens_stream.settings import FRAME_FACTS_FILE, LABEL_VIDEO_FILE, RUN_FILE
from sapiens_stream.sinks.files import fitting
from sapiens_stream.sinks.frame_facts import FrameFacts
from sapiens_stream.sinks.label_video import LabelVideoSink
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.parts import Margin, Part, VideoPart

if TYPE_CHECKING:  # torch takes seconds to load
    from sapiens_stream.inference.options import InferenceOptions
    from sapiens_stream.inference.refiner import Refiner

CHUNK = "chunk"
"""What stands in the settings of such a run, and in its record."""


PART_FILES = (LABEL_VIDEO_FILE, FRAME_FACTS_FILE, RUN_FILE)
"""What a part may leave, the record last."""


def margin_of(*, steady: int, every: int, people: bool) -> Margin:
    """What beyond its own frames a part has to see."""
    around = steady + (2 * every if every > 1 else 0)
    if not people and not steady:
        return Margin(before=around, after=around)
    from sapiens_stream.people.first_look import EVERY  # which loads torch
    from sapiens_stream.people.steady import REMEMBERED

    seconds = (EVERY if people else 0) + (REMEMBERED if steady else Fraction(0))
    return Margin(seconds=seconds, before=around + (KEPT if people else 0), after=around)


def whole_because(inference: InferenceOptions, classes: str | None) -> str | None:
    """Why a video is not run in parts with these options and chosen classes; None if it can be."""
    if inference.alpha_of is not None or inference.ranks:
        return (
            "chunks are of class maps alone, and hold no probabilities, as statistics, Cryptomatte and soft edges have"
            " them; that takes the video whole, or `results render` without them once the chunks are joined"
        )
    if inference.boxes is not None:
        return "--boxes goes by the numbers of frames, which a chunk does not know; it takes the video whole"
    if inference.people == "auto":
        return "--people auto goes by a video's first frames, which a chunk does not see; say builtin, or off"
    if inference.people != "off" and classes:
        return "--people tells people apart by all classes, and --classes keeps some; that takes the video whole"
    return None


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

    `settings` are those of the whole, for which `whole_because` has nothing to say. Where people are looked for one by
    one, or class maps carried along, it leaves a file about that too: people are named once all of them are joined.
    """
    part = source.part
    sinks: list[Sink] = [
        LabelVideoSink(
            part_path(folder, stem, part, LABEL_VIDEO_FILE), source.info, first=source.first, only=only, warn=warn
        )
    ]
    if engine.looks_closer or settings.get("every", 1) != 1:
        sinks.append(FrameFacts(part_path(folder, stem, part, FRAME_FACTS_FILE)))
    where = {"number": part.number, "count": part.count, "begin": _text(part.begin), "end": _text(part.end)}
    return Run(
        source,
        OwnFrames(engine, source),
        sinks,
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
