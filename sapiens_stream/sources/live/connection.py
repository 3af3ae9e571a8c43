"""One connection to a live source: a thread that reads and decodes all that arrives, and keeps the newest frame."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.video.stream import VideoStream

from sapiens_stream.containers.joins import Joins
from sapiens_stream.containers.limits import limit_decoder
from sapiens_stream.containers.opening import open_address, open_file
from sapiens_stream.containers.packets import packets_of
from sapiens_stream.cores import usable_cores
from sapiens_stream.errors import InputError
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sources.demux import best_stream
from sapiens_stream.sources.live.address import Address
from sapiens_stream.sources.live.latest_frames import DecodedFrame, LatestFrames, Outcome
from sapiens_stream.sources.live.pace import Backlog, Pace
from sapiens_stream.sources.spool import Spool, spool_address

CONNECT_SECONDS = 10.0
"""How long a connection may take to its first picture: cameras need seconds to answer and to send a whole one."""
MAX_DECODER_THREADS = 8
_SEGMENTED = {"hls", "dash"}  # arrive in pieces of seconds, to be played at the speed of their times
_UNSTAMPED = {"mpjpeg", "mjpeg"}  # without times; FFmpeg makes up those of 25 frames a second

_CAMERA_TROUBLE = {
    errno.ENOENT: "there is no such camera",
    errno.ENODEV: "it was unplugged",
    errno.EBUSY: "another program uses it",
    errno.EACCES: "this user may not open it",
}

# Waiting does not mend these.
_FINAL = (
    av.ProtocolNotFoundError,
    av.DemuxerNotFoundError,
    av.DecoderNotFoundError,
    av.OptionNotFoundError,
    av.HTTPUnauthorizedError,
    av.HTTPForbiddenError,
    av.PermissionError,
    av.ArgumentError,
)


class Connection:
    """Opens an address once; `run` puts what arrives into `latest` until it is over, then the `Outcome`.

    That ends by itself once `latest` is closed, or once nothing came for `stall_seconds`: FFmpeg's calls that wait
    for the network are given that time. A device may ignore it; then the thread waits for as long as the device does.
    """

    def __init__(
        self, address: Address, latest: LatestFrames, stall_seconds: float, max_pixels: int = MAX_PIXELS
    ) -> None:
        self.rate: Fraction | None = None
        self.aspect_ratio: Fraction | None = None
        self.endless = address.endless
        """Whether an end is an accident; known once the first frame has come."""
        self._begun = False
        self._spool: Spool | None = None
        self._address = address
        self._latest = latest
        self._stall_seconds = stall_seconds
        self._max_pixels = max_pixels

    def run(self) -> None:
        """Reads to the end, in a thread of its own."""
        self._latest.finish(self._outcome())

    def _outcome(self) -> Outcome:
        opened, started = False, time.monotonic()
        try:
            try:
                with closing(self._open()) as container:
                    opened = True
                    return self._play(container)
            except OSError as error:
                if error.errno != errno.EIO or self._begun or not self._is_on_the_web or not (spool := self._spooled()):
                    raise
                with closing(open_file(spool.path, self._max_pixels)) as container:
                    return self._play(container)
        except (av.FFmpegError, OSError) as error:
            limit = self._stall_seconds if opened else self._connect_seconds
            # What FFmpeg says of a wait that was cut short; over RTMP it says that the connection broke.
            if isinstance(error, av.ExitError) or (not opened and time.monotonic() - started >= limit):
                return Outcome(f"nothing came for {limit:g} s" if opened else f"no answer within {limit:g} s")
            return Outcome(self._why(error), final=isinstance(error, _FINAL))
        except InputError as error:
            return Outcome(str(error))
        except BaseException as error:
            return Outcome("", bug=error)
        finally:
            if self._spool is not None:
                self._spool.close()

    @property
    def _connect_seconds(self) -> float:
        return max(CONNECT_SECONDS, self._stall_seconds)

    def _open(self) -> InputContainer:
        address = self._address
        if address.path is not None:
            return open_file(address.path, self._max_pixels)
        return open_address(
            address.url,
            format=address.format,
            options=address.options,
            timeout=(self._connect_seconds, self._stall_seconds) if address.endless else None,
            max_pixels=self._max_pixels,
        )

    def _spooled(self) -> Spool | None:
        """A file whose server sends it from its beginning alone, and that has its index at its end."""
        with suppress(InputError):
            self._spool = spool_address(self._address.url)
        return self._spool

    @property
    def _is_on_the_web(self) -> bool:
        return self._address.url.startswith(("http://", "https://"))

    def _is_file(self, container: InputContainer) -> bool:
        """Whether a server sends something that has an end, to be played at its own speed and once."""
        if not self._is_on_the_web or container.format.name in _UNSTAMPED:
            return False
        if container.format.name in _SEGMENTED:
            return bool(container.duration)
        return self._spool is not None or container.size > 0

    def _play(self, container: InputContainer) -> Outcome:
        stream = best_stream(container)
        limit_decoder(stream.codec_context, self._max_pixels)
        _configure(stream)
        format = container.format.name
        stamped = format not in _UNSTAMPED
        self.rate = _plausible(stream.average_rate) or _plausible(stream.guessed_rate) if stamped else None
        self.aspect_ratio = stream.sample_aspect_ratio
        if self._is_file(container):
            self.endless = False
        pace = Pace() if not self.endless or format in _SEGMENTED else None
        joins = Joins(container)
        limit = time.monotonic() + self._connect_seconds
        asked = time.monotonic()
        backlog = Backlog(asked)
        for packet in packets_of(container):
            at = time.monotonic()
            if self._latest.closed:
                return Outcome("closed", ended=True)
            if self.endless and at - asked >= self._stall_seconds:
                # FFmpeg gave up waiting, and hands out the rest of what had come before.
                return Outcome(f"nothing came for {self._stall_seconds:g} s")
            if packet.stream is not stream:
                pass
            elif not pace and backlog.skips(packet, at - asked, at):
                self._latest.skipped()
                limit = max(limit, at + self._stall_seconds)
            else:
                if pace:  # a clock that jumps ahead would be waited for
                    joins.place(packet)
                for frame in self._decoded(packet, stream, at):
                    self._deliver(frame, at, pace, stamped)
                    limit = time.monotonic() + self._stall_seconds
            if self.endless and at > limit:
                return Outcome("what comes has no picture that can be decoded")
            asked = time.monotonic()
        return Outcome("the stream ended", ended=self._begun)

    def _deliver(self, frame: av.VideoFrame, at: float, pace: Pace | None, stamped: bool) -> None:
        arrived = frame.opaque if isinstance(frame.opaque, float) else at
        if pace and (wait := pace.wait(frame, time.monotonic())) > 0:
            self._latest.sleep(wait)
            arrived = time.monotonic()
        if not stamped:
            frame.pts = None
        self._latest.put(DecodedFrame(frame, arrived))

    def _decoded(self, packet: av.Packet[Any], stream: VideoStream, at: float) -> Iterator[av.VideoFrame]:
        packet.opaque = at
        try:
            if self._address.format == "v4l2" and stream.codec_context.name == "rawvideo" and packet.size:
                frames = stream.codec_context.decode(_copied(packet))
            else:
                frames = packet.decode()
        except av.FFmpegError:
            return  # the next one may be whole; if none is, that is noticed
        for frame in frames:
            # Joined in the middle, some decoders begin with what they can guess.
            self._begun = self._begun or not frame.is_corrupt
            if self._begun:
                yield frame

    def _why(self, error: Exception) -> str:
        """One line, without the URL, which FFmpeg's own message repeats."""
        if isinstance(error, av.InvalidDataError):
            return "what comes is not a video stream"
        if isinstance(error, av.ProtocolNotFoundError):
            return f"this build of FFmpeg cannot read {self._address.url.partition(':')[0]}"
        if isinstance(error, av.ExternalError):
            return "the device failed"
        number = getattr(error, "errno", None)
        if self._address.kind == "camera" and number in _CAMERA_TROUBLE:
            return _CAMERA_TROUBLE[number]
        if number == errno.EIO and self._address.host:  # what FFmpeg says of a name that nobody knows, too
            try:
                socket.getaddrinfo(self._address.host, None)
            except OSError as lookup:
                return f"{self._address.host}: {lookup.strerror}"
            return "the connection broke"
        return getattr(error, "strerror", None) or type(error).__name__


def _configure(stream: VideoStream) -> None:
    """A frame out for each packet in, as far as the codec lets. (`low_delay` lets MPEG-2 come out of order.)"""
    decoder = stream.codec_context
    decoder.flags |= Flags.unaligned  # as `Video` has it
    decoder.thread_type = "SLICE"
    decoder.thread_count = min(MAX_DECODER_THREADS, usable_cores())
    decoder.copy_opaque = True


def _copied(packet: av.Packet[Any]) -> av.Packet[Any]:
    """One that owns its bytes: a camera's buffers are gone once it is closed, and raw frames lie in them."""
    copy: av.Packet[Any] = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.opaque = packet.opaque
    return copy


def _plausible(rate: Fraction | None) -> Fraction | None:
    """None for the ticks of a clock that FFmpeg takes for a rate where it has seen no frames."""
    return rate if rate and 0 < rate <= 1000 else None
