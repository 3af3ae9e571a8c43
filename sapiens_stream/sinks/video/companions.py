"""What goes along with a source's pictures into its overlay: sound, subtitles, chapters and tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import Self, get_args

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from sapiens_stream.containers.opening import open_again
from sapiens_stream.containers.packets import packets_of
from sapiens_stream.errors import InputError, UsageError, cause
from sapiens_stream.frame import SourceInfo
from sapiens_stream.settings import Audio
from sapiens_stream.sinks.video.audio_track import Track, audio_track
from sapiens_stream.sinks.video.side_streams import SideStreams
from sapiens_stream.sinks.video.subtitle_track import subtitle_track
from sapiens_stream.sinks.video.tags import add_chapters, tag_container, tag_reel, tag_stream

_FRAGMENTED = (".mp4", ".mov")
# A fragmented file holds back all pictures until each of its streams has something; what begins later is added at the
# end, when the fragments become one plain file.
_EARLY_SECONDS = Fraction(2)
_MOST_PACKETS = 20_000  # to look for streams in


def which_audio(audio: Audio | bool) -> Audio:
    """Raises UsageError for a word that is none of Audio."""
    if isinstance(audio, bool):
        return "all" if audio else "none"
    if audio not in get_args(Audio):
        raise UsageError(f"audio is {audio!r}; there are {', '.join(get_args(Audio))}")
    return audio


class Companions:
    """Opens what a source reads once more. In an mp4 or mov that grows there are only streams that begin early.

    `note_left_out` is called once, with one line that says what the container can't hold.
    """

    def __init__(self, source: SourceInfo, audio: Audio, extension: str, warn: Callable[[str], None]) -> None:
        self._source = source
        self._audio = audio
        self._extension = extension
        self._warn = warn
        self._opened = ExitStack()
        self._patient = False
        self.original = self._open()
        if self.original is not None and any(map(_is_unknown, self.original.streams.audio)):
            self._patient = True
            self.original = self._open()
        self._first = self._identity()
        self._left_out: list[str] = []
        self._late: list[int] = []
        self._early: list[int] = []
        if self.original is not None:
            wanted = [stream.index for stream in self._wanted(self.original)]
            self._early = wanted if extension not in _FRAGMENTED else self._beginning_early(wanted)
            self._late = [index for index in wanted if index not in self._early]

    @property
    def sample_rate(self) -> int | None:
        """Of the first sound in a file that grows."""
        streams = [self.original.streams[index] for index in self._early] if self.original is not None else []
        return next((each.codec_context.sample_rate for each in streams if isinstance(each, AudioStream)), None)

    def accompany(self, output: OutputContainer, pictures: Stream, shift: Fraction) -> SideStreams | None:
        """Adds what a growing file can hold, before anything is written to it."""
        if self._extension not in _FRAGMENTED:
            self._tell_time_code(pictures)
        if self.original is None:
            return None
        self._tag(self.original, output, pictures)
        if self._extension not in _FRAGMENTED:
            add_chapters(output, self.original, shift, None)
        side = self._added(self.original, self._early, output, shift)
        self._tell_left_out()
        return side

    def complete(
        self, output: OutputContainer, copies: Sequence[Stream], shift: Fraction, end: Fraction
    ) -> SideStreams | None:
        """Adds the rest to the finished file, whose first streams are `copies` of the grown one's, and chapters up to
        its `end`."""
        self._tell_time_code(copies[0])
        original = self.original
        if original is None:
            return None
        self._tag(original, output, copies[0])
        for index, copy in zip(self._early, copies[1:], strict=False):
            tag_stream(copy, original.streams[index], self._extension)
        add_chapters(output, original, shift, end)
        again = self._open() if self._late else None
        if again is not None and (_streams(again) != _streams(original) or self._identity() != self._first):
            self._warn(f"{self._source.name}: it is another file now, whose sound and subtitles are left out")
            again = None
        side = self._added(again, self._late, output, shift) if again is not None else None
        self._tell_left_out()
        return side

    def close(self) -> None:
        """Closes what was opened."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> InputContainer | None:
        try:
            original = open_again(self._source.path, self._source.url, patient=self._patient)
        except InputError as error:
            self._warn(f"{self._source.name}: its sound can't be read: {error}")
            return None
        return None if original is None else self._opened.enter_context(original)

    def _identity(self) -> tuple[int, int] | None:
        """Which file lies at the source's path; None where it has none."""
        with suppress(OSError):
            found = self._source.path.stat() if self._source.path is not None else None
            return found and (found.st_dev, found.st_ino)
        return None

    def _tell_time_code(self, pictures: Stream) -> None:
        """A mov or mp4 makes a track of its own of it."""
        if self._source.time_code is not None:
            pictures.metadata["timecode"] = self._source.time_code

    def _wanted(self, original: InputContainer) -> Iterable[Stream]:
        sounds = []
        for number, sound in enumerate(original.streams.audio, 1):
            if self._audio != "none" and (problem := _problem(sound)):
                self._left_out.append(f"sound {number} ({problem})")
            elif self._audio != "none":
                sounds.append(sound)
        if self._audio == "first":
            best = original.streams.best("audio")
            sounds = [best] if best in sounds else sounds[:1]
        yield from sounds
        yield from original.streams.subtitles

    def _beginning_early(self, wanted: Sequence[int]) -> list[int]:
        missing = {index for index in wanted if self.original and self.original.streams[index].type == "audio"}
        early: set[int] = set()
        began: Fraction | None = None
        probe = self._open() if missing else None
        if probe is None:
            return []
        try:
            for count, packet in enumerate(packets_of(probe)):
                stamp = packet.dts if packet.dts is not None else packet.pts
                if packet.size and packet.stream.index in missing:
                    early.add(packet.stream.index)
                if stamp is not None and packet.time_base:
                    began = stamp * packet.time_base if began is None else began
                    if stamp * packet.time_base > began + _EARLY_SECONDS:
                        break
                if early == missing or count > _MOST_PACKETS:
                    break
        except (OSError, ValueError, av.FFmpegError):
            pass  # a damaged file; what was found is there
        return [index for index in wanted if index in early]

    def _added(
        self,
        original: InputContainer,
        indexes: Sequence[int],
        output: OutputContainer,
        shift: Fraction,
    ) -> SideStreams | None:
        tracks: dict[int, Track] = {}
        for index in indexes:
            stream = original.streams[index]
            try:
                if isinstance(stream, AudioStream):
                    tracks[index] = audio_track(stream, output, self._extension)
                elif isinstance(stream, SubtitleStream):
                    tracks[index] = subtitle_track(stream, output, self._extension)
                tag_stream(tracks[index].stream, stream, self._extension)
            except (ValueError, av.FFmpegError) as error:
                kind = "sound" if stream.type == "audio" else "subtitles"
                same = [each.index for each in original.streams if each.type == stream.type]
                self._left_out.append(f"{kind} {same.index(index) + 1} ({cause(error)})")
        if not tracks:
            return None
        video = original.streams.best("video")
        return SideStreams(
            original,
            tracks,
            output,
            name=self._source.name,
            shift=shift,
            pictures=video.index if video is not None else None,
            may_begin_before_0=self._extension in _FRAGMENTED and not shift,
            warn=self._warn,
        )

    def _tag(self, original: InputContainer, output: OutputContainer, pictures: Stream) -> None:
        tag_container(output, original)
        video = original.streams.best("video")
        if video is not None:
            tag_stream(pictures, video, self._extension)
        tag_reel(pictures, original)

    def _tell_left_out(self) -> None:
        if self._left_out:
            self._warn(f"{self._source.name}: left out of the {self._extension[1:]}: {', '.join(self._left_out)}")
        self._left_out.clear()


def _streams(container: InputContainer) -> list[tuple[str, str]]:
    """What kinds of streams a file has, and by which codecs."""
    contexts = [(each.type, each.codec_context) for each in container.streams]
    return [(kind, context.name if context is not None else "") for kind, context in contexts]


def _problem(sound: AudioStream) -> str | None:
    if sound.codec_context is None:
        return "there is no decoder for it"
    return "it holds nothing that can be decoded" if _is_unknown(sound) else None


def _is_unknown(sound: AudioStream) -> bool:
    """Whether nothing was found in it, as where it begins after what was looked at."""
    context = sound.codec_context
    return context is not None and not (context.sample_rate and context.channels)
