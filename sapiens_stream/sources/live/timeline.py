"""One line of time for a live source, whatever its sender's clock does."""

from __future__ import annotations

import math
from fractions import Fraction

TIME_BASE = Fraction(1, 90_000)  # that of transport streams and RTP: the usual rates are whole numbers of it

JUMP_SECONDS = 1.0
"""How far the sender's clock may part from ours before it counts as another clock: started anew, or wrapped."""


class Timeline:
    """Turns the times that a sender stamps into `pts` in `TIME_BASE` that start at 0, always grow, and keep to ours.

    Between two frames of a connection it is the sender's clock that counts, which knows nothing of the network's
    jitter; across connections, where the sender stamps nothing sensible, and of what a connection begins with all at
    once, the past that servers keep for whoever comes, the time of arrival.
    """

    def __init__(self) -> None:
        self._origin: float | None = None
        self._offset: float | None = None  # seconds from the sender's clock to this line
        self._before: tuple[float, float] | None = None  # when the last frame was made, by the sender, and came
        self._steady = False  # whether frames come as fast as they were made
        self._last = -1

    def restart(self) -> None:
        """The next frame is of another connection, whose clock may be any."""
        self._offset = self._before = None
        self._steady = False

    def pts(self, stamp: Fraction | None, arrived: float) -> int:
        """The time of a frame that the sender stamped with `stamp` seconds, and that arrived at `time.monotonic()`."""
        if self._origin is None:
            self._origin = arrived
        elapsed = arrived - self._origin
        if stamp is not None:
            elapsed = self._by_sender(float(stamp), elapsed)
        self._last = max(self._last + 1, round(elapsed / TIME_BASE))
        return self._last

    def _by_sender(self, seconds: float, elapsed: float) -> float:
        """Where a frame belongs that arrived at `elapsed`, in seconds of the line."""
        if self._before is not None:
            made, came = self._before
            self._steady = self._steady or elapsed - came >= (seconds - made) / 2
        self._before = seconds, elapsed
        ahead = math.inf if self._offset is None else seconds + self._offset - elapsed
        if abs(ahead) > JUMP_SECONDS or (ahead > 0 and not self._steady):
            self._offset = elapsed - seconds
        assert self._offset is not None
        return seconds + self._offset
