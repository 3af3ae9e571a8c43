"""One video that is being written: an encoder, the sound, and the clock that both keep."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from sapiens_stream.colour.conversion import converted
from sapiens_stream.containers.display_size import tell_display_size
from sapiens_stream.errors import AT_A_LIMIT
from sapiens_stream.frame import Frame, SourceInfo
from sapiens_stream.quiet import keep_quiet
from sapiens_stream.settings import USUAL_PIXELS, Audio
from sapiens_stream.sinks.video.companions import Companions
from sapiens_stream.sinks.video.encoders import (
    in_software,
    kept_in_memory,
    kept_in_one_slice,
    kept_to_quota,
    pixel_format,
)
from sapiens_stream.sinks.video.hdr_metadata import hdr_options
from sapiens_stream.sinks.video.mp4 import header_options
from sapiens_stream.sinks.video.muxed_file import MuxedFile
from sapiens_stream.sinks.video.painted_frames import PlanarFrames
from sapiens_stream.sinks.video.scheduling import kept_scheduling
from sapiens_stream.sinks.video.side_streams import SideStreams

_MATROSKA = (".mkv", ".webm")
_MATROSKA_TICK = Fraction(1, 1000)
_USUAL_RATE = Fraction(25)
_LONGEST_LEAD = Fraction(60)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Which encoder, with which options, and which sound goes along.

    `format` is the pixel format, None: the usual one of the encoder. `tag` says to players which codec it is, where
    there are several names. `stream_tags` and `file_tags` are what is said of the pictures, and of the file.
    """

    codec: str
    options: Mapping[str, str]
    audio: Audio
    format: str | None = None
    tag: str | None = None
    stream_tags: Mapping[str, str] = field(default_factory=dict)
    file_tags: Mapping[str, str] = field(default_factory=dict)


class Clock:
    """Where frames stand in the output: at their source's time plus `shift` seconds, in ticks of `time_base`.

    The shift is 0 but where no file can keep the source's zero: a live source counts from anywhere, a time below 0
    can't be shown, and a start later than a minute (a broadcast's clock) is hours of nothing in a player.
    A frame without a time stands at its index over the frame rate. One that does not come after the frame before,
    as in a damaged file, is put one tick after it.
    """

    def __init__(self, first: Frame, source: SourceInfo) -> None:
        rate = source.frame_rate
        self.rate = rate if rate is not None and 1 <= rate <= 1000 else _USUAL_RATE
        self.time_base = first.time_base if first.time is not None and first.time_base is not None else 1 / self.rate
        start = self._time(first)
        kept = source.kind != "live" and 0 <= start <= _LONGEST_LEAD
        self.shift = Fraction(0) if kept else -start
        self._last: int | None = None

    def place(self, frame: Frame) -> int:
        """The ticks at which `frame` begins; call it once for each, in order."""
        ticks = round((self._time(frame) + self.shift) / self.time_base)
        if self._last is not None:
            ticks = max(ticks, self._last + 1)
        self._last = ticks
        return ticks

    def length(self, frame: Frame) -> int:
        """The ticks that `frame` lasts; a frame of the usual rate where the source does not tell."""
        if frame.duration and frame.time_base is not None:
            return round(frame.duration * frame.time_base / self.time_base)
        return round(1 / self.rate / self.time_base)

    def _time(self, frame: Frame) -> Fraction:
        return frame.index / self.rate if frame.time is None else frame.time


