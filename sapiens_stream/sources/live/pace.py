"""Keeping to the speed of a source: slowing down what comes too fast, catching up with what is too much."""

from __future__ import annotations

from typing import Any

import av

PROMPT_SECONDS = 0.002
"""A packet that was read within this was there before it was asked for."""
BEHIND_SECONDS, LONGEST_SKIP_SECONDS = 1.0, 3.0


class Pace:
    """Holds back what comes faster than its own times say; what is late is late, and the rest not held for it."""

    def __init__(self) -> None:
        self._start: float | None = None

    def wait(self, frame: av.VideoFrame, now: float) -> float:
        """Seconds, from `now` by `time.monotonic()`, until the frame is due."""
        if frame.pts is None or frame.time_base is None:
            return 0.0
        stamp = float(frame.pts * frame.time_base)
        if self._start is None:
            self._start = now - stamp
        return self._start + stamp - now


class Backlog:
    """Finds that decoding is slower than the sender, and what to leave out so that the lag does not grow.

    What came together in a hiccup of the network is decoded faster than it is sent, and soon caught up with. But where
    for `BEHIND_SECONDS` the next packet was always there already, packets are skipped until all of the backlog is
    read, and then to the next that can be decoded without the others.
    """

    def __init__(self, now: float) -> None:
        self._since = now  # when the state below began, or could have changed last
        self._skipping = False
        self._caught_up = False

    def skips(self, packet: av.Packet[Any], waited: float, now: float) -> bool:
        """Whether to leave out `packet`, which was read at `now`, by `time.monotonic()`, and `waited` for so long."""
        prompt = waited < PROMPT_SECONDS
        if self._skipping:
            self._caught_up = self._caught_up or not prompt
            if (self._caught_up and packet.is_keyframe) or now - self._since > LONGEST_SKIP_SECONDS:
                self._skipping, self._since = False, now
        elif not prompt:
            self._since = now
        elif now - self._since > BEHIND_SECONDS:
            self._skipping, self._caught_up, self._since = True, False, now
        return self._skipping
