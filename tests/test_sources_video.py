"""Video files: containers and codecs, time, turning, and damage."""

from __future__ import annotations

import errno
import os
import struct
import weakref
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from PIL import Image

from sapiens_stream.colour.conversion import converted
from sapiens_stream.containers.joins import Joins
from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sources import Live, Source, Video
from sapiens_stream.sources.deinterlace import Deinterlacer
from sapiens_stream.sources.key_frames import find_key_frames
from sapiens_stream.sources.probe import probe
from sapiens_stream.sources.video import MAX_CONSECUTIVE_FAILURES
from tests.media import frame_times, make_video, number_of, picture

FRAMES = 12

VIDEOS: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4 h264 with B-frames": ("clip.mp4", {"b_frames": 3}),
    "mp4 hevc 10-bit": (
        "clip.mp4",
        {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none:pools=1"}},
    ),
    "mkv ffv1 4:2:2 odd size": ("clip.mkv", {"codec": "ffv1", "pix_fmt": "yuv422p", "size": (95, 161)}),
    "webm vp9": ("clip.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
    "mov prores 10-bit": ("clip.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "audio": "aac"}),
    "avi mjpeg": ("clip.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "avi mpeg4 odd size": ("clip.avi", {"codec": "mpeg4", "size": (97, 131)}),
    "avi mpeg4 with B-frames": ("clip.avi", {"codec": "mpeg4", "b_frames": 2, "first": Fraction(1, 25)}),
    "avi h264 with B-frames": ("clip.avi", {"b_frames": 2, "first": Fraction(2, 25)}),
    "avi h264 vfr": ("clip.avi", {"b_frames": 0, "vfr": True}),
    "ts mpeg2 interlaced": (
        "clip.ts",
        {"codec": "mpeg2video", "interlaced": True, "audio": "mp2", "first": Fraction(1, 25)},
    ),
    "mkv 10-bit interlaced": ("clip.mkv", {"codec": "ffv1", "pix_fmt": "yuv422p10le", "interlaced": True}),
    "gif": ("clip.gif", {"codec": "gif", "pix_fmt": "bgr8"}),
    "raw h264": ("clip.h264", {}),
    "mp4 to turn by 90": ("clip.mp4", {"rotation": 90}),
    "mp4 to turn by 180": ("clip.mp4", {"rotation": 180}),
    "mp4 to turn by 270": ("clip.mp4", {"rotation": 270}),
    "mp4 to mirror": ("clip.mp4", {"mirrored": True}),
    "mp4 to turn and mirror": ("clip.mp4", {"rotation": 90, "mirrored": True}),
    "mp4 vfr": ("clip.mp4", {"vfr": True}),
    "mkv vfr": ("clip.mkv", {"vfr": True}),
    "mp4 ntsc": ("clip.mp4", {"rate": Fraction(30000, 1001)}),
    "mp4 from 2 s": ("clip.mp4", {"start": Fraction(2), "audio": "aac"}),
    "ts from 2 s": ("clip.ts", {"start": Fraction(2)}),
    "mkv two videos": ("clip.mkv", {"second_size": (64, 80)}),
    "mp4 audio first": ("clip.mp4", {"audio": "aac", "audio_first": True}),
    "mp4 audio goes on": ("clip.mp4", {"audio": "aac", "audio_seconds": 3}),
    "mp4 anamorphic": ("clip.mp4", {"sar": Fraction(4, 3)}),
    "name with a colon": ("12:30:00.mp4", {}),
}


def read(path: Path) -> tuple[list[Frame], list[Skipped]]:
    with Video(path) as video:
        found = list(video.frames())
    return [each for each in found if isinstance(each, Frame)], [each for each in found if isinstance(each, Skipped)]


@pytest.mark.parametrize(("name", "options"), VIDEOS.values(), ids=VIDEOS)
def test_frames_and_times_of(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    options = dict(options)
    # Some containers cannot start at 0: mpegts and avi leave room for the B-frames' decoding times.
    first = options.pop("first", options.get("start", Fraction(0)))
    path = make_video(tmp_path / name, frames=FRAMES, **options)
    frames, skipped = read(path)
    assert skipped == []
    assert [number_of(frame.rgb) for frame in frames] == list(range(FRAMES))
    assert [frame.name for frame in frames] == [f"{path.stem}/{index:06d}" for index in range(FRAMES)]
    rate = options.get("rate", Fraction(25))
    wanted = frame_times(FRAMES, rate, first, options.get("vfr", False))
    unit = frames[0].time_base
    assert [frame.pts for frame in frames] == [round(seconds / unit) for seconds in wanted]


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"rotation": 90}, "size", (160, 96)),
        ({"rotation": 180}, "size", (96, 160)),
        ({"sar": Fraction(4, 3)}, "sample_aspect_ratio", Fraction(4, 3)),
        ({}, "sample_aspect_ratio", None),
        ({"rate": Fraction(30000, 1001)}, "frame_rate", Fraction(30000, 1001)),
        ({}, "frame_count", FRAMES),
        ({}, "duration", Fraction(12, 25)),
        ({}, "time_base", Fraction(1, 12800)),
        ({}, "interlaced", False),
        ({"interlaced": True}, "interlaced", True),
        ({"vfr": True}, "frame_count", FRAMES),
    ],
)
def test_what_is_known_before_the_first_frame(
    options: dict[str, Any], field: str, value: object, tmp_path: Path
) -> None:
    with Video(make_video(tmp_path / "clip.mp4", frames=FRAMES, **options)) as video:
        assert getattr(video.info, field) == value
        assert video.info.path == tmp_path / "clip.mp4"


