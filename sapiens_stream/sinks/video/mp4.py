"""How a video's file grows, so that a killed run leaves a playable one, and how it is finished."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from sapiens_stream.containers.opening import open_file
from sapiens_stream.errors import InputError, cause
from sapiens_stream.sinks.files import aside, discard, give_name
from sapiens_stream.sinks.video.muxed_file import MuxedFile
from sapiens_stream.sinks.video.side_streams import SideStreams

_FRAGMENTED = (".mp4", ".mov")
_MOST_MACROBLOCKS = 139_264
"""Of a picture of H.264's highest level; FFmpeg's filters refuse larger ones, which its coders do not."""
_READ = 1 << 20  # bytes at a time
_FRAGMENT_MICROSECONDS = 1_000_000  # what a killed run loses at most, besides what the encoder still held


def header_options(extension: str, time_base: Fraction, sample_rate: int | None) -> Mapping[str, str]:
    """The muxer's options for a file that grows; mp4 and mov keep the ticks of `time_base` and of the sound.

    An mp4 is of no use until its index is written, at the end; in fragments each has its own. `delay_moov` lets
    the header wait for the first of them, and only then can it hold the edit list that keeps a start other than 0.
    """
    flushed = {"flush_packets": "1"}  # to the disk at once: what waits in memory dies with the process
    if extension not in _FRAGMENTED:
        return flushed
    return {
        **flushed,
        "movflags": "frag_keyframe+empty_moov+default_base_moof+delay_moov",
        "frag_duration": str(_FRAGMENT_MICROSECONDS),
        **_clock(time_base, sample_rate),
    }


def is_readable(path: Path) -> bool:
    """Whether a video packet can be read from `path`. Raises OSError where that is the disk's fault."""
    try:
        with open_file(path) as container:
            return any(packet.size for packet in container.demux(video=0))
    except (InputError, OSError, ValueError, IndexError, av.FFmpegError):
        if path.is_file():
            with path.open("rb") as file:  # FFmpeg tells a disk that fails and a file that is none alike
                while file.read(_READ):
                    pass
        return False


def cut_to_whole(path: Path) -> bool:
    """Cuts off what a full disk or a kill has torn of a file that was growing. Whether a picture is left to be read.

    Raises OSError.
    """
    if path.suffix in _FRAGMENTED and path.is_file() and not path.is_symlink():
        _drop_torn_fragment(path)
    return is_readable(path)


Complete = Callable[[OutputContainer, Sequence[Stream]], SideStreams | None]
"""Adds to a finished file, which has copies of a growing file's streams, what that one could not hold."""


def finish(growing: Path, path: Path, warn: Callable[[str], None], complete: Complete | None = None) -> None:
    """Gives a file that has grown, and is `cut_to_whole`, its place.

    Fragments become one plain file with its index first ("faststart"). Where that fails, most likely because the disk
    is full, the fragments themselves take the place, with a warning. Raises OSError.
    """
    if path.suffix in _FRAGMENTED:
        plain = aside(growing)
        try:
            with MuxedFile(plain) as file:
                _remux(growing, file, complete)
            give_name(plain, path)
        except (InputError, OSError, ValueError, av.FFmpegError) as error:
            warn(f"{path}: left in fragments, which some players seek in slowly: {cause(error)}")
        else:
            discard(growing)
            return
        finally:
            discard(plain)
    give_name(growing, path)


def _remux(growing: Path, plain: MuxedFile, complete: Complete | None) -> None:
    with open_file(growing) as source:
        time_base = source.streams.video[0].time_base
        assert time_base is not None
        sound = source.streams.best("audio")
        sample_rate = sound.codec_context.sample_rate if isinstance(sound, AudioStream) else None
        options = {"movflags": "faststart", **_clock(time_base, sample_rate)}
        with av.open(plain, "w", container_options=options) as target:
            streams = {}
            rated: BitStreamFilterContext | None = None
            for stream in source.streams:
                copy = target.add_stream_from_template(stream, opaque=True)
                copy.codec_context.codec_tag = stream.codec_context.codec_tag
                if isinstance(stream, VideoStream) and isinstance(copy, VideoStream):
                    rated = _with_its_rate(stream, copy)
                    _keep_what_the_file_says(stream, copy)  # after the filter, which sets all of the copy anew
                streams[stream.index] = copy
            side = complete(target, list(streams.values())) if complete is not None else None
            end = Fraction(0)
            for packet in source.demux():
                if packet.dts is not None and packet.pts is not None:
                    if side is not None:
                        side.write(until=packet.dts * packet.time_base)
                    if packet.stream.type == "video":
                        end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                    copy, ticks = streams[packet.stream.index], packet.time_base
                    for each in rated.filter(packet) if rated and packet.stream.type == "video" else [packet]:
                        each.stream, each.time_base = copy, ticks
                        target.mux_one(each)
                    plain.check()
            if side is not None:
                side.finish(end)


def _keep_what_the_file_says(pictures: VideoStream, copy: VideoStream) -> None:
    """What an encoder need not say in its stream, and so a copy of that does not."""
    if pictures.average_rate:
        copy.codec_context.framerate = pictures.average_rate  # by which a time code counts
    if pictures.sample_aspect_ratio:
        copy.codec_context.sample_aspect_ratio = pictures.sample_aspect_ratio


def _with_its_rate(pictures: VideoStream, copy: VideoStream) -> BitStreamFilterContext | None:
    """Has H.264 tell the rate of its frames, by what its packets are to go through; None where nothing can.

    x264 tells the ticks of its clock in place of it, so that GStreamer takes a clip for one of 12800 frames a second.
    """
    macroblocks = -(-pictures.height // 16) * -(-pictures.width // 16)
    if pictures.codec_context.name != "h264" or not pictures.average_rate or macroblocks > _MOST_MACROBLOCKS:
        return None
    return BitStreamFilterContext(f"h264_metadata=tick_rate={2 * pictures.average_rate}", pictures, copy)  # of fields


def _clock(time_base: Fraction, sample_rate: int | None) -> Mapping[str, str]:
    """The clock of the pictures, and one that theirs and that of the sound divide for the whole movie.

    By the latter edit lists tell where each begins; by default it is in milliseconds.
    """
    ticks = time_base.denominator
    both = math.lcm(ticks, sample_rate or 1)
    return {"video_track_timescale": str(ticks), "movie_timescale": str(both if both < 2**31 else ticks)}


def _drop_torn_fragment(path: Path) -> None:
    """Cuts off what follows the last whole fragment: a full disk can tear the last one, which decoders stumble over.

    A file is a row of boxes: length (4 bytes, big-endian), type (4 bytes), content. A length of 1 says that it
    follows in 8 bytes. Fragments are pairs of "moof" and "mdat".
    """
    whole = start = 0
    size = path.stat().st_size
    with path.open("r+b") as file:
        while len(header := file.read(16)) >= 8:
            length, kind = int.from_bytes(header[:4]), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:])
            start += length
            if length < 8 or start > size:
                break
            if kind == b"mdat":
                whole = start
            file.seek(start)
        file.truncate(whole)
