"""Sound and subtitles on their way from the source's file into another, beside the pictures."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from sapiens_stream.containers.joins import Joins
from sapiens_stream.containers.packets import packets_of
from sapiens_stream.errors import cause
from sapiens_stream.sinks.video.audio_track import Track, least_step

LOOKAHEAD = Fraction(5)
"""Seconds for which sound that lies behind its pictures in the source is looked for, and kept in memory meanwhile."""
_AFTER_PICTURES = Fraction(1, 2)  # sound often ends a little later than they do


class SideStreams:
    """Writes the packets of `tracks`, by the index of the stream of `source` that they stand for, to `output`.

    Times are those of the source plus `shift` seconds; none lies before 0 unless `may_begin_before_0`. `pictures` is
    the index of the stream that these go along with. What can't be read or kept costs no more than itself, and one
    warning; of what the disk refuses the `MuxedFile` tells.
    """

    def __init__(
        self,
        source: InputContainer,
        tracks: Mapping[int, Track],
        output: OutputContainer,
        *,
        name: str,
        shift: Fraction,
        pictures: int | None,
        may_begin_before_0: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._source = source
        self._tracks = dict(tracks)
        self._output = output
        self._name = name
        self._shift = shift
        self._pictures = pictures
        self._may_begin_before_0 = may_begin_before_0
        self._warn = warn
        self._warned = False
        self._waiting: list[tuple[Fraction, int, Packet[Any]]] = []  # a heap, by time
        self._count = 0
        self._last: dict[int, int] = {}  # dts, by the output's stream
        # How far sound was read, by stream; pictures and subtitles do not come often enough to be waited for.
        self._read = {index: Fraction(-1) for index, track in tracks.items() if track.stream.type == "audio"}
        self._furthest = self._shown = Fraction(-1)
        self._packets: Iterator[Packet[Any]] | None = self._demuxed()

    def write(self, until: Fraction) -> None:
        """Writes what begins before `until`, in seconds of the output."""
        while self._lacks(until):
            self._read_one()
        while self._waiting and self._waiting[0][0] < until:
            self._mux(heapq.heappop(self._waiting)[2])

    def finish(self, end: Fraction) -> Fraction:
        """Writes what is left, where the pictures that were written end at `end`. Returns up to where, in seconds.

        What is not far behind them, and all that follows where the source has no more pictures either: where it has,
        a run was interrupted.
        """
        until = end + _AFTER_PICTURES
        self.write(until)
        while self._goes_on(end, until):
            until += LOOKAHEAD
            self.write(until)
        return until

    def _goes_on(self, end: Fraction, until: Fraction) -> bool:
        """Whether there is more soon after `until`, but no picture that begins at `end` or later."""
        while self._packets is not None and self._furthest < until + LOOKAHEAD:
            self._read_one()
        return self._shown < end and bool(self._waiting) and self._waiting[0][0] < until + LOOKAHEAD

    def _read_one(self) -> None:
        packet = next(self._packets, None) if self._packets is not None else None
        if packet is not None:
            self._take(packet)
            return
        self._packets = None
        for index, track in list(self._tracks.items()):
            self._keep(index, track.rest)

    def _lacks(self, until: Fraction) -> bool:
        """Whether there may be more before `until` in the source."""
        if self._packets is None or self._furthest >= until + LOOKAHEAD:
            return False
        return any(read < until for read in self._read.values()) or self._furthest < until

    def _demuxed(self) -> Iterator[Packet[Any]]:
        joins = Joins(self._source)
        try:
            for packet in packets_of(self._source):  # of pictures too: they may be where another recording begins
                if packet.size:
                    joins.place(packet)
                    yield packet
        except (OSError, ValueError, av.FFmpegError) as error:
            self._warn_once(f"the sound is left out from here on: {cause(error)}")

    def _take(self, packet: Packet[Any]) -> None:
        time_base = packet.time_base
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None or not time_base:
            return
        shift = round(self._shift / time_base)
        time = (stamp + shift) * time_base
        self._furthest = max(self._furthest, time)
        index = packet.stream.index
        if index == self._pictures:
            self._shown = max(self._shown, time)
        track = self._tracks.get(index)
        if track is None:
            return
        if index in self._read:
            self._read[index] = max(self._read[index], time)
        packet.dts = stamp + shift
        packet.pts = packet.dts if packet.pts is None else packet.pts + shift
        # An mp4 can hold what a decoder needs before 0, to start with; others would shift all streams for it.
        if packet.pts >= 0 or self._may_begin_before_0:
            self._keep(index, partial(track.take, packet))

    def _keep(self, index: int, produce: Callable[[], Iterable[Packet[Any]]]) -> None:
        original = self._source.streams[index]
        try:
            for packet in produce():
                if self._put_in_order(packet, original):
                    self._count += 1
                    assert packet.pts is not None and packet.time_base
                    heapq.heappush(self._waiting, (packet.pts * packet.time_base, self._count, packet))
        except (av.InvalidDataError, av.EOFError):
            pass  # a damaged packet is a short silence, no more
        except (OSError, ValueError, av.FFmpegError) as error:
            del self._tracks[index]
            self._read.pop(index, None)
            self._warn_once(f"{original.type} {index} is left out from here on: {cause(error)}")

    def _put_in_order(self, packet: Packet[Any], original: Stream) -> bool:
        """Where two recordings overlap a little, packets go behind those before them, as none may go back in time.

        False for one without a time.
        """
        if packet.dts is None or packet.pts is None or not packet.time_base:
            return False
        index = packet.stream.index
        least = self._last.get(index, packet.dts - 1) + least_step(original, packet.time_base)
        if index in self._last and packet.dts < least:
            packet.pts += least - packet.dts
            packet.dts = least
        self._last[index] = packet.dts
        return True

    def _mux(self, packet: Packet[Any]) -> None:
        try:
            self._output.mux_one(packet)
        except OSError:
            raise
        except (ValueError, av.FFmpegError) as error:
            self.refused(error)

    def refused(self, error: Exception) -> None:
        """Tells once of a packet that the container does not take."""
        self._warn_once(f"some of its sound is left out, as the file can't hold it: {cause(error)}")

    def _warn_once(self, text: str) -> None:
        if not self._warned:
            self._warn(f"{self._name}: {text}")
        self._warned = True
