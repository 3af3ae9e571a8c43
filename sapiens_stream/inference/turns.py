"""The order of batches for what depends on those before them, whichever device computes them."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition


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

    def next(self) -> Turn:
        """The one after all that were given."""
        with self._change:
            self._given += 1
            return Turn(self, self._given - 1)

    def wait(self, number: int) -> None:
        """Until all before it are over."""
        with self._change:
            self._waiting.add(number)
            self._change.wait_for(lambda: self._first >= number)
            self._waiting.remove(number)

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


@dataclass(frozen=True)
class Turn:
    """A batch's, among those of its engine."""

    turns: Turns
    number: int

    def wait(self) -> None:
        """Until it has come. What waits must be sure to come after those before it."""
        self.turns.wait(self.number)

    def end(self) -> None:
        """The next may come; said again by whatever ends the batch."""
        self.turns.end(self.number)

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for it."""
        return self.turns.is_waiting(self.number)
