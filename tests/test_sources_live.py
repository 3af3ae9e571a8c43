"""Live sources, against senders that are real, and that fail in the ways that real ones do."""

from __future__ import annotations

import functools
import http.server
import itertools
import os
import queue
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Frame
from sapiens_stream.sources import Live, LiveEvent
from sapiens_stream.sources.live import connection
from tests.media import make_video, number_of
from tests.senders import RATE, RTSP_SERVER, SYSTEM_PYTHON, Sender, age, free_port

STALL = 0.5  # seconds: a frame takes 0.04
PATIENCE = 15.0  # seconds until a test gives up


def has_rtsp_server() -> bool:
    if not Path(SYSTEM_PYTHON).exists():
        return False
    check = [SYSTEM_PYTHON, str(RTSP_SERVER), "--check"]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


needs_rtsp_server = pytest.mark.skipif(
    not has_rtsp_server(), reason="there is no GStreamer RTSP server (gir1.2-gst-rtsp-server-1.0) to test against"
)
TRANSPORTS = ["udp", "tcp", "http", "mjpeg", "rtmp", pytest.param("rtsp", marks=needs_rtsp_server)]


class Watched:
    """A live source that is read in a thread, as the pipeline does; its frames and events are awaited in order."""

    def __init__(self, address: Any, **settings: Any) -> None:
        self._happened: queue.Queue[Frame | LiveEvent | BaseException | None] = queue.Queue()
        settings = {"stall_seconds": STALL, "on_event": self._happened.put, **settings}
        self.live = Live(address, **settings)
        self.frames: list[Frame] = []
        self.events: list[LiveEvent] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self.live.frames():
                assert isinstance(frame, Frame)
                self._happened.put(frame)
        except BaseException as error:
            self._happened.put(error)
        self._happened.put(None)

    def until(self, enough: Callable[[Frame | LiveEvent], bool], seconds: float = PATIENCE) -> float:
        """Waits for what is `enough`; returns how long that took. Raises what the source raises."""
        start = time.monotonic()
        while True:
            what = self._happened.get(timeout=max(0.0, start + seconds - time.monotonic()))
            if isinstance(what, BaseException):
                raise what
            if what is None:
                raise AssertionError(f"it ended, after {self.events[-3:]}")
            (self.frames if isinstance(what, Frame) else self.events).append(what)  # type: ignore[arg-type]
            if enough(what):
                return time.monotonic() - start

    def until_event(self, kind: str, seconds: float = PATIENCE) -> float:
        return self.until(lambda what: isinstance(what, LiveEvent) and what.kind == kind, seconds)

    def until_frames(self, count: int) -> float:
        left = itertools.count(count - 1, -1)
        return self.until(lambda what: isinstance(what, Frame) and next(left) == 0)

    def to_the_end(self) -> None:
        with pytest.raises(AssertionError, match="it ended"):
            self.until(lambda _: False)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def close(self) -> float:
        start = time.monotonic()
        self.live.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return time.monotonic() - start


