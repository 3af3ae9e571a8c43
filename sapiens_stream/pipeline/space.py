"""Whether the disk can hold what a run will write."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from sapiens_stream.errors import OutputError
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.source import SourceInfo


def require_space(sinks: Sequence[Sink], source: SourceInfo, folder: Path) -> str:
    """A line that says what a run will need and what is free in `folder`.

    Raises OutputError where it will not fit. Where the source does not tell its size or length, only what is free.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if source.size is None or source.frame_count is None:
        return f"{source.name}: length unknown, {_size(free)} free in {folder}"
    needed = source.frame_count * sum(sink.bytes_per_frame(source.size) for sink in sinks)
    line = f"{source.name}: {source.frame_count} frames need about {_size(needed)}, {_size(free)} free in {folder}"
    if needed > free:
        raise OutputError(f"{line}; free some, choose another folder, or write less (--save, --overlay)")
    return line


def _existing(folder: Path) -> Path:
    """The nearest folder that is already there."""
    folder = folder.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
