"""The overlay video, read back by PyAV: times, pictures, colours, sound, and what remains when a run ends early."""

import errno
import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.colour.planes import planes_of
from sapiens_stream.colour.tags import LightLevel, light_level, mastering_display
from sapiens_stream.errors import InputError, OutputError, UsageError
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.painting import Painter
from sapiens_stream.sinks.files import aside
from sapiens_stream.sinks.video import encoders, mp4
from sapiens_stream.sinks.video.encoders import (
    ENCODERS,
    container_for,
    encoder_named,
    kept_in_memory,
    require_size,
    working,
)
from sapiens_stream.sinks.video.mp4 import finish
from sapiens_stream.sinks.video.overlay import OverlayVideo
from tests.hdr import DISPLAY, HLG, PQ, SDR, WIDE, shot, video_frame, write
from tests.late_disk import make_late
from tests.media import RATE, frame_times, make_video, number_of, picture
from tests.small_disk import SIZE

REEL = Path(__file__).parents[2] / "shared" / "media" / "reel.mp4"


def frames_of(path):
    """The frames of a video file, as a source yields them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for index, decoded in enumerate(container.decode(stream)):
            yield Frame(
                index=index,
                name=f"{path.stem}/{index:06d}",
                decoded=decoded,
                quarter_turns=decoded.rotation // 90 % 4,
                pts=decoded.pts,
                time_base=decoded.time_base,
                duration=decoded.duration or None,
            )


def info_of(file, **changes):
    with av.open(str(file)) as container:
        rate = container.streams.video[0].average_rate
    return SourceInfo(**{"name": file.name, "kind": "video", "frame_rate": rate, "path": file, **changes})


def background(frame):
    return Segmentation(frame=frame, class_map=np.zeros(frame.size, np.uint8), classes=SAPIENS)


UNTOUCHED = Painter(SAPIENS, keep_background=True)  # paints nothing where all is background


def overlay(source, path, *, painter=UNTOUCHED, result=background, limit=None, info=None, **settings):
    """Writes the overlay of a video file. Returns the frames that were written."""
    sink = OverlayVideo(path, info or info_of(source), painter, **settings)
    written = []
    try:
        for frame in frames_of(source):
            if limit is not None and len(written) == limit:
                break
            sink.write(result(frame))
            written.append(frame)
    finally:
        sink.close()
    assert sink.written == [path]
    return written


def times(path):
    return [frame.time for frame in frames_of(path)]


def packets_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def packet_times(path):
    with av.open(str(path)) as container:
        return sorted(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.size)


TIMES = {
    "constant": ("a.mp4", {}),
    "variable": ("a.mp4", {"vfr": True}),
    "ntsc": ("a.mp4", {"rate": Fraction(30000, 1001)}),
    "b-frames": ("a.mp4", {"b_frames": 3, "frames": 40}),
    "start later": ("a.mp4", {"start": Fraction(1, 2)}),
    "variable, b-frames, start later": ("a.mp4", {"vfr": True, "b_frames": 2, "start": Fraction(7, 5), "frames": 50}),
    "transport stream": ("a.ts", {"b_frames": 2}),
    "matroska": ("a.mkv", {"vfr": True}),
    "with sound": ("a.mp4", {"audio": "aac", "start": Fraction(1, 5), "b_frames": 2}),
    "single frame": ("a.mp4", {"frames": 1}),
    "longer than a fragment": ("a.mp4", {"frames": 130, "vfr": True, "b_frames": 2, "size": (64, 80)}),
}


@pytest.mark.parametrize("name, settings", TIMES.values(), ids=TIMES.keys())
def test_every_frame_keeps_its_time_to_the_tick(tmp_path, name, settings):
    source = make_video(tmp_path / name, **settings)
    overlay(source, tmp_path / "overlay.mp4")
    assert times(tmp_path / "overlay.mp4") == times(source)
    assert packet_times(tmp_path / "overlay.mp4") == times(source)
    assert [number_of(frame.rgb) for frame in frames_of(tmp_path / "overlay.mp4")] == list(range(len(times(source))))


@pytest.mark.parametrize("rate", [Fraction(60000, 1001), Fraction(24000, 1001), Fraction(25)])
@pytest.mark.parametrize(
    "name, codec", [("overlay.mkv", "libx264"), ("overlay.mkv", "ffv1"), ("overlay.webm", "libvpx-vp9")]
)
def test_milliseconds_are_no_later_than_the_source(tmp_path, name, codec, rate):
    source = make_video(tmp_path / "a.mp4", rate=rate, b_frames=2, size=(64, 80))
    overlay(source, tmp_path / name, codec=codec)
    assert times(tmp_path / name) == [Fraction(time * 1000 // 1, 1000) for time in times(source)]


@pytest.mark.parametrize(
    "start, kind, expected", [(Fraction(90000), "video", 0), (Fraction(30), "live", 0), (Fraction(30), "video", 30)]
)
def test_a_start_that_players_would_wait_for_becomes_zero(tmp_path, start, kind, expected):
    source = make_video(tmp_path / "a.mkv", start=start, frames=3)
    overlay(source, tmp_path / "overlay.mp4", info=info_of(source, kind=kind, path=None))
    assert times(tmp_path / "overlay.mp4") == [expected + time for time in frame_times(3)]


def test_frames_that_go_back_in_time_or_have_none_are_written_in_order(tmp_path):
    source = make_video(tmp_path / "a.mp4", frames=6)
    pts = [0, 20, 20, 5, None, 100]
    sink = OverlayVideo(tmp_path / "overlay.mp4", info_of(source), UNTOUCHED)
    for frame, each in zip(frames_of(source), pts, strict=True):
        sink.write(
            background(Frame(index=frame.index, name="a", decoded=frame.decoded, pts=each, time_base=Fraction(1, 500)))
        )
    sink.close()
    assert [number_of(frame.rgb) for frame in frames_of(tmp_path / "overlay.mp4")] == list(range(6))
    assert times(tmp_path / "overlay.mp4") == [Fraction(t, 500) for t in (0, 20, 21, 22, 80, 100)]


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001)])
def test_the_pictures_themselves_tell_their_rate(tmp_path, rate):
    source = make_video(tmp_path / "a.mp4", rate=rate, size=(64, 80))
    overlay(source, tmp_path / "overlay.mp4")
    raw = tmp_path / "overlay.h264"
    with av.open(str(tmp_path / "overlay.mp4")) as container, av.open(str(raw), "w") as output:
        pictures = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = pictures
                output.mux(packet)
    with av.open(str(raw)) as container:
        assert container.streams.video[0].base_rate in (rate, 2 * rate)  # of frames or of fields


def test_an_mp4_has_its_index_first_and_is_not_in_fragments(tmp_path):
    overlay(make_video(tmp_path / "a.mp4"), tmp_path / "overlay.mp4")
    data = (tmp_path / "overlay.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "overlay.mp4"]


def body(frame):
    """A class map with five classes in the middle, the right way up."""
    height, width = frame.size
    class_map = np.zeros((height, width), np.uint8)
    for index, class_id in enumerate((2, 3, 12, 21, 22)):
        class_map[height // 4 : -height // 4, width // 8 * (index + 1) : width // 8 * (index + 2)] = class_id
    return Segmentation(frame=frame, class_map=class_map, classes=SAPIENS)


PICTURES = {
    "as usual": ("a.mp4", {}),
    "odd size": ("a.mkv", {"codec": "ffv1", "size": (97, 161)}),
    "10 bits": ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}),
    "4:4:4": ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p"}),
    "RGB": ("a.mkv", {"codec": "ffv1", "pix_fmt": "bgr0"}),
    "grey": ("a.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
    "full range": ("a.mp4", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"qmin": "1", "qmax": "1"}}),
    "BT.709": ("a.mp4", {"colours": {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1}}),
    "BT.2020, full range": ("a.mp4", {"colours": {"colorspace": 9, "color_range": 2}}),
    "turned left": ("a.mp4", {"rotation": 90}),
    "upside down": ("a.mp4", {"rotation": 180}),
    "turned right": ("a.mp4", {"rotation": 270}),
}


@pytest.mark.parametrize("name, settings", PICTURES.values(), ids=PICTURES.keys())
def test_pictures_are_painted_upright_in_their_own_colours(tmp_path, name, settings):
    source = make_video(tmp_path / name, frames=3, **settings)
    written = overlay(source, tmp_path / "overlay.mp4", painter=Painter(SAPIENS), result=body, crf=1)
    for frame, read in zip(written, frames_of(tmp_path / "overlay.mp4"), strict=True):
        want = Painter(SAPIENS).paint(frame.rgb, body(frame).class_map)
        height, width = want.shape[:2]
        assert read.size == (height + height % 2, width + width % 2)
        assert read.quarter_turns == 0
        got = read.rgb[:height, :width]
        # Away from edges, where 4:2:0 mixes colours, the two differ by the rounding of 8-bit YUV, twice.
        inner = cv2.erode(255 - cv2.Canny(want, 10, 20), np.ones((7, 7))) > 0
        assert inner.mean() > 0.3
        assert np.percentile(np.abs(got.astype(int) - want)[inner], 99) <= 6


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_video_of_few_frames_is_written_by_x265_too(tmp_path, count, pix_fmt):
    source = make_video(tmp_path / "a.mkv", codec="ffv1", pix_fmt=pix_fmt, frames=count, size=(1024, 64))
    for _ in range(5):  # what x265 says of so few packets' times is chance
        overlay(source, tmp_path / "overlay.mp4", codec="libx265")
        assert times(tmp_path / "overlay.mp4") == times(source)


TAGS = {
    "none": {},
    "BT.709": {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1},
    "BT.601, full range": {"colorspace": 6, "color_primaries": 6, "color_trc": 6, "color_range": 2},
    "BT.2020 without primaries": {"colorspace": 9, "color_range": 1},
}


@pytest.mark.parametrize("colours", TAGS.values(), ids=TAGS.keys())
def test_colour_tags_are_kept(tmp_path, colours):
    source = make_video(tmp_path / "a.mp4", frames=2, colours=colours)
    overlay(source, tmp_path / "overlay.mp4")

    def tags(path):
        frame = next(frames_of(path)).decoded
        return [frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range, frame.format.name]

    assert tags(tmp_path / "overlay.mp4") == tags(source)


SHOWN = {  # what the source is, the codec, what the overlay says, and its pixel format
    "PQ": (PQ, "libx264", (1, 1, 1, 1), "yuv420p"),
    "HLG": (HLG, "libx264", (1, 1, 1, 1), "yuv420p"),
    "HLG, full range": (replace(HLG, full_range=True), "libx264", (1, 1, 1, 1), "yuv420p"),
    "HLG, 8 bits": (replace(HLG, bits=8), "libx265", (1, 1, 1, 1), "yuv420p"),
    "BT.2020, SDR": (WIDE, "libx264", (1, 1, 1, 1), "yuv420p"),
    "PQ in 10 bits": (PQ, "libx265", (9, 9, 16, 1), "yuv420p10le"),
    "PQ, 12 bits": (replace(PQ, bits=12), "libx265", (9, 9, 16, 1), "yuv420p10le"),
    "HLG in 10 bits": (HLG, "libx265", (9, 9, 18, 1), "yuv420p10le"),
    "HLG in ProRes": (HLG, "prores_ks", (9, 9, 18, 1), "yuv422p10le"),
    "HLG, full range, in ProRes": (replace(HLG, full_range=True), "prores_ks", (9, 9, 18, 1), "yuv422p10le"),
    "full range in ProRes": (replace(SDR, bits=8, full_range=True), "prores_ks", (1, 1, 1, 1), "yuv422p10le"),
    "10 bits, full range, in ProRes": (replace(SDR, full_range=True), "prores_ks", (1, 1, 1, 1), "yuv422p10le"),
    "HLG in AV1": (HLG, "libsvtav1", (9, 9, 18, 1), "yuv420p10le"),
    "HLG in FFV1": (HLG, "ffv1", (9, 9, 18, 1), "yuv420p10le"),
    "BT.2020, SDR, in 10 bits": (WIDE, "libx265", (9, 9, 14, 1), "yuv420p10le"),
    "BT.709 in 10 bits": (SDR, "libx265", (1, 1, 1, 1), "yuv420p10le"),
    "BT.709, 10 bits, in 8": (SDR, "libx264", (1, 1, 1, 1), "yuv420p"),
    "8 bits": (replace(SDR, bits=8), "libx265", (1, 1, 1, 1), "yuv420p"),
}


@pytest.mark.parametrize("colour, codec, tags, pixels", SHOWN.values(), ids=SHOWN.keys())
def test_tags_tell_the_truth_and_colours_are_those_of_the_classes(tmp_path, colour, codec, tags, pixels):
    if codec not in working():
        pytest.skip(f"{codec} does not work here")
    size = (96, 160)
    source = write(tmp_path / "a.mkv", [shot(np.full((*size, 3), 120, np.uint8), colour) for _ in range(3)])
    path = tmp_path / f"overlay{container_for(codec)}"
    frame = overlay(source, path, painter=Painter(SAPIENS, opacity=1), result=body, codec=codec)[0]
    read = next(frames_of(path))
    decoded = read.decoded
    assert (decoded.colorspace, decoded.color_primaries, decoded.color_trc, decoded.color_range) == tags
    assert decoded.format.name == pixels
    want = Painter(SAPIENS, opacity=1).paint(frame.rgb, body(frame).class_map)
    inner = cv2.erode(255 - cv2.Canny(want, 10, 20), np.ones((9, 9))) > 0
    difference = np.abs(read.rgb.astype(int) - want)[inner]
    # What is painted in HDR goes through the tone curve, which takes up to 25 levels from the brightest.
    assert difference.mean() < (9 if tags[2] in (16, 18) else 4)


@pytest.mark.parametrize("colour", [PQ, HLG, SDR], ids=["PQ", "HLG", "SDR"])
@pytest.mark.parametrize("codec", ["libx265", "ffv1", "libsvtav1", "prores_ks"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_a_ramp_of_ten_bits_keeps_its_steps(tmp_path, colour, codec, rotation):
    if codec not in working():
        pytest.skip(f"{codec} does not work here")
    steps = np.arange(64, 64 + 512).repeat(2)
    codes = np.dstack([np.tile(steps, (160, 1)), *[np.full((160, 1024), 512)] * 2]).astype(float)
    frames = [video_frame(codes, colour) for _ in range(3)]
    source = write(tmp_path / "a.mp4", frames, "libx265", rotation=rotation)
    path = tmp_path / f"overlay{container_for(codec)}"
    lossless = {"crf": 1} if ENCODERS[codec].crf_range else {}
    overlay(source, path, codec=codec, **lossless)
    y = planes_of(next(frames_of(path)).decoded).y.astype(int)
    y = np.rot90(y, -1) if rotation else y
    assert y.shape == (160, 1024)
    assert np.abs(y - steps).mean() <= (0 if codec == "ffv1" else 4)  # the others lose a little
    assert len(np.unique(y)) > 300  # in 8 bits it would be 128


@pytest.mark.parametrize("codec", ["libx265", "libsvtav1"])
def test_the_brightness_of_a_film_is_kept(tmp_path, codec):
    if codec not in working():
        pytest.skip(f"{codec} does not work here")
    words = f"lossless=1:log-level=error:master-display={DISPLAY}:max-cll=900,300"
    frames = [shot(np.full((96, 160, 3), 120, np.uint8), PQ) for _ in range(3)]
    source = write(tmp_path / "a.mp4", frames, "libx265", **{"x265-params": words})
    overlay(source, tmp_path / "overlay.mp4", codec=codec)
    was, now = (next(frames_of(path)).decoded for path in (source, tmp_path / "overlay.mp4"))
    assert light_level(now) == light_level(was) == LightLevel(900, 300)
    got, want = mastering_display(now), mastering_display(was)
    for corner in ("red", "green", "blue", "white", "luminance"):
        assert getattr(got, corner) == pytest.approx(getattr(want, corner), rel=0.03)


def test_what_an_encoder_of_ten_bits_makes_of_eight_is_the_same_every_time(tmp_path):
    """Several threads that convert a frame would write into each other's lines."""
    source = make_video(tmp_path / "a.mkv", codec="ffv1", size=(480, 854), frames=40)
    copies = [tmp_path / f"{number}.mov" for number in range(3)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda copy: overlay(source, copy, codec="prores_ks"), copies))
    one, *others = (packets_of(copy) for copy in copies)
    assert len(one) == 40 and others == [one, one]


