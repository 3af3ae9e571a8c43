"""Whatever is one clip: a video, or numbered pictures."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sources.demux import Mark
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.sources.sequence import PictureSequence
from sapiens_stream.sources.video import Video


def open_clip(
    what: str | Path,
    *,
    rate: Fraction | None = None,
    max_pixels: int = MAX_PIXELS,
    called: str | None = None,
    begin: Mark | None = None,
    alive: Callable[[], None] = lambda: None,
) -> Video | PictureSequence:
    """Opens a clip by what a user names: `PictureSequence` for "shot.%04d.exr" and the like, else `Video`.

    `rate` is of numbered pictures; the others are as both have them. Raises InputError as they do.
    """
    if parse_pattern(what) is not None:
        return PictureSequence(what, rate=rate, max_pixels=max_pixels, called=called, begin=begin, alive=alive)
    return Video(what, max_pixels=max_pixels, called=called, begin=begin, alive=alive)
