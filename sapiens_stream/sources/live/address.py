"""What a user may name as a live source, and how FFmpeg is to open it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from sapiens_stream.containers.opening import file_url
from sapiens_stream.errors import UsageError
from sapiens_stream.redaction import redacted_text, redacted_url
from sapiens_stream.sources.live.cameras import DEVICE_FORMATS, list_cameras

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt")
FORMS = (
    "a camera's index (0) or device (/dev/video0, or video=NAME on Windows), "
    f"a URL ({', '.join(SCHEMES)}), lavfi:GRAPH, screen, or a file at its own speed (--realtime)"
)

Kind = Literal["camera", "url", "lavfi", "screen", "file"]

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_DEVICE = re.compile(r"/dev/(video|v4l/)|video=")
# A stream tells its format and size within this; more is only waited for. Zero frames for the rate: not wanted, slow.
# No `nobuffer`: it throws away what was probed, the first whole picture with it; the next may be seconds away. What is
# kept instead is decoded at once, so that it delays nothing.
_PROBE = {"probesize": "500000", "fpsprobesize": "0"}
_DEFAULT_PORT = {"rtsp", "rtsps", "rtmp", "rtmps", "http", "https"}
_PROTOCOL_OPTIONS = {
    "rtsp": {"rtsp_flags": "prefer_tcp", "allowed_media_types": "video"},
    # FFmpeg waits for the sound of a stream that has none. These protocols are no part of what may be read for the sake
    # of an address.
    "rtmp": {"protocol_whitelist": "rtmp,tcp", "analyzeduration": "1000000"},
    "rtmps": {"protocol_whitelist": "rtmps,tls,tcp", "analyzeduration": "1000000"},
    # What comes this way is a transport stream, which holds a picture a packet: to look for its end is to wait for the
    # next one. Over others there may be pieces of pictures.
    "udp": {"overrun_nonfatal": "1", "fflags": "noparse"},
}
_PROTOCOL_OPTIONS["rtsps"] = _PROTOCOL_OPTIONS["rtsp"]


@dataclass(frozen=True, kw_only=True)
class Address:
    """A live source, as FFmpeg opens it; `parse_address` makes one.

    Args:
        kind: "camera", "url", "lavfi", "screen" or "file".
        name: safe to print.
        stem: safe as a file's name as well.
        url: FFmpeg's; it may hold credentials, and is no part of the `repr`.
        path: a file's.
        format: FFmpeg's input format; None: found out from what comes.
        options: FFmpeg's, which may hold credentials too.
        host: what has to be looked up before it can be reached.
        paced: nothing but the frames' times holds the source to its own speed.
        endless: an end is an accident, so that opening again makes sense.

    >>> parse_address("rtsp://admin:secret@10.0.0.7/stream").stem
    'rtsp_10.0.0.7_stream'
    """

    kind: Kind
    name: str
    stem: str
    url: str = field(repr=False)
    path: Path | None = None
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    host: str | None = None
    paced: bool = False
    endless: bool = True


def is_live(what: str | Path | int) -> bool:
    """Whether it can be nothing but a live source; a file that there is of such a name is that file."""
    if isinstance(what, int):
        return True
    text = str(what)
    form = _form(text)
    return form is not None and (form is _url or bool(_DEVICE.match(text)) or not os.path.lexists(text))


def parse_address(what: str | Path | int, *, realtime: bool = False, platform: str = sys.platform) -> Address:
    """Understands what a user names.

    Args:
        what: a camera's index or device, a URL, `lavfi:GRAPH`, `screen`, or a file.
        realtime: take a file too, to be played at its own speed.
        platform: as `sys.platform`.

    Returns:
        An Address, for `Live`.

    Raises:
        UsageError: for anything else, naming the forms that there are.

    >>> parse_address("rtsp://admin:secret@10.0.0.7/stream").name
    'rtsp://10.0.0.7/stream'
    """
    text = str(what)
    form = _form(text)
    if form is not None and not (realtime and text.isdecimal() and Path(text).exists()):
        return form(text, platform)
    path = Path(text)
    if path.is_file():
        if not realtime:
            raise UsageError(
                f"{text} is a file; it is live only at its own speed (--realtime; in Python realtime=True)"
            )
        return Address(kind="file", name=text, stem=path.stem, url=file_url(text), path=path, paced=True, endless=False)
    raise UsageError(f"{redacted_text(text)}: no such live source; there are {FORMS}")


def _form(text: str) -> Callable[[str, str], Address] | None:
    """What makes an address of a text of its form, on a platform; None where it has none but may name a file."""
    if _URL.match(text):
        return _url
    if text.startswith("lavfi:"):
        return _lavfi
    if _DEVICE.match(text) or text.isdecimal():
        return _camera
    return _screen if text == "screen" else None


def _url(text: str, _platform: str) -> Address:
    scheme = text.partition(":")[0].lower()
    if scheme not in SCHEMES:
        raise UsageError(f"no live source has a URL of {scheme}://; there are {FORMS}")
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
        proper = bool(host if scheme in _DEFAULT_PORT else port) and "@" not in url.path + url.fragment
    except ValueError:
        proper = False
    if not proper:  # then it is not repeated: what stands for the host may be a piece of a password
        raise UsageError(
            f"the {scheme} URL has no proper host and port; "
            "in its user and password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23"
        )
    name = redacted_url(url)
    return Address(
        kind="url",
        name=name,
        stem=_url_stem(url, name),
        url=scheme + text[len(scheme) :],  # FFmpeg takes it in lower case alone
        options={**_PROBE, **_PROTOCOL_OPTIONS.get(scheme, {})},
        host=host,
    )


def _url_stem(url: SplitResult, name: str) -> str:
    place = re.sub(r"[^A-Za-z0-9.-]+", "_", name.partition("://")[2].partition("?")[0]).strip("_.")
    return f"{url.scheme}_{place}"[:80].rstrip("_.")


def _lavfi(text: str, _platform: str) -> Address:
    graph = text.removeprefix("lavfi:")
    if not graph:
        raise UsageError("lavfi: needs a graph, such as lavfi:testsrc2=size=640x480:rate=30")
    return Address(
        kind="lavfi",
        name=redacted_text(text),
        stem="lavfi",
        url=graph,
        format="lavfi",
        options={"fpsprobesize": "0"},
        paced=True,
        endless=False,
    )


def _camera(text: str, platform: str) -> Address:
    """By index or device, as the platform's cameras are opened."""
    options = {"fpsprobesize": "0"}
    url = text
    if platform == "darwin":
        url = f"{text}:none"
        options |= {"framerate": "30"}  # its default, 30000/1001, is one that cameras refuse
    elif platform == "win32" and text.isdecimal():
        url = _nth_camera(int(text), platform)
    elif text.isdecimal():
        url = f"/dev/video{text}"
    name = f"camera {text}" if text.isdecimal() else text
    place = re.sub(r"[^A-Za-z0-9.-]+", "_", text.removeprefix("/dev/").removeprefix("video=")).strip("_.")
    stem = f"camera{text}" if text.isdecimal() else f"camera_{place}"
    format = DEVICE_FORMATS.get(platform, "v4l2")
    return Address(kind="camera", name=name, stem=stem, url=url, format=format, options=options)


def _nth_camera(index: int, platform: str) -> str:
    """Where cameras are opened by name alone."""
    cameras = list_cameras(platform)
    if index >= len(cameras):
        raise UsageError(f"there is no camera {index}; {len(cameras)} were found")
    return cameras[index].address


def _screen(_text: str, platform: str) -> Address:
    format, url = "x11grab", os.environ.get("DISPLAY", "")
    if platform == "darwin":
        format, url = "avfoundation", "Capture screen 0:none"
    elif platform == "win32":
        format, url = "gdigrab", "desktop"
    elif not url:
        raise UsageError("there is no screen: DISPLAY is not set")
    options = {"framerate": "30", "fpsprobesize": "0"}
    return Address(kind="screen", name="screen", stem="screen", url=url, format=format, options=options)