@pytest.mark.parametrize("rotation, expected", [(0, Fraction(4, 3)), (90, Fraction(3, 4)), (180, Fraction(4, 3))])
def test_pixels_keep_their_shape(tmp_path, rotation, expected):
    source = make_video(tmp_path / "a.mp4", frames=2, sar=Fraction(4, 3), rotation=rotation)
    overlay(source, tmp_path / "overlay.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == expected


@pytest.mark.parametrize("kind", ["live", "video"])
def test_pixels_keep_the_shape_that_the_source_says(tmp_path, kind):
    """Also where there is no file to look into, or another of its streams would be taken."""
    file = make_video(tmp_path / "a.mp4", frames=2, sar=Fraction(2))
    info = info_of(file, kind=kind, **({"path": None} if kind == "live" else {}))
    overlay(
        file,
        tmp_path / "overlay.mp4",
        info=info,
        result=lambda frame: background(replace(frame, sample_aspect_ratio=Fraction(4, 3))),
    )
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_a_change_of_size_is_scaled_to_the_first_and_said_once(tmp_path):
    warnings = []
    sink = OverlayVideo(
        tmp_path / "overlay.mp4", SourceInfo(name="a", kind="video"), Painter(SAPIENS), warn=warnings.append
    )
    for index, size in enumerate([(96, 160), (96, 160), (48, 80), (192, 320)]):
        frame = Frame(
            index=index, name=f"a/{index}", decoded=picture(index, size), pts=index, time_base=Fraction(1, 10)
        )
        sink.write(background(frame))
    sink.close()
    read = list(frames_of(tmp_path / "overlay.mp4"))
    assert [frame.size for frame in read] == [(96, 160)] * 4
    assert len(warnings) == 1 and "80x48" in warnings[0] and "160x96" in warnings[0]


def sound(path):
    """The best audio stream: its codec, and (time, bytes) of each packet."""
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        packets = [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]
        return stream.codec_context.name, packets


@pytest.mark.parametrize("codec, settings", [("aac", {}), ("aac", {"start": Fraction(2, 5)}), ("mp3", {}), ("ac3", {})])
def test_sound_that_the_container_holds_is_copied(tmp_path, codec, settings):
    source = make_video(tmp_path / "a.mp4", frames=50, audio=codec, size=(64, 80), **settings)
    overlay(source, tmp_path / "overlay.mp4")
    assert sound(tmp_path / "overlay.mp4")[1] == sound(source)[1]
    assert times(tmp_path / "overlay.mp4") == times(source)


def tone_span(path):
    """Seconds at which the tone begins and ends."""
    with av.open(str(path)) as container:
        begin = end = None
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float)
            loud = np.abs(samples).mean() > (1000 if frame.format.name.startswith("s16") else 0.03)
            if loud:
                begin = frame.time if begin is None else begin
                end = frame.time + frame.samples / frame.sample_rate
    return begin, end


