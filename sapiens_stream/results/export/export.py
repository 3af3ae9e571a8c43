"""One export: the class maps of a clip, read in order, into a format, whose folder appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from sapiens_stream import settings
from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import FolderTaken, InputError, UsageError
from sapiens_stream.frame import Skipped
from sapiens_stream.results.export.registry import Format
from sapiens_stream.results.export.target import Choices, Target, in_a_line
from sapiens_stream.results.mapping import ClassMapping
from sapiens_stream.results.stored import StoredClip, StoredFrame
from sapiens_stream.sinks.files import discard, fitting, not_written
from sapiens_stream.sources import Source
from sapiens_stream.text import encodable

Progress = Callable[[int], None]
"""Called after each frame with how many are done."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What came of an export: how many frames, and where they are."""

    frames: int
    place: Path


def export(
    clip: StoredClip,
    kind: Format,
    root: Path,
    *,
    choices: Choices | None = None,
    mapping: ClassMapping | None = None,
    source: Source | None = None,
    overwrite: bool = False,
    on_skip: Callable[[Skipped], None],
    on_frame: Progress = lambda done: None,
) -> Exported:
    """Writes a clip in a format below `root`.

    `source` gives the pictures, and the names of photos; without it none are written. Raises FolderTaken where such an
    export is there already and not to be replaced, UsageError for what would replace the run's own files, InputError
    where there is nothing to export, OutputError where nothing can be written.
    """
    choices = choices or Choices()
    if kind.word == "npy":
        _keep_own(clip, root)
    pictured = source is not None and choices.images is not None
    frames = clip.pictured(source, on_skip) if source is not None and pictured else clip.frames(on_skip)
    counted = _Counted(_mapped(frames, mapping), on_frame)
    target = Target(
        folder=root,
        stem=clip.stem,
        classes=_named_by_text(mapping.classes if mapping is not None else clip.classes),
        choices=choices,
        picture_name=_names(clip, source, choices),
        frame_count=clip.count,
    )
    if kind.loose:
        kind.write(counted, target)
        place = root if clip.is_of_photos else root / clip.stem
    else:
        place = fitting(root, clip.stem, f"_{kind.word}")
        with _new_folder(place, overwrite) as folder:
            kind.write(counted, replace(target, folder=folder))
            counted.require_some(clip)
    counted.require_some(clip)
    return Exported(frames=counted.done, place=place)


class _Counted:
    """Frames, and how many have been taken."""

    def __init__(self, frames: Iterator[StoredFrame], on_frame: Progress) -> None:
        self.done = 0
        self._frames = frames
        self._on_frame = on_frame

    def __iter__(self) -> Iterator[StoredFrame]:
        for frame in self._frames:
            yield frame
            self.done += 1
            self._on_frame(self.done)

    def require_some(self, clip: StoredClip) -> None:
        if not self.done:
            raise InputError(f"{clip.path}: none of its class maps can be read")


def _mapped(frames: Iterator[StoredFrame], mapping: ClassMapping | None) -> Iterator[StoredFrame]:
    if mapping is None:
        yield from frames
        return
    for frame in frames:
        yield replace(frame, class_map=np.asarray(cv2.LUT(frame.class_map, mapping.table), np.uint8))


def _names(clip: StoredClip, source: Source | None, choices: Choices) -> Callable[[StoredFrame], str]:
    """What the pictures of frames are called, written or not; photos that are not written keep their names."""
    folder = clip.past.input_path if clip.past is not None else None

    def name(frame: StoredFrame) -> str:
        path = source.path_of(frame.name) if source is not None and choices.images is None else None
        if path is not None:
            return path.relative_to(folder).as_posix() if folder and path.is_relative_to(folder) else path.name
        stem = frame.name if clip.is_of_photos else f"{clip.stem}_{frame.index:06d}"
        return f"{in_a_line(stem)}.{choices.images or 'jpg'}"

    return name


def _named_by_text(classes: ClassSet) -> ClassSet:
    """The same, with escapes for what no encoding has: a label video may say anything."""
    return replace(classes, names=tuple(encodable(each) for each in classes.names))


def _keep_own(clip: StoredClip, root: Path) -> None:
    own = clip.past is not None and settings.CLASS_MAP_FILE in clip.past.files.endings
    if own and root.resolve() == clip.root.resolve():
        raise UsageError(f"{root} holds the run's own class maps, which --to npy would replace; choose another (-o)")


@contextmanager
def _new_folder(place: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write to, which takes its place at the end of the block; if that raises, nothing is left."""
    if (place.exists() or place.is_symlink()) and not overwrite:
        raise FolderTaken(f"{place} is there already; --overwrite replaces it, or choose another folder (-o)")
    beside, old = (fitting(place.parent, f".{place.name}", f".{word}") for word in ("part", "old"))
    try:
        for each in (beside, old):
            _remove(each)
        beside.mkdir(parents=True)
        yield beside
        if place.exists() or place.is_symlink():
            place.replace(old)
        beside.replace(place)
        _remove(old)
    except BaseException as error:
        _remove(beside)
        if isinstance(error, OSError):
            raise not_written(place, error) from error
        raise


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        discard(folder)