@pytest.mark.parametrize(("rotation", "widening"), [(0, 4 / 3), (90, 3 / 4), (180, 4 / 3)])
def test_each_frame_knows_how_wide_its_pixels_are(rotation: int, widening: float, tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=2, sar=Fraction(4, 3), rotation=rotation)
    with Video(path) as video, Live(path, realtime=True) as live:
        for frame in (*video.frames(), *live.frames()):
            assert isinstance(frame, Frame)
            assert frame.widening == pytest.approx(widening)


def test_duration_is_the_file_s(tmp_path: Path) -> None:
    frames, _ = read(make_video(tmp_path / "clip.mp4", frames=FRAMES))
    assert {frame.duration for frame in frames} == {512}


def test_interlaced_frames_are_deinterlaced_and_keep_their_colours(tmp_path: Path) -> None:
    """Fields of different moments comb: on a moving edge neighbouring lines differ more than every other line does."""
    size, frames = (96, 160), 6
    path = tmp_path / "clip.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, width=size[1], height=size[0], pix_fmt="yuv420p")
        stream.codec_context.flags |= 1 << 18 | 1 << 29  # coded as fields, as `make_video` does
        stream.codec_context.bit_rate = 8_000_000
        stream.codec_context.color_range = 1
        stream.codec_context.colorspace = 1
        for number in range(frames):
            grey = np.full(size, 60, np.uint8)
            grey[0::2, : 40 + number * 16] = 200
            grey[1::2, : 48 + number * 16] = 200
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    def combing(frame: av.VideoFrame) -> float:
        luma = frame.to_ndarray(format="gray").astype(int)[8:-8]
        return float(np.abs(luma[1:] - luma[:-1]).mean())

    with av.open(str(path)) as container:
        before = [combing(frame) for frame in container.decode(video=0)]
    with Video(path) as video:
        progressive = [frame.decoded for frame in video.frames()]
    assert len(progressive) == frames
    assert min(before) > 3
    assert max(combing(frame) for frame in progressive) < 0.5 * min(before)
    assert {(frame.color_range, frame.colorspace, frame.format.name) for frame in progressive} == {(1, 1, "yuv420p")}
    assert not any(frame.interlaced_frame for frame in progressive)


