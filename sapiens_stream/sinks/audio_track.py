"""The source's sound in the overlay video: its packets copied, or transcoded where the container can't hold them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from sapiens_stream.errors import cause

# What players of each container can be trusted with; anything else is transcoded. Matroska holds everything.
_HELD = {
    ".mp4": {"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "flac", "opus", "libopus"},
    ".mov": {"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"},
    ".webm": {"opus", "libopus", "vorbis", "libvorbis"},
}
_TRANSCODED_TO = {".webm": "libopus"}
_DEFAULT_TRANSCODED_TO = "aac"
_RATES = {"aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)}
_USUAL_RATE = 48000


class AudioTrack:
    """The audio stream `sound` of `source` as a stream of `output`, which must not have been written to yet.

    Times are those of the source plus `shift` seconds. Sound that can't be read or kept is given up with one
    warning, since the pictures matter more; what the disk refuses is raised as OSError.
    """

    def __init__(
        self,
        source: InputContainer,
        sound: AudioStream,
        output: OutputContainer,
        extension: str,
        shift: Fraction,
        warn: Callable[[str], None],
    ) -> None:
        self._source = source
        self._output = output
        self._shift = shift
        self._warn = warn
        self._last_dts: int | None = None
        self._may_begin_before_0 = extension in (".mp4", ".mov") and not shift
        self._input = sound
        codec = sound.codec_context.name
        if codec in _HELD.get(extension, {codec}):
            self._stream = output.add_stream_from_template(sound, opaque=True)
            packets = self._copies()
        else:
            self._stream = self._transcoder(_TRANSCODED_TO.get(extension, _DEFAULT_TRANSCODED_TO))
            packets = self._transcoded()
        self._packets = self._guarded(packets)
        self._next: Packet[AudioStream] | None = None

    def write(self, until: Fraction) -> None:
        """Writes what begins before `until`, in seconds of the output."""
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None or _start(self._next) >= until:
                return
            packet, self._next = self._next, None
            self._mux(packet)

    def _mux(self, packet: Packet[AudioStream]) -> None:
        try:
            self._output.mux_one(packet)
        except (ValueError, av.FFmpegError) as error:
            if getattr(error, "errno", errno.EINVAL) not in (errno.EINVAL, av.error.InvalidDataError.errno):
                raise
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        self._packets = iter(())
        self._next = None
        self._warn(f"{self._source.name}: the sound is left out from here on: {cause(error)}")

    def _guarded(self, packets: Iterator[Packet[AudioStream]]) -> Iterator[Packet[AudioStream]]:
        try:
            yield from packets
        except (ValueError, OSError, av.FFmpegError) as error:
            self._give_up(error)

    def _copies(self) -> Iterator[Packet[AudioStream]]:
        # AAC of a broadcast has its settings in each packet; in other containers they stand in the header.
        bare = self._input.codec_context.name == "aac" and not self._input.codec_context.extradata
        unwrap = BitStreamFilterContext("aac_adtstoasc", self._input) if bare else None
        for packet in self._source.demux(self._input):
            time_base = packet.time_base
            if packet.size and packet.dts is not None and time_base is not None:
                shift = round(self._shift / time_base)
                packet.dts += shift
                packet.pts = packet.dts if packet.pts is None else packet.pts + shift
                if self._follows(packet):
                    for each in [packet] if unwrap is None else unwrap.filter(packet):
                        each.time_base = time_base
                        each.stream = self._stream
                        yield each

    def _follows(self, packet: Packet[AudioStream]) -> bool:
        """False for a packet that would go back in time, or that lies before 0 where that can't be.

        An mp4 can hold what a decoder needs before 0, to start with; others would shift all streams for it.
        """
        assert packet.dts is not None and packet.pts is not None
        if (packet.pts < 0 and not self._may_begin_before_0) or (
            self._last_dts is not None and packet.dts <= self._last_dts
        ):
            return False
        self._last_dts = packet.dts
        return True

    def _transcoder(self, codec: str) -> AudioStream:
        rate = self._input.codec_context.sample_rate
        allowed = _RATES.get(codec, (_USUAL_RATE,))
        stream = self._output.add_stream(codec, rate=rate if rate in allowed else _USUAL_RATE)
        assert isinstance(stream, AudioStream)
        # By their number, since some files do not name their channels.
        stream.codec_context.layout = "mono" if self._input.codec_context.channels == 1 else "stereo"
        stream.codec_context.open()
        return stream

    def _transcoded(self) -> Iterator[Packet[AudioStream]]:
        encoder = self._stream.codec_context
        assert isinstance(encoder, av.AudioCodecContext)
        for frame in self._decoded():
            if frame.pts is not None and frame.time_base is not None:
                frame.pts += round(self._shift / frame.time_base)
            for packet in encoder.encode(frame):
                packet.stream = self._stream
                yield packet
        for packet in encoder.encode(None):
            packet.stream = self._stream
            yield packet

    def _decoded(self) -> Iterator[AudioFrame]:
        for packet in self._source.demux(self._input):
            with suppress(av.error.InvalidDataError):  # a damaged packet is a short silence, no more
                yield from self._input.codec_context.decode(packet)


def sound_of(source: InputContainer) -> AudioStream | None:
    """The best audio stream that can be decoded and has anything in it; the file is opened once more to see.

    A stream that stays empty would hold back the header of a fragmented file for good.
    """
    stream = source.streams.best("audio")
    if not isinstance(stream, AudioStream) or stream.codec_context is None:
        return None
    with suppress(OSError, ValueError, av.FFmpegError), av.open(source.name, metadata_errors="replace") as again:
        if any(packet.size for packet in again.demux(again.streams[stream.index])):
            return stream
    return None


def _start(packet: Packet[AudioStream]) -> Fraction:
    assert packet.pts is not None and packet.time_base is not None
    return packet.pts * packet.time_base
