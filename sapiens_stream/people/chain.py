"""Two refiners, one behind the other, and which a clip needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.models.model import Model
from sapiens_stream.people.every import Every
from sapiens_stream.people.steady import Steady
from sapiens_stream.settings import MOST_EVERY, MOST_STEADY, as_int


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


def refiner_for(model: Model, *, steady: int = 0, every: int = 1) -> Refiner | None:
    """What stands between the logits of one clip and its class maps; None where nothing is asked for.

    Args:
        model: the one that infers.
        steady: how many frames before and after each have a say in it; 0: none.
        every: of so many frames one is inferred, and those between take theirs from both sides; 1: all are.

    Raises UsageError for settings that there are not.
    """
    steady, every = cast("int", as_int(steady)), cast("int", as_int(every))
    if type(steady) is not int or not 0 <= steady <= MOST_STEADY:
        raise UsageError(f"steady is {steady!r}; it is a number of frames, 0 to {MOST_STEADY}")
    if type(every) is not int or not 1 <= every <= MOST_EVERY:
        raise UsageError(f"every is {every!r}; it is a number of frames, 1 to {MOST_EVERY}")
    still = Steady(steady, model.threshold) if steady else None
    fewer = Every(every, model.threshold) if every > 1 else None
    return Chain(fewer, still) if fewer and still else fewer or still
