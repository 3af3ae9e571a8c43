"""A clip's own time, by which what happens now and then does so in a part of it as in the whole."""

from __future__ import annotations

from fractions import Fraction

from sapiens_stream.frame import Frame

_RATE = 25  # of frames that have no times


def period_of(frame: Frame, seconds: Fraction) -> int:
    """Which of the periods that are so long a frame begins in, counted from the clip's zero."""
    time = Fraction(frame.index, _RATE) if frame.time is None else frame.time
    return int(time // seconds)