TRANSCODED = {
    "pcm to mp4": ("a.mkv", "pcm_s16le", "libx264", "aac"),
    "ac3 to webm": ("a.mkv", "ac3", "libvpx-vp9", "opus"),
    "aac to webm": ("a.mp4", "aac", "libvpx-vp9", "opus"),
    "aac of a transport stream": ("a.ts", "aac", "libx264", "aac"),
}


@pytest.mark.parametrize("name, audio, codec, expected", TRANSCODED.values(), ids=TRANSCODED.keys())
def test_sound_lasts_and_begins_as_in_the_source(tmp_path, name, audio, codec, expected):
    source = make_video(tmp_path / name, frames=25, audio=audio, start=Fraction(2, 5), size=(64, 80))
    path = tmp_path / f"overlay{container_for(codec)}"
    overlay(source, path, codec=codec)
    assert expected in sound(path)[0]
    # A frame of an audio codec is 21 to 23 ms long.
    assert tone_span(path) == pytest.approx(tone_span(source), abs=0.03)


def test_an_interrupted_run_keeps_the_sound_to_its_last_picture(tmp_path):
    source = make_video(tmp_path / "a.mp4", frames=100, audio="aac", size=(64, 80))
    overlay(source, tmp_path / "overlay.mp4", limit=25)
    assert len(times(tmp_path / "overlay.mp4")) == 25
    assert 1 <= sound(tmp_path / "overlay.mp4")[1][-1][0] <= Fraction(8, 5)


