"""Recordings joined end to end, and clocks that jump: one line of time, for pictures and sound alike."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from sapiens_stream.containers.length import length_without_jumps
from sapiens_stream.frame import Frame
from sapiens_stream.sinks.video.overlay import OverlayVideo
from sapiens_stream.sources import Video
from tests.media import make_video, number_of
from tests.test_overlay_video import UNTOUCHED, background

FRAMES = 25
HOUR = Fraction(3600)
WRAP = Fraction(2**33, 90000)  # where the clock of a broadcast begins anew

KINDS: dict[str, dict[str, Any]] = {
    "a.ts": {"audio": "aac", "b_frames": 2},
    "a.mpg": {"codec": "mpeg2video", "audio": "mp2"},
    "a.vob": {"codec": "mpeg2video", "audio": "ac3"},
    "a.avi": {"codec": "mpeg4", "audio": "mp3"},
    "a.mkv": {"audio": "aac", "b_frames": 2},
    "a.webm": {"codec": "libvpx-vp9", "audio": "libopus", "options": {"deadline": "realtime", "cpu-used": "8"}},
}
# Where the second recording's clock begins. AVI has none, Matroska's pauses are pauses.
STARTS = {
    "begins anew": Fraction(0),
    "jumps ahead by hours": 5 * HOUR,
    "wraps": WRAP - 1,
}
CASES = [
    (name, start) for name in KINDS for start in STARTS if start == "begins anew" or name in ("a.ts", "a.mpg", "a.vob")
]


def joined(path: Path, start: Fraction, *, frames: int = FRAMES, **options: Any) -> tuple[Path, int]:
    """Two recordings, the second of which begins at `start` on its clock; how many packets of sound there are."""
    parts = [
        make_video(path.with_name(f"{number}-{path.name}"), frames=frames, start=begin, **options)
        for number, begin in enumerate((Fraction(0), start))
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(path)) as container:
        return path, sum(packet.size > 0 for packet in container.demux(audio=0))


def read(path: Path) -> tuple[list[Frame], list[Fraction], list[str]]:
    """The frames, the times of the overlay's packets of sound, and the warnings."""
    warnings: list[str] = []
    overlay = path.with_name("overlay.mkv")
    with Video(path) as video:
        sink = OverlayVideo(overlay, video.info, UNTOUCHED, codec="ffv1", warn=warnings.append)
        frames = []
        for frame in video.frames():
            assert isinstance(frame, Frame), frame
            sink.write(background(frame))
            frames.append(frame)
        sink.close()
    with av.open(str(overlay)) as container:
        sound = [packet.pts * packet.time_base for packet in container.demux(audio=0) if packet.size]
    return frames, sound, warnings


def steps(times: list[Fraction]) -> Iterator[Fraction]:
    return (after - before for before, after in pairwise(times))


@pytest.mark.parametrize(("name", "start"), CASES)
def test_a_second_recording_follows_the_first(name: str, start: str, tmp_path: Path) -> None:
    path, packets = joined(tmp_path / name, STARTS[start], **KINDS[name])
    frames, sound, warnings = read(path)
    assert [number_of(frame.rgb) for frame in frames] == [*range(FRAMES), *range(FRAMES)]
    assert not any(frame.damaged for frame in frames)
    times = [frame.time for frame in frames]
    # The second may follow the sound of the first, which is a little longer, or shorter, than its pictures.
    assert min(steps(times)) > 0
    assert float(times[-1] - times[0]) == pytest.approx(2 * FRAMES / 25 - 0.04, abs=0.1)
    assert float(times[FRAMES] - times[0]) == pytest.approx(FRAMES / 25, abs=0.1)
    # Of what a decoder needs before 0, Matroska holds none.
    assert packets - 2 <= len(sound) <= packets
    assert min(steps(sound)) >= 0
    assert float(sound[-1] - times[-1]) == pytest.approx(0, abs=0.1)
    assert warnings == []


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", ["a.ts", "a.mpg", "a.vob"])
def test_the_length_of_both_is_told_before(name: str, start: str, tmp_path: Path) -> None:
    """That between the clock at both ends is one of hours, for which no disk has room, or one of no second."""
    path, _ = joined(tmp_path / name, STARTS[start], frames=100, **KINDS[name])
    with Video(path) as video:
        assert video.info.frame_count == pytest.approx(200, rel=0.15)
        assert video.info.duration is not None and float(video.info.duration) == pytest.approx(8, rel=0.15)


def test_where_little_comes_for_long_is_no_jump(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    lively = make_video(tmp_path / "lively.ts", frames=200, options={"crf": "1"})
    still = make_video(tmp_path / "still.ts", frames=60, rate=Fraction(1, 4), start=Fraction(8), size=(16, 16))
    path.write_bytes(lively.read_bytes() + still.read_bytes())
    assert length_without_jumps(path) is None


def test_a_clock_that_wraps_within_a_recording(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", frames=FRAMES, start=WRAP - Fraction(1, 2), audio="aac")
    frames, sound, _ = read(path)
    assert set(steps([frame.time for frame in frames])) == {Fraction(1, 25)}
    assert max(steps(sound)) < Fraction(1, 20)


def test_a_pause_in_a_file_that_is_no_broadcast_is_kept(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", frames=3, rate=Fraction(1, 600))
    with Video(path) as video:
        assert [frame.time for frame in video.frames() if isinstance(frame, Frame)] == [0, 600, 1200]


def test_sound_between_pictures_that_are_far_apart_is_no_jump(tmp_path: Path) -> None:
    """A broadcast of slides: a picture now and then, and sound all along."""
    path = make_video(tmp_path / "a.ts", frames=3, rate=Fraction(1, 15), audio="mp2", audio_seconds=40)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.ts"), "w") as target:
        streams = [target.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        packets = sorted((p for p in source.demux() if p.size), key=lambda p: p.dts)
        for packet in packets:
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    frames, _, _ = read(tmp_path / "b.ts")
    assert [round(step) for step in steps([frame.time for frame in frames])] == [15, 15]


def test_times_that_are_damaged_are_no_other_recording(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged_sound.ts"
    path.write_bytes((shared / "cases" / "damaged_sound.ts").read_bytes())
    frames, sound, warnings = read(path)
    assert set(steps([frame.time for frame in frames])) == {Fraction(1, 25)}
    assert float(sound[-1] - sound[0]) == pytest.approx(0.456, abs=0.01)
    assert warnings == []


@pytest.mark.parametrize(("name", "packets"), [("joined.ts", 90), ("joined.vob", 80)])
def test_recordings_joined_by_others(name: str, packets: int, shared: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((shared / "cases" / name).read_bytes())
    frames, sound, warnings = read(path)
    assert len(frames) == 50 and len(sound) == packets
    times = [frame.time for frame in frames]
    end = max(times[-1] + Fraction(1, 25), sound[-1] + Fraction(1, 40))
    assert float(end - min(times[0], sound[0])) == pytest.approx(2.04, abs=0.06)
    assert warnings == []
