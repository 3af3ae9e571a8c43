"""The packets of a video file's best video stream, and whether the file is whole."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from sapiens_stream.errors import InputError, cause
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sources.joins import Joins
from sapiens_stream.sources.limits import limit_decoder
from sapiens_stream.sources.opening import STALL_SECONDS

MISSING_SECONDS = 1
"""How much earlier than its header says a file may end and still count as whole."""

_DECLARES_DURATION = {"mov", "matroska", "avi"}  # for others FFmpeg may guess it from the bit rate
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


class Demuxer:
    """Reads the packets of the best video stream of what was opened, which it closes.

    Their times are on one line, see `Joins`.

    `missing` says, once all is read, that the end of the file is missing; None where it is not. `duration` is in
    seconds, of the whole file. Not for several threads at once.

    Raises InputError, nameless, where it has no video stream, or one with more than `max_pixels`.
    """

    def __init__(self, container: InputContainer, max_pixels: int = MAX_PIXELS) -> None:
        self.container = container
        try:
            self.stream = best_stream(container)
            limit_decoder(self.stream.codec_context, max_pixels)
        except InputError:
            container.close()
            raise
        ticks = self.container.duration
        self.duration = Fraction(ticks, av.time_base) if ticks else None
        self.missing: str | None = None
        self._joins = Joins(container)

    def packets(self) -> Iterator[av.Packet[Any]]:
        """The stream's packets, then for ever an empty one, which makes the decoder give what it holds back."""
        start = Fraction(self.container.start_time or 0, av.time_base)
        end = start
        suspect: av.Packet[Any] | None = None
        try:
            # All streams, because the header's duration is that of the longest.
            for packet in self.container.demux():
                if packet.dts is None and not packet.size:
                    continue  # the container's own sign of the end, one a stream
                joined = self._joins.place(packet)
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
        declared = self.duration if _DECLARES_DURATION.intersection(self.container.format.name.split(",")) else None
        if self.missing is None and declared is not None and end - start < declared - MISSING_SECONDS:
            self.missing = f"it is cut short: it ends at {seconds(end - start)} of {seconds(declared)}"
        flush: av.Packet[Any] = av.Packet()
        flush.stream = self.stream
        flush.time_base = self.stream.time_base or Fraction(1, 1000)
        while True:
            yield flush

    def close(self) -> None:
        self.container.close()


def seconds(time: Fraction) -> str:
    """For a message: "12.35 s"."""
    return f"{float(time):.2f} s"


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
