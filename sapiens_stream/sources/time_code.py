"""SMPTE time codes, as files tell that of their first frame."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from av.container import InputContainer

# Three digits of frames where there are 100 a second and more.
_WRITTEN = re.compile(r"\d\d:[0-5]\d:[0-5]\d[:;.]\d{2,3}")
_DROP_FRAME, _DIGITS = 1 << 6, 0x3F7F7F3F
_DROPPING = (Fraction(30000, 1001), Fraction(60000, 1001))


def time_code_of(container: InputContainer) -> str | None:
    """That of a movie, "hh:mm:ss:ff", or "hh:mm:ss;ff" where numbers are dropped; None where it makes no sense."""
    video = container.streams.best("video")
    for tags in (video.metadata if video is not None else {}, container.metadata):
        said = {key.lower(): value for key, value in tags.items()}.get("timecode", "")
        if _WRITTEN.fullmatch(said):
            return said
    return None


def unpacked_time_code(bits: int) -> str | None:
    """That of a picture's header, eight decimal digits of four bits, with flags above those that are never large.

    As SMPTE 12M counts, up to 30 frames a second; the hours come first.
    """
    digits = f"{bits & _DIGITS:08x}"
    if not digits.isdecimal():
        return None
    hours, minutes, seconds, frames = (digits[at : at + 2] for at in range(0, 8, 2))
    said = f"{hours}:{minutes}:{seconds}{';' if bits & _DROP_FRAME else ':'}{frames}"
    return said if hours < "24" and frames < "30" and _WRITTEN.fullmatch(said) else None


def at_rate(time_code: str | None, rate: Fraction) -> str | None:
    """A time code of pictures that are played at a rate: numbers are dropped at 30000/1001 and 60000/1001 alone.

    >>> at_rate("01:00:00;10", Fraction(24)), at_rate("01:00:00:29", Fraction(24))
    ('01:00:00:10', None)
    """
    if time_code is None or int(time_code[9:]) >= math.ceil(rate):
        return None
    return time_code if rate in _DROPPING else time_code.replace(";", ":")
