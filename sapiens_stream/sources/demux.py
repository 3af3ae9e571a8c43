"""The packets of a video file's best video stream, and whether the file is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from sapiens_stream.containers.joins import Joins
from sapiens_stream.containers.limits import limit_decoder
from sapiens_stream.containers.opening import STALL_SECONDS
from sapiens_stream.containers.packets import packets_of
from sapiens_stream.errors import InputError, cause
from sapiens_stream.settings import MAX_PIXELS

MISSING_SECONDS = 1
"""How much earlier than its header says a file may end and still count as whole."""

_DECLARES_DURATION = {"mov", "matroska", "avi"}  # for others FFmpeg may guess it from the bit rate
# Where most writers count it from 0, though the first packet may come later, and others from that packet.
_COUNTS_FROM_ZERO = {"matroska"}


@dataclass(frozen=True)
class Mark:
    """A key frame's packet, by the container's own stamps, and its place among the stream's packets.

    `joined`: somewhere the times of packets jump, so that all have to be read from the beginning to tell any.
    """

    pts: int | None
    dts: int | None
    place: int
    joined: bool = False

    def is_at(self, packet: av.Packet[Any]) -> bool:
        """Whether it is the packet of these stamps."""
        return packet.is_keyframe and (packet.pts == self.pts if self.pts is not None else packet.dts == self.dts)

    def is_past(self, packet: av.Packet[Any]) -> bool:
        """Whether the packet lies behind it."""
        if packet.dts is not None and self.dts is not None:
            return packet.dts > self.dts
        return packet.is_keyframe and packet.pts is not None and self.pts is not None and packet.pts > self.pts


_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


def frame_rate_of(stream: VideoStream) -> Fraction | None:
    """Frames a second, by a stream's header and first packets; None where they do not tell.

    Of raw DV FFmpeg gives the ticks of its clock for the mean, 60000. No mean is far above the base rate, on whose
    ticks all times lie.
    """
    mean, base = stream.average_rate, stream.base_rate
    if mean and base and mean > 2 * base:
        mean = None
    return mean or stream.guessed_rate


class Demuxer:
    """Reads the packets of the best video stream of what was opened, which it closes.

    Their times are on one line, see `Joins`.

    `missing` says, once all is read, that the end of the file is missing; None where it is not. `duration` is in
    seconds, from the first packet of the file to its end. With `begin` the stream's packets before that mark are left
    out; where it can, it seeks. `alive` is called as each packet comes, of whichever stream. Not for several threads at
    once.

    Raises InputError, nameless, where it has no video stream, or one with more than `max_pixels`.
    """

    def __init__(
        self,
        container: InputContainer,
        max_pixels: int = MAX_PIXELS,
        begin: Mark | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.container = container
        try:
            self.stream = best_stream(container)
            limit_decoder(self.stream.codec_context, max_pixels)
        except InputError:
            container.close()
            raise
        ticks = self.container.duration
        self._declared = Fraction(ticks, av.time_base) if ticks else None
        self._start = Fraction(container.start_time or 0, av.time_base)
        self._lead = max(self._start, Fraction(0)) if _is_of(container, _COUNTS_FROM_ZERO) else Fraction(0)
        self.duration = self._declared
        if self._declared is not None and self._declared > self._lead:
            self.duration = self._declared - self._lead
        self.missing: str | None = None
        self._alive = alive
        self._joins = Joins(container)
        self._begin = begin

    def packets(self) -> Iterator[av.Packet[Any]]:
        """The stream's packets, then for ever an empty one, which makes the decoder give what it holds back."""
        start = end = self._start
        suspect: av.Packet[Any] | None = None
        try:
            # All streams, because the header's duration is that of the longest.
            for packet, joined in self._placed():
                self._alive()
                end = max(end, _end(packet))
                if packet.stream is not self.stream or not packet.size:
                    continue
                if suspect is not None:
                    if joined:  # the counters of its pieces jump there too, which FFmpeg takes for a loss
                        suspect.is_corrupt = False
                    yield suspect
                # Half a packet is the last one of a file that is cut; elsewhere the decoder makes the best of it.
                suspect = packet if packet.is_corrupt else None
                if suspect is None:
                    yield packet
        except (av.FFmpegError, OSError) as error:
            why = f"nothing came for {STALL_SECONDS:g} s" if isinstance(error, av.ExitError) else cause(error)
            self.missing = f"it cannot be read beyond {seconds(end - start)}: {why}"
        if self.missing is None and suspect is not None:
            self.missing = f"it is cut short at {seconds(end - start)}"
        declared = self._declared if _is_of(self.container, _DECLARES_DURATION) else None
        reached = end - start + self._lead
        if self.missing is None and declared is not None and reached < declared - MISSING_SECONDS:
            self.missing = f"it is cut short: it ends at {seconds(reached)} of {seconds(declared)}"
        flush: av.Packet[Any] = av.Packet()
        flush.stream = self.stream
        flush.time_base = self.stream.time_base or Fraction(1, 1000)
        while True:
            yield flush

    def _placed(self) -> Iterator[tuple[av.Packet[Any], bool]]:
        """All packets from the mark on, on one line, and whether each is its stream's first of another recording."""
        begin = self._begin
        if begin is None or begin.joined:
            place = 0
            for packet in self._packets():
                joined = self._joins.place(packet)
                if begin is None or packet.stream is not self.stream or place >= begin.place:
                    yield packet, joined
                if packet.stream is self.stream and packet.size:
                    place += 1
            return
        # Nothing jumps, so no more has to be known of what lies before.
        for packet in self._sought(begin) or self._found(begin):
            yield packet, False

    def _sought(self, mark: Mark) -> Iterator[av.Packet[Any]] | None:
        """The packets from the mark on, to which a seek has led; None where it has led past it."""
        stamp = mark.dts if mark.dts is not None else mark.pts
        assert stamp is not None
        try:
            self.container.seek(stamp, stream=self.stream, backward=True)
        except av.FFmpegError:
            return None
        rest = self._packets()
        for packet in rest:
            if packet.stream is self.stream and packet.size:
                if mark.is_at(packet):
                    return chain([packet], rest)
                if mark.is_past(packet):
                    return None
        return None

    def _found(self, mark: Mark) -> Iterator[av.Packet[Any]]:
        """The same by reading from the beginning."""
        self.container.seek(0, backward=True)
        place = 0
        for packet in self._packets():
            if packet.stream is not self.stream or place >= mark.place:
                yield packet
            if packet.stream is self.stream and packet.size:
                place += 1

    def _packets(self) -> Iterator[av.Packet[Any]]:
        """All but the container's own signs of the end, one a stream."""
        return (packet for packet in packets_of(self.container) if packet.dts is not None or packet.size)

    def close(self) -> None:
        self.container.close()


def seconds(time: Fraction) -> str:
    """For a message: "12.35 s"."""
    return f"{float(time):.2f} s"


def holds_no_times_of_showing(container: InputContainer) -> bool:
    """Whether its packets say when they are decoded and no more: what FFmpeg then adds is a guess, wrong for H.264."""
    return _is_of(container, {"avi"})


def _is_of(container: InputContainer, formats: Set[str]) -> bool:
    return not formats.isdisjoint(container.format.name.split(","))


def best_stream(container: InputContainer) -> VideoStream:
    """The default video stream, or the largest; no cover pictures. Raises InputError, nameless, where there is none."""
    streams = [stream for stream in container.streams.video if not stream.disposition & _COVER]
    if not streams:
        raise InputError("it has no video stream")
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        raise InputError("there is no decoder for its video")
    return max(decodable, key=lambda stream: (bool(stream.disposition & Disposition.default), _area(stream)))


def _area(stream: VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _end(packet: av.Packet[Any]) -> Fraction:
    start = packet.pts if packet.pts is not None else packet.dts
    return ((start or 0) + (packet.duration or 0)) * packet.time_base
