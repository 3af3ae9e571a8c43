"""What a list of videos will cost: hours, cards' hours, space, files, and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame, SourceInfo
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.clip import open_clip
from sapiens_stream.sources.probe import Probe

_USUAL_RATE = Fraction(25)
_DECODED = 50  # frames, by which decoding is measured


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one worker: frames/s of the model, and of decoding; None where that was not measured. Of all: bytes/s."""

    model: float
    decode: float | None = None
    disk: float | None = None
    """What the shared storage can read, bytes/s."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of all videos together, on so many `workers`."""

    videos: int
    unknown: int
    """Videos whose length could not be read; each is taken for as long as the others."""
    seconds: float
    frames: int
    read: int
    """Bytes."""
    written: int
    files: int
    workers: int
    gpu_hours: float
    hours: float
    limit: str
    """What the others wait for: "model", "decode" or "disk"."""
    disk_needed: float
    """Bytes/s that are read while it runs."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "videos": self.videos,
            "unknown_length": self.unknown,
            "hours_of_video": round(self.seconds / 3600, 3),
            "frames": self.frames,
            "bytes_read": self.read,
            "bytes_written": self.written,
            "files": self.files,
            "gpus": self.workers,
            "gpu_hours": round(self.gpu_hours, 3),
            "hours": round(self.hours, 4),
            "limit": self.limit,
            "disk_bytes_per_second": round(self.disk_needed),
        }


def cost_of(probes: Sequence[Probe], sinks: Sequence[Sink], rates: Rates, workers: int) -> Cost:
    """Adds it up. Raises InputError where of no video the length is known."""
    known = [each for each in probes if each.frames and each.seconds]
    if not known:
        raise InputError("of none of the videos the length can be read; addresses are not asked: give files")
    more = Fraction(len(probes), len(known))
    frames = round(sum(each.frames or 0 for each in known) * more)
    read = round(sum(each.bytes or 0 for each in known) * more)
    sizes = [(each.size or (1080, 1920), each.frames or 0) for each in known]
    written = sum(count * sink.bytes_per_frame(size) for size, count in sizes for sink in sinks)
    endings = sum(len(sink.endings) for sink in sinks)
    spanning = sum(len(sink.planned) for sink in sinks) + 1  # the record
    seconds_of = {"model": frames / rates.model / workers}
    if rates.decode:
        seconds_of["decode"] = frames / rates.decode / workers
    if rates.disk:
        seconds_of["disk"] = read / rates.disk
    limit = max(seconds_of, key=lambda name: seconds_of[name])
    seconds = seconds_of[limit]
    return Cost(
        videos=len(probes),
        unknown=len(probes) - len(known),
        seconds=float(sum((each.seconds or Fraction(0) for each in known), Fraction(0)) * more),
        frames=frames,
        read=read,
        written=round(written * more),
        files=frames * endings + len(probes) * spanning,
        workers=workers,
        gpu_hours=seconds * workers / 3600,
        hours=seconds / 3600,
        limit=limit,
        disk_needed=read / seconds if seconds else 0.0,
    )


def typical(probes: Sequence[Probe]) -> SourceInfo:
    """A video like most of them, for what is asked of a single one."""
    known = sorted((each.size for each in probes if each.size), key=lambda size: size[0] * size[1])
    size = known[len(known) // 2] if known else (1080, 1920)
    return SourceInfo(name="typical", kind="video", size=size, frame_rate=_USUAL_RATE)


def decode_rate(path: str) -> float | None:
    """Frames/s that this machine decodes of a video's beginning; None where it cannot."""
    try:
        with open_clip(path) as clip:
            frames = (each for each in clip.frames() if isinstance(each, Frame))
            next(frames, None)
            began = time.perf_counter()
            count = sum(1 for _, _ in zip(range(_DECODED), frames, strict=False))
            spent = time.perf_counter() - began
    except InputError:
        return None
    return count / spent if count and spent else None
