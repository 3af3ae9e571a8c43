"""Where frames come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sapiens_stream.settings import MAX_PIXELS, PHOTO_WORKERS
from sapiens_stream.sources.decoding import Decoder
from sapiens_stream.sources.kinds import ANIMATIONS, is_photo
from sapiens_stream.sources.listing import is_glob, is_list
from sapiens_stream.sources.live import Live, LiveEvent
from sapiens_stream.sources.live.address import Address, is_live, parse_address
from sapiens_stream.sources.live.cameras import CameraDevice, list_cameras
from sapiens_stream.sources.photos import Photos
from sapiens_stream.sources.source import Source
from sapiens_stream.sources.video import Video

__all__ = [
    "Address",
    "CameraDevice",
    "Decoder",
    "Live",
    "LiveEvent",
    "Photos",
    "Source",
    "Video",
    "list_cameras",
    "open_source",
    "parse_address",
]


def open_source(
    what: str | Path | int,
    *,
    decoder: Decoder = "pyav",
    workers: int = PHOTO_WORKERS,
    recursive: bool = False,
    exclude: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    live: Callable[[str | Path | int], Source] = Live,
) -> Source:
    """`Live` for a camera's index or device, a URL, `lavfi:GRAPH` or `screen`; `Photos` for a folder, a `.txt` list, a
    glob or a file with a photo's extension; `Video` for any other file, for a GIF, whose pictures may be many, and for
    "-", which is standard input.

    >>> with open_source("clip.mp4") as source:
    ...     for frame in source.frames():
    ...         print(frame.name)

    The options are those of `Photos`; `live` opens a live one. Raises InputError where the input cannot be opened; a
    live one is opened only when its frames are asked for. Raises UsageError for a URL that is no source.
    """
    if isinstance(what, int) or is_live(what):
        return live(what)
    path = Path(what)
    animation = path.suffix.lower() in ANIMATIONS
    if path.is_dir() or is_list(path) or is_glob(what) or (is_photo(path) and not animation):
        return Photos(
            what, decoder=decoder, workers=workers, recursive=recursive, exclude=exclude, max_pixels=max_pixels
        )
    return Video(what, max_pixels=max_pixels)
