"""What goes along with the pictures of an overlay: sounds, languages, subtitles, chapters, tags; and what can't."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from shutil import copyfile
from typing import Any

import av
import numpy as np
import pytest

from sapiens_stream.containers.opening import open_file
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Frame
from sapiens_stream.sinks.video.encoders import container_for
from sapiens_stream.sinks.video.overlay import OverlayVideo
from sapiens_stream.sources import Video
from tests.media import make_video
from tests.program import Program
from tests.test_overlay_video import UNTOUCHED, background

FRAMES = 50


@dataclass(frozen=True)
class Sound:
    """A sound of a made video. `tag` is written over the codec's, so that no decoder knows it."""

    codec: str = "aac"
    layout: str = "stereo"
    language: str = "und"
    title: str = ""
    start: float = 0.0
    rate: int = 48000
    default: bool = False
    tag: bytes = b""


@dataclass(frozen=True)
class Made:
    sounds: Sequence[Sound] = ()
    subtitles: str = ""
    chapters: bool = False
    tags: dict[str, str] = field(default_factory=dict)


def make(path: Path, made: Made, frames: int = FRAMES) -> Path:
    """A video with all that."""
    silent = make_video(path.with_name("silent.mkv"), frames=frames)
    with av.open(str(silent)) as source, av.open(str(path), "w") as target:
        target.metadata.update(made.tags)
        if made.chapters:
            target.set_chapters(
                [
                    {"id": n, "start": n, "end": n + 1, "time_base": Fraction(1), "metadata": {"title": f"part {n}"}}
                    for n in range(2)
                ]
            )
        pictures = target.add_stream_from_template(source.streams.video[0])
        tracks = []
        for sound in made.sounds:
            track = target.add_stream(sound.codec, rate=sound.rate)
            track.codec_context.layout = sound.layout
            track.metadata.update({"language": sound.language, **({"title": sound.title} if sound.title else {})})
            track.disposition = av.stream.Disposition.default if sound.default else 0
            tracks.append(track)
        text = target.add_stream(made.subtitles) if made.subtitles else None
        if text is not None:
            text.codec_context.subtitle_header = ASS
            text.codec_context.time_base = Fraction(1, 1000)
            text.metadata["language"] = "fra"
        packets = []
        for packet in source.demux():
            if packet.size:
                packet.stream = pictures
                packets.append(packet)
        for sound, track in zip(made.sounds, tracks, strict=True):
            packets += tone(sound, track, frames / 25)
        if text is not None:
            for start in (200, 900):
                spoken = av.subtitles.subtitle.SubtitleSet.create(b"0,0,Default,,0,0,0,,hello", 0, 400, start)
                packet = text.codec_context.encode_subtitle(spoken)
                packet.pts = packet.dts = start
                packet.duration, packet.time_base, packet.stream = 400, Fraction(1, 1000), text
                packets.append(packet)
        for packet in sorted(packets, key=lambda each: (each.dts or 0) * each.time_base):
            target.mux(packet)
    content = path.read_bytes()
    for sound in made.sounds:
        if sound.tag:
            content = content.replace(b"sowt", sound.tag, 1)
    path.write_bytes(content)
    return path


ASS = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, "
    b"SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, "
    b"BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n\r\n"
    b"[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


def tone(sound: Sound, track: Any, seconds: float) -> list[Any]:
    """A loud tone, as long as the video from where it starts."""
    context = track.codec_context
    count = context.channels
    packets = []
    size = context.frame_size or 1024
    total = int((seconds - sound.start) * sound.rate)
    resampler = av.AudioResampler(format=context.format, layout=context.layout, rate=sound.rate)
    for begin in range(0, total, size):
        times = np.arange(begin, begin + size)
        # Each channel has a tone of its own, so that none can be taken for another.
        wave = np.stack([np.sin(times * (n + 2) * 200 * 2 * np.pi / sound.rate) for n in range(count)])
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32) * 0.3, format="fltp", layout=context.layout.name)
        frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
        frame.pts = begin + int(sound.start * sound.rate)
        for each in resampler.resample(frame):
            packets += context.encode(each)
    packets += context.encode(None)
    for packet in packets:
        packet.stream = track
    return packets


@dataclass(frozen=True)
class Read:
    """What a file holds: of each sound codec, channels, language and packets; of subtitles codec and packets."""

    sounds: list[tuple[str, int, str, int]]
    subtitles: list[tuple[str, int]]
    chapters: list[tuple[str, float, float]]
    tags: dict[str, str]


def span(chapter: Any) -> tuple[float, float]:
    return float(chapter["start"] * chapter["time_base"]), float(chapter["end"] * chapter["time_base"])


