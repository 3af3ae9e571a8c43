"""The viewer that is a web server."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from sapiens_stream.classes import ClassSet
from sapiens_stream.errors import UsageError
from sapiens_stream.install_line import install_line
from sapiens_stream.painting import Painter
from sapiens_stream.settings import OPACITY, WEB_HOST, WEB_PORT
from sapiens_stream.threads import ThreadGroup
from sapiens_stream.viewers.viewer import Command, Screen, Viewer
from sapiens_stream.viewers.web.address import is_loopback, listen, url_of

_COMMANDS_KEPT = 32  # of a viewer who asks faster than the run listens
_SECONDS_TO_LEAVE = 5.0
_MOST_HEAD = 16 << 10  # bytes of a request before its body


class WebPreview(Viewer):
    """Serves the live picture at `url` to at most `max_viewers` at once, from a thread of its own.

    Pictures are shrunk to `max_width` pixels. `opacity`, `keep_background` and `only` (class ids; None: all) are what a
    viewer starts with, and how `/stream.mjpg` is painted. Connections beyond what viewers need are not kept, nor silent
    ones; `warn` is called, at most once a minute, where that or the lack of descriptors shows.

    Anyone who can reach `host` from another machine needs the token that is then part of `url`. Port 0 stands for any
    free one. Raises UsageError where the packages of the extra `web` are missing, OutputError where `host`
    and `port` cannot be listened on.
    """

    def __init__(
        self,
        classes: ClassSet,
        *,
        host: str = WEB_HOST,
        port: int = WEB_PORT,
        opacity: float = OPACITY,
        keep_background: bool = False,
        only: tuple[int, ...] | None = None,
        max_width: int = 1280,
        max_viewers: int = 8,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        try:
            import uvicorn

            from sapiens_stream.viewers.web.connections import BoundedServer, Connections, most_connections
            from sapiens_stream.viewers.web.guard import Guard
            from sapiens_stream.viewers.web.site import Site
        except ModuleNotFoundError as error:
            raise UsageError(f"the browser preview needs {error.name}: {install_line('web')}") from error

        self._commands: deque[Command] = deque(maxlen=_COMMANDS_KEPT)
        self._site = Site(
            Painter(classes, opacity=opacity, keep_background=keep_background, only=only),
            {
                "classes": [
                    {"name": name, "colour": colour}
                    for name, colour in zip(classes.names, classes.colours, strict=True)
                ],
                "opacity": opacity,
                "keep_background": keep_background,
                "only": only,
            },
            max_width=max_width,
            max_viewers=max_viewers,
            on_command=self._commands.append,
        )
        self._socket = listen(host, port)
        loopback = is_loopback(self._socket)
        token = None if loopback else secrets.token_urlsafe()
        self.url = url_of(host, self._socket) + (f"?token={token}" if token else "")
        guard = Guard(self._site, host=host, port=self._socket.getsockname()[1], loopback=loopback, token=token)
        # A page asks for all its files at once.
        connections = Connections(most_connections(64 + 8 * max_viewers), warn)
        self._server = BoundedServer(
            uvicorn.Config(
                guard,
                h11_max_incomplete_event_size=_MOST_HEAD,
                ws_max_size=256,  # a viewer's longest message is the name of a command
                ws_per_message_deflate=False,  # pictures and class maps are compressed
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=2,
            ),
            self._socket,
            connections,
        )
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._threads = ThreadGroup(self._leave, join_seconds=_SECONDS_TO_LEAVE)
        self._threads.start("web preview", self._serve)

    def show(self, screen: Screen) -> None:
        self._loop.call_soon_threadsafe(self._site.show, screen)

    def commands(self) -> list[Command]:
        """PAUSE, SNAPSHOT and RECORD, as viewers asked; never QUIT."""
        return [self._commands.popleft() for _ in range(len(self._commands))]

    def close(self) -> None:
        self._threads.close()

    def _leave(self) -> None:
        if self._loop.is_closed():  # the server has failed
            return
        # The server would cut the viewers off without a word.
        told = asyncio.run_coroutine_threadsafe(self._site.close(), self._loop)
        with suppress(TimeoutError):
            told.result(_SECONDS_TO_LEAVE)
        self._server.should_exit = True

    def _serve(self) -> None:
        with self._runner:
            self._runner.run(self._server.serve())
