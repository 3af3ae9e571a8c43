"""A number of bytes that workers share, where the one whose result is wanted next never waits."""

from __future__ import annotations

from threading import Condition


class OrderedBudget:
    """What is taken waits until it fits, in the order of the results at the latest: so nobody waits for ever."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken: dict[int, int] = {}
        self._next = 0
        self._closed = False
        self._changed = Condition()

    def take(self, order: int, amount: int) -> None:
        """Takes `amount` for the result number `order`, once there is room or all before it are given back."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or order <= self._next or sum(self._taken.values()) + amount <= self._total
            )
            if order >= self._next:  # else it comes too late, and was given up
                self._taken[order] = amount

    def give_back(self, order: int) -> None:
        """Gives back what was taken for a result, if anything, once it is the caller's; results come in order."""
        with self._changed:
            self._taken.pop(order, None)
            self._next = order + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Lets everybody go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
