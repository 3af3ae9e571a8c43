"""A bounded queue that ends: closed by its writer, failed by either side, so that nobody waits for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Cancelled(Exception):
    """The other side is gone: there is nobody to put for. Ends a thread; no user sees it."""


class Channel(Generic[Item]):
    """Items from one thread to others, at most `capacity` of them waiting.

    When it is full, `put` waits; with `newest_wins` it drops the oldest instead, and counts it in `dropped`. It is full
    too where what waits, by `weigh`, would come to more than `most`; one item alone may.
    """

    def __init__(
        self,
        capacity: int,
        *,
        newest_wins: bool = False,
        weigh: Callable[[Item], int] = lambda item: 0,
        most: int = 0,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity}; 1 or more")
        self.capacity = capacity
        self.newest_wins = newest_wins
        self.dropped = 0
        self._items: deque[Item] = deque()
        self._weigh, self._most, self._weight = weigh, most, 0
        self._changed = Condition()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> None:
        """Adds an item. Raises Cancelled once the channel was closed or has failed."""
        with self._changed:
            while self._is_full_for(item) and not self.newest_wins and not self._closed:
                self._changed.wait()
            if self._closed:
                raise Cancelled
            while self._is_full_for(item):
                self._take()
                self.dropped += 1
            self._items.append(item)
            self._weight += self._weigh(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        """The oldest item; waits for one.

        Raises StopIteration at the end, or, once the items before it were handed out, what the channel failed with.
        """
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if self._items:
                item = self._take()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def _is_full_for(self, item: Item) -> bool:
        if not self._items:
            return False
        return len(self._items) >= self.capacity or self._weight + self._weigh(item) > self._most > 0

    def _take(self) -> Item:
        item = self._items.popleft()
        self._weight -= self._weigh(item)
        return item

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """No more items: those that wait are still handed out, then the readers' loops end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """As `close`, but the reader gets `error` at the end. The first failure stays."""
        with self._changed:
            if not self._closed:
                self._error = error
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Drops what waits and closes: the writer gets Cancelled, the reader the end."""
        with self._changed:
            self._items.clear()
            self._weight = 0
            self._error = None
            self._closed = True
            self._changed.notify_all()
