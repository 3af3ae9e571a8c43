"""What earlier runs found in each frame, read back in order: from a label video or from `.npy`, one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from sapiens_stream import settings
from sapiens_stream.classes import ClassSet
from sapiens_stream.containers.label_video import LabelVideo
from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame, IdArray, Skipped, UInt8Array
from sapiens_stream.pipeline.stores import Store, video_then_files
from sapiens_stream.results.past_run import (
    Failures,
    OnFailure,
    PastRun,
    raised,
    readable_runs,
    require_folder,
    rest_missing,
)
from sapiens_stream.results.stored_planes import PersonMapFiles, PersonMaps, PersonMapVideo, read_class_map
from sapiens_stream.sinks.files import is_there, path_below
from sapiens_stream.sources import Source
from sapiens_stream.text import whole_number

OnSkip = Callable[[Skipped], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredFrame:
    """What is stored of a frame.

    `class_map` is (H, W) uint8. `person_map`, (H, W) uint16, says whose each pixel is, 0 being nobody's; None where
    that was not kept. `picture` is the frame itself, (H, W, 3) uint8 RGB, where it was asked for. `time` is in seconds.
    """

    index: int
    name: str
    class_map: UInt8Array
    time: Fraction | None = None
    person_map: IdArray | None = None
    picture: UInt8Array | None = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.class_map.shape
        return height, width


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """The class maps of a run, or of a label video that lies alone; `path` is its record, or that video."""

    path: Path
    root: Path
    stem: str
    classes: ClassSet
    video: Path | None
    past: PastRun | None

    @property
    def is_of_photos(self) -> bool:
        """Whether it is no clip but photos, each of a size of its own."""
        return self.past is not None and self.past.is_of_photos

    @property
    def count(self) -> int | None:
        """How many frames there are to read; None where only reading tells."""
        if self.video is not None:
            with LabelVideo(self.video) as video:
                return len(video)
        return self.count_written

    @property
    def count_written(self) -> int | None:
        """How many the run says that it wrote; None of a live run, whose outputs each leave out frames of their own."""
        if self.past is None or self.past.is_live:
            return None
        written = self.past.within("frames").get("written")
        return written if isinstance(written, int) else None

    def frames(self, on_skip: OnSkip) -> Iterator[StoredFrame]:
        """All that are whole, in order; what is damaged or gone is reported.

        Raises InputError for a video that is none.
        """
        frames = self._from_video(self.video, on_skip) if self.video is not None else self._from_files(on_skip)
        return self._with_people(self._of_known_classes(frames, on_skip), on_skip)

    def pictured(self, source: Source, on_skip: OnSkip) -> Iterator[StoredFrame]:
        """The same with the pictures of the run's source."""
        return self._with_people(self._of_known_classes(self._from_source(source, on_skip), on_skip), on_skip)

    def _of_known_classes(self, frames: Iterator[StoredFrame], on_skip: OnSkip) -> Iterator[StoredFrame]:
        for frame in frames:
            if (largest := int(frame.class_map.max())) < len(self.classes):
                yield frame
            else:
                on_skip(Skipped(frame.name, f"its class map is damaged: of {len(self.classes)} it holds {largest}"))

    def _tell_gone(self, found: int, on_skip: OnSkip) -> None:
        """Where the run ended well and wrote more class maps than these."""
        if self.past is not None and self.past.is_complete and (gone := (self.count_written or 0) - found) > 0:
            on_skip(Skipped(self.path.name, f"{gone} of its class maps are gone"))

    def _with_people(self, frames: Iterator[StoredFrame], on_skip: OnSkip) -> Iterator[StoredFrame]:
        """Adds the maps of people, where they were kept."""
        places = enumerate(self._numbers())
        place, number = next(places)
        with closing(self._person_maps()) as maps:
            for frame in frames:
                while number < frame.index:
                    place, number = next(places)
                try:
                    yield replace(frame, person_map=maps.of(place, frame.name, frame.size))
                except InputError as error:
                    on_skip(Skipped(frame.name, f"its people are not told apart: {error}"))
                    yield frame

    def _person_maps(self) -> PersonMaps:
        if (video := self._person_video()) is not None:
            return PersonMapVideo(video)
        if self.past is not None and settings.PERSON_MAP_FILE in self.past.files.endings:
            return PersonMapFiles(self.root)
        return PersonMaps()

    def _person_video(self) -> Path | None:
        if self.past is not None:
            return self.past.person_video()
        beside = self.root / f"{self.stem}{settings.PERSON_VIDEO_FILE}"
        return beside if is_there(beside) else None

    def _from_source(self, source: Source, on_skip: OnSkip) -> Iterator[StoredFrame]:
        store = self._open_store(source)
        try:
            for each in source.frames():
                if not isinstance(each, Frame):
                    on_skip(each)
                    continue
                name = each.name if self.is_of_photos else settings.frame_name(self.stem, each.index)
                class_map = store.find(each) if self.is_of_photos else store.find(_called(each, name))
                if class_map is not None:
                    yield StoredFrame(
                        index=each.index, name=name, class_map=class_map, time=each.time, picture=each.rgb
                    )
                elif self.is_of_photos:
                    on_skip(Skipped(name, f"{self.root} holds no class map of it"))
                else:
                    on_skip(Skipped(self.path.name, rest_missing(each, source.info, self.past)))
                    return
        finally:
            store.close()

    def _open_store(self, source: Source) -> Store[np.uint8]:
        video = LabelVideo(self.video) if self.video is not None else None
        return video_then_files(video, self.past.class_map_files if self.past is not None else None, source.info)

    def _from_video(self, path: Path, on_skip: OnSkip) -> Iterator[StoredFrame]:
        numbers = self._numbers()
        with LabelVideo(path) as video:
            self._tell_gone(len(video), on_skip)
            place = 0
            while place < len(video):
                try:
                    for class_map, time in zip(video[place:], video.times[place:], strict=True):
                        index = next(numbers)
                        name = settings.frame_name(self.stem, index)
                        yield StoredFrame(index=index, name=name, class_map=class_map, time=time)
                        place += 1
                except InputError as error:
                    on_skip(Skipped(settings.frame_name(self.stem, next(numbers)), str(error)))
                    place += 1

    def _numbers(self) -> Iterator[int]:
        """Those of a video's frames, in order and without an end: the run may have left some of them out."""
        number = -1
        folder = settings.frame_name(self.stem, 0).rpartition("/")[0]
        for number in self.past.files.numbers_in(folder) if self.past is not None and not self.is_of_photos else ():
            yield number
        yield from count(number + 1)

    def _from_files(self, on_skip: OnSkip) -> Iterator[StoredFrame]:
        assert self.past is not None
        index, found = -1, 0
        for name in self.past.files.names_there(self.root, settings.CLASS_MAP_FILE):
            path = path_below(self.root, name, settings.CLASS_MAP_FILE)
            if not path.is_file():
                continue
            found += 1
            index = index + 1 if self.is_of_photos else _number(name)
            try:
                class_map = read_class_map(path)
            except InputError as error:
                on_skip(Skipped(name, str(error)))
                continue
            yield StoredFrame(index=index, name=name, class_map=class_map)
        self._tell_gone(found, on_skip)