def read(path: Path) -> Read:
    with av.open(str(path)) as container:
        counts = dict.fromkeys(range(len(container.streams)), 0)
        for packet in container.demux():
            counts[packet.stream.index] += packet.size > 2
        return Read(
            [
                (
                    stream.codec_context.name,
                    stream.codec_context.channels,
                    stream.metadata.get("language", "und"),
                    counts[stream.index],
                )
                for stream in container.streams.audio
                if stream.codec_context is not None
            ],
            [(stream.codec_context.name, counts[stream.index]) for stream in container.streams.subtitles],
            [(each["metadata"]["title"], *span(each)) for each in container.chapters()],
            dict(container.metadata),
        )


def overlay(
    source: Path,
    codec: str = "libx264",
    limit: int | None = None,
    meanwhile: Callable[[], object] = lambda: None,
    **settings: Any,
) -> tuple[Path, list[str]]:
    """The overlay of a video, and the warnings. `meanwhile` is called before it is finished."""
    warnings: list[str] = []
    path = source.with_name(f"overlay{container_for(codec)}")
    with Video(source) as video:
        sink = OverlayVideo(path, video.info, UNTOUCHED, codec=codec, warn=warnings.append, **settings)
        for frame in video.frames():
            assert isinstance(frame, Frame)
            if frame.index == limit:
                break
            sink.write(background(frame))
        meanwhile()
        sink.close()
    return path, warnings