@pytest.mark.parametrize("name", ["overlay.mp4", "overlay.mkv"])
def test_sound_that_outlasts_the_pictures_is_kept(tmp_path, name):
    source = make_video(tmp_path / "a.mp4", audio="aac", audio_seconds=12, size=(64, 80))
    overlay(source, tmp_path / name)
    assert [data for _, data in sound(tmp_path / name)[1]][-500:] == [data for _, data in sound(source)[1]][-500:]
    overlay(source, tmp_path / name, limit=6)  # which leaves off six frames before
    assert sound(tmp_path / name)[1][-1][0] <= 6 / RATE + 1


def test_without_sound_there_is_none(tmp_path):
    source = make_video(tmp_path / "a.mp4", audio="aac")
    overlay(source, tmp_path / "overlay.mp4", audio=False)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize("codec, audio", [("libx264", "pcm_s16le"), ("libx264", "aac")])
def test_damaged_sound_does_not_cost_the_video(tmp_path, codec, audio):
    source = make_video(tmp_path / "a.mkv", frames=40, audio=audio, size=(64, 80))
    data = bytearray(source.read_bytes())
    _, packets = sound(source)
    for _, packet in packets[5:20]:
        at = data.find(packet)
        data[at : at + len(packet)] = os.urandom(len(packet))
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(data)
    warnings = []
    overlay(damaged, tmp_path / "overlay.mp4", codec=codec, warn=warnings.append)
    assert times(tmp_path / "overlay.mp4") == times(source)
    assert len(warnings) <= 1


