"""What is said of a picture with more pixels than are allowed."""

from __future__ import annotations


def too_large(size: tuple[int, int], max_pixels: int) -> str:
    """Why a picture of (height, width) is not decoded."""
    height, width = size
    return f"it has {width}x{height} pixels, more than {max_pixels}; --max-pixels (max_pixels in Python) allows more"


def ffmpeg_limit(max_pixels: int) -> str:
    """FFmpeg's option `max_pixels`, with room for its own rounding up of rows; who knows the size is stricter."""
    return str(max_pixels + max_pixels // 2 + 2**16)
