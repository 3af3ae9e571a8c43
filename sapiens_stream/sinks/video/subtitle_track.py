"""Subtitles that go along with the pictures, as text of the kind that the container holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from av.container import OutputContainer
from av.packet import Packet
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

from sapiens_stream.sinks.video.audio_track import CopiedTrack, Track

_HELD = {
    ".mp4": {"mov_text"},
    ".mov": {"mov_text"},
    ".mkv": {"subrip", "srt", "ass", "ssa", "webvtt", "dvdsub", "dvbsub", "pgssub"},
    ".webm": {"webvtt"},
}
_TEXT = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip", ".webm": "webvtt"}
_TEXTS = frozenset({"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"})


class TextTrack(Track):
    """Subtitles of one kind of text as another kind."""

    def __init__(self, original: SubtitleStream, output: OutputContainer, codec: str) -> None:
        self._decoder = original.codec_context
        self._decoder.open(strict=False)
        stream = output.add_stream(codec)
        assert isinstance(stream.codec_context, SubtitleCodecContext)
        self._encoder = stream.codec_context
        self._encoder.subtitle_header = self._decoder.subtitle_header
        assert original.time_base is not None
        self._encoder.time_base = original.time_base
        self._encoder.open()
        self.stream = stream

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        found = self._decoder.decode2(packet)
        if found is not None and found.rects:
            text = self._encoder.encode_subtitle(found)
            text.pts, text.dts, text.duration, text.time_base = (
                packet.pts,
                packet.dts,
                packet.duration,
                packet.time_base,
            )
            text.stream = self.stream
            yield text


def subtitle_track(original: SubtitleStream, output: OutputContainer, extension: str) -> Track:
    """The subtitles in a container of that extension. Raises ValueError or av.FFmpegError where it can't hold them."""
    name = original.codec_context.name
    if name in _HELD[extension]:
        return CopiedTrack(original, output)
    if name in _TEXTS:
        return TextTrack(original, output, _TEXT[extension])
    raise ValueError(f"a {extension.removeprefix('.')} file can't hold {name}")
