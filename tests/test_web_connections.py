"""The browser preview against those who open connections and say nothing, drip, or do not read."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
websockets = pytest.importorskip("websockets", reason="the extra web is not installed")

from sapiens_stream.classes import SAPIENS  # noqa: E402
from sapiens_stream.frame import Frame, Segmentation  # noqa: E402
from sapiens_stream.viewers.web import WebPreview, connections, site  # noqa: E402
from tests.test_web_preview import PATIENCE, get, joined, screen, segmentation, serving, watching  # noqa: E402

CONNECTIONS = 128  # that are kept, of a server for eight viewers


def opened(preview: WebPreview, first: bytes = b"", *, receive: int | None = None) -> socket.socket:
    """A connection that has said no more than this; `receive` is how many bytes may wait to be read."""
    place = urlsplit(preview.url)
    client = socket.socket()
    if receive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    client.settimeout(PATIENCE)
    client.connect((place.hostname, place.port))
    client.sendall(first)
    return client


def request(preview: WebPreview, path: str, *more: str) -> bytes:
    head = [f"GET {path} HTTP/1.1", f"Host: {urlsplit(preview.url).netloc}", *more, "", ""]
    return "\r\n".join(head).encode()


def handshake(preview: WebPreview) -> bytes:
    return request(
        preview,
        "/screens",
        f"Origin: http://{urlsplit(preview.url).netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )


def is_closed(client: socket.socket) -> bool:
    """Whether the other side ends it, after whatever it still has to say."""
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 3 * PATIENCE
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def kept(preview: WebPreview) -> int:
    return len(preview._server._links)


def noise(number: int) -> Segmentation:
    """A picture that takes megabytes to send."""
    rgb = np.random.default_rng(number).integers(0, 256, (720, 1280, 3), np.uint8)
    frame = Frame(index=number, name=f"camera/{number:06d}", decoded=rgb)
    return Segmentation(frame=frame, class_map=rgb[..., 0] % 28, classes=SAPIENS)


def test_idle_connections_beyond_a_bound_are_not_kept_and_do_not_keep_viewers_out() -> None:
    said: list[str] = []
    with serving(warn=said.append) as preview, ExitStack() as stack:
        preview.show(screen(segmentation(1)))
        with watching(preview) as before:
            assert before.next().number == 1
            for _ in range(3 * CONNECTIONS):
                stack.enter_context(opened(preview))
            assert eventually(lambda: kept(preview) >= CONNECTIONS - 1)
            assert kept(preview) <= CONNECTIONS
            assert get(preview)[0] == 200
            with watching(preview) as viewer:
                assert viewer.next().number == 1
            preview.show(screen(segmentation(2)))
            assert before.next().number == 2
        assert len(said) == 1 and f"{CONNECTIONS} connections" in said[0]


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nX-Slow: ", b"a"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\r\n"),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n", b"a"),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"a" * (1 << 20), b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00"),
    ],
    ids=["silent", "half a line", "drips", "after an answer", "drips a body", "endless header", "tls"],
)
def test_who_does_not_come_to_the_point_is_shown_out(
    monkeypatch: pytest.MonkeyPatch, first: bytes, drip: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    with serving() as preview:
        client = opened(preview)
        client.settimeout(0.1)
        closed = False
        end = time.monotonic() + 3 * PATIENCE
        try:
            client.sendall(first)
            while not closed and time.monotonic() < end:
                client.sendall(drip)
                closed = is_closed(client)
        except ConnectionError:
            closed = True
        client.close()
        assert closed
        assert eventually(lambda: not kept(preview))


@pytest.mark.parametrize(
    ("ask", "then"),
    [
        (lambda preview: request(preview, "/", "Transfer-Encoding: chunked"), b"ZZ\r\n\r\n"),
        (handshake, b"\x81\x82\0\0\0\0\xff\xfe"),
        (lambda preview: handshake(preview).replace(b"Version: 13", b"Version: 99"), b""),
    ],
    ids=["no chunk", "no text", "no version"],
)
def test_nothing_is_said_of_a_clients_nonsense(
    ask: Callable[[WebPreview], bytes], then: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    with serving(warn=said.append) as preview, opened(preview, ask(preview)) as client:
        assert client.recv(9) == b"HTTP/1.1 "
        client.sendall(then)
        assert is_closed(client)
    assert (said, caplog.records) == ([], [])


@pytest.mark.parametrize(
    "frame", [b"\x88\x82\0\0\0\0\x03\xe8", b"\x81\x83\0\0\0\0ack", b"\xff" * 100], ids=["close", "text", "no frame"]
)
def test_frames_before_the_handshake_is_answered_are_refused_and_take_no_seat(frame: bytes) -> None:
    with serving(max_viewers=1) as preview, opened(preview, handshake(preview) + frame) as client:
        assert client.recv(12) == b"HTTP/1.1 400"
        assert is_closed(client)
        assert preview._site._free_seats == 1
        with joined(preview) as viewer:
            assert "classes" in json.loads(viewer.recv(timeout=PATIENCE))


@pytest.mark.parametrize(
    "header",
    ["Transfer-Encoding: chunked", "Content-Length: 5", f"X-Long: {'a' * 9000}", "\r\n".join(["X-Many: a"] * 300)],
    ids=["chunked", "body", "long", "many"],
)
def test_a_handshake_that_cannot_be_is_refused_and_not_kept(header: str) -> None:
    with serving() as preview:
        ask = handshake(preview)[:-2] + f"{header}\r\n\r\n".encode()
        with opened(preview, ask) as client:
            assert client.recv(12) == b"HTTP/1.1 400"
            assert is_closed(client)
        assert eventually(lambda: not kept(preview))


def test_a_failure_of_the_page_is_a_sentence(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of our own making")

    said: list[str] = []
    monkeypatch.setattr("sapiens_stream.viewers.web.guard.Guard._redirection", fail)
    with serving(warn=said.append) as preview:
        assert [get(preview)[0] for _ in range(3)] == [500] * 3
    assert said == ["browser preview: RuntimeError: of our own making"]
    assert caplog.records == []


@contextmanager
def unread(preview: WebPreview, kind: str) -> Iterator[None]:
    ask = handshake(preview) if kind == "page" else request(preview, "/stream.mjpg")
    with opened(preview, ask, receive=4096):
        yield


@pytest.mark.parametrize("kind", ["page", "stream"])
def test_a_viewer_who_reads_nothing_loses_the_seat(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(connections, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(site, "_WINDOW", 1000)
    with serving(max_viewers=1) as preview, unread(preview, kind):
        preview.show(screen(noise(0)))
        assert eventually(lambda: preview._site._free_seats == 0)
        numbers = iter(range(1, 10_000))

        def freed() -> bool:
            preview.show(screen(noise(next(numbers) % 4)))
            return preview._site._free_seats == 1

        assert eventually(freed)
        assert eventually(lambda: not kept(preview))
        with joined(preview) as viewer:
            assert "classes" in json.loads(viewer.recv(timeout=PATIENCE))


def test_a_viewer_who_acknowledges_nothing_is_shown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "_SECONDS_TO_ACKNOWLEDGE", 0.3)
    with serving() as preview, watching(preview) as viewer:
        for number in range(3):
            preview.show(screen(segmentation(number)))
            if number < 2:
                viewer.next(acknowledge=False)
        assert viewer.end() == (1008, "nothing is acknowledged")


def test_many_viewers_beyond_the_seats_are_sent_away_and_their_connections_end() -> None:
    with serving(max_viewers=2) as preview, watching(preview), watching(preview):
        for _ in range(40):
            with joined(preview) as refused, pytest.raises(websockets.ConnectionClosed) as closed:
                refused.recv(timeout=PATIENCE)
            assert closed.value.rcvd.code == 1013
        assert eventually(lambda: kept(preview) == 2)


_HOST = """
import resource, sys
from sapiens_stream.classes import SAPIENS
from sapiens_stream.viewers.web import WebPreview

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
said = []
preview = WebPreview(SAPIENS, port=0, warn=said.append)
print(preview.url, flush=True)
sys.stdin.readline()
files = [open(sys.executable, "rb") for _ in range(40)]
print(len(files), len(said), flush=True)
try:
    while True:
        files.append(open(sys.executable, "rb"))
