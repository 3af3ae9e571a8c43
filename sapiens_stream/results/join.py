"""The results of a long video, made of the class maps of its parts as if it had been run in one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.classes import ClassSet
from sapiens_stream.containers.label_video import LabelVideo
from sapiens_stream.errors import FolderTaken, InputError
from sapiens_stream.frame import Damaged, Frame, Segmentation, Skipped
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.pipeline.fingerprint import digest_of
from sapiens_stream.pipeline.known_files import read_record
from sapiens_stream.pipeline.part_run import CHUNK, PART_FILES
from sapiens_stream.pipeline.record import earlier_starts
from sapiens_stream.pipeline.run_folder import as_text
from sapiens_stream.pipeline.stored_first import StoredOnly
from sapiens_stream.pipeline.stores import FirstOf
from sapiens_stream.results.past_run import OnFailure, PastRun, past_runs, raised
from sapiens_stream.results.render import Renamed, alike, open_source_of
from sapiens_stream.settings import FRAME_FACTS_FILE, LABEL_VIDEO_FILE, RUN_FILE, SAVE
from sapiens_stream.sinks import Outputs
from sapiens_stream.sinks.files import discard, fitting, written_aside
from sapiens_stream.sinks.frame_facts import StoredFrameFacts
from sapiens_stream.sinks.label_join import join_label_videos
from sapiens_stream.sinks.registry import parse_save
from sapiens_stream.sources import Source, Video

if TYPE_CHECKING:  # torch takes seconds to load, and nothing here needs it
    from sapiens_stream.inference.refiner import Refiner


@dataclass(frozen=True)
class Chunks:
    """The runs of all parts of one video, in order; `stem` is what the video's results are called."""

    stem: str
    runs: Sequence[PastRun]

    @property
    def input(self) -> str:
        """The video, as it was named."""
        return self.runs[0].input

    @property
    def root(self) -> Path:
        """The folder that they lie in."""
        return self.runs[0].root

    @property
    def labels(self) -> list[tuple[Path, int]]:
        """Their label videos, and how many frames each has."""
        return [(_labels(run), count) for run in self.runs if (count := _count(run, "written"))]

    @property
    def facts(self) -> list[Path]:
        """What they tell of their frames beside class maps, in order."""
        return [path for run in self.runs if (path := _beside(run, FRAME_FACTS_FILE)).name in run.files.single]

    @property
    def settings(self) -> dict[str, Any]:
        """What they were told, but for which part each is."""
        return {name: value for name, value in self.runs[0].settings.items() if name != CHUNK}

    def require_whole(self) -> None:
        """Raises InputError where a part is missing or not done, is of another run, or does not begin where the part
        before it ends."""
        count = _place(self.runs[0])[1]
        there = {_place(run)[0] for run in self.runs}
        # One by one, as a record may claim any number of chunks.
        if missing := list(islice((number for number in range(count) if number not in there), 11)):
            named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            raise InputError(f"{self.input}: of its {count} chunks there is none of the number {named}")
        for run in self.runs:
            if run.record.get("status") != "complete":
                raise InputError(f"{run.path} says {run.record.get('status')}: run this chunk again")
            if _what_counts(run) != _what_counts(self.runs[0]):
                raise InputError(f"{run.path} is of another run than {self.runs[0].path.name}")
        for before, after in zip(self.runs, self.runs[1:], strict=False):
            if before.within(CHUNK).get("following") != after.within(CHUNK).get("first"):
                raise InputError(f"{after.path} does not begin where {before.path.name} ends; run both again")

    def remove(self) -> None:
        """What they have left is removed."""
        for run in self.runs:
            for ending in PART_FILES:
                discard(_beside(run, ending))


def chunks_in(folder: Path, on_failure: OnFailure = raised) -> list[Chunks]:
    """The videos of which parts lie in a folder; a record that is damaged is told of.

    Raises InputError where there are none.
    """
    found: dict[tuple[str, int], dict[int, PastRun]] = {}
    for run in past_runs(folder, on_failure):
        if run.within(CHUNK) and _place(run)[1]:
            number, count = _place(run)
            stem = run.path.name.removesuffix(RUN_FILE).removesuffix(f"_chunk_{number}_of_{count}")
            found.setdefault((stem, count), {})[number] = run
    if not found:
        raise InputError(f"{folder} holds no chunks of a video; video --chunk I/N writes them")
    return [Chunks(stem, [runs[number] for number in sorted(runs)]) for (stem, _), runs in sorted(found.items())]


def is_joined(folder: Path) -> bool:
    """Whether no chunks lie in a folder, and all its runs have come to their end, as a join leaves it.

    Raises InputError where it holds no runs.
    """
    damaged: list[Path] = []
    runs = past_runs(folder, lambda path, error: damaged.append(path))
    return not damaged and all(run.is_complete and not run.within(CHUNK) for run in runs)


