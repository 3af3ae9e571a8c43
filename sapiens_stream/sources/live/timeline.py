"""One line of time for a live source, whatever its sender's clock does."""

from __future__ import annotations

from fractions import Fraction

TIME_BASE = Fraction(1, 90_000)  # that of transport streams and RTP: the usual rates are whole numbers of it

JUMP_SECONDS = 1.0
"""How far the sender's clock may part from ours before it counts as another clock: started anew, or wrapped."""


class Timeline:
    """Turns the times that a sender stamps into `pts` in `TIME_BASE` that start at 0, always grow, and keep to ours.

    Between two frames of a connection it is the sender's clock that counts, which knows nothing of the network's
    jitter; across connections, and where the sender stamps nothing sensible, the time of arrival.
    """

    def __init__(self) -> None:
        self._origin: float | None = None
        self._offset: float | None = None  # seconds from the sender's clock to this line
        self._last = -1

    def restart(self) -> None:
        """The next frame is of another connection, whose clock may be any."""
        self._offset = None

    def pts(self, stamp: Fraction | None, arrived: float) -> int:
        """The time of a frame that the sender stamped with `stamp` seconds, and that arrived at `time.monotonic()`."""
        if self._origin is None:
            self._origin = arrived
        elapsed = arrived - self._origin
        if stamp is not None:
            seconds = float(stamp)
            if self._offset is None or abs(seconds + self._offset - elapsed) > JUMP_SECONDS:
                self._offset = elapsed - seconds
            elapsed = seconds + self._offset
        self._last = max(self._last + 1, round(elapsed / TIME_BASE))
        return self._last
