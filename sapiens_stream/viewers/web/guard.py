"""Who may come in: checks of every request before anything else sees it, and the headers of every answer."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/\[\]@?#]+)(?::\d+)?", re.IGNORECASE)


class Guard:
    """Lets a request through if it asks for this server by a name of its own, and brings the token, where there is one.

    The name is checked against DNS rebinding: a web site whose name leads here is not let in. A WebSocket must come
    from a page of this server. The token is taken from the query, and from then on from a cookie.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, loopback: bool, token: str | None) -> None:
        self._app = app
        self._host = host.lower()
        self._machine = socket.gethostname().lower().split(".")[0]
        self._loopback = loopback
        self._token = token
        # A browser keeps cookies by host, whatever the port: a second run must not throw the first one's viewers out.
        self._cookie = f"sapiens_stream_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As of any ASGI application."""
        connection = HTTPConnection(scope)
        answer = self._refusal(connection) or self._redirection(connection)
        await (answer or self._app)(scope, receive, self._with_headers(connection, send))

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        host = connection.headers.get("host", "")
        if not self._is_own_name(host):
            return PlainTextResponse("This server is not known by that name; use the address that was printed.\n", 421)
        # Compared whole with the host, so another port of the same machine is another site.
        if connection.scope["type"] == "websocket" and connection.headers.getlist("origin") not in (
            [f"http://{host}"],
            [f"https://{host}"],
        ):
            return PlainTextResponse("Only this server's own page may connect.\n", 403)
        if self._token and not (self._bears_token(connection) or self._is_token(connection.cookies.get(self._cookie))):
            return PlainTextResponse("Open the whole address that the program printed, with its token.\n", 403)
        return None

    def _redirection(self, connection: HTTPConnection) -> Response | None:
        """To the page without the token, which would otherwise stay in the address bar and the history."""
        if connection.scope["type"] == "http" and connection.url.path == "/" and self._bears_token(connection):
            return RedirectResponse("/", 303)
        return None

    def _is_own_name(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if not match:
            return False
        name = match[1].strip("[]").lower()
        try:
            return ipaddress.ip_address(name).is_loopback or not self._loopback
        except ValueError:
            known = name in ("localhost", self._host)
            return known or (not self._loopback and name.split(".")[0] == self._machine)

    def _bears_token(self, connection: HTTPConnection) -> bool:
        return self._is_token(connection.query_params.get("token"))

    def _is_token(self, given: str | None) -> bool:
        if self._token is None or given is None:
            return False
        return secrets.compare_digest(given.encode(errors="replace"), self._token.encode())

    def _with_headers(self, connection: HTTPConnection, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if self._bears_token(connection):
                    # Lax, not Strict: that would not come along when the address is opened from a mail or a chat.
                    headers.append("Set-Cookie", f"{self._cookie}={self._token}; HttpOnly; Path=/; SameSite=Lax")
            await send(message)

        return sending
