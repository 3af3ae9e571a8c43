"""What a connection hands over, and where: the newest frame wins."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from threading import Condition

import av

GRACE_SECONDS, MOST_WAITING = 0.05, 8
"""How long, and how many, frames may wait to be taken before the older ones are dropped."""


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A decoded frame, and when its last packet had come, by `time.monotonic()`."""

    frame: av.VideoFrame
    at: float


@dataclass(frozen=True)
class Outcome:
    """Why a connection is over. `final` says that trying again cannot help."""

    reason: str
    ended: bool = False
    final: bool = False
    bug: BaseException | None = None


class LatestFrames:
    """From the thread that decodes to the one that reads: the newest frame wins.

    A frame that waited for `GRACE_SECONDS` is dropped once there is a newer one, counted in `dropped`. Those that a
    busy moment of the machine brings together all get through.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.closed = False
        self._frames: deque[DecodedFrame] = deque()
        self._outcome: Outcome | None = None
        self._changed = Condition()

    def put(self, arrived: DecodedFrame) -> None:
        with self._changed:
            self._frames.append(arrived)
            if len(self._frames) > MOST_WAITING:
                self._drop()
            self._changed.notify_all()

    def skipped(self) -> None:
        """A frame was not even decoded."""
        with self._changed:
            self.dropped += 1

    def finish(self, outcome: Outcome) -> None:
        """The connection's last word; frames that wait are taken before it."""
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()

    def take(self, timeout: float | None) -> DecodedFrame | Outcome | None:
        """What comes next; None if nothing did in time, or these are closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._frames or self._outcome, timeout)
            if self.closed:
                return None
            while len(self._frames) > 1 and time.monotonic() - self._frames[0].at > GRACE_SECONDS:
                self._drop()
            if self._frames:
                return self._frames.popleft()
            outcome, self._outcome = self._outcome, None
            return outcome

    def sleep(self, seconds: float) -> None:
        """Until then, or until these are closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed, seconds)

    def close(self) -> None:
        """Wakes whoever waits."""
        with self._changed:
            self.closed = True
            self._frames.clear()
            self._changed.notify_all()

    def _drop(self) -> None:
        self._frames.popleft()
        self.dropped += 1
