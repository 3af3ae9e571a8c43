"""Where the key frames of a video lie, on the line of time that its frames will have."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from sapiens_stream.containers.joins import Joins
from sapiens_stream.containers.opening import open_again
from sapiens_stream.errors import InputError
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sources.demux import Mark, best_stream
from sapiens_stream.sources.parts import KeyFrames
from sapiens_stream.sources.video import Video

_NOT_NEARER = Fraction(1)  # seconds between two that are noted: where every frame is one, hours would be millions


def find_key_frames(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> KeyFrames:
    """Reads a video through, undecoded; of an MP4 whose index is whole, that alone.

    Raises InputError where it cannot be opened, cannot be read to its end, or has no times.
    """
    with Video(path, max_pixels=max_pixels) as video:
        name, info = video.info.name, video.info
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
                return _of_index(stream)
            try:
                return _of_packets(container, stream, name)
            except (av.FFmpegError, OSError):
                raise InputError(f"{name} is damaged, and cannot be read in parts") from None


class _Noted:
    """Key frames as they come, those left out that are near the one before."""

    def __init__(self) -> None:
        self.times: list[Fraction] = []
        self.marks: list[Mark] = []

    def take(self, time: Fraction, mark: Mark) -> None:
        if not self.times or time >= self.times[-1] + _NOT_NEARER:
            self.times.append(time)
            self.marks.append(mark)


def _of_index(stream: av.VideoStream) -> KeyFrames:
    noted = _Noted()
    assert stream.time_base is not None
    for place, entry in enumerate(stream.index_entries):
        if entry.is_keyframe:
            noted.take(entry.timestamp * stream.time_base, Mark(None, entry.timestamp, place))
    return KeyFrames(noted.times, noted.marks, stream.frames)


def _of_packets(container: av.container.InputContainer, stream: av.VideoStream, name: str) -> KeyFrames:
    noted = _Noted()
    joins = Joins(container)
    place, jumped = 0, False
    for packet in container.demux():
        if packet.dts is None and not packet.size:
            continue
        pts, dts = packet.pts, packet.dts
        joins.place(packet)
        if packet.stream is not stream or not packet.size:
            continue
        jumped = jumped or (pts, dts) != (packet.pts, packet.dts)
        shown = packet.pts if packet.pts is not None else packet.dts
        if packet.is_keyframe and shown is not None:
            noted.take(shown * packet.time_base, Mark(pts, dts, place))
        place += 1
    if not noted.marks:
        raise InputError(f"{name} has no key frame with a time, and cannot be read in parts")
    return KeyFrames(noted.times, [replace(each, joined=jumped) for each in noted.marks], place)