def join(
    chunks: Chunks,
    open_video: Callable[[], Source],
    outputs: Callable[[ClassSet], Outputs],
    *,
    overwrite: bool = False,
    on_skip: Callable[[Skipped], None] | None = None,
    on_damage: Callable[[Damaged], None] | None = None,
    warn: Callable[[str], None],
    note: Callable[[str], None] = lambda sentence: None,
) -> Run:
    """Joins the label videos, and returns the run that makes all other results of them; still to be executed.

    Its record is that of a run in one piece. `open_video` opens the whole video, `outputs` are made of its classes.
    Raises InputError for parts that are not whole, FolderTaken where the folder holds another run's results,
    OutputError.
    """
    chunks.require_whole()
    record = _record_of(chunks)
    path = fitting(chunks.root, chunks.stem, RUN_FILE)
    fingerprint = record["fingerprint"]
    before = read_record(path)
    if before is not None and before.get("fingerprint") != fingerprint and not overwrite:
        raise FolderTaken(
            f"{chunks.root} holds the results of another run in one piece ({path.name}); --overwrite replaces them"
        )
    labels = fitting(chunks.root, chunks.stem, LABEL_VIDEO_FILE)
    with open_video() as whole:
        first = next((each for each in whole.frames() if isinstance(each, Frame)), None)
        if first is None:
            raise InputError(f"{chunks.input}: no frame of it can be decoded")
        digest = digest_of(fingerprint["input"], fingerprint["model"], fingerprint["settings"])
        count = join_label_videos(chunks.labels, labels, first, whole.info, digest)
    files = FileList.from_dict((before or {}).get("files"))  # of a join that was broken off, or what is replaced
    files.add_single(labels.name, labels.stat().st_size)
    with written_aside(path) as file:
        told = {**record, "files": files.as_dict(), "frames": {**record["frames"], "written": count}}
        file.write(as_text(told, indent=1).encode() + b"\n")
    with LabelVideo(labels) as video:
        classes = video.classes
    source = Renamed(open_video(), chunks.stem)
    return Run(
        source,
        _AllStored(chunks.runs[0], classes, StoredFrameFacts(chunks.facts).completed if chunks.facts else _as_it_is),
        outputs(classes).sinks(chunks.root, chunks.stem, source.info, classes, warn),
        record_path=path,
        resume=True,
        settings=chunks.settings,
        on_skip=on_skip,
        on_damage=on_damage,
        strict=chunks.settings.get("strict") is True,
        note=note,
    )


class _AllStored(StoredOnly):
    """By a record of what was run; nothing is inferred."""

    looks_closer = gives_soft = False
    ahead = 1

    def __init__(self, run: PastRun, classes: ClassSet, complete: Callable[[Segmentation], Segmentation]) -> None:
        self.complete = complete
        keeps_aspect = run.within("model").get("keeps_aspect") is True
        model = replace(run.model(classes), aspect_step=1 if keeps_aspect else None)
        super().__init__(FirstOf([]), model, run.precision)

    def run(self, batches: Iterable[Sequence[Frame]], refiner: Refiner | None = None) -> Iterator[list[Segmentation]]:
        """Not called where the record is that of the run."""
        raise InputError("the chunks are of another run")

    def submit(self, frames: Sequence[Frame]) -> Future[list[Segmentation]]:
        """Called for frames that the label video lacks."""
        raise InputError(f"{frames[0].name} is in none of the chunks")


def _record_of(chunks: Chunks) -> dict[str, Any]:
    """Of a run in one piece that has come as far as its class maps."""
    first = chunks.runs[0]
    record = {name: value for name, value in first.record.items() if name != CHUNK}
    counts = {name: sum(_count(run, name) for run in chunks.runs) for name in first.within("frames")}
    return {
        **record,
        "status": "interrupted",
        "settings": chunks.settings,
        "frames": counts,
        "starts": [start for run in chunks.runs for start in earlier_starts(run.record)],
        "outputs": [],
        "fingerprint": _fingerprint(first),
    }


def _fingerprint(run: PastRun) -> dict[str, Any]:
    """That of the run in one piece."""
    settings = {name: value for name, value in run.within("fingerprint", "settings").items() if name != CHUNK}
    return {**run.within("fingerprint"), "input": run.within("fingerprint", "input"), "settings": settings}


def _what_counts(run: PastRun) -> dict[str, Any]:
    """What has to be the same in all chunks: wherever the machines had the video, and when it was copied there."""
    found = _fingerprint(run)
    return {**found, "input": {key: value for key, value in found["input"].items() if key not in ("path", "modified")}}


def _count(run: PastRun, name: str) -> int:
    value = run.within("frames").get(name)
    return value if type(value) is int else 0


def _place(run: PastRun) -> tuple[int, int]:
    """Number and count."""
    number, count = (run.within(CHUNK).get(name) for name in ("number", "count"))
    return (number, count) if type(number) is int and type(count) is int and 0 <= number < count else (0, 0)


def _labels(run: PastRun) -> Path:
    return _beside(run, LABEL_VIDEO_FILE)


def _beside(run: PastRun, ending: str) -> Path:
    return run.path.with_name(run.path.name.removesuffix(RUN_FILE) + ending)


def _as_it_is(result: Segmentation) -> Segmentation:
    return result


def open_video_of(chunks: Chunks, given: Sequence[str]) -> Source:
    """The whole video: of the `given` the one that it was, or where it lay. Raises InputError where it is not there."""
    run = chunks.runs[0]
    name = run.within("fingerprint", "input").get("name")
    if not given and isinstance(name, str):
        raise InputError(f"{name} was read from there; say with --input what its address is, with what that holds")
    if given and "://" in given[0]:
        return Video(given[0])
    return open_source_of(run, given)


def outputs_of(chunks: Chunks, classes: ClassSet) -> Outputs:
    """What the runs were asked for. Raises UsageError for what there is not, InputError for what cannot be."""
    told = chunks.settings
    known = {**{each.name: each.default for each in fields(Outputs)}, "save": SAVE}
    chosen = {name: value for name, value in told.items() if name in known and value is not None}
    for name, value in chosen.items():
        if not alike(value, known[name]):
            raise InputError(f"{chunks.runs[0].path} says {name} {str(value)[:40]!r}, which cannot be")
    if "save" in chosen:
        chosen["save"] = parse_save(chosen["save"])
    only = told.get("classes")
    return Outputs(**{**chosen, "only": classes.ids(only.split(",")) if isinstance(only, str) and only else None})