TWO = (Sound(language="eng", default=True), Sound("libopus", "mono", language="deu", title="mic"))


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        ("libx264", [("aac", 2, "eng"), ("opus", 1, "deu")]),
        ("ffv1", [("aac", 2, "eng"), ("opus", 1, "deu")]),
        ("prores_ks", [("aac", 2, "eng"), ("aac", 1, "ger")]),
        ("libvpx-vp9", [("opus", 2, "eng"), ("opus", 1, "deu")]),
    ],
)
def test_all_sounds_are_kept_with_their_languages(codec: str, expected: list[Any], tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", Made(TWO))
    path, warnings = overlay(source, codec)
    kept, there = read(path).sounds, read(source).sounds
    assert [(name.removeprefix("lib"), channels, language) for name, channels, language, _ in kept] == expected
    for (name, *_, count), (before, *_, packets) in zip(kept, there, strict=True):
        assert count >= packets - 1 if name == before else count > 40
    assert warnings == []


@pytest.mark.parametrize("extension", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize(("codec", "key"), [("libx264", "name"), ("prores_ks", "name"), ("ffv1", "title")])
def test_titles_of_sounds_are_kept(codec: str, key: str, extension: str, tmp_path: Path) -> None:
    """What FFmpeg is given as the title of a track it reads as its name, where that is in an mp4 or mov."""
    path, _ = overlay(make(tmp_path / f"a.{extension}", Made([Sound(title="mic"), Sound()])), codec)
    with open_file(path) as container:
        assert [sound.metadata.get(key) for sound in container.streams.audio] == ["mic", None]


@pytest.mark.parametrize(
    ("audio", "languages"),
    [("all", ["eng", "deu"]), ("first", ["eng"]), ("none", []), (True, ["eng", "deu"]), (False, [])],
)
def test_which_sounds_is_chosen(audio: Any, languages: list[str], tmp_path: Path) -> None:
    path, _ = overlay(make(tmp_path / "a.mkv", Made(TWO)), audio=audio)
    assert [language for *_, language, _ in read(path).sounds] == languages


def test_another_choice_is_refused(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", Made())
    with pytest.raises(UsageError, match=r"audio is 'second'; there are all, first, none"):
        overlay(source, audio="second")


@pytest.mark.parametrize(
    ("arguments", "count"), [((), 2), (("--audio", "first"), 1), (("--audio", "none"), 0), (("--no-audio",), 0)]
)
def test_the_command_line_chooses_too(
    arguments: tuple[str, ...], count: int, program: Program, tmp_path: Path, colour_torchscript: Path
) -> None:
    source = make(tmp_path / "a.mkv", Made(TWO), frames=5)
    out = tmp_path / "out"
    assert program("video", source, "-m", colour_torchscript, "-o", out, "--save", "none", *arguments).code == 0
    assert len(read(out / "a_overlay.mp4").sounds) == count


@pytest.mark.parametrize(
    ("sound", "codec", "expected"),
    [
        (Sound("ac3", "5.1(side)"), "libx264", ("ac3", 6)),
        (Sound("aac", "5.1"), "libx264", ("aac", 6)),
        (Sound("pcm_s16le", "5.1"), "libx264", ("aac", 6)),
        (Sound("pcm_s16le", "5.1(side)"), "libx264", ("aac", 6)),
        (Sound("flac", "6.1"), "prores_ks", ("aac", 7)),
        (Sound("ac3", "5.1(side)"), "libvpx-vp9", ("opus", 6)),
        (Sound("pcm_s16le", "quad"), "libx264", ("aac", 4)),
        (Sound("pcm_s16le", "2.1"), "libx264", ("aac", 3)),
        (Sound("pcm_s16le", "mono", rate=11025), "libx264", ("aac", 1)),
        (Sound("pcm_s16le", "stereo", rate=22050), "libvpx-vp9", ("opus", 2)),
    ],
)
def test_sound_keeps_its_channels(sound: Sound, codec: str, expected: tuple[str, int], tmp_path: Path) -> None:
    path, warnings = overlay(make(tmp_path / "a.mkv", Made([sound])), codec)
    [(name, channels, _, count)] = read(path).sounds
    assert (name.removeprefix("lib"), channels) == expected
    assert count > 20 and warnings == []
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray() for frame in container.decode(audio=0) if frame.format.name == "fltp"]
    loud = np.abs(np.concatenate(parts, axis=1)).mean(axis=1)
    assert (loud > 0.02).sum() >= channels - 1  # the one for low tones alone may be quiet


@pytest.mark.parametrize("audio", ["all", "first"])
def test_a_first_sound_that_nobody_can_decode_does_not_cost_the_second(audio: str, tmp_path: Path) -> None:
    sounds = [Sound("pcm_s16le", "mono", default=True, tag=b"zzzz"), Sound(language="ita")]
    path, warnings = overlay(make(tmp_path / "a.mov", Made(sounds)), audio=audio)
    assert [(name, language) for name, _, language, _ in read(path).sounds] == [("aac", "ita")]
    assert len(warnings) == 1 and "sound 1" in warnings[0] and "no decoder" in warnings[0]


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_sound_that_begins_late_is_kept_and_holds_nothing_back(codec: str, tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", Made([Sound(), Sound(start=6.0, language="deu")]), frames=200)
    path, warnings = overlay(source, codec)
    assert [language for *_, language, _ in read(path).sounds] == ["und", "deu"]
    with av.open(str(path)) as container:
        late = [packet.pts * packet.time_base for packet in container.demux(audio=1) if packet.size]
    assert float(late[0]) == pytest.approx(6.0, abs=0.05) and float(late[-1]) == pytest.approx(8.0, abs=0.1)
    assert warnings == []


def test_sound_that_a_transport_stream_promises_for_later_is_looked_for(tmp_path: Path) -> None:
    source = make(tmp_path / "a.ts", Made([Sound("mp2", start=8.0)]), frames=250)
    with open_file(source) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 0  # how FFmpeg opens it
    path, warnings = overlay(source, "libx264")
    with av.open(str(path)) as container:
        begin = container.streams.video[0].start_time * container.streams.video[0].time_base
        late = [packet.pts * packet.time_base for packet in container.demux(audio=0) if packet.size]
    assert float(late[0] - begin) == pytest.approx(8.0, abs=0.1) and float(late[-1] - begin) > 9.8
    assert warnings == []


@pytest.mark.parametrize(
    ("text", "codec", "expected"),
    [
        ("subrip", "libx264", "mov_text"),
        ("ass", "libx264", "mov_text"),
        ("webvtt", "prores_ks", "mov_text"),
        ("subrip", "ffv1", "srt"),
        ("ass", "ffv1", "ssa"),
        ("webvtt", "libvpx-vp9", "webvtt"),
        ("subrip", "libvpx-vp9", "webvtt"),
    ],
)
def test_subtitles_are_kept_as_text_that_the_container_holds(
    text: str, codec: str, expected: str, tmp_path: Path
) -> None:
    path, warnings = overlay(make(tmp_path / "a.mkv", Made([Sound()], subtitles=text)), codec)
    assert read(path).subtitles == [(expected, 2)]
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        spoken = [packet for packet in container.demux(stream) if packet.size > 2]
        assert stream.metadata["language"] == "fra"
        assert [round(float(packet.pts * packet.time_base), 2) for packet in spoken] == [0.2, 0.9]
        assert all(b"hello" in bytes(packet) for packet in spoken)
    assert warnings == []


def test_subtitles_that_are_pictures_are_left_out_of_an_mp4_in_one_line(tmp_path: Path) -> None:
    source = make(tmp_path / "plain.mkv", Made([Sound()]))
    path = tmp_path / "a.mkv"
    with av.open(str(source)) as read_from, av.open(str(path), "w") as target:
        streams = [target.add_stream_from_template(stream, opaque=True) for stream in read_from.streams]
        for _ in range(2):
            target.add_mux_stream("dvd_subtitle").time_base = Fraction(1, 1000)
        for packet in read_from.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    written, warnings = overlay(path)
    assert read(written).subtitles == []
    assert len(warnings) == 1
    assert "subtitles 1" in warnings[0] and "subtitles 2" in warnings[0] and "mp4" in warnings[0]


@pytest.mark.parametrize("codec", ["libx264", "prores_ks", "ffv1"])
def test_chapters_and_tags_are_kept(codec: str, tmp_path: Path) -> None:
    tags = {"title": "My talk", "creation_time": "2024-05-06T07:08:09.000000Z", "comment": "a — b", "artist": "me"}
    path, warnings = overlay(make(tmp_path / "a.mkv", Made([Sound()], chapters=True, tags=tags)), codec)
    found = read(path)
    assert found.chapters == [("part 0", 0.0, 1.0), ("part 1", 1.0, 2.0)]
    known = {key.lower(): value for key, value in found.tags.items()}
    assert {key: known[key] for key in tags} == tags
    assert warnings == []


def with_tags(tmp_path: Path, tags: dict[str, str], rate: Fraction) -> Path:
    """A mov whose pictures have these, its time code in a track of its own."""
    source = tmp_path / "clip.mov"
    with open_file(make_video(tmp_path / "plain.mp4", rate=rate, size=(64, 96))) as plain:
        [pictures] = plain.streams.video
        with av.open(str(source), "w") as target:
            copy = target.add_stream_from_template(pictures)
            copy.codec_context.framerate = rate
            copy.metadata.update(tags)
            for packet in plain.demux(pictures):
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)
    return source


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("rate, said", [(Fraction(25), "01:02:03:04"), (Fraction(30000, 1001), "01:02:03;04")])
def test_the_time_code_is_kept_whatever_the_clock_ticks_in(
    codec: str, rate: Fraction, said: str, tmp_path: Path
) -> None:
    source = with_tags(tmp_path, {"timecode": said}, rate)
    path, warnings = overlay(source, codec)
    assert not warnings
    with open_file(path) as container:
        assert container.streams.video[0].metadata["timecode"] == said


def test_the_reel_is_kept_beside_the_time_code(tmp_path: Path) -> None:
    """Editing programs find the camera's file by both."""
    source = with_tags(tmp_path, {"timecode": "01:02:03:04", "reel_name": "A001C003"}, Fraction(25))
    path, warnings = overlay(source, "prores_ks")  # an mp4 has no place for it
    assert not warnings
    with open_file(path) as container:
        [of_time_code] = container.streams.data
        assert of_time_code.metadata["reel_name"] == "A001C003"


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be replaced there")
@pytest.mark.parametrize(
    ("sounds", "how"), [((), Path.replace), ((Sound(),), Path.replace), ((), copyfile)], ids=["other", "alike", "onto"]
)
def test_a_source_that_is_replaced_meanwhile_costs_what_was_not_read_of_it_yet(
    sounds: Sequence[Sound], how: Callable[[Path, Path], object], tmp_path: Path
) -> None:
    source = make(tmp_path / "a.mkv", Made([Sound()], subtitles="subrip", chapters=True, tags={"title": "My talk"}))
    other = make(tmp_path / "b.mkv", Made(sounds, subtitles="subrip" if sounds else "", tags={"title": "Another"}))
    path, warnings = overlay(source, meanwhile=lambda: how(other, source))
    found = read(path)
    assert [sound[3] for sound in found.sounds] and found.subtitles == []
    assert found.chapters == [("part 0", 0.0, 1.0), ("part 1", 1.0, 2.0)] and found.tags["title"] == "My talk"
    [warning] = warnings
    assert "another file now" in warning


def test_an_interrupted_run_keeps_the_chapters_that_it_came_to(tmp_path: Path) -> None:
    path, _ = overlay(make(tmp_path / "a.mkv", Made([Sound()], subtitles="subrip", chapters=True)), limit=10)
    found = read(path)
    assert [title for title, _, _ in found.chapters] == ["part 0"]
    assert found.subtitles == [("mov_text", 1)]
    assert found.sounds[0][3] < 50


def test_a_real_file_with_all_of_it(shared: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    source.write_bytes((shared / "cases" / "two_sounds_chapters.mkv").read_bytes())
    path, warnings = overlay(source)
    found = read(path)
    assert found.sounds == [("aac", 1, "eng", 45), ("opus", 1, "deu", 51)]
    assert found.subtitles == [("mov_text", 1)]
    assert found.chapters == [("one", 0.0, 0.5), ("two", 0.5, 1.0)]
    assert (found.tags["title"], found.tags["creation_time"]) == ("My talk", "2024-05-06T07:08:09.000000Z")
    assert warnings == []


def test_a_real_file_whose_first_sound_is_unknown(shared: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.mov"
    source.write_bytes((shared / "cases" / "apac_first_default.mov").read_bytes())
    path, warnings = overlay(source)
    assert read(path).sounds == [("aac", 1, "und", 45)]
    assert len(warnings) == 1