except OSError:
    pass
print("full", flush=True)
sys.stdin.readline()
files.clear()
print("freed", flush=True)
sys.stdin.readline()
preview.close()
print(len(said), flush=True)
"""


def test_a_process_with_few_descriptors_keeps_some_for_its_files_and_is_quiet_without_any() -> None:
    pytest.importorskip("resource", reason="no limit of descriptors here")
    with subprocess.Popen(
        [sys.executable, "-c", _HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as host:
        assert host.stdin and host.stdout and host.stderr

        def answer(to: str | None = None) -> str:
            assert host.stdin and host.stdout
            if to is not None:
                host.stdin.write(to + "\n")
                host.stdin.flush()
            return host.stdout.readline().strip()

        place = urlsplit(answer())
        idle = [socket.create_connection((place.hostname, place.port), PATIENCE) for _ in range(90)]
        time.sleep(1)
        files, said = answer("open files").split()
        assert files == "40" and int(said) <= 1
        assert host.stdout.readline().strip() == "full"
        late = [socket.create_connection((place.hostname, place.port), PATIENCE) for _ in range(20)]
        time.sleep(2)  # nothing can be accepted meanwhile
        assert answer("let go") == "freed"
        for each in (*idle, *late):
            each.close()
        with socket.create_connection((place.hostname, place.port), PATIENCE) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
            client.settimeout(PATIENCE)
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        assert int(answer("close")) <= 1
        host.stdin.close()
        assert host.stderr.read() == ""
        assert host.wait(PATIENCE) == 0
