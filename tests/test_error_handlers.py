"""Every error that a source or a sink of videos handles, forced once: what is said of it, and what it costs."""

from __future__ import annotations

import copy
import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sinks.video import audio_track, companions, mp4, side_streams, writer
from sapiens_stream.sinks.video.overlay import OverlayVideo
from sapiens_stream.sources import Video
from sapiens_stream.sources.demux import Demuxer
from tests.hostile import broadcast_with_losses
from tests.media import make_video, number_of
from tests.program import Program
from tests.test_overlay_video import UNTOUCHED, background

FRAMES = 25
EINVAL = av.error.ArgumentError(errno.EINVAL, "Invalid argument", "x")
INVALID = av.error.InvalidDataError(1094995529, "Invalid data found when processing input", "x")
UNKNOWN = av.error.UnknownError(1313558101, "Unknown error occurred", "x")
PATCH = av.error.PatchWelcomeError(1163346256, "Not yet implemented in FFmpeg, patches welcome", "x")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing(original: Callable[..., Any], error: Exception, when: Callable[..., bool]) -> Callable[..., Any]:
    """`original`, which raises a copy of `error` for the calls that `when` picks by their arguments.

    The original would keep with its traceback all that the frames of the test had open.
    """

    def call(*arguments: Any, **named: Any) -> Any:
        if when(*arguments, **named):
            raise copy.copy(error)
        return original(*arguments, **named)

    return call


def overlay(source: Path, codec: str = "libx264") -> tuple[Path, list[str]]:
    """The overlay of a video, and the warnings."""
    warnings: list[str] = []
    path = source.with_name("overlay.mkv" if codec == "ffv1" else "overlay.mp4")
    with Video(source) as video:
        sink = OverlayVideo(path, video.info, UNTOUCHED, codec=codec, warn=warnings.append)
        for frame in video.frames():
            if isinstance(frame, Frame):
                sink.write(background(frame))
        sink.close()
    return path, warnings


