"""What may be named as a live source, what is shown of it, and on which line its times come to lie."""

from __future__ import annotations

import errno
import itertools
import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest

from sapiens_stream.errors import UsageError
from sapiens_stream.sources import list_cameras, parse_address
from sapiens_stream.sources.live.pace import Backlog
from sapiens_stream.sources.live.timeline import TIME_BASE, Timeline
from sapiens_stream.sources.live.v4l2 import CameraMode, modes


@pytest.mark.parametrize(
    ("what", "platform", "format", "url", "name", "stem"),
    [
        (0, "linux", "v4l2", "/dev/video0", "camera 0", "camera0"),
        ("1", "linux", "v4l2", "/dev/video1", "camera 1", "camera1"),
        ("/dev/video2", "linux", "v4l2", "/dev/video2", "/dev/video2", "camera_video2"),
        ("1", "darwin", "avfoundation", "1:none", "camera 1", "camera1"),
        ("video=HD Cam/1", "win32", "dshow", "video=HD Cam/1", "video=HD Cam/1", "camera_HD_Cam_1"),
        ("screen", "linux", "x11grab", ":7", "screen", "screen"),
        ("screen", "darwin", "avfoundation", "Capture screen 0:none", "screen", "screen"),
        ("screen", "win32", "gdigrab", "desktop", "screen", "screen"),
        ("lavfi:testsrc2=rate=5", "linux", "lavfi", "testsrc2=rate=5", "lavfi:testsrc2=rate=5", "lavfi"),
        ("tcp://h:1?listen", "linux", None, "tcp://h:1?listen", "tcp://h:1?listen", "tcp_h_1"),
        ("udp://@239.0.0.1:5", "linux", None, "udp://@239.0.0.1:5", "udp://239.0.0.1:5", "udp_239.0.0.1_5"),
        ("udp://:5", "linux", None, "udp://:5", "udp://:5", "udp_5"),
        ("RTSP://Cam/a b", "linux", None, "rtsp://Cam/a b", "rtsp://Cam/a b", "rtsp_Cam_a_b"),
        ("rtmp://u:s3cret@h/app/x", "linux", None, "rtmp://u:s3cret@h/app/x", "rtmp://h/app/x", "rtmp_h_app_x"),
        ("http://[::1]:8/../x", "linux", None, "http://[::1]:8/../x", "http://[::1]:8/../x", "http_1_8_.._x"),
    ],
)
def test_what_can_be_named(
    what: str | int,
    platform: str,
    format: str | None,
    url: str,
    name: str,
    stem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISPLAY", ":7")
    address = parse_address(what, platform=platform)
    assert (address.format, address.url, address.name, address.stem) == (format, url, name, stem)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", "nothing: no such live source; there are a camera's index"),
        ("ftp://u:s3cret@host/x", "no live source has a URL of ftp://; there are"),
        ("rtsp://user:s3cret/@host/x", "no proper host and port.*@ as %40"),
        ("rtsp://user:s3c@ret/w@host/x", "no proper host and port"),
        ("rtsp://user:s3cret#1@host/x", "no proper host and port"),
        ("rtsp://user:5#s3cret@host/x", "no proper host and port"),
        ("rtsp://[s3cret", "no proper host and port"),
        ("tcp://host", "the tcp URL has no proper host and port"),
        ("lavfi:", "lavfi: needs a graph"),
        ("screen", "DISPLAY is not set"),
        (__file__, "--realtime"),
    ],
)
def test_what_cannot_be_named(what: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UsageError, match=message) as caught:
        parse_address(what, platform="linux")
    assert "s3c" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("rtsp://admin:s3cret@cam:554/stream1", "rtsp://cam:554/stream1"),
        ("rtsp://admin:s3c@ret@cam/x", "rtsp://cam/x"),
        ("rtsp://cam/realmonitor?channel=1&subtype=0", "rtsp://cam/realmonitor?channel=1&subtype=0"),
        ("rtsp://cam/user=admin&password=s3cret&channel=1", "rtsp://cam/user=***&password=***&channel=1"),
        ("rtsp://cam/user=admin_password=s3cret_channel=1_stream=0.sdp", "rtsp://cam/user=***"),
        ("http://cam/v.cgi?loginuse=admin&loginpas=s3cret", "http://cam/v.cgi?loginuse=***&loginpas=***"),
        ("http://cam/v?s3cret", "http://cam/v?***"),
        ("https://cam/v?fps=5&sv=s3cret#s3cret", "https://cam/v?fps=5&sv=***"),
        ("srt://host:9?mode=caller&passphrase=s3cret", "srt://host:9?mode=caller&passphrase=***"),
        ("lavfi:movie=rtsp\\\\://admin:s3cret@cam/x", "lavfi:movie=rtsp\\\\://cam/x"),
        ("lavfi:movie=http\\\\://cam/x?token=s3cret", "lavfi:movie=http\\\\://cam/x?token=***"),
    ],
)
def test_a_name_has_no_secrets(what: str, name: str) -> None:
    address = parse_address(what)
    assert address.name == name
    for told in (repr(address), str(address), address.stem):
        assert "s3c" not in told
        assert "admin" not in told