def stored_clips(what: Path, on_failure: OnFailure = raised) -> list[StoredClip]:
    """All of which class maps lie in a folder, or a label video; of several clips one that is damaged is told of.

    Raises InputError where there are none.
    """
    if what.is_file():
        return [_alone(what)]
    require_folder(what)
    clips, failures = [], Failures()
    runs = readable_runs(what, failures.add)
    known = {past.label_video() for past in runs}
    videos = filter(is_there, sorted(what.glob(f"*{settings.LABEL_VIDEO_FILE}")))
    alone = [path for path in videos if path not in known]
    alone += [path for past in runs for path in past.label_videos_continued()]
    made = [(past.path, partial(_of_run, past)) for past in runs] + [(path, partial(_alone, path)) for path in alone]
    for path, clip_of in made:
        try:
            if (clip := clip_of()) is not None:
                clips.append(clip)
        except InputError as error:
            failures.add(path, error)
    none = InputError(f"{what} holds no class maps; --save labels or classes keeps them")
    failures.tell(on_failure, None if clips else none)
    return clips


def _alone(path: Path) -> StoredClip:
    stem = path.name.removesuffix(settings.LABEL_VIDEO_FILE).removesuffix(path.suffix)
    return StoredClip(path=path, root=path.parent, stem=stem, classes=_classes_of(path), video=path, past=None)


def _of_run(past: PastRun) -> StoredClip | None:
    """None where it wrote no class maps."""
    video = past.label_video()
    if video is None and settings.CLASS_MAP_FILE not in past.files.endings:
        return None
    classes = _classes_of(video) if video is not None else past.classes()
    return StoredClip(path=past.path, root=past.root, stem=past.stem, classes=classes, video=video, past=past)


def _classes_of(path: Path) -> ClassSet:
    with LabelVideo(path) as video:
        return video.classes


def _called(frame: Frame, name: str) -> Frame:
    return replace(frame, name=name)


def _number(name: str) -> int:
    return whole_number(name.rpartition("/")[2]) or 0
