"""Whether what follows `--web` is its address, or the next source."""

from __future__ import annotations

import ipaddress
import os
import re

from sapiens_stream.cli.guesses import looks_like_video
from sapiens_stream.text import whole_number

_FIRST_PORT = 256
"""A bare number below is a camera's index: v4l2 has no more of them. Such a port is given as :80."""

_HOST_AND_PORT = re.compile(r"(\[[^/]*\]|[^/:]*):\d+")
_HOST = re.compile(r"\[[^/]*\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def is_web_address(word: str) -> bool:
    """Whether a word is HOST, PORT, HOST:PORT, :PORT or [IPv6]:PORT rather than a live source.

    >>> [is_web_address(word) for word in ("8001", "localhost", ":80", "0", "screen", "rtsp://10.0.0.7/", "clip.mp4")]
    [True, True, True, False, False, False, False]
    """
    if (port := whole_number(word)) is not None:
        return port >= _FIRST_PORT
    if _HOST_AND_PORT.fullmatch(word) or _is_ip(word):
        return True
    source = word == "screen" or looks_like_video(word) or os.path.lexists(word)
    return _HOST.fullmatch(word) is not None and not source


def _is_ip(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
