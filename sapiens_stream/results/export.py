"""Class maps of an earlier run as files, one a frame."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from sapiens_stream import settings
from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.pipeline.space import byte_size
from sapiens_stream.results.past_run import PastRun
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sinks.files import path_below, written_aside
from sapiens_stream.sinks.masks import write_npy
from sapiens_stream.sinks.png import encode_palette_png
from sapiens_stream.sources.label_video import LabelVideo

Kind = Literal["npy", "png"]

PNG = "_seg.png"

_ClassMap = npt.NDArray[np.uint8]


Progress = Callable[[int], None]
"""Is told after each frame how many are done."""


def export_video(path: Path, stem: str, root: Path, kind: Kind, on_frame: Progress = lambda done: None) -> int:
    """Writes STEM/000000_seg.npy or .png, ... for each frame of a label video below `root`; returns how many.

    A `.png` holds the class ids themselves, and shows them in the classes' colours. Raises InputError for a frame that
    is damaged, OutputError where there is no space.
    """
    with LabelVideo(path) as video:
        if kind == "npy":
            _require_space(root, len(video) * video.size[0] * video.size[1])
        for index, class_map in enumerate(video):
            _write(root, settings.frame_name(stem, index), class_map, kind, video.classes)
            on_frame(index + 1)
        return len(video)


def export_files(past: PastRun, root: Path, on_frame: Progress = lambda done: None) -> int:
    """Writes NAME_seg.png for each NAME_seg.npy of a run; returns how many. Raises InputError for one not whole."""
    classes = past.classes()
    count = 0
    for name in _stored_names(past):
        path = path_below(past.root, name, settings.CLASS_MAP_FILE)
        _write(root, name, _read(path), "png", classes)
        count += 1
        on_frame(count)
    return count


def _stored_names(past: PastRun) -> Iterator[str]:
    for path in past.files.existing(past.root):
        if path.endswith(settings.CLASS_MAP_FILE):
            yield path.removesuffix(settings.CLASS_MAP_FILE)


def _read(path: Path) -> _ClassMap:
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
            if len(shape) != 2 or kind != np.uint8 or shape[0] * shape[1] > MAX_PIXELS:
                raise InputError(f"{path}: it is no class map, but {kind} of {shape}")
            return np.fromfile(file, np.uint8, shape[0] * shape[1]).reshape(shape)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


def _write(root: Path, name: str, class_map: _ClassMap, kind: Kind, classes: ClassSet) -> None:
    with written_aside(path_below(root, name, settings.CLASS_MAP_FILE if kind == "npy" else PNG)) as file:
        if kind == "npy":
            write_npy(file, class_map)
        else:
            file.write(encode_palette_png(class_map, classes.palette))


def _require_space(root: Path, needed: int) -> None:
    folder = root.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(os.fspath(folder)).free
    if needed > free:
        raise OutputError(
            f"the files need {byte_size(needed)}, {byte_size(free)} are free in {root}; --to png is smaller"
        )
