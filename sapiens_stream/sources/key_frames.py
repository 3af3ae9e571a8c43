"""Where the key frames of a video lie, on the line of time that its frames will have."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from sapiens_stream.containers.joins import Joins
from sapiens_stream.containers.opening import open_again
from sapiens_stream.containers.packets import packets_of
from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame, SourceInfo
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sources.demux import Mark, best_stream, holds_no_times_of_showing
from sapiens_stream.sources.parts import KeyFrames
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.sequence import PictureSequence
from sapiens_stream.sources.video import Video

_NOT_NEARER = Fraction(1)  # seconds between two that are noted: where every frame is one, hours would be millions


def find_key_frames(
    path: str | Path, *, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS, called: str | None = None
) -> KeyFrames:
    """Reads a video through, undecoded; of an MP4 whose index is whole, that alone. Each of numbered pictures is one;
    `rate` is theirs.

    Raises InputError where it cannot be opened, cannot be read to its end, or has no times.
    """
    if (pattern := parse_pattern(path)) is not None:
        with PictureSequence(path, rate=rate, max_pixels=max_pixels, called=called) as pictures:
            return _of_pictures(list(pattern.files()), pictures.info)
    with Video(path, max_pixels=max_pixels, called=called) as video:
        name, info = video.info.name, video.info
        first = next((frame for frame in video.frames() if isinstance(frame, Frame)), None)
        if first is None:
            raise InputError(f"{name} has no frame that can be decoded")
        try:
            container = open_again(info.path, info.url)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if container is None:
            raise InputError(f"{name} can be read but once, and not in parts; give a file")
        with container:
            stream = best_stream(container)
            entries = stream.index_entries
            if stream.frames and len(entries) == stream.frames and "mp4" in container.format.name.split(","):
                return _of_index(stream, first)
            try:
                return _of_packets(container, stream, name, first)
            except (av.FFmpegError, OSError):
                raise InputError(f"{name} is damaged, and cannot be read in parts") from None


class _Noted:
    """Key frames as they come, those left out that are near the one before; and when each packet is shown."""

    def __init__(self) -> None:
        self.times: list[Fraction] = []
        self.marks: list[Mark] = []
        self._shown = array("q")
        self._of_marks = array("q")

    def take(self, shown: int | None, unit: Fraction, mark: Mark, *, is_key: bool) -> None:
        """A packet: when it is shown, by `unit`, and where it lies."""
        if shown is None:
            return
        self._shown.append(shown)
        if is_key and (not self.times or shown * unit >= self.times[-1] + _NOT_NEARER):
            self.times.append(shown * unit)
            self.marks.append(mark)
            self._of_marks.append(shown)

    def numbers(self, *, first_pts: int) -> list[int]:
        """Of each, how many packets are shown from the first frame on and before it."""
        shown = np.sort(np.frombuffer(self._shown, np.int64))
        counted = _count(shown, self._of_marks) - _count(shown, [first_pts])
        return [max(0, int(each)) for each in counted]


def _count(shown: npt.NDArray[np.int64], before: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.searchsorted(shown, np.asarray(before, np.int64)).astype(np.int64)


def _of_index(stream: av.VideoStream, first: Frame) -> KeyFrames:
    """By the times of decoding, which are all that it holds: as many frames are shown before one of them as are decoded
    before it, but for those that are decoded before the first is shown."""
    noted = _Noted()
    assert stream.time_base is not None
    for place, entry in enumerate(stream.index_entries):
        noted.take(entry.timestamp, stream.time_base, Mark(None, entry.timestamp, place), is_key=entry.is_keyframe)
    return KeyFrames(noted.times, noted.marks, stream.frames, noted.numbers(first_pts=first.pts or 0))


def _of_pictures(numbers: Sequence[int], info: SourceInfo) -> KeyFrames:
    noted = _Noted()
    assert info.time_base is not None
    for place, number in enumerate(numbers):
        pts = number - numbers[0]
        noted.take(pts, info.time_base, Mark(pts, pts, place), is_key=True)
    return KeyFrames(noted.times, noted.marks, len(numbers), noted.numbers(first_pts=0))


def _of_packets(container: av.container.InputContainer, stream: av.VideoStream, name: str, first: Frame) -> KeyFrames:
    noted = _Noted()
    joins = Joins(container)
    as_decoded = holds_no_times_of_showing(container)
    place, jumped = 0, False
    for packet in packets_of(container):
        if packet.dts is None and not packet.size:
            continue
        pts, dts = packet.pts, packet.dts
        joins.place(packet)
        if packet.stream is not stream or not packet.size:
            continue
        jumped = jumped or (pts, dts) != (packet.pts, packet.dts)
        shown = packet.dts if packet.pts is None or as_decoded else packet.pts
        noted.take(shown, packet.time_base, Mark(pts, dts, place), is_key=packet.is_keyframe)
        place += 1
    if not noted.marks:
        raise InputError(f"{name} has no key frame with a time, and cannot be read in parts")
    marks = [replace(each, joined=jumped) for each in noted.marks]
    return KeyFrames(noted.times, marks, place, noted.numbers(first_pts=first.pts or 0))