class VideoWriter:
    """Encodes what `frames` makes into a new `file`, whose settings follow the `first` frame.

    Raises OSError, ValueError or av.FFmpegError, from which nothing but `close` can follow.
    """

    def __init__(
        self,
        file: MuxedFile,
        first: Frame,
        source: SourceInfo,
        frames: PlanarFrames,
        settings: EncoderSettings,
        warn: Callable[[str], None],
    ) -> None:
        self._frames = frames
        self._clock = Clock(first, source)
        self._settings = settings
        self._codec = settings.codec
        self._format = settings.format or pixel_format(settings.codec, deep=first.colour.bits > 8)
        self._file = file
        self._path = path = file.path
        self._displayed: tuple[int, int] | None = None
        self._frame_count = 0
        self._end = self._end_of_all = Fraction(0)  # of the pictures, and with the sound
        keep_quiet()
        with ExitStack() as stack:
            self._companions = Companions(source, settings.audio, path.suffix, warn)
            stack.enter_context(self._companions)
            options = header_options(path.suffix, self._clock.time_base, self._companions.sample_rate)
            self._output = stack.enter_context(av.open(file, "w", container_options=dict(options)))
            self._stream = self._add_video(settings, first, source)
            if settings.codec == "libx264" and source.kind != "live" and self._is_of_usual_size:
                # Several frames at a time in place of slices of one: more overlaps and fewer bytes, but frames wait.
                self._stream.codec_context.thread_type = "FRAME"
            self._side = self._companions.accompany(self._output, self._stream, self._clock.shift)
            self._describe(self._output, self._stream)
            stack.pop_all()

    def write(self, frame: Frame, painted: av.VideoFrame) -> None:
        """Encodes a frame as it was painted."""
        if not self._stream.codec_context.is_open:
            self._open(painted)
        painted = converted(painted, self._format)  # the encoder would, by as many threads as it has
        painted.pts, painted.time_base = self._clock.place(frame), self._clock.time_base
        painted.duration = self._clock.length(frame)
        self._frame_count += 1
        self._end = (painted.pts + painted.duration) * self._clock.time_base
        if self._side is not None:
            self._side.write(until=painted.pts * self._clock.time_base)
        self._mux(self._stream.encode(painted))

    def close(self) -> None:
        """Writes what the encoder still holds, the rest of the sound, and the end of the file."""
        began = self._stream.codec_context.is_open
        try:
            with self._output:
                if began:
                    self._mux(self._stream.encode(None))
                    if self._side is not None:
                        self._end_of_all = self._side.finish(self._end)
        finally:
            self._file.close()
        if self._displayed is not None and self._path.suffix in _MATROSKA:
            tell_display_size(self._path, self._displayed)

    def complete(self, output: OutputContainer, copies: Sequence[Stream]) -> SideStreams | None:
        """Adds what the growing file could not hold to the finished one; see `Companions`. Once this one is closed."""
        side = self._companions.complete(output, copies, self._clock.shift, max(self._end, self._end_of_all))
        self._describe(output, copies[0])
        return side

    def release(self) -> None:
        """Closes the source's file, once nothing more is to be taken from it."""
        self._companions.close()

    @property
    def _is_of_usual_size(self) -> bool:
        height, width = self._frames.padded
        return height * width <= USUAL_PIXELS

    def _describe(self, output: OutputContainer, pictures: Stream) -> None:
        output.metadata.update(self._settings.file_tags)
        pictures.metadata.update(self._settings.stream_tags)

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            if self._codec == "libx265" and self._frame_count <= 2:  # what it says of so few is chance
                packet.dts = packet.pts
            if self._path.suffix in _MATROSKA:
                _round_down(packet)
            try:
                self._output.mux_one(packet)
            except OSError:
                raise
            except (ValueError, av.FFmpegError) as error:
                # The pictures are in order; it is a packet of sound, which waited for this one to be written.
                if self._side is None:
                    raise
                self._side.refused(error)
            self._file.check()

    def _add_video(self, settings: EncoderSettings, first: Frame, source: SourceInfo) -> VideoStream:
        options = kept_to_quota(settings.codec, settings.options)
        options = kept_in_memory(settings.codec, options, self._frames.padded)
        options = kept_in_one_slice(settings.codec, options, self._frames.padded)
        if self._frames.deep:
            options |= hdr_options(settings.codec, first, options)
        stream = self._output.add_stream(settings.codec, rate=self._clock.rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.time_base = self._clock.time_base
        context = stream.codec_context
        context.time_base = self._clock.time_base
        context.height, context.width = self._frames.padded
        context.pix_fmt = self._format
        context.flags |= Flags.frame_duration
        if settings.tag is not None:
            context.codec_tag = settings.tag
        original = self._companions.original
        video = original.streams.best("video") if original is not None else None
        if first.sample_aspect_ratio is None and isinstance(video, VideoStream):
            first = replace(first, sample_aspect_ratio=video.sample_aspect_ratio)
        if aspect := first.pixel_aspect:
            context.sample_aspect_ratio = aspect
            height, width = self._frames.padded
            self._displayed = (height, max(1, round(width * aspect)))
        return stream

    def _open(self, painted: av.VideoFrame) -> None:
        """Opens the encoder and writes the header, tagged with the colours of the first frame."""
        context = self._stream.codec_context
        context.colorspace = painted.colorspace
        context.color_range = painted.color_range
        context.color_primaries = painted.color_primaries
        context.color_trc = painted.color_trc
        try:
            with kept_scheduling():
                self._output.start_encoding()
        except av.ExternalError as error:  # as x264 says it of threads that it did not get
            if not in_software(self._codec):
                raise
            raise OSError(errno.EAGAIN, f"the encoder can't be opened; {AT_A_LIMIT}") from error


def _round_down(packet: Packet[VideoStream]) -> None:
    """Gives the times of Matroska, which counts milliseconds, no later than they are.

    Players and filters show the last frame whose time has come: at a later one than its source's, as the nearest is of
    half of those at 59.94 frames/s, it would be missed by its own picture, and seen with the next.
    """
    assert packet.pts is not None and packet.dts is not None and packet.duration is not None
    stamps = packet.pts, packet.dts, packet.pts + packet.duration
    packet.pts, packet.dts, end = (stamp * packet.time_base // _MATROSKA_TICK for stamp in stamps)
    packet.duration, packet.time_base = end - packet.pts, _MATROSKA_TICK
