"""How much of very large pictures may be under way: where a number of frames would be gigabytes, bytes count too."""

from __future__ import annotations

from threading import Condition

from sapiens_stream.frame import Frame
from sapiens_stream.settings import USUAL_PIXELS

MOST_WAITING = 1 << 29
"""Bytes at one place; a single picture may have more."""
MOST_UNDER_WAY = 1 << 32
"""Bytes at all places of a run together, of pictures so large that each fills one; a single picture may have more."""

_BYTES_PER_PIXEL = 10  # decoded, as RGB, painted, and its class map


def weight_of(frame: Frame) -> int:
    """About how many bytes it takes with what is made of it; 0 for one so small that numbers of frames are enough."""
    height, width = frame.size
    return height * width * _BYTES_PER_PIXEL if height * width > USUAL_PIXELS else 0


class UnderWay:
    """The pictures of a run that fill a place each, from their source to their files: few at a time in all.

    A picture waits at the source until there is room, or until nothing would move without it: all that was handed to
    the sinks is written, and the engine waits for another, as those who look ahead in a clip hold several.
    """

    def __init__(self, most: int = MOST_UNDER_WAY) -> None:
        self._most = most
        self._bytes = 0
        self._at_sinks = 0
        self._wanted = False
        self._closed = False
        self._changed = Condition()

    def enter(self, frame: Frame) -> None:
        """Waits at the source for room."""
        if not (weight := self._weight(frame)):
            return
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or self._bytes + weight <= self._most
                    or (not self._at_sinks and (self._wanted or not self._bytes))
                )
            )
            self._bytes += weight
            self._wanted = False

    def want(self) -> None:
        """The engine has no frame to go on with."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def hand_on(self, frame: Frame) -> None:
        """To the sinks, for which `leave` will follow."""
        if self._weight(frame):
            with self._changed:
                self._at_sinks += 1

    def leave(self, frame: Frame) -> None:
        """All sinks have done with it."""
        if weight := self._weight(frame):
            with self._changed:
                self._bytes -= weight
                self._at_sinks -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Lets everybody go on: the run ends, or a sink has failed and takes no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _weight(self, frame: Frame) -> int:
        """0 for what the bounds of single places suffice for."""
        weight = weight_of(frame)
        return weight if weight > MOST_WAITING else 0
