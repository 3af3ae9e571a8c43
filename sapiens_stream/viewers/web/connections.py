"""The server's connections: how many there may be, and how long one may keep us waiting.

A connection takes a descriptor of the process that also records: those who open many, or say nothing, or read nothing,
must not take them all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

REQUEST_SECONDS = 10.0
"""From the connection, or the answer before, to the last byte of a request's head, however it drips in."""
STUCK_SECONDS = 20.0
"""How long what is sent may lie unread."""
MOST_UNSENT = 32 << 20
"""Bytes; a viewer has at most two screens on the way."""
SHARE_OF_DESCRIPTORS = 0.25
"""Of those that the process may open; the others are for what it records."""

_SETTLING_SECONDS = 1.0  # within which a connection does not make room for another
_LOOK_SECONDS = 0.5
_PAUSE_SECONDS = 1.0
_SECONDS_BETWEEN_WORDS = 60.0
_NONSENSE = (h11.ProtocolError, UnicodeDecodeError)  # of a client, who is shown out: nothing that a user can mend


class Connection:
    """What is watched of a connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.waiting_since: float | None = time.monotonic()
        """For a request; None while one is answered."""
        self._unsent = 0
        self._stuck_since: float | None = None

    def overdue(self, now: float) -> bool:
        """Whether it has kept us waiting for too long; to be asked now and then."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        if not self._unsent or self._unsent < before:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        late = self.waiting_since is not None and now - self.waiting_since > REQUEST_SECONDS
        stuck = self._stuck_since is not None and now - self._stuck_since > STUCK_SECONDS
        return late or stuck or self._unsent > MOST_UNSENT


class Connections:
    """All of them, at most `most`; `warn` is called with trouble, at most once a minute."""

    def __init__(self, most: int, warn: Callable[[str], None]) -> None:
        self._most = most
        self._warn = warn
        self._warned = -_SECONDS_BETWEEN_WORDS
        self._all: dict[asyncio.Transport, Connection] = {}

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, transport: asyncio.Transport) -> Connection:
        """The connection of a transport, new or known."""
        return self._all.setdefault(transport, Connection(transport))

    def leave(self, transport: asyncio.Transport) -> None:
        self._all.pop(transport, None)

    async def room(self) -> None:
        """Waits until one more may come; who has been silent for longest makes room."""
        while len(self._all) >= self._most:
            self.complain(f"{self._most} connections at once; those that say nothing make room for others")
            silent = [each for each in self._all.values() if each.waiting_since is not None]
            oldest = min(silent, key=lambda each: each.waiting_since or 0.0, default=None)
            if oldest and time.monotonic() - (oldest.waiting_since or 0.0) > _SETTLING_SECONDS:
                oldest.transport.abort()
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(_LOOK_SECONDS / 10)

    async def watch(self) -> None:
        """Ends those that are overdue. Not by closing them, which would wait for what they do not read."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            for each in list(self._all.values()):
                if each.overdue(now):
                    each.transport.abort()

    def complain(self, sentence: str) -> None:
        now = time.monotonic()
        if now - self._warned >= _SECONDS_BETWEEN_WORDS:
            self._warned = now
            self._warn(f"browser preview: {sentence}")


class BoundedServer(uvicorn.Server):
    """Serves what comes to a listening socket, by the rules of `Connections`.

    It accepts by itself, one at a time: asyncio takes all that wait at once, whatever descriptors are left, and says
    so for each when there are none.
    """

    def __init__(self, config: uvicorn.Config, listening: socket.socket, connections: Connections) -> None:
        super().__init__(config)
        config.http = _http_protocol(connections)
        config.ws = _websocket_protocol(connections)
        self._listening = listening
        self._links = connections
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept."""
        await super().startup(sockets=[])
        asyncio.get_running_loop().set_exception_handler(self._complain)
        self._listening.setblocking(False)
        self._tasks = [asyncio.create_task(self._accept()), asyncio.create_task(self._links.watch())]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts nobody any more, and sends away who is there."""
        accepting, watching = self._tasks
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        self._listening.close()
        await super().shutdown(sockets=[])
        watching.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._links.room()
            try:
                accepted, _ = await loop.sock_accept(self._listening)
            except OSError as error:
                self._links.complain(f"no connection can be accepted: {error.strerror}")
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            with suppress(OSError):  # gone again
                await loop.connect_accepted_socket(self._protocol, accepted)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, _NONSENSE):
            self._links.complain(f"{context.get('message', 'trouble')}{f': {error}' if error else ''}")


def most_connections(wanted: int) -> int:
    """As many as wanted, but no more than the share of descriptors that there is for them."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows, whose sockets are no descriptors
        return wanted
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else max(1, min(wanted, int(limit * SHARE_OF_DESCRIPTORS)))


class _ToComplaints(logging.Handler):
    """Makes a sentence of what uvicorn logs with a traceback."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error and not isinstance(error, _NONSENSE):
            self._connections.complain(f"{type(error).__name__}: {error}")


def _logger(connections: Connections) -> logging.Logger:
    """Of these connections alone: uvicorn's own is shared with whatever else is served by this process."""
    logger = logging.Logger("sapiens_stream.web", logging.ERROR)
    logger.addHandler(_ToComplaints(connections))
    return logger


def _http_protocol(connections: Connections) -> type[asyncio.Protocol]:
    logger = _logger(connections)

    class Http(H11Protocol):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.logger = logger

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._link = connections.enter(transport)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._link.waiting_since = None

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            # RFC 6455, 4.1: a client waits for the answer. uvicorn would drop what comes before it, a farewell too, and
            # wait for a pong.
            if self.conn.trailing_data[0]:
                self.send_400_response("Frames came before the handshake was answered.")
                return
            super().handle_websocket_upgrade(event)
            websocket: Any = self.transport.get_protocol()
            if not websocket.handshake_initiated:  # websockets refused the head, and uvicorn tells nobody
                self.send_400_response("This is no handshake of a WebSocket.")

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._link.waiting_since = time.monotonic()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            connections.leave(self.transport)

    return Http


def _websocket_protocol(connections: Connections) -> type[asyncio.Protocol]:
    logger = _logger(connections)

    class WebSocket(WebSocketsSansIOProtocol):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.logger = self.conn.logger = logger

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.enter(self.transport).waiting_since = None  # from here on it answers pings

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            connections.leave(self.transport)

    return WebSocket
