"""Where frames come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.settings import MAX_PIXELS, PHOTO_WORKERS
from sapiens_stream.sources.decoding import Decoder
from sapiens_stream.sources.kinds import ANIMATIONS, is_photo
from sapiens_stream.sources.listing import is_folder, is_glob, is_list
from sapiens_stream.sources.live import Live, LiveEvent
from sapiens_stream.sources.live.address import Address, is_live, parse_address
from sapiens_stream.sources.live.cameras import CameraDevice, list_cameras
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.photos import Photos
from sapiens_stream.sources.sequence import PictureSequence
from sapiens_stream.sources.source import Source
from sapiens_stream.sources.video import Video

__all__ = [
    "Address",
    "CameraDevice",
    "Decoder",
    "Live",
    "LiveEvent",
    "Photos",
    "PictureSequence",
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
    """Opens what a user names: photos, a video or a live source.

    Args:
        what: a camera's index or device, a URL, `lavfi:GRAPH` or `screen` for `Live`; a name with a place for a number
            ("shot.%04d.exr") for `PictureSequence`; a folder, a `.txt` list, a glob
            or a file with a photo's extension for `Photos`; any other file for `Video`, and so a GIF, whose pictures
            may be many, and "-", which is standard input.
        decoder: as `Photos` has it, and so the others.
        workers: photos that are decoded at once.
        recursive: take the photos of sub-folders too.
        exclude: a folder whose photos are left out.
        max_pixels: of a picture; one with more is not decoded.
        live: opens a live source.

    Returns:
        A Photos, a Video, a PictureSequence, or what `live` has made.

    Raises:
        InputError: where the input cannot be opened; a live one is opened only when its frames are asked for.
        UsageError: for a URL that is no source, and for what is none of these.

    >>> with open_source("clip.mp4") as source:
    ...     for frame in source.frames():
    ...         print(frame.name)
    """
    if what == "":  # to pathlib the current folder, and most likely a variable that nobody has set
        raise InputError("an empty name is no input")
    if isinstance(what, int):
        return live(what)
    if not isinstance(what, (str, os.PathLike)):
        raise UsageError(f"a source is a path, an address or a camera's index; got {type(what).__name__}")
    if is_live(what):
        return live(what)
    if parse_pattern(what) is not None:
        return PictureSequence(what, workers=workers, max_pixels=max_pixels)
    path = Path(what)
    animation = path.suffix.lower() in ANIMATIONS
    if is_folder(path) or is_list(path) or is_glob(what) or (is_photo(path) and not animation):
        return Photos(
            what, decoder=decoder, workers=workers, recursive=recursive, exclude=exclude, max_pixels=max_pixels
        )
    return Video(what, max_pixels=max_pixels)
