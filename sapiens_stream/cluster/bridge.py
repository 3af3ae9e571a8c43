"""Objects of a store as addresses that FFmpeg reads: from any place in them, and no more than it asks for."""

from __future__ import annotations

import os
import re
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

from sapiens_stream.cluster.storage import file_system, size_of
from sapiens_stream.threads import ThreadGroup

_PIECE = 1 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Bridge:
    """A server for this process alone: it listens on the loopback, and an address is known to whom it was given."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[str, int]] = {}
        objects = self._objects

        class Handler(_Handler):
            known = objects

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._threads = ThreadGroup(self._server.shutdown)
        self._threads.start("bridge", self._server.serve_forever)
        for name in ("no_proxy", "NO_PROXY"):  # what is in this machine takes no way round
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))

    def address_of(self, what: str) -> str:
        """Where an object can be read. Raises InputError where there is none."""
        key = secrets.token_urlsafe(16)
        self._objects[key] = what, size_of(what)
        name = what.rpartition("/")[2] or "video"
        return f"http://127.0.0.1:{self._server.server_address[1]}/{key}/{quote(name, safe='')}"

    def close(self) -> None:
        """Ends the server."""
        self._threads.close()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    known: dict[str, tuple[str, int]]
    protocol_version = "HTTP/1.1"
    timeout = 60.0  # seconds without a word from the reader

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        found = self.known.get(self.path.strip("/").partition("/")[0])
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        what, size = found
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]) if asked and asked[2] else size - 1, size - 1)
        if first > last and size:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Connection", "close")  # which FFmpeg asks for, and does not expect unless it is told
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if body:
            self._send(what, first, last + 1)

    def _send(self, what: str, at: int, end: int) -> None:
        system, path = file_system(what)
        try:
            while at < end:
                piece = system.cat_file(path, start=at, end=min(end, at + _PIECE))
                if not piece:
                    break
                self.wfile.write(piece)
                at += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has read enough
        except Exception:
            return  # the reader sees that the rest is missing