@pytest.mark.parametrize("codec", ENCODERS)
def test_each_encoder_writes_a_video_in_its_container_or_is_refused_at_once(tmp_path, codec):
    source = make_video(tmp_path / "a.mp4", frames=5, size=(240, 320), audio="aac")
    path = tmp_path / f"overlay{container_for(codec)}"
    if codec not in working():
        with pytest.raises(UsageError, match=rf"{codec} .*libx264"):
            OverlayVideo(path, info_of(source), UNTOUCHED, codec=codec)
        assert not path.exists()
        return
    overlay(source, path, codec=codec)
    assert [number_of(frame.rgb) for frame in frames_of(path)] == list(range(5))
    tick = 0 if path.suffix in (".mp4", ".mov") else 0.001
    assert [float(t) for t in times(path)] == pytest.approx([float(t) for t in times(source)], abs=tick)
    assert sound(path)[1]


@pytest.mark.parametrize("codec", [name for name in ENCODERS if encoders.in_software(name)])
def test_each_container_that_is_offered_holds_the_video(tmp_path, codec):
    if codec not in working():
        pytest.skip(f"{codec} does not work here")
    source = make_video(tmp_path / "a.mp4", frames=3, size=(64, 80), audio="aac")
    written = set()
    for name in ("overlay.mp4", "overlay.mov", "overlay.mkv", "overlay.webm"):
        with suppress(UsageError):
            encoders.require_fitting(codec, tmp_path / name)
            overlay(source, tmp_path / name, codec=codec)
            assert len(times(tmp_path / name)) == 3
            written.add(name)
    assert {f"overlay{container_for(codec)}", "overlay.mkv"} <= written


