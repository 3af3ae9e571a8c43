"""Whether the disk can hold what a run will write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapiens_stream.disk import free_bytes, free_files
from sapiens_stream.errors import OutputError
from sapiens_stream.frame import Segmentation, SourceInfo
from sapiens_stream.sinks.sink import Sink

_MARGIN = 1.02  # the record, and frames that take more than the first
_FILES_OF_A_RUN = 8  # the record, what is aside, folders
_MANY_FRAMES = 20_000  # above which what a file for each takes is compared with one of all


def require_space(
    sinks: Sequence[Sink], source: SourceInfo, folder: Path, first: Segmentation | None = None, *, there: int = 0
) -> str:
    """A line that says what a run will need and what is free in `folder`.

    With the `first` result it goes by what that takes, as noisy masks take many times as much as calm ones; where
    nobody is in it, at least by what is usual. Of many frames with files of their own it says what one file of all
    would take. `there` are the bytes that an earlier start has left of it. Raises OutputError where it will not fit, in
    bytes or in number of files. Where the source does not tell its size or length, only what is free; where the
    disk does not, all fits.
    """
    free = free_bytes(folder)
    room = f"{'an unknown space' if free is None else byte_size(free)} free in {folder}"
    if source.size is None or source.frame_count is None:
        return f"{source.name}: length unknown, {room}"
    a_frame = sum(sink.bytes_per_frame(source.size) for sink in sinks)
    if first is not None:
        measured = sum(sink.measure(first) for sink in sinks)
        a_frame = round(_MARGIN * (measured if first.labels else max(a_frame, measured)))
    needed = source.frame_count * a_frame
    line = f"{source.name}: {source.frame_count} frames need about {byte_size(needed)}, {room}"
    instead = _instead(sinks, source.frame_count, source.size, first)
    if free is not None and needed - there > free:
        raise OutputError(f"{line}; free some, choose another folder, or write less (--save, --overlay){instead}")
    files = source.frame_count * sum(len(sink.endings) for sink in sinks) + _FILES_OF_A_RUN
    most_files = free_files(folder)
    if most_files is not None and files > most_files:
        raise OutputError(
            f"{source.name}: {source.frame_count} frames need {files} files, but the disk of {folder} can hold only"
            f" {most_files} more; choose another folder, or write fewer (--save, --overlay)"
        )
    return line + instead


def _instead(sinks: Sequence[Sink], frames: int, size: tuple[int, int], first: Segmentation | None) -> str:
    """What the videos and lines that hold as much as files of many frames would take, to be added to a line."""
    if frames <= _MANY_FRAMES:
        return ""
    words = dict(each for sink in sinks if (each := sink.in_one_file(size, first)) is not None)
    if not words:
        return ""
    files = frames * sum(len(sink.endings) for sink in sinks if sink.in_one_file(size) is not None)
    kept = f"--save {','.join(words)} would take about {byte_size(frames * sum(words.values()))}"
    return f"; {kept} in {len(words)} file{'s' * (len(words) > 1)} instead of {files}"


def byte_size(count: float) -> str:
    """A number of bytes to be read: 1.5 GB."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
