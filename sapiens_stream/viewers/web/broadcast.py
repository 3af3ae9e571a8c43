"""The newest screen for everyone who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sapiens_stream.viewers.viewer import Screen

Content = TypeVar("Content")


class Closed(Exception):
    """The run is over: there will be no newer screen."""


@dataclass(frozen=True)
class Numbered(Generic[Content]):
    """What a screen was encoded to, and which screen it was, counted from 1."""

    number: int
    content: Content


class Broadcast(Generic[Content]):
    """Encodes the newest screen once for all who ask, beside the event loop; nothing while nobody asks.

    One is encoded at a time, and whoever asks meanwhile shares it if it is newer than what they have. So the
    slower the encoder, the fewer screens there are, and none waits in a queue. For use in one event loop.
    """

    def __init__(self, encode: Callable[[Screen], Content]) -> None:
        self._encode = encode
        self._newest: Screen | None = None
        self._number = 0
        self._arrived = asyncio.Event()
        self._encoding: asyncio.Task[Numbered[Content]] | None = None
        self._last: Numbered[Content] | None = None
        self._closed = False

    def offer(self, screen: Screen) -> None:
        """Puts this screen in place of the one before."""
        self._newest = screen
        self._number += 1
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def newer_than(self, number: int) -> Numbered[Content]:
        """A screen after that of this number, the newest there is; waits for one. Raises Closed at the end."""
        while True:
            while self._number <= number and not self._closed:
                await self._arrived.wait()
            if self._closed:
                raise Closed
            if self._encoding is None and self._last and self._last.number == self._number:
                return self._last
            if self._encoding is None:
                self._encoding = asyncio.create_task(self._encode_newest())
            # Shielded: one who leaves does not take the others' picture away.
            encoded = await asyncio.shield(self._encoding)
            if encoded.number > number:
                return encoded

    def close(self) -> None:
        """Sends everyone away."""
        self._closed = True
        self._arrived.set()

    async def _encode_newest(self) -> Numbered[Content]:
        assert self._newest is not None
        number, screen = self._number, self._newest
        try:
            self._last = Numbered(number, await asyncio.to_thread(self._encode, screen))
        finally:
            self._encoding = None
        return self._last
