"""What the server answers: the page, its WebSocket, and a stream of painted pictures for other programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from sapiens_stream.painting import Painter
from sapiens_stream.viewers.viewer import Command, Screen
from sapiens_stream.viewers.web.broadcast import Broadcast, Closed
from sapiens_stream.viewers.web.encoding import PaintedEncoder, ScreenEncoder

_WINDOW = 2  # screens on their way to a viewer: one travels while one is painted

# QUIT is not among them: whoever started the run ends it.
_COMMANDS = {"pause": Command.PAUSE, "snapshot": Command.SNAPSHOT, "record": Command.RECORD}
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_BOUNDARY = "frame"
_STREAM = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
_SECONDS_TO_TELL = 1.0
_SECONDS_TO_ACKNOWLEDGE = 120.0  # browsers wake a page that is hidden once a minute

_POLICY_VIOLATION, _GOING_AWAY, _TRY_AGAIN_LATER = 1008, 1001, 1013  # RFC 6455, and IANA's registry for the last


class Full(Exception):
    """As many viewers as may be are here already."""


class Site:
    """An ASGI application; every method apart from the constructor belongs to its event loop.

    Messages of the WebSocket: the server's first is JSON, `welcome`, each after that an `EncodedScreen.message`. A
    viewer sends "ack" for each of these, or the name of a command.
    """

    def __init__(
        self,
        painter: Painter,
        welcome: dict[str, Any],
        *,
        max_width: int,
        max_viewers: int,
        on_command: Callable[[Command], object],
    ) -> None:
        self._painter = painter
        self._welcome = welcome
        self._max_width = max_width
        self._free_seats = max_viewers
        self._on_command = on_command
        self._newest: Screen | None = None
        self._watching: set[asyncio.Task[Any]] = set()
        self._screens = Broadcast(ScreenEncoder(max_width).encode)
        self._painted: dict[int, Broadcast[bytes]] = {}
        self._app = Starlette(
            routes=[
                *(Route(path, partial(_answer, content, kind)) for path, content, kind in _page_files()),
                Route("/stream.mjpg", self._stream),
                WebSocketRoute("/screens", self._watch),
            ],
            exception_handlers={Full: _refuse},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def show(self, screen: Screen) -> None:
        """Puts this screen in place of the one before, for everybody."""
        self._newest = screen
        self._screens.offer(screen)
        for painted in self._painted.values():
            painted.offer(screen)

    async def close(self) -> None:
        """Sends everybody away, and returns once those who watch the page know why, or cannot be reached."""
        self._screens.close()
        for painted in self._painted.values():
            painted.close()
        if self._watching:
            await asyncio.wait(self._watching, timeout=_SECONDS_TO_TELL)

    @contextmanager
    def _seat(self) -> Iterator[None]:
        if not self._free_seats:
            raise Full("too many viewers")
        self._free_seats -= 1
        try:
            yield
        finally:
            self._free_seats += 1

    async def _watch(self, websocket: WebSocket) -> None:
        task = asyncio.current_task()
        assert task
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            try:
                with self._seat():
                    await websocket.send_json(self._welcome)
                    await self._serve(websocket)
            except Full as full:
                await websocket.close(_TRY_AGAIN_LATER, str(full))
            except TimeoutError:
                await websocket.close(_POLICY_VIOLATION, "nothing is acknowledged")
            except Closed:
                await websocket.close(_GOING_AWAY, "the run has ended")

    async def _serve(self, websocket: WebSocket) -> None:
        """Sends and listens until one of the two ends."""
        unacknowledged = _Unacknowledged()
        both = [
            asyncio.create_task(self._send(websocket, unacknowledged)),
            asyncio.create_task(self._listen(websocket, unacknowledged)),
        ]
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        for task in ended:
            task.result()

    async def _send(self, websocket: WebSocket, unacknowledged: _Unacknowledged) -> None:
        number = 0
        known: dict[int, int] = {}
        while True:
            await asyncio.wait_for(unacknowledged.has_room(), _SECONDS_TO_ACKNOWLEDGE)
            newest = await self._screens.newer_than(number)
            unacknowledged.add()
            await websocket.send_bytes(newest.content.message(known))
            number, known = newest.number, newest.content.serials

    async def _listen(self, websocket: WebSocket, unacknowledged: _Unacknowledged) -> None:
        while (message := await websocket.receive())["type"] == "websocket.receive":
            text: str = message.get("text") or ""
            try:
                if text == "ack":
                    unacknowledged.remove()
                else:
                    self._on_command(_COMMANDS[text])
            except (KeyError, ValueError):  # no such command, or more acknowledged than was sent
                await websocket.close(_POLICY_VIOLATION, "not understood")
                return

    async def _stream(self, request: Request) -> Response:
        camera = request.query_params.get("camera", "0")
        cameras = len(self._newest.views) if self._newest else 1
        if camera not in map(str, range(cameras)):
            return PlainTextResponse(f"no camera {camera!r}; there are {cameras}, counted from 0\n", 404)
        if request.method == "HEAD":  # the pictures would be thrown away, one after the other, in somebody's seat
            return StreamingResponse(iter(()), media_type=_STREAM)
        return _SeatedStream(self._parts(int(camera)), self._seat)

    async def _parts(self, camera: int) -> AsyncIterator[bytes]:
        """Each picture with the head of the next after it: Chromium shows a picture once it has seen that."""
        painted = self._painted.get(camera)
        if painted is None:
            painted = Broadcast(PaintedEncoder(camera, self._painter, self._max_width).encode)
            self._painted[camera] = painted
            if self._newest:
                painted.offer(self._newest)
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
        number = 0
        yield head
        with suppress(Closed):
            while True:
                newest = await painted.newer_than(number)
                number = newest.number
                if jpeg := newest.content:
                    yield b"".join((jpeg, b"\r\n", head))


class _Unacknowledged:
    """The screens that were sent to a viewer and not acknowledged yet."""

    def __init__(self) -> None:
        self._count = 0
        self._room = asyncio.Event()
        self._room.set()

    async def has_room(self) -> None:
        await self._room.wait()

    def add(self) -> None:
        self._count += 1
        if self._count == _WINDOW:
            self._room.clear()

    def remove(self) -> None:
        """Raises ValueError if there is none."""
        if not self._count:
            raise ValueError("nothing was sent")
        self._count -= 1
        self._room.set()


class _SeatedStream(StreamingResponse):
    """Takes a seat for as long as it is sent."""

    def __init__(self, parts: AsyncIterator[bytes], seat: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(parts, media_type=_STREAM)
        self._seat = seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._seat():
            await super().__call__(scope, receive, send)


async def _refuse(request: Request, full: Exception) -> Response:
    return PlainTextResponse(f"{full}\n", 503)


async def _answer(content: bytes, media_type: str, request: Request) -> Response:
    return Response(content, media_type=media_type)


def _page_files() -> Iterator[tuple[str, bytes, str]]:
    """Path, content and media type; read once, so that no path of a request is ever looked for on the disk."""
    for file in files(__package__).joinpath("page").iterdir():
        name = file.name
        yield ("/" if name == "index.html" else f"/{name}"), file.read_bytes(), _MEDIA_TYPES[name[name.rindex(".") :]]
