"""Addresses with nothing in them that has to stay secret."""

from __future__ import annotations

import re
from urllib.parse import SplitResult

HIDDEN = "***"

# What tells one camera of a device from another, and is nobody's secret. All other values of a query are hidden.
_SHOWN = frozenset(
    {
        "camera",
        "channel",
        "fps",
        "listen",
        "mode",
        "pkt_size",
        "profile",
        "resolution",
        "stream",
        "subtype",
        "transport",
    }
)
_SECRET = re.compile(
    r"((?:user|usr|login|pass|pwd|pw|token|key|auth|secret|sign?|credential|code)[a-z_]*=)[^&;/?\s]*", re.IGNORECASE
)
_USER = re.compile(r"(//)[^/\s]*@")


def redacted_url(url: SplitResult) -> str:
    """The URL without user, password and fragment, and with the values of its query hidden but for harmless ones."""
    host = url.netloc.rpartition("@")[2]
    path = _SECRET.sub(rf"\1{HIDDEN}", url.path)  # some cameras take user and password there
    query = "&".join(_redacted_item(item) for item in url.query.split("&")) if url.query else ""
    return f"{url.scheme}://{host}{path}" + (f"?{query}" if query else "")


def redacted_text(text: str) -> str:
    """Text that may hold URLs, such as a filter graph: no user and password, no values of names that sound secret."""
    return _SECRET.sub(rf"\1{HIDDEN}", _USER.sub(r"\1", text))


def _redacted_item(item: str) -> str:
    key, equals, _ = item.partition("=")
    if key.lower() in _SHOWN:
        return item
    return f"{key}={HIDDEN}" if equals else HIDDEN