def test_a_file_is_live_at_its_own_speed_alone(tmp_path: Path) -> None:
    file = tmp_path / "7"
    file.write_bytes(b"")
    address = parse_address(str(file), realtime=True)
    assert (address.kind, address.url, address.stem, address.endless) == ("file", f"file:{file}", "7", False)


# (seconds that the sender stamps, seconds of arrival); None: another connection -> seconds on the line
TIMELINES = {
    "jitter of the network is left out": ([(5.0, 9.0), (5.04, 9.06), (5.08, 9.07)], [0, 0.04, 0.08]),
    "no stamps": ([(None, 3.0), (None, 3.05), (None, 3.1)], [0, 0.05, 0.1]),
    "a sender that starts anew": ([(50.0, 1.0), (50.5, 1.5), (0.0, 2.0), (0.1, 2.1)], [0, 0.5, 1.0, 1.1]),
    "a clock that jumps ahead": ([(0.0, 1.0), (9.0, 1.1), (9.1, 1.2)], [0, 0.1, 0.2]),
    "another connection": ([(0.0, 1.0), (0.1, 1.1), None, (0.2, 8.0), (0.3, 8.1)], [0, 0.1, 7.0, 7.1]),
    "stamps that go back a little": ([(1.0, 1.0), (1.1, 1.1), (1.05, 1.2)], [0, 0.1, 0.1 + 1 / 90_000]),
    "stamps that stand still": ([(1.0, 1.0), (1.0, 1.0)], [0, 1 / 90_000]),
}


@pytest.mark.parametrize("name", TIMELINES)
def test_the_line_of_time(name: str) -> None:
    given, expected = TIMELINES[name]
    timeline = Timeline()
    found = []
    for each in given:
        if each is None:
            timeline.restart()
        else:
            stamp, arrived = each
            found.append(timeline.pts(None if stamp is None else Fraction(stamp), arrived) * TIME_BASE)
    assert [float(seconds) for seconds in found] == pytest.approx(expected, abs=2e-5)
    assert all(before < after for before, after in itertools.pairwise(found))


def test_a_decoder_that_is_too_slow_leaves_out_what_it_cannot_catch_up_with() -> None:
    """Ten packets a second come, the first of each ten a key; decoding one takes 0.2 s, leaving one out nothing."""
    backlog = Backlog(0.0)
    now, lags, decoded = 0.0, [], []
    for number in range(600):
        came = number / 10
        waited = max(0.0, came - now)
        now = max(now, came)
        packet = av.Packet(b"0")
        packet.is_keyframe = number % 10 == 0
        if not backlog.skips(packet, waited, now):
            lags.append(now - came)
            decoded.append(number)
            now += 0.2
    assert max(lags) < 2
    assert len(decoded) > 100
    for before, after in itertools.pairwise(decoded):
        assert after == before + 1 or after % 10 == 0


