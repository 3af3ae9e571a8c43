"""What pictures may take of the machine."""

from __future__ import annotations

from av.video.codeccontext import VideoCodecContext

from sapiens_stream.errors import InputError
from sapiens_stream.sources.header import picture_size
from sapiens_stream.sources.kinds import BMP, JPEG, JPEG_2000, PNG, TIFF, WEBP, kind_of
from sapiens_stream.sources.too_large import ffmpeg_limit, too_large

PHOTO_BYTES_AT_ONCE = 2**30
"""What photos that are decoded at the same time, or wait decoded, may take together."""


def limit_decoder(decoder: VideoCodecContext, max_pixels: int) -> None:
    """Has FFmpeg refuse any picture with more pixels, before it takes memory for it.

    Raises InputError, nameless, where it is known already that they have more.
    """
    if decoder.width * decoder.height > max_pixels:
        raise InputError(too_large((decoder.height, decoder.width), max_pixels))
    decoder.options = {**decoder.options, "max_pixels": ffmpeg_limit(max_pixels)}


def why_refused(packet: bytes, max_pixels: int) -> str | None:
    """That a packet's picture is too large, if that is why it was not decoded: it may belie its container."""
    kind = kind_of(packet)
    size = picture_size(packet, kind) if kind in (JPEG, PNG, BMP, WEBP, TIFF, JPEG_2000) else None
    return too_large(size, max_pixels) if size and size[0] * size[1] > max_pixels else None
