"""A hub on this machine: what of Hugging Face's protocol fetching a file takes, and what goes wrong with it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants as hub_constants
import pytest

from sapiens_stream.models.catalogue import HubFile, lookup

CHUNK = 1 << 14
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Stored:
    """A file on the server, and how it behaves; all but `content` may be changed while the server runs."""

    content: bytes
    sha256: str | None = None
    """What the server says it is; the truth if None."""
    size: int | None = None
    """What the server says it is; the truth if None, nothing if -1."""
    token: str | None = None
    """Without which it answers 401."""
    status: int | None = None
    """What it answers to any request."""
    breaks: list[int] = field(default_factory=list)
    """For each of the next requests for the content, after how many bytes it breaks off."""
    awaits: threading.Event | None = None
    """What it waits for before it sends the content."""
    then: int | None = None
    """What it answers to requests for the content once it has broken off for the last time."""


@dataclass(frozen=True)
class Request:
    """A request for a file's content that was answered with some of it."""

    start: int
    sent: int
    token: str | None


class HubServer(ThreadingHTTPServer):
    """Serves `files`, by "REPOSITORY/FILE"; like the real one it sends whoever asks on to another origin."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Stored] = {}
        self.requests: list[Request] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that has gone away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        _, _, path = self.path.partition("/")
        at_storage = path.startswith("storage/")
        stored = self.server.files.get(path.removeprefix("storage/").replace("/resolve/main", ""))
        given = (self.headers["Authorization"] or "").removeprefix("Bearer ") or None
        if stored is None:
            self._refuse(404, "EntryNotFound")
        elif stored.status is not None:
            self._refuse(stored.status, "")
        elif not at_storage and stored.token not in (None, given):
            self._refuse(401 if given is None else 403, "GatedRepo")
        elif at_storage:
            self._send(stored, given)
        else:
            self._redirect(path, stored)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redirect(self, path: str, stored: Stored) -> None:
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/storage/{path}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-ETag", f'"{stored.sha256 or hashlib.sha256(stored.content).hexdigest()}"')
        # As the real hub it offers another way of fetching too, which is not to be taken: it cannot go on.
        self.send_header("X-Xet-Hash", "0" * 64)
        self.send_header("X-Xet-Refresh-Route", f"{self.server.endpoint}/xet")
        if stored.size != -1:
            self.send_header("X-Linked-Size", str(len(stored.content) if stored.size is None else stored.size))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, stored: Stored, token: str | None) -> None:
        if not stored.breaks and stored.then is not None:
            return self._refuse(stored.then, "")
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start and start >= len(stored.content):
            return self._refuse(416, "")
        self.send_response(206 if start else 200)
        if start:
            end = len(stored.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.send_header("Content-Length", str(len(stored.content) - start))
        self.end_headers()
        part = stored.content[start : start + stored.breaks.pop(0) if stored.breaks else None]
        self.server.requests.append(Request(start, len(part), token))
        if stored.awaits is not None:
            stored.awaits.wait()
        self.wfile.write(part)
        self.close_connection = start + len(part) < len(stored.content)


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """A hub that serves nothing yet."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def file_of(name: str) -> HubFile:
    choice = lookup(name)
    assert choice is not None
    return choice.files[0]


def publish(server: HubServer, name: str, content: bytes, **behaviour: Any) -> Stored:
    file = file_of(name)
    stored = server.files[f"{file.repository}/{file.file}"] = Stored(content, **behaviour)
    return stored


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HF_HOME, for this process: huggingface_hub reads its settings once, so that they are set in place."""
    folder = tmp_path / "huggingface"
    for name, value in {
        "HF_HOME": str(folder),
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "HF_HUB_OFFLINE": False,
        "DOWNLOAD_CHUNK_SIZE": CHUNK,  # what has come is written down in such parts
    }.items():
        monkeypatch.setattr(hub_constants, name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return folder


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with running_hub() as server:
        monkeypatch.setattr(hub_constants, "ENDPOINT", server.endpoint)
        template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(hub_constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
