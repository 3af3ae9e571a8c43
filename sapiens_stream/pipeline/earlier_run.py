"""What an earlier start of the same run has left, of which no more is believed than is there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sapiens_stream import settings
from sapiens_stream.containers.label_video import LabelVideo
from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline.batch_file import DAMAGED, read_batch
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.pipeline.fingerprint import Fingerprint
from sapiens_stream.pipeline.run_folder import RunFolder
from sapiens_stream.pipeline.stores import FirstOf, Store, VideoStore, class_map_files
from sapiens_stream.pipeline.wholeness import is_whole
from sapiens_stream.sinks.files import aside, is_there, path_below
from sapiens_stream.sinks.held_frames import sound_frames
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.source import Source

_LARGEST_JSON = 1 << 26  # bytes
_TELL_EVERY = 10.0  # seconds


class EarlierRun:
    """By its record, in the folder that this run has claimed."""

    def __init__(self, folder: RunFolder, record: Mapping[str, Any], fingerprint: Fingerprint) -> None:
        self._root = folder.root
        self._record = record
        self._fingerprint = fingerprint
        self._is_same = not fingerprint.differences(record.get("fingerprint"))

    @property
    def reached(self) -> int:
        """How many frames its files reach to; of photos each is one of its own."""
        return 0 if self._fingerprint.is_of_photos else written_before(self._record)

    def is_complete(self) -> bool:
        """Whether there is nothing left to do: it came to its end with all the same settings, and all is there."""
        if self._record.get("status") != "complete" or not self._is_same or self._fingerprint.is_of_photos:
            return False
        files = FileList.from_dict(self._record.get("files"), counted=True)
        endings = settings.LABEL_VIDEO_FILE, settings.PERSON_VIDEO_FILE
        videos = [self._root / path for path in files.single if path.endswith(endings)]
        return files.problem(self._root) is None and all(
            sound_frames(path) == written_before(self._record) for path in videos
        )

    def open_store(self, source: Source, sinks: Sequence[Sink], sha256: str | None) -> Store[np.uint8]:
        """Its class maps: those of the label video, then those in files."""
        stores: list[Store[np.uint8]] = []
        for path in self._label_videos(sinks):
            with suppress(InputError):
                video = LabelVideo(path)
                if video.fingerprint in ("", self._fingerprint.digest(sha256)):
                    stores.append(VideoStore(video, source.info))
                    break
                video.close()
        outdated = [name for name in source.names if self._is_newer(source, name, settings.CLASS_MAP_FILE)]
        return FirstOf([*stores, class_map_files(self._root, frozenset(outdated))])

    def done_photos(
        self,
        source: Source,
        sinks: Sequence[Sink],
        stopping: Callable[[], bool] = lambda: False,
        note: Callable[[str], None] = lambda sentence: None,
    ) -> dict[str, int | None]:
        """The photos all of whose files are there, whole and newer than the photo, with their numbers if told.

        A million take minutes: once it is `stopping`, those that were found by then; `note` is told how far it is.
        """
        endings = [ending for sink in sinks for ending in sink.endings]
        if not self._is_same or not endings or any(sink.planned for sink in sinks):
            return {}
        done = {}
        damaged = self._damaged_photos()
        for name in takewhile(lambda _: not stopping(), _looked_at(source, note)):
            if str(source.path_of(name)) not in damaged and all(
                self._is_done(source, name, ending) for ending in endings
            ):
                told = self._told(name) if settings.JSON_FILE in endings else {"frame": None}
                if told is not None and not told.get("damaged"):
                    done[name] = told.get("frame")
        return done

    def _damaged_photos(self) -> set[str]:
        """Those that were read in part only, which is to be said of them each time, by their paths.

        The record names the first of them, and as of some seconds before a kill.
        """
        lines = read_batch(self._root / settings.BATCH_FILE)
        told = {line["input"] for line in lines if str(line.get("reason")).startswith(DAMAGED)}
        return told | {each.name for each in told_of(self._record, "damaged", Damaged)}

    def files_of(self, name: str, sinks: Sequence[Sink]) -> list[tuple[str, int]]:
        """Its files by ending and size."""
        endings = [ending for sink in sinks for ending in sink.endings]
        return [(ending, (self._root / (name + ending)).stat().st_size) for ending in endings]

    def _label_videos(self, sinks: Sequence[Sink]) -> list[Path]:
        paths = [path for sink in sinks for path in sink.planned]
        paths += [self._root / path for path in FileList.from_dict(self._record.get("files")).single]
        found = [path for path in paths if path.name.endswith(settings.LABEL_VIDEO_FILE)]
        both = [each for path in found for each in (aside(path), path)]
        return [path for path in dict.fromkeys(both) if is_there(path)]

    def _is_done(self, source: Source, name: str, ending: str) -> bool:
        with suppress(OutputError):
            return is_whole(path_below(self._root, name, ending)) and not self._is_newer(source, name, ending)
        return False

    def _is_newer(self, source: Source, name: str, ending: str) -> bool:
        """Whether a photo was changed, or came, after its result."""
        photo = source.path_of(name)
        if photo is None:
            return False
        try:
            return _changed(photo) > _changed(self._root / (name + ending))
        except OSError:
            return True

    def _told(self, name: str) -> dict[str, Any] | None:
        path = self._root / (name + settings.JSON_FILE)
        with suppress(OSError, ValueError, RecursionError):
            if path.stat().st_size <= _LARGEST_JSON:
                record = json.loads(path.read_bytes())
                if isinstance(record, dict):
                    return record
        return None


def _looked_at(source: Source, note: Callable[[str], None]) -> Iterator[str]:
    """The names of a source's photos, of which `note` is told now and then how many have come."""
    names, told = source.names, time.monotonic()
    for done, name in enumerate(names):
        if time.monotonic() - told >= _TELL_EVERY:
            told = time.monotonic()
            note(f"{source.info.name}: {done} of {len(names)} photos looked at, whether they are done")
        yield name


def written_before(record: Mapping[str, Any]) -> int:
    """How many frames a record tells of."""
    return _counted(record, "written")


def spoiled_before(record: Mapping[str, Any]) -> int:
    """How many of them were skipped, or could be read in part only."""
    return _counted(record, "skipped") + _counted(record, "damaged")


Item = TypeVar("Item", Skipped, Damaged)


def told_of(record: Mapping[str, Any], what: str, kind: type[Item]) -> list[Item]:
    """The inputs and frames that a record names as "skipped" or "damaged"."""
    rows = record.get(what)
    return [
        kind(row["name"], str(row.get("reason")))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and isinstance(row.get("name"), str)
    ]


def _counted(record: Mapping[str, Any], what: str) -> int:
    frames = record.get("frames")
    count = frames.get(what) if isinstance(frames, dict) else None
    return count if isinstance(count, int) else 0


def _changed(path: Path) -> int:
    """When its content or its place changed, nanoseconds: a copy may keep the former."""
    status = path.stat()
    return max(status.st_mtime_ns, status.st_ctime_ns)