def numbers(path: Path) -> list[int]:
    with Video(path) as video:
        return [number_of(frame.rgb) for frame in video.frames() if isinstance(frame, Frame)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mkv", frames=FRAMES, audio="aac")


class Refusing:
    """An output that refuses the packets of sound that `when` picks by their number."""

    def __init__(self, output: Any, error: Exception, when: Callable[[int], bool]) -> None:
        self._output, self._error, self._when, self._count = output, error, when, 0

    def mux_one(self, packet: Any) -> None:
        self._count += 1
        if self._when(self._count):
            raise self._error
        self._output.mux_one(packet)


@pytest.mark.parametrize("error", [EINVAL, INVALID, UNKNOWN, PATCH, ValueError("no")], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("share", ["one", "all"])
@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_sound_that_the_container_refuses_is_one_warning(
    error: Exception, share: str, codec: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Side(side_streams.SideStreams):
        def __init__(self, source: Any, tracks: Any, output: Any, **settings: Any) -> None:
            refusing = Refusing(output, error, lambda count: share == "all" or count == 5)
            super().__init__(source, tracks, refusing, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(companions, "SideStreams", Side)
    path, warnings = overlay(clip, codec)
    assert numbers(path) == list(range(FRAMES))
    assert len(warnings) == 1 and "sound" in warnings[0] and str(clip) in warnings[0]


@pytest.mark.parametrize("error", [EINVAL, INVALID, UNKNOWN, av.error.EOFError(541478725, "End of file", "x")])
def test_sound_that_cannot_be_decoded_does_not_cost_the_video(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_video(tmp_path / "clip.mkv", frames=FRAMES, audio="pcm_s16le")
    calls = iter(range(10**6))
    monkeypatch.setattr(
        audio_track.TranscodedTrack,
        "take",
        failing(audio_track.TranscodedTrack.take, error, lambda *_: next(calls) == 5),
    )
    path, warnings = overlay(clip)
    assert numbers(path) == list(range(FRAMES))
    assert len(warnings) == (0 if isinstance(error, (av.InvalidDataError, av.EOFError)) else 1)


@pytest.mark.parametrize("error", [FULL, INVALID], ids=["disk", "data"])
def test_a_source_that_cannot_be_read_on_costs_the_rest_of_the_sound(
    error: Exception, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Joins(side_streams.Joins):
        count = 0

        def place(self, packet: Any) -> bool:
            Joins.count += 1
            if Joins.count == 40:
                raise copy.copy(error)
            return super().place(packet)

    monkeypatch.setattr(side_streams, "Joins", Joins)
    path, warnings = overlay(clip)
    assert numbers(path) == list(range(FRAMES))
    assert len(warnings) == 1 and "from here on" in warnings[0]


def test_a_source_that_is_gone_costs_its_sound_alone(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> Any:
        raise InputError("it is gone")

    monkeypatch.setattr(companions, "open_again", gone)
    path, warnings = overlay(clip)
    assert numbers(path) == list(range(FRAMES))
    assert warnings and all("it is gone" in each for each in warnings)


@pytest.mark.parametrize("error", [EINVAL, INVALID, ValueError("no")], ids=lambda e: type(e).__name__)
def test_sound_that_nothing_can_hold_is_left_out(error: Exception, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "audio_track", failing(companions.audio_track, error, lambda *_: True))
    path, warnings = overlay(clip)
    assert numbers(path) == list(range(FRAMES))
    assert len(warnings) == 1 and "left out of the mp4: sound 1" in warnings[0]


def test_a_finish_that_fails_leaves_the_fragments(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (EINVAL, INVALID, UNKNOWN, FULL, InputError("no")):
        monkeypatch.setattr(mp4, "_remux", failing(mp4._remux, error, lambda *_: True))
        path, warnings = overlay(clip)
        assert numbers(path) == list(range(FRAMES))
        assert len(warnings) == 1 and "left in fragments" in warnings[0]


@pytest.mark.parametrize("error", [FULL, EINVAL, INVALID, UNKNOWN], ids=lambda e: type(e).__name__)
def test_pictures_that_cannot_be_written_are_told_with_the_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_video(tmp_path / "clip.mkv", frames=FRAMES)
    monkeypatch.setattr(writer.VideoWriter, "_mux", failing(writer.VideoWriter._mux, error, lambda *_: True))
    with pytest.raises(OutputError, match=r"overlay\.mp4 can't be written: "):
        overlay(clip)


def test_an_encoder_that_gets_no_threads_says_what_may_be_short(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def no_threads() -> Iterator[None]:
        yield
        raise av.ExternalError(542398533, "Generic error in an external library")

    monkeypatch.setattr(writer, "kept_scheduling", no_threads)
    with pytest.raises(OutputError, match=r"overlay\.mp4 can't be written: .* processes \(ulimit -u\)"):
        overlay(clip)


@pytest.mark.parametrize("error", [INVALID, UNKNOWN, PATCH, FULL], ids=lambda e: type(e).__name__)
def test_a_source_that_breaks_off_gives_what_it_has(
    error: Exception, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = Video(clip)
    place = iter(range(10**6))
    assert isinstance(video._demuxer, Demuxer)
    monkeypatch.setattr(
        side_streams.Joins, "place", failing(side_streams.Joins.place, error, lambda *_: next(place) == 20)
    )
    with video:
        found = list(video.frames())
    skipped = [each for each in found if isinstance(each, Skipped)]
    assert 5 < len(found) < FRAMES and len(skipped) == 1
    assert "cannot be read beyond" in skipped[0].reason


class TestDamage:
    """A broadcast of which some packets were lost."""

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        return broadcast_with_losses(tmp_path / "clip.ts")

    def flagged(self, path: Path) -> list[bool]:
        with av.open(str(path)) as container:
            return [frame.is_corrupt for frame in container.decode(video=0)]

    def test_frames_that_are_flagged_corrupt_are_marked(self, damaged: Path) -> None:
        with Video(damaged) as video:
            frames = [frame for frame in video.frames() if isinstance(frame, Frame)]
        flagged = self.flagged(damaged)
        assert any(flagged)
        assert [frame.damaged is not None for frame in frames] == flagged[: len(frames)]

    @pytest.mark.parametrize("strict", [False, True])
    def test_they_are_used_and_counted_or_skipped(
        self, strict: bool, damaged: Path, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        arguments = ["--strict"] if strict else []
        outcome = program("video", damaged, "-m", colour_torchscript, "-o", tmp_path, "--save", "json", *arguments)
        assert outcome.code == 3
        record = json.loads((tmp_path / "clip_run.json").read_text())
        marked = [json.loads(path.read_text()).get("damaged", False) for path in (tmp_path / "clip").glob("*.json")]
        count = sum(self.flagged(damaged)[: len(marked) + record["frames"]["skipped"]])
        assert record["frames"]["damaged"] == sum(marked) == (0 if strict else count)
        assert record["frames"]["written"] == len(marked)
        inputs = ["video", damaged, "-m", colour_torchscript, "-o", tmp_path, "--save", "json", "--resume", *arguments]
        again = program(*inputs)
        assert again.code == 3 and f"done already, but for {count} skipped or damaged" in again.stdout
        told = json.loads(program("results", "status", tmp_path, "--json").stdout)["frames"]
        assert (told["skipped"], told["damaged"]) == ((count, 0) if strict else (0, count))


def test_a_real_file_with_damaged_sound(
    shared: Path, program: Program, tmp_path: Path, colour_torchscript: Path
) -> None:
    path = shared / "cases" / "damaged_sound.ts"
    outcome = program("video", path, "-m", colour_torchscript, "-o", tmp_path, "--save", "none")
    assert outcome.code == 3  # a frame of it is damaged too
    with av.open(str(tmp_path / "damaged_sound_overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    with av.open(str(tmp_path / "damaged_sound_overlay.mp4")) as container:
        assert sum(packet.size > 0 for packet in container.demux(audio=0)) >= 20
