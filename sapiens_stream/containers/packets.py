"""Reads the packets of what was opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from av import Packet
from av.container import InputContainer


def packets_of(container: InputContainer) -> Iterator[Packet[Any]]:
    """Its packets, then an empty one for each stream that was known when it was opened.

    An FLV, as RTMP servers record it, does not say at its beginning which streams it has. PyAV hands out no packets of
    one that begins long after, but at the end asks for it too, and an IndexError comes of that, after all packets.
    """
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):
            return
        yield packet
