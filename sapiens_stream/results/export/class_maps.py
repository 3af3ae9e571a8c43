"""Class maps as files, one a frame: `.npy`, or `.png` of the same numbers in the classes' colours."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from sapiens_stream import settings
from sapiens_stream.disk import free_bytes
from sapiens_stream.errors import OutputError
from sapiens_stream.pipeline.space import byte_size
from sapiens_stream.results.export.target import Target
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.files import path_below, written_aside
from sapiens_stream.sinks.masks import write_npy
from sapiens_stream.sinks.png import encode_palette_png

PNG = "_seg.png"


def write_npy_files(frames: Iterable[StoredFrame], target: Target) -> None:
    """CLIP/000000_seg.npy, ... or NAME_seg.npy. Raises OutputError beforehand where there is no space."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    _require_space(target.folder, (target.frame_count or 0) * first.class_map.size)
    for frame in chain([first], frames):
        with written_aside(path_below(target.folder, frame.name, settings.CLASS_MAP_FILE)) as file:
            write_npy(file, np.ascontiguousarray(frame.class_map))


def write_png_files(frames: Iterable[StoredFrame], target: Target) -> None:
    """CLIP/000000_seg.png, ... or NAME_seg.png."""
    for frame in frames:
        with written_aside(path_below(target.folder, frame.name, PNG)) as file:
            file.write(encode_palette_png(frame.class_map, target.classes.palette))


def _require_space(root: Path, needed: int) -> None:
    free = free_bytes(root)
    if free is not None and needed > free:
        raise OutputError(
            f"the files need {byte_size(needed)}, {byte_size(free)} are free in {root}; --to png is smaller"
        )
