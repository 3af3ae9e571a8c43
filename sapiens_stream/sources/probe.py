"""How long a video is, and how large, by its header alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from sapiens_stream.containers.opening import open_file
from sapiens_stream.errors import InputError
from sapiens_stream.sources.demux import best_stream, frame_rate_of
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.sequence import USUAL_RATE
from sapiens_stream.sources.video_input import parse_video
from sapiens_stream.threads import Pool

_AT_ONCE = 8  # headers that are read at a time: on a network's disk each is a wait


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a header says; None where it does not, or cannot be read. `size` is (height, width) as stored, pixels."""

    bytes: int | None = None
    seconds: Fraction | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    codec: str = ""


def probe(what: str) -> Probe:
    """Looks at a file. An address is not asked; what cannot be read tells nothing, and raises nothing."""
    try:
        if (pattern := parse_pattern(what)) is not None:
            return _of_pictures(list(pattern.files().values()))
        path = parse_video(what).path
    except InputError:
        return Probe()
    if path is None or not path.is_file():
        return Probe()
    length = None
    with suppress(OSError):
        length = path.stat().st_size
    with suppress(InputError, OSError, ValueError, av.FFmpegError), open_file(path) as container:
        stream = best_stream(container)
        seconds = Fraction(container.duration, av.time_base) if container.duration else None
        rate = frame_rate_of(stream)
        return Probe(
            bytes=length,
            seconds=seconds,
            frames=stream.frames or (round(seconds * rate) if seconds and rate else None),
            size=(stream.height, stream.width),
            codec=stream.codec_context.name,
        )
    return Probe(bytes=length)


def _of_pictures(files: Sequence[Path]) -> Probe:
    """As far as names and sizes tell; for each as many bytes as the first has."""
    length = None
    with suppress(OSError):
        length = files[0].stat().st_size * len(files)
    return Probe(bytes=length, seconds=len(files) / USUAL_RATE, frames=len(files))


def probe_all(inputs: Sequence[str]) -> list[Probe]:
    """`probe` of each, several at a time."""
    with Pool(_AT_ONCE, "probe") as pool:
        return list(pool.map(probe, inputs))


def size_of(what: str) -> int | None:
    """A file's bytes; None for what is none."""
    try:
        path = parse_video(what).path
        return path.stat().st_size if path is not None and os.path.isfile(path) else None  # noqa: PTH113
    except (InputError, OSError, ValueError):
        return None