def test_av1_is_refused_in_mov_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"a video by libsvtav1 goes into \.mp4 or \.mkv"):
        encoders.require_fitting("libsvtav1", tmp_path / "overlay.mov")


def test_no_other_encoder_is_tried_where_threads_are_short(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(encoders, "_problem", lambda codec: tried.append(codec) or "it can't be opened: out of threads")
    with pytest.raises(OutputError, match=r"^codec libx264 does not work now: .* processes \(ulimit -u\)"):
        OverlayVideo(tmp_path / "overlay.mp4", SourceInfo(name="a", kind="video"), UNTOUCHED)
    assert tried == ["libx264"]


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"codec": "libx999"}, "libx999.*libx264"),
        ({"crf": 52}, "crf 52"),
        ({"crf": -1}, "crf -1"),
        ({"codec": "prores_ks", "crf": 20}, "crf"),
        ({"preset": "quick"}, "quick.*veryfast"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(tmp_path, settings, told):
    with pytest.raises(UsageError, match=told):
        OverlayVideo(tmp_path / "overlay.mp4", SourceInfo(name="a", kind="video"), UNTOUCHED, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc", "av1_nvenc"])
def test_nvencs_own_choice_of_quality_is_no_crf(codec):
    with pytest.raises(UsageError, match="crf 0 is outside 1 to 51"):
        encoder_named(codec).settings(0, "veryfast")
    assert encoder_named(codec).settings(1, "veryfast")["cq"] == "1"


@pytest.mark.parametrize("codec, gpu", [("h264_nvenc", "1"), ("av1_nvenc", "1"), ("libx264", None), ("ffv1", None)])
def test_nvenc_encodes_on_the_card_of_the_model(codec, gpu):
    assert encoder_named(codec).settings(None, "veryfast", gpu=1).get("gpu") == gpu
    assert "gpu" not in encoder_named(codec).settings(None, "veryfast")


def test_without_a_frame_there_is_no_file(tmp_path):
    sink = OverlayVideo(tmp_path / "sub" / "overlay.mp4", SourceInfo(name="a", kind="video"), UNTOUCHED)
    sink.close()
    assert sink.written == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", ["libx264", "prores_ks", "ffv1"])
def test_a_killed_run_leaves_a_playable_file(tmp_path, codec):
    path = tmp_path / f"overlay{container_for(codec)}"
    writer = f"""
        from fractions import Fraction
        from pathlib import Path
        from tests.media import picture
        from tests.test_overlay_video import *
        sink = OverlayVideo(Path({str(path)!r}), SourceInfo(name="a", kind="video"), UNTOUCHED, codec={codec!r})
        for index in range(10**6):
            frame = Frame(index=index, name="a", decoded=picture(index % 1000), pts=index, time_base=Fraction(1, 25))
            sink.write(background(frame))
            if index == 400:
                print("written", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(writer)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    assert process.stdout.readline() == b"written\n"
    process.kill()
    process.wait()
    assert not path.exists()
    read = []
    with suppress(av.error.InvalidDataError):  # the last fragment may be torn
        read.extend(number_of(frame.rgb) for frame in frames_of(aside(path)))
    assert read[:300] == list(range(300))


def test_a_full_disk_leaves_a_playable_file(small_disk):
    rng = np.random.default_rng(0)
    path = small_disk / "overlay.mp4"
    sink = OverlayVideo(path, SourceInfo(name="a", kind="video"), UNTOUCHED, warn=lambda text: None)
    with pytest.raises(OutputError, match=r"overlay\.mp4.*No space left"):
        for index in range(1000):
            noise = rng.integers(0, 256, (96, 160, 3), np.uint8)
            sink.write(background(Frame(index=index, name="a", decoded=noise, pts=index, time_base=Fraction(1, 25))))
    with pytest.raises(OutputError, match=r"overlay\.mp4.*No space left"):
        sink.close()
    sink.close()
    assert len(times(path)) >= 10
    assert sink.written == [path]
    assert [each.name for each in small_disk.iterdir()] == ["overlay.mp4"]


def test_a_disk_that_is_full_for_the_last_fragment_alone_is_told(small_disk):
    """FFmpeg writes it with the trailer, and tells of no failure there."""
    rng = np.random.default_rng(0)
    path = small_disk / "overlay.mov"
    source = SourceInfo(name="a", kind="video")
    sink = OverlayVideo(path, source, UNTOUCHED, codec="prores_ks", warn=lambda text: None)  # a frame in, a frame out
    for index in range(30):  # each of which is a fragment
        noise = rng.integers(0, 256, (48, 64, 3), np.uint8)
        sink.write(background(Frame(index=index, name="a", decoded=noise, pts=index, time_base=Fraction(1, 25))))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(SIZE - 4096 - sum(each.stat().st_size for each in small_disk.iterdir())))
    with pytest.raises(OutputError, match=r"overlay\.mov is cut short: No space left"):
        sink.close()
    assert len(times(path)) == 29
    assert sorted(each.name for each in small_disk.iterdir()) == ["filler", "overlay.mov"]


MUXED_FILE = "sapiens_stream.sinks.video.muxed_file"


def noisy(path, *, frames=30):
    """A sink that has frames of noise in their order; each a fragment, where there are fragments."""
    rng = np.random.default_rng(0)
    codec = "prores_ks" if path.suffix == ".mov" else "ffv1"  # a frame in, a frame out
    warnings = []
    sink = OverlayVideo(path, SourceInfo(name="a", kind="video"), UNTOUCHED, codec=codec, warn=warnings.append)
    for index in range(frames):
        noise = rng.integers(0, 256, (48, 64, 3), np.uint8)
        sink.write(background(Frame(index=index, name="a", decoded=noise, pts=index, time_base=Fraction(1, 25))))
    return sink, warnings


@pytest.mark.parametrize("name", ["overlay.mov", "overlay.mkv"])
def test_what_a_disk_tells_when_a_file_is_closed_is_told(tmp_path, monkeypatch, name):
    """FFmpeg closes a file without asking; a run was complete that lacked what a server had no room for."""
    make_late(monkeypatch, MUXED_FILE, lambda path: 60_000)
    sink, _ = noisy(tmp_path / name)
    with pytest.raises(OutputError, match=rf"{name} is cut short: Disk quota exceeded"):
        sink.close()
    assert 5 < len(times(tmp_path / name)) < 30
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_what_a_disk_tells_when_the_finished_file_is_closed_leaves_the_fragments(tmp_path, monkeypatch):
    path = tmp_path / "overlay.mov"
    make_late(monkeypatch, MUXED_FILE, lambda made: 1 << 30 if made == aside(path) else 60_000)
    sink, warnings = noisy(path)
    sink.close()
    assert [each.split(": ", 1)[1] for each in warnings] == [
        "left in fragments, which some players seek in slowly: Disk quota exceeded"
    ]
    assert len(times(path)) == 30
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["overlay.mp4", "overlay.mkv"])
def test_a_disk_that_gives_nothing_back_is_named_and_what_lies_there_stays(tmp_path, monkeypatch, name):
    sink, _ = noisy(tmp_path / name)
    growing = aside(tmp_path / name)
    opened = Path.open

    def unread(path, mode="r", *rest, **options):
        if path == growing and mode == "rb":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return opened(path, mode, *rest, **options)

    def unopened(path):
        raise InputError("its content is not a video")

    monkeypatch.setattr(Path, "open", unread)
    monkeypatch.setattr(mp4, "open_file", unopened)
    monkeypatch.setattr(mp4, "_drop_torn_fragment", lambda path: None)
    with pytest.raises(OutputError, match=rf"{name} can't be written: Input/output error"):
        sink.close()
    monkeypatch.undo()
    assert sink.written == [] and len(times(growing)) == 30


def test_a_first_fragment_that_a_full_disk_tears_is_no_file(small_disk):
    rng = np.random.default_rng(0)
    path = small_disk / "overlay.mp4"
    sink = OverlayVideo(path, SourceInfo(name="a", kind="video"), UNTOUCHED, warn=lambda text: None)
    for index in range(20):  # they are one fragment, written once all is given
        noise = rng.integers(0, 256, (96, 160, 3), np.uint8)
        sink.write(background(Frame(index=index, name="a", decoded=noise, pts=index, time_base=Fraction(1, 25))))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(SIZE - 4096 * 20 - sum(each.stat().st_size for each in small_disk.iterdir())))
    with pytest.raises(OutputError, match=r"overlay\.mp4 can't be written"):
        sink.close()
    assert sink.written == []
    assert [each.name for each in small_disk.iterdir()] == ["filler"]


def test_a_disk_too_full_to_finish_keeps_the_fragments(small_disk):
    """The finished file needs the room of the growing one a second time."""
    rng = np.random.default_rng(0)
    path = small_disk / "overlay.mp4"
    warnings = []
    sink = OverlayVideo(path, SourceInfo(name="a", kind="video"), UNTOUCHED, warn=warnings.append)
    index = 0
    while not aside(path).exists() or aside(path).stat().st_size < 600_000:
        noise = rng.integers(0, 256, (96, 160, 3), np.uint8)
        sink.write(background(Frame(index=index, name="a", decoded=noise, pts=index, time_base=Fraction(1, 25))))
        index += 1
    (small_disk / "filler").write_bytes(bytes(100_000))
    sink.close()
    assert len(warnings) == 1 and "No space left" in warnings[0]
    assert len(times(path)) == index


@pytest.mark.skipif(not REEL.exists(), reason="the shared video is not here")
def test_a_real_video_keeps_times_and_sound(tmp_path):
    overlay(REEL, tmp_path / "overlay.mp4", preset="ultrafast")
    assert times(tmp_path / "overlay.mp4") == times(REEL)
    assert sound(tmp_path / "overlay.mp4") == sound(REEL)


def test_no_encoder_makes_the_process_real_time(tmp_path: Path) -> None:
    """SVT-AV1 does so as root, where the machine then stands still; in a process of its own, for the child's sake."""
    code = (
        "import os; os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0));"
        "from sapiens_stream.sinks.video.encoders import working; working();"
        "print({os.sched_getscheduler(int(each)) for each in os.listdir('/proc/self/task')})"
    )
    if not hasattr(os, "sched_getscheduler") or not Path("/proc/self/task").is_dir():
        pytest.skip("this system does not tell how threads are scheduled")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str({os.SCHED_OTHER})


@pytest.mark.parametrize(("codec", "size", "least"), [("libx265", (400, 6), 16), ("libsvtav1", (6, 400), 32)])
def test_what_is_too_small_for_an_encoder_is_refused_with_those_that_take_it(codec, size, least, tmp_path):
    """x265 fails without a reason; SVT-AV1 would wait for ever."""
    with pytest.raises(OutputError, match=f"{codec} holds no fewer than {least} pixels a side.*--codec libx264"):
        require_size(codec, size, tmp_path / "overlay.mp4")
    require_size(codec, (least, least), tmp_path / "overlay.mp4")


@pytest.mark.parametrize(
    ("preset", "size", "kept", "sliced"),
    [("medium", (90, 160), 40, False), ("medium", (2400, 4200), 21, True), ("veryfast", (2400, 4200), 10, True)],
)
def test_of_very_large_pictures_an_encoder_holds_few(preset, size, kept, sliced, tmp_path):
    source = make_video(tmp_path / "a.mkv", size=size, frames=2, codec="ffv1")
    overlay(source, tmp_path / "overlay.mp4", preset=preset)
    # x264 writes its settings into its videos. With one thread there is nothing to slice.
    said = dict(re.findall(rb"(threads|sliced_threads|rc_lookahead)=(\d+)", packets_of(tmp_path / "overlay.mp4")[0]))
    assert int(said[b"rc_lookahead"]) == kept
    assert int(said[b"sliced_threads"]) == (sliced and int(said[b"threads"]) > 1)


def test_of_pictures_beyond_every_level_x264_holds_next_to_none():
    options = encoder_named("libx264").settings(None, "veryfast")
    kept = kept_in_memory("libx264", options, (12000, 12000))["x264-params"]
    assert kept == f"{options['x264-params']}:rc-lookahead=1:bframes=0"
    assert "bframes" not in kept_in_memory("libx264", options, (4320, 7680))["x264-params"]


def test_pictures_beyond_every_level_of_h264_are_finished_too(tmp_path):
    """FFmpeg's filter, by which the stream would tell its rate, does not know so many macroblocks."""
    size, growing = (4608, 8192), tmp_path / "growing.mp4"
    with av.open(str(growing), "w", options={"movflags": "frag_keyframe+empty_moov"}) as output:
        stream = output.add_stream(
            "libx264", rate=25, options={"preset": "ultrafast", "x264-params": "threads=1:slices=64"}
        )
        stream.height, stream.width = size
        picture = av.VideoFrame(size[1], size[0], "yuv420p")
        for index in range(2):
            picture.pts = index
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    finish(growing, tmp_path / "whole.mp4", pytest.fail)
    assert len(packets_of(tmp_path / "whole.mp4")) == 2 and not growing.exists()


def test_of_very_large_pictures_x265_looks_ahead_as_far_as_it_must(tmp_path):
    if "libx265" not in working():
        pytest.skip("this build has no x265")
    options = encoder_named("libx265").settings(None, "slow")
    assert kept_in_memory("libx265", options, (2160, 3840)) == options
    kept = kept_in_memory("libx265", options, (30000, 30000))
    assert kept["x265-params"].endswith(":rc-lookahead=5")
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt, context.framerate = 160, 96, "yuv420p", 25
    context.options = kept
    context.open()