@contextmanager
def watched(address: Any, **settings: Any) -> Iterator[Watched]:
    watched = Watched(address, **settings)
    try:
        yield watched
    finally:
        watched.close()


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The tcp URL of a server that gives each connection to `answer`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            answer(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def garbage(connection: socket.socket) -> None:
    noise = os.urandom(100_000)
    while True:
        connection.sendall(noise)


def silence(connection: socket.socket) -> None:
    connection.recv(1)


def deaf(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def then(first: bytes, *following: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        for each in following:
            each(connection)

    return answer


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A transport stream of a second."""
    return make_video(tmp_path_factory.mktemp("live") / "clip.ts", frames=25).read_bytes()


def test_all_that_a_source_tells_of_a_frame() -> None:
    with watched("lavfi:testsrc2=size=160x96:rate=30000/1001,realtime") as camera:
        camera.until_frames(6)
    info, frames = camera.live.info, camera.frames
    assert (info.kind, info.name) == ("live", "lavfi:testsrc2=size=160x96:rate=30000/1001,realtime")
    assert (info.size, info.frame_rate, info.frame_count) == ((96, 160), Fraction(30000, 1001), None)
    assert [(frame.index, frame.name) for frame in frames] == [(n, f"lavfi/{n:06d}") for n in range(6)]
    assert [frame.time for frame in frames] == [n * Fraction(1001, 30000) for n in range(6)]
    assert all(frame.duration == 3003 and frame.size == (96, 160) for frame in frames)
    assert all(frame.arrived is not None and frame.arrived <= time.monotonic() for frame in frames)


@pytest.fixture(scope="module", params=TRANSPORTS)
def sender(request: pytest.FixtureRequest) -> Iterator[Sender]:
    with Sender(request.param) as sender:
        yield sender


def test_frames_come_at_once_and_in_the_senders_time(sender: Sender) -> None:
    numbered = sender.protocol != "rtsp"
    wanted = 60 if sender.protocol == "rtmp" else 30  # an FLV is looked at for a second, which then comes at once
    ages: list[float] = []

    def look(what: Frame | LiveEvent) -> bool:
        if isinstance(what, Frame) and numbered:
            ages.append(age(number_of(what.rgb), time.monotonic()))
        return len(camera.frames) == wanted

    with watched(sender.url) as camera:
        camera.until(look)
        assert camera.live.info.size == (96, 160)
    times = [float(frame.time or 0) for frame in camera.frames]
    assert min(after - before for before, after in itertools.pairwise(times)) > 0
    steps = [after - before for before, after in itertools.pairwise(times[-30:])]
    # Motion JPEG is sent without times; those of arrival are taken.
    assert statistics.median(steps) == pytest.approx(1 / RATE, abs=0.02 if sender.protocol == "mjpeg" else 1e-3)
    # A transport stream tells that a picture is whole by the next, and, but over UDP, the parser does so again.
    if numbered:
        print(f"{sender.protocol}: median age {statistics.median(ages[-20:]) * 1000:.1f} ms")
        frames_late = {"mjpeg": 0, "udp": 1}.get(sender.protocol, 2)
        assert statistics.median(ages[-20:]) < (frames_late + 1) / RATE


def test_what_befalls_a_sender_is_told_and_outlived(sender: Sender) -> None:
    with watched(sender.url) as camera:
        camera.until_frames(10)
        sender.stop()
        assert camera.until_event("lost") < STALL + 1
        stopped = len(camera.frames)
        sender.resume()
        camera.until_event("back")
        camera.until_frames(10)
        assert "resized" not in camera.kinds()

        sender.kill()
        assert camera.until_event("lost") < STALL + 1
        killed = len(camera.frames)
        sender.start((120, 200))
        camera.until_event("back")
        camera.until_frames(5)
        assert camera.kinds()[-1] == "resized"
        assert "160x96 to 200x120" in camera.events[-1].reason
        assert (camera.frames[0].size, camera.frames[-1].size) == ((96, 160), (120, 200))
        assert camera.live.info.size == (120, 200)
        for outage in (stopped, killed):
            _assert_one_timeline(camera.frames, outage)


def _assert_one_timeline(frames: list[Frame], outage: int) -> None:
    """Times grow, indices count on, and the gap before frame number `outage` is the real one."""
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(before.pts < after.pts for before, after in itertools.pairwise(frames))  # type: ignore[operator]
    before, after = frames[outage - 1], frames[outage]
    gap = float((after.time or 0) - (before.time or 0))
    assert gap == pytest.approx((after.arrived or 0) - (before.arrived or 0), abs=0.5)  # connecting takes a while
    assert gap > 0.3


def test_pauses_between_tries_grow() -> None:
    with watched(f"tcp://127.0.0.1:{free_port()}") as camera:
        assert camera.until_event("lost") < 1
        for _ in range(3):
            camera.until_event("reconnecting")
        assert [event.seconds_to_next_try for event in camera.events] == [None, 0.5, 1.0, 2.0]
        assert {event.reason for event in camera.events} == {"Connection refused"}
        assert camera.close() < 1.5  # in the midst of a pause


@pytest.mark.parametrize(("reconnect", "tries"), [("no", 0), (0, 0), (1, 1)])
def test_what_never_opens_is_an_error_once_the_tries_are_used_up(reconnect: Any, tries: int) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with watched(address, reconnect=reconnect) as camera:
        with pytest.raises(InputError, match=f"{address}: Connection refused"):
            camera.until(lambda _: False)
        assert camera.kinds() == ["lost", *["reconnecting"] * tries][: 1 + tries if tries else 0]


@pytest.mark.parametrize("reconnect", ["no", 1])
def test_a_stream_that_ends_just_ends_once_the_tries_are_used_up(reconnect: Any) -> None:
    with Sender("tcp") as sender, watched(sender.url, reconnect=reconnect) as camera:
        camera.until_frames(3)
        sender.kill()
        camera.to_the_end()
    assert camera.kinds() == (["ended"] if reconnect == "no" else ["lost", "reconnecting", "ended"])


def test_a_stream_that_breaks_is_an_error_once_the_tries_are_used_up(clip: bytes) -> None:
    with served(then(clip, silence)) as url, watched(url, reconnect="no") as camera:
        camera.until_frames(3)
        with pytest.raises(InputError, match=r"nothing came for 0\.5 s"):
            camera.until(lambda _: False)


def test_tries_count_anew_after_a_picture(clip: bytes) -> None:
    with served(then(clip)) as url, watched(url, reconnect=1) as camera:
        for _ in range(3):
            camera.until_event("back")


def test_a_bad_file_or_graph_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("Dear diary, today I was not a video.\n" * 50)
    for address, message in [
        (tmp_path / "text.mp4", "not a video"),
        ("lavfi:nonsense=1", "lavfi:nonsense=1: "),
        ("srt://127.0.0.1:9", "srt"),
    ]:
        with watched(address, realtime=True) as camera, pytest.raises(InputError, match=message):
            camera.until(lambda _: False)
        assert camera.events == []


def test_garbage_is_told_of() -> None:
    with served(garbage) as url, watched(url) as camera:
        assert camera.until_event("lost") < 3
        camera.until_event("reconnecting")
        assert camera.events[-1].reason == "what comes is not a video stream"


def test_garbage_in_the_midst_of_a_stream_is_told_of(clip: bytes) -> None:
    with served(then(clip, garbage)) as url, watched(url) as camera:
        camera.until_frames(1)
        assert camera.until_event("lost") < 3
        camera.until_event("back")  # the stream begins again


def test_silence_is_told_of_and_can_be_closed() -> None:
    with served(silence) as url, watched(url) as camera:
        assert camera.until_event("lost") == pytest.approx(STALL, abs=0.5)
        assert camera.events[0].reason == "no picture for 0.5 s"
        assert camera.close() < 1.5


@pytest.mark.parametrize("scheme", ["http", "rtmp", "tcp"])
def test_a_server_that_never_answers_is_told_of(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", STALL)
    with (
        served(deaf) as url,
        watched(url.replace("tcp", scheme) + "/live/stream", reconnect=0) as camera,
        pytest.raises(InputError, match=r"no answer within 0\.5 s"),
    ):
        camera.to_the_end()


def test_a_stalled_sender_can_be_closed(clip: bytes) -> None:
    with served(then(clip, silence)) as url, watched(url, stall_seconds=30) as camera:
        camera.until_frames(3)
        assert camera.close() < 1.5


def test_closing_leaves_no_thread() -> None:
    before = threading.active_count()
    with watched("lavfi:testsrc2=size=160x96:rate=25") as camera:
        camera.until_frames(3)
    assert threading.active_count() <= before


SECRETS = ("admin", "s3cret", "t0ken")


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:s3cret@127.0.0.1:{port}/live?token=t0ken",
        "http://admin:s3cret@127.0.0.1:{port}/live?token=t0ken",
        "rtmp://admin:s3cret@127.0.0.1:{port}/live/stream?token=t0ken",
        "tcp://127.0.0.1:{port}?passphrase=s3cret",
        "srt://127.0.0.1:{port}?passphrase=s3cret",
        "rtsp://127.0.0.1:{port}/user=admin&password=s3cret&channel=1",
        pytest.param("rtsp://admin:s3cret@127.0.0.1:{port}/guarded?token=t0ken", marks=needs_rtsp_server),
    ],
)
def test_credentials_are_never_told(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    url = address.format(port=port)
    with Sender("rtsp", port=port, user="admin:other") if "guarded" in address else nullcontext():
        warned: list[str] = []
        live = Live(url, on_event=None, warn=warned.append, reconnect=1)
        told = [repr(live.address), repr(live.info), live.address.stem]
        with pytest.raises(InputError) as caught:
            next(live.frames())
    told += ["".join(traceback.format_exception(caught.value)), *warned, *capfd.readouterr()]
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert not [secret for secret in SECRETS if secret in "\n".join(told)]


@needs_rtsp_server
def test_credentials_are_used_and_wrong_ones_not_tried_again() -> None:
    with Sender("rtsp", user="admin:s3cret") as sender:
        with watched(sender.url) as camera:
            camera.until_frames(3)
        with watched(sender.url.replace("s3cret", "wrong")) as camera, pytest.raises(InputError, match="401"):
            camera.until(lambda _: False)


def test_a_slow_reader_gets_the_newest() -> None:
    with Sender("mjpeg") as sender, Live(sender.url) as live:
        ages = []
        for frame in live.frames():
            assert isinstance(frame, Frame)
            ages.append(age(number_of(frame.rgb), time.monotonic()))
            if len(ages) == 8:
                break
            time.sleep(0.2)
    assert max(ages[1:]) < 0.15
    assert live.dropped >= 7 * 3


def test_a_file_plays_at_its_own_speed(tmp_path: Path) -> None:
    file = make_video(tmp_path / "clip.mp4", frames=25, b_frames=2, rotation=90)
    with watched(file, realtime=True) as camera:
        camera.to_the_end()
    assert [number_of(frame.rgb) for frame in camera.frames] == list(range(25))
    assert [frame.time for frame in camera.frames] == [Fraction(n, 25) for n in range(25)]
    arrivals = [frame.arrived or 0 for frame in camera.frames]
    assert arrivals[-1] - arrivals[0] == pytest.approx(24 / 25, abs=0.15)
    assert camera.frames[3].name == "clip/000003"
    assert camera.kinds() == ["ended"]


def test_a_graph_plays_at_its_own_speed_and_ends() -> None:
    with watched("lavfi:testsrc2=size=160x96:rate=25:duration=0.4") as camera:
        camera.to_the_end()
    arrivals = [frame.arrived or 0 for frame in camera.frames]
    assert len(arrivals) == 10
    assert arrivals[-1] - arrivals[0] == pytest.approx(9 / 25, abs=0.15)


def test_a_stream_in_segments_plays_at_its_own_speed(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.m3u8", format="hls", frames=40, rate=Fraction(50))
    handler = functools.partial(QuietFiles, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with watched(f"http://127.0.0.1:{server.server_address[1]}/clip.m3u8", reconnect="no") as camera:
            camera.to_the_end()
        server.shutdown()
    shown = [number_of(frame.rgb) for frame in camera.frames]
    # Where the machine is busy, some are late and left out.
    assert shown == sorted(set(shown)) and shown[0] < 10 and shown[-1] == 39
    arrivals = [frame.arrived or 0 for frame in camera.frames]
    assert arrivals[-1] - arrivals[0] > (39 - shown[0]) / 50 - 0.15  # none sooner than it is shown


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def test_a_camera_that_is_not_there() -> None:
    with watched(63, reconnect="no") as camera, pytest.raises(InputError, match="camera 63: there is no such camera"):
        camera.until(lambda _: False)


SCREEN = """
import sys
from sapiens_stream.errors import InputError
from sapiens_stream.sources import Live
with Live("screen", reconnect="no") as screen:
    try:
        for frame in screen.frames():
            print(frame.name, *frame.size, flush=True)
    except InputError as error:
        print("lost:", error, flush=True)
"""


def test_the_screen() -> None:
    if not shutil.which("Xvfb"):
        pytest.skip("there is no virtual X server (xvfb)")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            display = f":{server.stdout.readline().strip()}"
            # A process of its own: FFmpeg reads the environment, which a test must not change under other threads.
            with subprocess.Popen(
                [sys.executable, "-c", SCREEN],
                env={**os.environ, "DISPLAY": display},
                stdout=subprocess.PIPE,
                text=True,
            ) as grabber:
                assert grabber.stdout is not None
                lines = [grabber.stdout.readline() for _ in range(5)]
                server.kill()
                start = time.monotonic()
                last = grabber.stdout.read().splitlines()[-1]
                assert time.monotonic() - start < 5
            assert lines[0] == "screen/000000 240 320\n"
            assert lines[4] == "screen/000004 240 320\n"
            assert last.startswith("lost: screen")
        finally:
            server.kill()


def test_without_a_listener_trouble_is_a_warning() -> None:
    warned: list[str] = []
    with Live(f"tcp://127.0.0.1:{free_port()}", warn=warned.append, reconnect=1) as live, pytest.raises(InputError):
        next(live.frames())
    assert len(warned) == 2
    assert warned[1].endswith("reconnecting, in 0.5 s: Connection refused")


@pytest.mark.parametrize("setting", [{"reconnect": "maybe"}, {"reconnect": -1}, {"stall_seconds": 0}])
def test_settings_that_cannot_be(setting: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(setting.values())))):
        Live("lavfi:testsrc2", **setting)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A plain web server, which sends files from their beginning alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}"
        finally:
            running.shutdown()
            thread.join()


FINISHED = {
    "clip.mp4": {},
    "clip.mkv": {},
    "clip.ts": {},
    "clip.avi": {"codec": "mpeg4"},
    # Its index is at the end, too far away to be found without going there.
    "late.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "size": (480, 640)},
}


@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_file_on_a_server_is_played_once_at_its_own_speed(name: str, tmp_path: Path) -> None:
    make_video(tmp_path / name, frames=25, **FINISHED[name])
    with serving(tmp_path) as server, watched(f"{server}/{name}", stall_seconds=5) as camera:
        start = time.monotonic()
        with pytest.raises(AssertionError, match="it ended"):
            camera.until(lambda what: False, seconds=60)
        assert time.monotonic() - start > 0.9
    assert camera.kinds() == ["ended"]
    assert len(camera.frames) + camera.live.dropped == 25


def test_a_clock_that_jumps_is_not_waited_for(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{n}.ts", frames=10, start=Fraction(n * 18000)) for n in range(2)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with watched(joined, realtime=True) as camera, pytest.raises(AssertionError, match="it ended"):
        camera.until(lambda what: False, seconds=60)
    assert len(camera.frames) + camera.live.dropped == 20
