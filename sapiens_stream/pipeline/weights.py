"""How much of very large pictures may be under way: where a number of frames would be gigabytes, bytes count too."""

from __future__ import annotations

from sapiens_stream.frame import Frame
from sapiens_stream.settings import USUAL_PIXELS

MOST_WAITING = 1 << 29
"""Bytes at one place; a single picture may have more."""

_BYTES_PER_PIXEL = 10  # decoded, as RGB, painted, and its class map


def weight_of(frame: Frame) -> int:
    """About how many bytes it takes with what is made of it; 0 for one so small that numbers of frames are enough."""
    height, width = frame.size
    return height * width * _BYTES_PER_PIXEL if height * width > USUAL_PIXELS else 0
