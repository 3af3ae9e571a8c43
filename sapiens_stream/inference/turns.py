"""The order of batches for what depends on those before them, whichever device computes them."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition

from sapiens_stream.errors import DeviceError
from sapiens_stream.inference.refiner import Refiner


class Turns:
    """Given out in the order in which batches are queued. All may be asked from any thread."""

    def __init__(self) -> None:
        self._change = Condition()
        self._given = 0
        self._first = 0
        """That is not over."""
        self._over: set[int] = set()
        """Those after it that are."""
        self._waiting: set[int] = set()
        self._lost: str | None = None

    @property
    def lost(self) -> str | None:
        """Why no turn comes any more; None if they do."""
        return self._lost

    def next(self) -> Turn:
        """The one after all that were given."""
        with self._change:
            self._given += 1
            return Turn(self, self._given - 1)

    def wait(self, number: int) -> None:
        """Until all before it are over. Raises DeviceError where they are lost."""
        with self._change:
            self._waiting.add(number)
            self._change.wait_for(lambda: self._first >= number or self._lost is not None)
            self._waiting.remove(number)
            if self._lost is not None:
                raise DeviceError(self._lost)

    def is_waiting(self, number: int) -> bool:
        """Whether somebody waits for it."""
        with self._change:
            return number in self._waiting

    def end(self, number: int) -> None:
        """It is over; may be said again."""
        with self._change:
            if number < self._first:
                return
            self._over.add(number)
            while self._first in self._over:
                self._over.remove(self._first)
                self._first += 1
            self._change.notify_all()

    def lose(self, why: str) -> None:
        """None comes any more, since what a batch knew of those before it is lost: whoever waits is told why."""
        with self._change:
            self._lost = why
            self._change.notify_all()


@dataclass(frozen=True)
class Turn:
    """A batch's, among those of its engine."""

    turns: Turns
    number: int

    def wait(self) -> None:
        """Until it has come. What waits must be sure to come after those before it. Raises what `Turns.wait` does."""
        self.turns.wait(self.number)

    def end(self) -> None:
        """The next may come; said again by whatever ends the batch."""
        self.turns.end(self.number)

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for it."""
        return self.turns.is_waiting(self.number)


@dataclass(frozen=True)
class Refining:
    """A batch's turn with the refiner of its clip, which sees one at a time."""

    refiner: Refiner
    turn: Turn


def end_turns(turn: Turn, refining: Refining | None) -> None:
    """Those of a batch that is over: the next may come."""
    turn.end()
    if refining is not None:
        refining.turn.end()
