"""Two refiners, one behind the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.refiner import Refiner


class Chain:
    """The first decides what is inferred; the second refines what comes of it, every frame of the clip."""

    def __init__(self, first: Refiner, second: Refiner) -> None:
        self._first, self._second = first, second
        self._refined: PendingBatch | None = None
        """The last batch that the first has seen: where memory is short after it, it is not asked again."""
        self._passing: deque[PendingBatch] = deque()
        self._ready: list[PendingBatch] = []

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        self._second.take(frames)
        return self._first.take(frames)

    def last(self) -> Sequence[Frame]:
        return self._first.last()

    def refine(self, batch: PendingBatch) -> list[PendingBatch]:
        if batch is not self._refined:
            self._passing.extend(self._first.refine(batch))
            self._refined = batch
        return self._pass_on()

    def rest(self) -> list[PendingBatch]:
        self._passing.extend(self._first.rest())
        self._ready = self._pass_on()
        return self._ready + self._second.rest()

    def record(self) -> dict[str, Any]:
        return self._first.record() | self._second.record()

    def _pass_on(self) -> list[PendingBatch]:
        while self._passing:
            self._ready += self._second.refine(self._passing[0])
            self._passing.popleft()
        ready, self._ready = self._ready, []
        return ready
