"""The one place that opens media: what may be opened, by which of FFmpeg's readers, and why it could not be."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import av
from av.container import InputContainer

from sapiens_stream.containers.limits import ffmpeg_limit
from sapiens_stream.errors import InputError, cause
from sapiens_stream.quiet import keep_quiet
from sapiens_stream.settings import MAX_PIXELS

NETWORK_PROTOCOLS = "http,https,httpproxy,tcp,tls,udp,rtp,srtp,srt,crypto,data"
"""What may be read for the sake of an address: nothing of this machine, whatever comes from there says."""
CONNECT_SECONDS, STALL_SECONDS = 10.0, 30.0
"""How long a server may take to answer, and how long it may then send nothing."""

# They make FFmpeg open other files and addresses, which whoever made the file would choose.
_LISTS = frozenset({"concat", "concatf", "dash", "hls", "imf", "rtsp", "sdp", "vobsub", "webm_dash_manifest"})
_LIST_BEGINNINGS = (b"#EXTM3U", b"ffconcat version", b"v=0", b"<?xml", b"<MPD")
_PATIENCE = {"probesize": str(100_000_000), "analyzeduration": str(600 * 1_000_000)}  # bytes, microseconds
# Tags in another encoding than UTF-8 stay as they are, for whoever writes them (`sinks.tags`).
_TAG_ERRORS = "surrogateescape"


def file_url(path: str | Path) -> str:
    """As FFmpeg is to open a file: it takes what stands before a colon in a bare name for a protocol."""
    return f"file:{path}"


def open_file(path: Path, max_pixels: int = MAX_PIXELS, *, patient: bool = False) -> InputContainer:
    """Opens a file, and no other for its sake. Raises InputError, which does not name it.

    FFmpeg decodes the first pictures to know what they are: none with more than `max_pixels`. It gives up on a stream
    that does not begin within seconds; not so soon where it is `patient`.
    """
    keep_quiet()
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _readers(),
        "pattern_type": "none",  # else "%03d" in a picture's name stands for other pictures
        **(_PATIENCE if patient else {}),
    }
    try:
        return av.open(
            file_url(path),
            "r",
            container_options=options,
            options={"max_pixels": ffmpeg_limit(max_pixels)},
            metadata_errors=_TAG_ERRORS,
        )
    except (ValueError, OSError, av.FFmpegError) as error:
        raise InputError(_why_unreadable(path, error)) from None


def open_address(
    url: str,
    *,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    timeout: tuple[float, float] | None = (CONNECT_SECONDS, STALL_SECONDS),
    max_pixels: int = MAX_PIXELS,
) -> InputContainer:
    """Opens a URL or a device. Raises av.FFmpegError or OSError, whose texts may hold the URL."""
    keep_quiet()
    network = {"protocol_whitelist": NETWORK_PROTOCOLS} if "://" in url else {}
    return av.open(
        url,
        "r",
        format=format,
        options={"max_pixels": ffmpeg_limit(max_pixels), **network, **(options or {})},
        timeout=timeout,
        metadata_errors=_TAG_ERRORS,
    )


def open_again(path: Path | None, url: str | None, *, patient: bool = False) -> InputContainer | None:
    """What a source reads, once more from its start: see `SourceInfo`, `open_file`. Raises InputError, nameless."""
    if path is not None:
        return open_file(path, patient=patient)
    if url is None:
        return None
    try:
        return open_address(url)
    except (ValueError, OSError, av.FFmpegError) as error:
        raise InputError(cause(error)) from None


def is_list(beginning: bytes) -> bool:
    """Whether what begins so names other files or addresses, and is no video itself."""
    return beginning.lstrip().startswith(_LIST_BEGINNINGS)


@cache
def _readers() -> str:
    """The input formats that read the one file they are given."""
    return ",".join(sorted(av.formats_available - _LISTS))


def _why_unreadable(path: Path, error: Exception) -> str:
    # Of a Y4M whose size cannot be FFmpeg adds the length of "FRAME\n" to its error for that, which makes it another.
    busy = getattr(error, "errno", None) == errno.EBUSY and path.is_file()
    if not isinstance(error, (av.InvalidDataError, av.ArgumentError, av.EOFError)) and not busy:
        return cause(error)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begins_as_list = is_list(file.read(64))
        boxes = _boxes(path, size)
    except OSError as unread:  # FFmpeg says of an index that the disk does not give that it is none
        return cause(unread)
    if not size:
        return "the file is empty"
    if begins_as_list:
        return "it is a list of other files or addresses, which are not opened for its sake; give those themselves"
    if boxes[0] in (b"ftyp", b"mdat", b"wide") and b"moov" not in boxes:
        return "the file is cut short, or was never finished: its index (moov) is missing"
    return "its content is not a video, or is damaged at its beginning"


def _boxes(path: Path, size: int) -> list[bytes]:
    """The types of the boxes that an MP4 is a row of; of any other file, nonsense."""
    boxes: list[bytes] = []
    with path.open("rb") as file:
        at = 0
        while at < size and len(boxes) < 1000:
            file.seek(at)
            head = file.read(16)
            boxes.append(head[4:8])
            length = int.from_bytes(head[:4], "big")
            at += max(8, int.from_bytes(head[8:16], "big") if length == 1 else length or size)
    return boxes
