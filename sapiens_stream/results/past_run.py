"""Runs that have been, as their records tell of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property, partial
from itertools import count, takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sapiens_stream import settings
from sapiens_stream.classes import ClassSet, titled
from sapiens_stream.containers.label_video import LabelVideo, PersonVideo
from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame, SourceInfo
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.pipeline.known_files import whole_record
from sapiens_stream.pipeline.stores import MapFiles, Store, class_map_files, video_then_files
from sapiens_stream.results.stored_facts import JsonFiles, JsonLinesFile, NothingTold, StoredFacts, Told
from sapiens_stream.sinks.files import aside, is_there

OnFailure = Callable[[Path, InputError], None]
"""Told of a file among others that cannot be used: its path, and why, in a line that names it."""


def raised(path: Path, error: InputError) -> None:
    """Where nobody is to be told."""
    raise error


class Failures:
    """What could not be used, kept until it is known whether there is anything else."""

    def __init__(self) -> None:
        self._failures: list[tuple[Path, InputError]] = []

    def add(self, path: Path, error: InputError) -> None:
        """Keeps one."""
        self._failures.append((path, error))

    def tell(self, on_failure: OnFailure, nothing: InputError | None) -> None:
        """Tells of them. With `nothing`, the error of there being nothing else, the last of them is raised, or that."""
        last = None if nothing is None else self._failures.pop()[1] if self._failures else nothing
        for each in self._failures:
            on_failure(*each)
        if last is not None:
            raise last


@dataclass(frozen=True)
class Size:
    """Of what pictures were brought to for the model, pixels."""

    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class PastModel:
    """A model by what a record says of it."""

    name: str
    kind: str
    classes: ClassSet
    sha256: str | None
    input: Size
    path: Path | None = None
    aspect_step: int | None = None
    photo_detail: float = 1.0


@dataclass(frozen=True)
class PastRun:
    """A run by its record at `path`, of which nothing is taken for granted but that it is one."""

    path: Path
    record: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The folder of its results."""
        return self.path.parent

    @cached_property
    def files(self) -> FileList:
        """What it wrote, or had in mind to."""
        return FileList.from_dict(self.record.get("files"))

    @property
    def input(self) -> str:
        """What it was run on, as it was named."""
        return str(self.record.get("input"))

    @property
    def input_path(self) -> Path | None:
        """Where that lay; None where it was no file or folder."""
        path = self.within("fingerprint", "input").get("path")
        return Path(path) if isinstance(path, str) else None

    @property
    def is_complete(self) -> bool:
        """Whether it came to its end."""
        return self.record.get("status") == "complete"

    @property
    def is_of_photos(self) -> bool:
        """Whether it was run on photos, each of which has files of its own."""
        fingerprint = self.within("fingerprint", "input")
        return "path" in fingerprint and "sample" not in fingerprint

    @property
    def is_live(self) -> bool:
        """Whether it was run on cameras."""
        return "live" in self.record

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        for path in self.files.single:
            if path.endswith(settings.LABEL_VIDEO_FILE):
                return PurePosixPath(path).name.removesuffix(settings.LABEL_VIDEO_FILE)
        if not self.is_of_photos and self.files.first_name is not None:
            return PurePosixPath(self.files.first_name).parent.name
        return self.path.name.removesuffix(settings.RUN_FILE)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was called with."""
        return self.within("settings")

    @property
    def precision(self) -> str:
        """Of the model."""
        return str(self.record.get("precision"))

    def within(self, *keys: str) -> Mapping[str, Any]:
        """What stands in the record under these keys, one in another; empty for what is no object."""
        found: Any = self.record
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def label_video(self) -> Path | None:
        """Its label video, finished or not; None where there is none."""
        return self._single(settings.LABEL_VIDEO_FILE)

    def label_videos_continued(self) -> Iterator[Path]:
        """What a live run goes on in where a camera changes its size."""
        for path in self.files.single if self.is_live else ():
            if path.endswith(settings.LABEL_VIDEO_FILE):
                first = self.root / path
                numbered = (first.with_stem(f"{first.stem}_{part}") for part in count(2))
                yield from takewhile(is_there, numbered)

    def person_video(self) -> Path | None:
        """Its person video, finished or not; None where there is none."""
        return self._single(settings.PERSON_VIDEO_FILE)

    def _single(self, ending: str) -> Path | None:
        for path in self.files.single:
            for each in (self.root / path, aside(self.root / path)) if path.endswith(ending) else ():
                if is_there(each):
                    return each
        return None

    def open_store(self) -> tuple[Callable[[SourceInfo], Store[np.uint8]], ClassSet]:
        """Its class maps, once the source is known, and their classes. Raises InputError where there are none."""
        path, files = self.label_video(), self.class_map_files
        if path is None and files is None:
            raise InputError(f"{self.path}: the run wrote no class maps (--save labels or classes): none to work on")
        video = LabelVideo(path) if path is not None else None
        return partial(video_then_files, video, files), video.classes if video is not None else self.classes()

    @property
    def class_map_files(self) -> MapFiles[np.uint8] | None:
        """Its class maps in files; None where it wrote none."""
        return class_map_files(self.root) if settings.CLASS_MAP_FILE in self.files.endings else None

    @property
    def has_person_maps(self) -> bool:
        """Whether it kept whose each pixel is."""
        return settings.PERSON_MAP_FILE in self.files.endings or self.person_video() is not None

    def open_facts(self, source: SourceInfo) -> StoredFacts:
        """What else it tells of its frames, in its JSON and its maps of people.

        Raises InputError for a person video that is none.
        """
        told: Told = NothingTold()
        if settings.JSON_FILE in self.files.endings:
            told = JsonFiles(self.root)
        elif (lines := self._single(settings.JSON_LINES_FILE)) is not None:
            told = JsonLinesFile(lines)
        return StoredFacts(told, self._open_person_maps(source))

    def _open_person_maps(self, source: SourceInfo) -> Store[np.uint16] | None:
        path, files = self.person_video(), None
        if settings.PERSON_MAP_FILE in self.files.endings:
            files = MapFiles(self.root, settings.PERSON_MAP_FILE, np.uint16)
        if path is None and files is None:
            return None
        return video_then_files(PersonVideo(path) if path is not None else None, files, source)

    def classes(self) -> ClassSet:
        """The classes as it names them, or by the title of their set. Raises InputError where it tells neither."""
        model = self.within("model")
        title = str(model.get("classes"))
        try:
            return ClassSet.told(title, model.get("class_names"), model.get("class_colours"))
        except ValueError:
            if (classes := titled(title)) is None:
                raise InputError(f"{self.path}: it does not say what its classes, {title!r}, are called") from None
            return classes

    def model(self, classes: ClassSet) -> PastModel:
        """The model that it was run with."""
        model = self.within("model")
        size = model.get("input")
        height, width = size if isinstance(size, list) and len(size) == 2 else (0, 0)
        sha256 = model.get("sha256")
        return PastModel(
            name=str(model.get("name", "")),
            kind=str(model.get("kind", "")),
            classes=classes,
            sha256=sha256 if isinstance(sha256, str) else None,
            input=Size(height, width),
        )


def rest_missing(frame: Frame, source: SourceInfo, past: PastRun | None) -> str:
    """That there are no class maps from a frame of the source on, and why, as far as that is known."""
    why = ""
    if source.size not in (None, frame.size):
        height, width = frame.size
        why = f" (there its pictures become {width}x{height}; label videos have one size, --save classes has any)"
    elif past is not None and not past.is_complete:
        why = f" (the run is {past.record.get('status')})"
    return f"no class maps from frame {frame.index} on{why}; the rest is left out"


def past_runs(folder: Path, on_failure: OnFailure = raised) -> list[PastRun]:
    """The runs whose records lie in a folder; of several a record that is damaged is told of.

    Raises InputError where it is no folder, or holds no run.
    """
    require_folder(folder)
    failures = Failures()
    found = readable_runs(folder, failures.add)
    none = InputError(f"{folder} holds no run record (*{settings.RUN_FILE}); give the folder that a run wrote to")
    failures.tell(on_failure, None if found else none)
    return found


def require_folder(folder: Path) -> None:
    """Raises InputError where it is none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder with results; give the one that a run wrote to")


def readable_runs(folder: Path, on_failure: OnFailure) -> list[PastRun]:
    """The same, though there be none."""
    found = []
    for path in _records(folder):
        try:
            if (record := whole_record(path)) is not None:
                found.append(PastRun(path, record))
        except InputError as error:
            on_failure(path, error)
    return found


def _records(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if fnmatch(path.name, f"*{settings.RUN_FILE}"))