@pytest.mark.parametrize("form", ["uyvy422", "yuyv422", "nv16", "p210le", "nv12"])
def test_interlaced_frames_of_capture_cards_keep_their_colours_too(form: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.ts", codec="mpeg2video", interlaced=True, frames=4, colours={"colorspace": 1})
    shown: list[list[np.ndarray]] = []
    planar = {"p210le": "yuv422p10le", "nv12": "yuv420p"}.get(form, "yuv422p")
    for lies in (form, planar):
        deinterlacer = Deinterlacer()
        with av.open(str(path)) as container:
            frames = [converted(converted(frame, planar), lies) for frame in container.decode(video=0)]
        assert all(frame.interlaced_frame for frame in frames)
        done = [*chain.from_iterable(map(deinterlacer.push, frames)), *deinterlacer.flush()]
        assert {frame.colorspace for frame in done} == {1}
        shown.append([frame.to_ndarray(format="rgb24") for frame in done])
    assert len(shown[0]) == 4
    assert np.array_equal(shown[0], shown[1])


def test_a_size_that_changes(tmp_path: Path) -> None:
    small, large = (
        make_video(tmp_path / f"{n}.mjpeg", codec="mjpeg", pix_fmt="yuvj420p", size=(n, 2 * n), frames=5)
        for n in (48, 96)
    )
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    frames, _ = read(path)
    assert [frame.size for frame in frames] == [(48, 96)] * 5 + [(96, 192)] * 5
    assert [number_of(frame.rgb) for frame in frames] == [*range(5), *range(5)]


def test_the_default_stream_is_chosen_before_a_larger_one(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        for size, disposition in ((64, 0), (32, av.stream.Disposition.default)):
            stream = container.add_stream("ffv1", rate=25, width=size, height=size, pix_fmt="yuv420p")
            stream.disposition = disposition
        for stream in container.streams:
            container.mux(stream.encode(av.VideoFrame(stream.width, stream.height, "yuv420p")))
            container.mux(stream.encode(None))
    frames, _ = read(tmp_path / "clip.mkv")
    assert [frame.size for frame in frames] == [(32, 32)]


def sound_only(path: Path, cover: bool = False) -> Path:
    with av.open(str(path), "w") as container:
        tone = container.add_stream("aac", rate=48000, layout="mono")
        picture = container.add_stream("mjpeg", rate=25, width=64, height=64, pix_fmt="yuvj420p") if cover else None
        if picture is not None:
            picture.disposition = av.stream.Disposition.attached_pic
        for start in range(0, 48000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            container.mux(tone.encode(frame))
        if picture is not None:
            container.mux(picture.encode(av.VideoFrame(64, 64, "yuvj420p")))
            container.mux(picture.encode(None))
        container.mux(tone.encode(None))
    return path


@pytest.mark.parametrize("cover", [False, True], ids=["sound", "sound with a cover picture"])
def test_no_video_stream(cover: bool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sound\.mp4: it has no video stream"):
        Video(sound_only(tmp_path / "sound.mp4", cover))


@pytest.mark.parametrize("size", [b"W0 H64", b"W100000 H100000"])
def test_a_size_that_cannot_be(size: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.y4m"
    path.write_bytes(b"YUV4MPEG2 " + size + b" F25:1 C420\nFRAME\n" + bytes(1000))
    with pytest.raises(InputError, match="is not a video, or is damaged"):
        Video(path)


def test_an_ogg_that_ends_in_its_head(tmp_path: Path) -> None:
    path = tmp_path / "clip.ogv"
    path.write_bytes(b"OggS" + bytes(23) + b"\xff" * 10001)
    with pytest.raises(InputError, match="is not a video, or is damaged"):
        Video(path)


def test_no_frame_can_be_decoded(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=3)
    with pytest.raises(InputError, match=r"clip\.avi: no frame of it can be decoded"):
        Video(damaged(path, range(3)))


def test_an_animated_webp_is_refused_with_what_to_do(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(picture(number, (48, 64))) for number in range(3))
    first.save(tmp_path / "dance.webp", save_all=True, append_images=others, duration=40)
    with pytest.raises(InputError, match=r"dance\.webp: an animated WebP, .* convert it to GIF or MP4"):
        Video(tmp_path / "dance.webp")


def test_frames_of_raw_dv_are_counted_by_its_base_rate(tmp_path: Path) -> None:
    """Not by the 60000 a second which FFmpeg takes for their mean: a tape of an hour would not fit on any disk."""
    path = make_video(tmp_path / "tape.dv", codec="dvvideo", size=(576, 720), frames=5)
    with Video(path) as tape:
        assert tape.info.frame_rate == 25 and tape.info.frame_count == 5
        assert [frame.time for frame in tape.frames() if isinstance(frame, Frame)] == [
            Fraction(n, 25) for n in range(5)
        ]
    assert probe(str(path)).frames == 5


def index_first(path: Path, into: Path) -> Path:
    """The same MP4 with its index before its frames, so that a part of it can be read."""
    with av.open(str(path)) as source, av.open(str(into), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return into


def test_a_file_without_its_index(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=FRAMES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"clip\.mp4: the file is cut short.*moov"):
        Video(path)


def test_an_index_that_the_disk_does_not_give_is_the_disk_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg takes it for one that is not there."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(make_video(tmp_path / "whole.mp4", frames=FRAMES).read_bytes()[:1000])

    def broken(*_: object) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(InputError, match=r"clip\.mp4: Input/output error"):
        Video(path)


def test_a_disk_that_fails_before_the_first_frame_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Joins, "place", broken)
    with pytest.raises(InputError, match=r"clip\.mkv: no frame .*; it cannot be read beyond .*: Stale file handle"):
        Video(make_video(tmp_path / "clip.mkv", frames=3))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {"b_frames": 2}),
        ("clip.mkv", {"codec": "ffv1"}),
        ("clip.mkv", {"audio": "aac"}),
        ("clip.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("clip.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("clip.avi", {"codec": "mpeg4"}),
        ("clip.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
    ],
    ids=str,
)
def test_cut_short_in_the_middle(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = make_video(tmp_path / f"whole-{name}", frames=100, **options)
    if path.suffix in (".mp4", ".mov"):
        path = index_first(path, tmp_path / f"first-{name}")
    cut = tmp_path / name
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames, skipped = read(cut)
    assert 5 < len(frames) < 90
    # Of frames that are shown before the one they are coded after, some are lost with the end.
    assert [number_of(frame.rgb) for frame in frames] == [round(frame.time * 25) for frame in frames]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(skipped) == 1
    assert skipped[0].name == str(cut)
    assert "cut short" in skipped[0].reason
    assert f"after {len(frames)} frames" in skipped[0].reason


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.m2v", {"codec": "mpeg2video"}),
        ("clip.mpg", {"codec": "mpeg2video", "audio": "mp2"}),
        ("clip.flv", {"audio": "aac"}),
        ("clip.mjpeg", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("clip.wmv", {"codec": "wmv2"}),
    ],
    ids=str,
)
def test_a_whole_file_is_not_called_cut_short(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Also where the header says no duration, and a guess from the bit rate may be far off."""
    frames, skipped = read(make_video(tmp_path / name, frames=60, **options))
    assert len(frames) == 60
    assert skipped == []


@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm", "clip.mp4", "clip.mov", "clip.avi"])
def test_a_file_that_begins_late_is_whole_and_as_long_as_its_frames(name: str, tmp_path: Path) -> None:
    """A Matroska file's duration is counted from 0, whenever it begins."""
    codecs = {".webm": "libvpx", ".avi": "mpeg4"}
    path = make_video(tmp_path / name, codec=codecs.get(name[4:], "libx264"), frames=12, start=Fraction(30))
    with Video(path) as video:
        assert abs((video.info.frame_count or 0) - 12) <= 1 or name == "clip.avi"  # which fills the time before
        assert [type(each) for each in video.frames()] == [Frame] * 12


@pytest.mark.parametrize("seconds", [1e10, 1e300, -5.0, float("nan")])
def test_a_duration_that_cannot_be_is_no_number_of_frames(seconds: float, tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mkv", frames=FRAMES)
    content = bytearray(path.read_bytes())
    place = content.index(b"\x44\x89\x88") + 3
    content[place : place + 8] = struct.pack(">d", 1000 * seconds)
    path.write_bytes(content)
    with Video(path) as video:
        assert video.info.frame_count is None
        assert sum(isinstance(each, Frame) for each in video.frames()) == FRAMES


def damaged(path: Path, packets: range) -> Path:
    """Overwrites the insides of these packets."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in packets:
        position, size = places[number]
        content[position : position + size] = b"\xff" * size
    path.write_bytes(content)
    return path


def test_damaged_packets_are_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=30)
    frames, skipped = read(damaged(path, range(10, 13)))
    assert [number_of(frame.rgb) for frame in frames] == [*range(10), *range(13, 30)]
    assert [frame.index for frame in frames] == list(range(27))
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in (*range(10), *range(13, 30))]
    assert len(skipped) == 3
    assert all("damaged" in each.reason for each in skipped)


def test_a_file_that_stays_damaged_is_given_up(tmp_path: Path) -> None:
    many = MAX_CONSECUTIVE_FAILURES + 20
    path = make_video(tmp_path / "clip.avi", codec="mjpeg", pix_fmt="yuvj420p", size=(32, 60), frames=many)
    with Video(damaged(path, range(10, many))) as video:
        found = []
        with pytest.raises(InputError, match=r"clip\.avi: given up after 100 damaged packets"):
            found.extend(video.frames())


def test_a_damaged_broadcast_goes_on(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.ts", codec="mpeg2video", frames=60)
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(1)
    for at in random.integers(len(content) // 4, len(content) * 9 // 10, 12):
        content[at : at + 40] = random.integers(0, 256, 40, np.uint8).tobytes()
    path.write_bytes(content)
    frames, _ = read(path)
    assert 40 < len(frames) <= 60
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_metadata_in_another_encoding(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mkv", frames=3)
    with av.open(str(path)) as source, av.open(str(tmp_path / "titled.mkv"), "w") as target:
        target.metadata["title"] = "XXXX"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    titled = tmp_path / "titled.mkv"
    titled.write_bytes(titled.read_bytes().replace(b"XXXX", b"\xe4\xf6\xfc\xdf"))
    frames, _ = read(titled)
    assert len(frames) == 3


@pytest.mark.parametrize("opened", [Video, partial(Live, realtime=True)], ids=["video", "live"])
def test_what_is_cut_off_on_the_left_is_cut_to_the_pixel(tmp_path: Path, opened: Callable[[Path], Source]) -> None:
    whole, cut = make_video(tmp_path / "whole.mp4", size=(96, 128), frames=3), tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        sides = "h264_metadata=crop_left=10:crop_right=4:crop_top=6:crop_bottom=2"
        cutter = BitStreamFilterContext(sides, source.streams.video[0], stream)
        for packet in chain.from_iterable(map(cutter.filter, source.demux(video=0))):
            packet.stream = stream
            target.mux(packet)
    frames, _ = read(whole)
    with opened(cut) as source_of_cut:
        shown = next(item for item in source_of_cut.frames() if isinstance(item, Frame))
    assert shown.size == (88, 114)
    assert np.array_equal(shown.rgb, frames[0].rgb[6:94, 10:124])


def test_sound_that_begins_long_after_the_pictures_of_an_flv(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "silent.flv", codec="flv1", frames=250, rate=Fraction(25))
    loud = make_video(tmp_path / "loud.flv", codec="flv1", frames=25, rate=Fraction(25), audio="mp3")
    late = tmp_path / "late.flv"
    late.write_bytes(silent.read_bytes() + loud.read_bytes()[13:])  # without its header
    with av.open(str(late)) as known:
        assert [stream.type for stream in known.streams] == ["video"]
    frames, _ = read(late)
    assert len(frames) == 275
    assert find_key_frames(late).marks


def test_the_first_frame_is_not_held_to_the_end(tmp_path: Path) -> None:
    with Video(make_video(tmp_path / "a.mp4", frames=4)) as video:
        frames = video.frames()
        first = weakref.ref(next(frames))
        next(frames)
        assert first() is None
