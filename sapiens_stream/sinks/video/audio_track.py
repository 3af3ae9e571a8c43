"""A stream that goes along with the pictures: its packets copied, or transcoded where the container can't hold them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.codec.context import CodecContext
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

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
_BITS_A_CHANNEL = 80_000
# For files that do not say where their channels belong, or where encoders know no such order.
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class Track(ABC):
    """A stream of the source as `stream` of the output, which must not have been written to yet."""

    stream: Stream

    @abstractmethod
    def take(self, packet: Packet[Any]) -> Iterable[Packet[Any]]:
        """What is to be written for a packet of the source. Raises av.FFmpegError or ValueError where it is damaged."""

    def rest(self) -> Iterable[Packet[Any]]:
        """What is held back, at the end of the source."""
        return ()


class CopiedTrack(Track):
    """The source's own packets."""

    def __init__(self, original: Stream, output: OutputContainer) -> None:
        self.stream = output.add_stream_from_template(original, opaque=True)
        # AAC of a broadcast has its settings in each packet; in other containers they stand in the header.
        context = original.codec_context
        bare = context is not None and context.name == "aac" and not context.extradata
        self._unwrap = BitStreamFilterContext("aac_adtstoasc", original) if bare else None

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        time_base = packet.time_base
        for each in [packet] if self._unwrap is None else self._unwrap.filter(packet):
            each.time_base = time_base
            each.stream = self.stream
            yield each


class TranscodedTrack(Track):
    """The sound decoded and encoded again, with the channels that it has."""

    def __init__(self, original: AudioStream, output: OutputContainer, codec: str) -> None:
        self._decoder = original.codec_context
        rate = self._decoder.sample_rate
        rate = rate if rate in _RATES.get(codec, (_USUAL_RATE,)) else _USUAL_RATE
        layout = _layout(codec, rate, self._decoder)
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = layout
        stream.codec_context.bit_rate = _BITS_A_CHANNEL * stream.codec_context.channels
        stream.codec_context.open()
        self.stream = stream
        self._encoder = stream.codec_context
        self._resampler: AudioResampler | None = None
        self._heard: tuple[str, str, int] | None = None

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        yield from self._encoded(frame for decoded in self._decoder.decode(packet) for frame in self._uniform(decoded))

    def rest(self) -> Iterator[Packet[Any]]:
        with suppress(av.FFmpegError):  # a decoder that holds half a packet
            yield from self._encoded(
                frame for decoded in self._decoder.decode(None) for frame in self._uniform(decoded)
            )
        yield from self._encoded(self._flushed())
        for packet in self._encoder.encode(None):
            packet.stream = self.stream
            yield packet

    def _encoded(self, frames: Iterable[AudioFrame]) -> Iterator[Packet[Any]]:
        for frame in frames:
            for packet in self._encoder.encode(frame):
                packet.stream = self.stream
                yield packet

    def _uniform(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """As the encoder takes them, whatever the sound changes to on its way."""
        heard = (frame.format.name, frame.layout.name, frame.sample_rate)
        if heard != self._heard:
            yield from self._flushed()
            encoder = self._encoder
            self._resampler = AudioResampler(format=encoder.format, layout=encoder.layout, rate=encoder.sample_rate)
            self._heard = heard
        assert self._resampler is not None
        yield from self._resampler.resample(frame)

    def _flushed(self) -> Iterator[AudioFrame]:
        if self._resampler is not None:
            yield from (frame for frame in self._resampler.resample(None) if frame is not None)


def audio_track(original: AudioStream, output: OutputContainer, extension: str) -> Track:
    """The sound in a container of that extension. Raises ValueError or av.FFmpegError where nothing can hold it."""
    name = original.codec_context.name
    if name in _HELD.get(extension, {name}):
        with suppress(ValueError):  # Matroska holds nearly everything
            return CopiedTrack(original, output)
    return TranscodedTrack(original, output, _TRANSCODED_TO.get(extension, _DEFAULT_TRANSCODED_TO))


def least_step(original: Stream, time_base: Fraction) -> int:
    """The ticks by which packets have to differ to do so in any container, whose clock may be that of the samples."""
    rate = original.codec_context.sample_rate if isinstance(original, AudioStream) else 1000
    return max(1, math.ceil(Fraction(1, rate) / time_base))


def _layout(codec: str, rate: int, decoder: av.AudioCodecContext) -> str:
    """The decoder's own channels if the encoder takes them, or the usual ones of that number, or two."""
    for layout in (decoder.layout.name, _USUAL_LAYOUTS.get(decoder.channels, "stereo")):
        try:
            trial = CodecContext.create(codec, "w")
            assert isinstance(trial, av.AudioCodecContext)
            formats = trial.codec.audio_formats
            assert formats
            trial.format, trial.sample_rate, trial.layout = formats[0], rate, layout
            trial.time_base = Fraction(1, rate)
            trial.open()
        except (ValueError, av.FFmpegError):
            continue
        return layout
    return "mono" if decoder.channels == 1 else "stereo"
