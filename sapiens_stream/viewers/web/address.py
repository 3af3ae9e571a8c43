"""Where the page is served: HOST:PORT as a user gives it, the socket there, the address that others reach it by."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket

from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.settings import WEB_HOST, WEB_PORT
from sapiens_stream.text import whole_number

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\s:/\[\]@?#]*))(?::(?P<port>\d+))?")
# Addresses for documentation (RFC 5737, RFC 3849): asking for the way there sends nothing.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", "HOST", ":PORT", "PORT" or "[IPv6]:PORT"; what is left out is the default.

    >>> parse_address("0.0.0.0:9000"), parse_address("9000"), parse_address("[::1]")
    (('0.0.0.0', 9000), ('127.0.0.1', 9000), ('::1', 8000))

    Port 0 stands for any free one. Raises UsageError for anything else.
    """
    given = f":{text}" if text.isdecimal() else f"[{text}]" if text.count(":") > 1 and "[" not in text else text
    match = _ADDRESS.fullmatch(given)
    if not match or not given:
        raise UsageError(f"no address {text!r}; HOST:PORT, as in {WEB_HOST}:{WEB_PORT}")
    port = whole_number(match["port"]) if match["port"] else WEB_PORT
    if port is None or port > 65535:
        raise UsageError(f"no port {match['port']} in {text!r}; 0 to 65535")
    if match["v6"]:
        try:
            ipaddress.IPv6Address(match["v6"])
        except ValueError:
            raise UsageError(f"no IPv6 address {match['v6']!r} in {text!r}") from None
    return match["v6"] or match["host"] or WEB_HOST, port


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OutputError, which names the address, where that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]  # the address again
        if error.errno == errno.EADDRINUSE:
            reason = "another program has that port; give another one, or 0 for any that is free"
        raise OutputError(f"the browser preview cannot listen on {_joined(host, port)}: {reason}") from error


def is_loopback(listening: socket.socket) -> bool:
    """Whether only programs of this machine can reach it."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def url_of(host: str, listening: socket.socket) -> str:
    """The page's address for a browser; of a socket at every interface, the one that leads to other machines."""
    address, port = listening.getsockname()[:2]
    if ipaddress.ip_address(address).is_unspecified:
        host = _outward_address(listening.family) or socket.gethostname()
    return f"http://{_joined(host, port)}/"


def _outward_address(family: int) -> str | None:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ELSEWHERE[socket.AddressFamily(family)], 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