def test_a_hiccup_of_the_network_is_caught_up_with() -> None:
    """Nothing comes for two seconds, then all at once; decoding takes 0.01 s."""
    backlog = Backlog(0.0)
    now = 0.0
    for number in range(100):
        came = 4.0 if 20 <= number < 40 else number / 10
        waited = max(0.0, came - now)
        now = max(now, came)
        assert not backlog.skips(av.Packet(b"0"), waited, now)
        now += 0.01


def test_cameras_are_listed() -> None:
    assert all(camera.address.startswith("/dev/video") for camera in list_cameras("linux"))


def driver(request: int, buffer: bytearray) -> None:
    """Answers as a driver does, in the structures of linux/videodev2.h: a webcam, whose second format has ranges."""
    index = struct.unpack_from("=I", buffer)[0]
    formats = [b"MJPG", b"YUYV"]
    sizes = {b"MJPG": [(1920, 1080), (640, 480)]}
    match request:
        case 0xC0405602 if index < len(formats):  # VIDIOC_ENUM_FMT
            assert struct.unpack_from("=I", buffer, 4)[0] == 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
            buffer[44:48] = formats[index]
        case 0xC02C564A if buffer[4:8] == b"YUYV" and index == 0:  # VIDIOC_ENUM_FRAMESIZES, stepwise
            struct.pack_into("=7I", buffer, 8, 3, 16, 640, 16, 16, 480, 16)
        case 0xC02C564A if buffer[4:8] == b"MJPG" and index < 2:  # discrete
            struct.pack_into("=3I", buffer, 8, 1, *sizes[b"MJPG"][index])
        case 0xC034564B if buffer[4:8] == b"YUYV" and index == 0:  # VIDIOC_ENUM_FRAMEINTERVALS, stepwise
            struct.pack_into("=7I", buffer, 16, 3, 1, 30, 1, 5, 1, 1)
        case 0xC034564B if buffer[4:8] == b"MJPG" and index < 2:  # discrete
            struct.pack_into("=3I", buffer, 16, 1, *[(1, 30), (1001, 15000)][index])
        case _:
            raise OSError(errno.EINVAL, "no more")


def test_the_modes_of_a_camera() -> None:
    mjpeg_rates = Fraction(30), Fraction(15000, 1001)
    assert list(modes(driver)) == [
        CameraMode("MJPG", (1080, 1920), mjpeg_rates),
        CameraMode("MJPG", (480, 640), mjpeg_rates),
        CameraMode("YUYV", (16, 16), (Fraction(30), Fraction(5))),
        CameraMode("YUYV", (480, 640), (Fraction(30), Fraction(5))),
    ]


@pytest.mark.parametrize("past", [0, 1, 10, 27, 125])
@pytest.mark.parametrize("begin", [0.0, 3.0, 70_000.0])
def test_what_comes_at_once_puts_no_frame_that_follows_out_of_time(past: int, begin: float) -> None:
    line = Timeline()
    for start in (10.0, 30.0):
        line.restart()
        arrivals = [start + 0.002 * number for number in range(past)]
        arrivals += [start + 0.002 * past + 0.04 * number for number in range(50)]
        stamps = [begin + Fraction(number, 25) for number in range(len(arrivals))]
        times = [line.pts(Fraction(stamp), at) * TIME_BASE for stamp, at in zip(stamps, arrivals, strict=True)]
        assert all(before < after for before, after in itertools.pairwise(times))
        assert [float(time) for time in times] == pytest.approx([at - 10.0 for at in arrivals], abs=0.05)
        steps = [float(after - before) for before, after in itertools.pairwise(times[past:])]
        assert steps == pytest.approx([0.04] * 49, abs=1e-3)
