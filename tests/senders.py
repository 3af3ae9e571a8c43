"""Senders that live sources are tested against: processes of their own, to be killed, stopped and started again.

`send` is what such a process does: numbered pictures (`tests.media.picture`) at their own speed, for ever, to whoever
asks. `Sender` starts one and holds it.
"""

from __future__ import annotations

import contextlib
import http.server
import signal
import socket
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import pytest

from tests.media import picture
from tests.rtmp_server import RtmpHandler

RATE = 25
RTSP_SERVER = Path(__file__).parent / "rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"  # which has Debian's GStreamer


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Sender:
    """A process that sends pictures of a (height, width).

    `protocol`: "udp", "tcp", "http", "mjpeg" (over HTTP), "rtmp" or "rtsp"; all but "udp" serve the next that asks once
    one is gone. `url` is where a source finds it. Use it as a context manager; killed in the end, whatever state it is
    in.
    """

    def __init__(self, protocol: str, size: tuple[int, int] = (96, 160), *, port: int = 0, user: str = "") -> None:
        self.protocol, self.port, self.user = protocol, port or free_port(), user
        scheme = "http" if protocol == "mjpeg" else protocol
        place = {"rtsp": "/live", "rtmp": "/live/stream"}.get(protocol, "")
        self.url = f"{scheme}://{user and user + '@'}127.0.0.1:{self.port}{place}"
        self.start(size)

    def start(self, size: tuple[int, int] = (96, 160)) -> None:
        """Starts a new process in place of one that was killed; returns once it can be reached."""
        height, width = size
        arguments = [self.protocol, str(self.port), str(height), str(width)]
        if self.protocol == "rtsp":
            command = [SYSTEM_PYTHON, str(RTSP_SERVER), *arguments[1:], *([self.user] if self.user else [])]
        else:
            command = [sys.executable, "-m", "tests.senders", *arguments]
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", f"{command} does not start"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def stop(self) -> None:
        """Leaves it there, connected, and dumb."""
        if not hasattr(signal, "SIGSTOP"):
            pytest.skip("no signal that stops a process")
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def age(number: int, now: float) -> float:
    """Seconds, by `time.monotonic()`, since a sender made the picture that bears `number`."""
    return (now - number / RATE) % (1024 / RATE)


def send(protocol: str, port: int, size: tuple[int, int]) -> None:
    """Does not return."""
    if protocol == "udp":
        print("ready", flush=True)
        while True:
            with contextlib.suppress(av.FFmpegError):  # nobody listens yet
                _send_transport_stream(f"udp://127.0.0.1:{port}?pkt_size=1316", size)
    server: socketserver.BaseServer
    if protocol == "tcp":

        class Asked(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _send_transport_stream(self.wfile, size)

        server = Server(("127.0.0.1", port), Asked)
    elif protocol == "rtmp":

        class AskedByRTMP(RtmpHandler):
            def write(self, to: Any) -> None:
                _send_video(to, size, "flv", {"flvflags": "no_duration_filesize"})

        server = Server(("127.0.0.1", port), AskedByRTMP)
    else:

        class AskedByHTTP(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                kind = "multipart/x-mixed-replace; boundary=frame" if protocol == "mjpeg" else "video/mp2t"
                self.send_header("Content-Type", kind)
                self.end_headers()
                (_send_jpegs if protocol == "mjpeg" else _send_transport_stream)(self.wfile, size)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        server = Server(("127.0.0.1", port), AskedByHTTP)
    print("ready", flush=True)
    server.serve_forever()


class Server(socketserver.ThreadingTCPServer):
    """To several, each in a thread."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """They hang up, and that is that."""


def _send_transport_stream(to: Any, size: tuple[int, int]) -> None:
    _send_video(to, size, "mpegts", {})


def _send_video(to: Any, size: tuple[int, int], format: str, options: dict[str, str]) -> None:
    with av.open(to, "w", format=format, options={"flush_packets": "1", **options}) as container:
        stream = container.add_stream("libx264", rate=RATE, options={"tune": "zerolatency", "preset": "ultrafast"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 10
        for number in _in_time():
            frame = av.VideoFrame.from_ndarray(picture(number % 1024, size), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))


def _send_jpegs(to: Any, size: tuple[int, int]) -> None:
    """As many network cameras do."""
    for number in _in_time():
        _, jpeg = cv2.imencode(".jpg", picture(number % 1024, size)[:, :, ::-1])
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        to.write(head.encode() + jpeg.tobytes() + b"\r\n")


def _in_time() -> Iterator[int]:
    """Numbers of pictures, each at its time, which is that many times 1 / RATE by `time.monotonic()`."""
    number = int(time.monotonic() * RATE)
    while True:
        number += 1
        time.sleep(max(0.0, number / RATE - time.monotonic()))
        yield number


if __name__ == "__main__":
    _, protocol, port, height, width = sys.argv
    send(protocol, int(port), (int(height), int(width)))
