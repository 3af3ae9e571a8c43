"""What pictures may take of the machine."""

from __future__ import annotations

from av.video.codeccontext import VideoCodecContext

from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.settings import is_number

PHOTO_BYTES_AT_ONCE = 2**30
"""What photos that are decoded at the same time, or wait decoded, may take together."""


def limit_decoder(decoder: VideoCodecContext, max_pixels: int) -> None:
    """Has FFmpeg refuse any picture with more pixels, before it takes memory for it.

    Raises InputError, nameless, where it is known already that they have more.
    """
    if decoder.width * decoder.height > max_pixels:
        raise InputError(too_large((decoder.height, decoder.width), max_pixels))
    decoder.options = {**decoder.options, "max_pixels": ffmpeg_limit(max_pixels)}


def ffmpeg_limit(max_pixels: int) -> str:
    """FFmpeg's option `max_pixels`, with room for its own rounding up of rows; who knows the size is stricter."""
    return str(max_pixels + max_pixels // 2 + 2**16)


def require_max_pixels(max_pixels: float) -> None:
    """Raises UsageError for what is no number of pixels."""
    if not is_number(max_pixels) or not max_pixels >= 1:
        raise UsageError(f"max_pixels is {max_pixels!r}; it is a number of pixels, 1 or more")


def too_large(size: tuple[int, int], max_pixels: int) -> str:
    """Why a picture of (height, width) is not decoded."""
    height, width = size
    return f"it has {width}x{height} pixels, more than {max_pixels}; --max-pixels (max_pixels in Python) allows more"
