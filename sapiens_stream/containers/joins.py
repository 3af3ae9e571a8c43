"""One line of time for recordings that were joined end to end, or whose clock jumps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer

AHEAD_SECONDS, BACK_SECONDS = Fraction(10), Fraction(1, 10)
"""How far a clock may stand from where it should; what is farther is another recording's (as `ffmpeg` has it)."""
REORDER_SECONDS, REORDER_FRAMES = Fraction(1), 16
"""How far it may be back, the longer of the two, for pictures that others are needed to decode."""
DAMAGE_SECONDS = Fraction(1, 2)
"""How soon after a jump a stream may turn out to go on as before."""

_FOR_EVER = Fraction(2**63)
# A clock that is a broadcast's may jump ahead; in other containers that is a pause, to be kept.
_BROADCAST = frozenset({"flv"})


@dataclass(frozen=True)
class _Stamp:
    """A packet's times, seconds: when it is shown, and, if that is known, when it is to be decoded."""

    shown: Fraction
    decoded: Fraction | None
    lasts: Fraction
    key: bool


@dataclass(frozen=True)
class _Line:
    """Where a stream stands: what is added to its times, when its next packet is due, when the last was decoded."""

    offset: Fraction
    due: Fraction
    decoded: Fraction | None = None

    def after(self, stamp: _Stamp) -> _Line:
        decoded = self.decoded
        if stamp.decoded is not None:
            decoded = max(stamp.decoded + self.offset, self.decoded if self.decoded is not None else -_FOR_EVER)
        return replace(self, due=max(self.due, stamp.shown + self.offset + stamp.lasts), decoded=decoded)

    def is_back(self, stamp: _Stamp) -> bool:
        """Whether the packet lies before where the stream stands."""
        if stamp.key:
            return stamp.shown + self.offset < self.due - BACK_SECONDS
        # Others may be shown before those that are decoded before them. After a join FFmpeg guesses some dts wrong.
        if stamp.decoded is None or self.decoded is None:
            return False
        return stamp.decoded + self.offset < self.decoded - max(REORDER_SECONDS, REORDER_FRAMES * stamp.lasts)


def tells_jumps(container: InputContainer) -> bool:
    """Whether its format is one whose clock may jump, as FFmpeg has it."""
    return av.format.Flags.ts_discont in av.format.Flags(container.format.flags)


class Joins:
    """Puts the times of a container's packets, given one after the other, on one line that never jumps.

    A packet of sound or video that lies before the one before it, or in a broadcast's container far behind all that
    came, begins another recording: it follows where its stream had come to, and the others' times move by as much once
    they come to that recording too. If its stream then goes on as if nothing had been, the packet's time was damaged.
    Whoever reads the same file gets the same times.
    """

    def __init__(self, container: InputContainer) -> None:
        self._jumps_ahead = tells_jumps(container) or container.format.name in _BROADCAST
        self._offset = Fraction(0)  # of the newest recording
        self._lines: dict[int, _Line] = {}
        self._before: dict[int, _Line] = {}  # as it was before the last jump

    def place(self, packet: av.Packet[Any]) -> bool:
        """Moves the packet to its place on the line; True where it is its stream's first of another recording."""
        shown = packet.pts if packet.pts is not None else packet.dts
        unit = packet.time_base
        if shown is None or not unit:
            return False
        offset, joined = self._offset, False
        if packet.stream.type in ("video", "audio"):
            index = packet.stream.index
            decoded = None if packet.dts is None else packet.dts * unit
            stamp = _Stamp(shown * unit, decoded, (packet.duration or 0) * unit, packet.is_keyframe)
            before = self._lines.get(index)
            line = self._first(stamp) if before is None else self._next(index, stamp, before)
            self._lines[index] = line.after(stamp)
            offset, joined = line.offset, before is not None and before.offset != line.offset
        if offset:
            ticks = round(offset / unit)
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
        return joined

    def _next(self, index: int, stamp: _Stamp, line: _Line) -> _Line:
        """The line that a packet belongs to, whose stream stood on `line`."""
        if stamp.key or self._is_jump(stamp, line):
            line = self._nearest(index, stamp, line)
            if self._is_jump(stamp, line):
                self._before[index] = line
                self._offset = line.due - stamp.shown
                return _Line(self._offset, line.due)
        return line

    def _nearest(self, index: int, stamp: _Stamp, line: _Line) -> _Line:
        """Of a stream's own line, that of the newest recording, and its own before the last jump."""
        before = self._before.get(index, line)
        if line.due - before.due > DAMAGE_SECONDS:
            before = line
        # Of the recording before, a stream may still have some when another stream is in the next one.
        newest = replace(line, offset=self._offset, decoded=None) if self._offset != line.offset else line
        found = min((line, newest, before), key=lambda each: abs(stamp.shown + each.offset - each.due))
        if found is not before or before is line:
            return found
        if self._offset == line.offset:
            self._offset = before.offset
        return replace(before, due=max(before.due, line.due))

    def _first(self, stamp: _Stamp) -> _Line:
        """Of a stream. It may come late, but in a broadcast not far from the others."""
        line = _Line(self._offset, stamp.shown + self._offset)
        if self._lines and self._is_far_ahead(stamp, line):
            self._offset = max(each.due for each in self._lines.values()) - stamp.shown
            line = _Line(self._offset, stamp.shown + self._offset)
        return line

    def _is_jump(self, stamp: _Stamp, line: _Line) -> bool:
        return line.is_back(stamp) or self._is_far_ahead(stamp, line)

    def _is_far_ahead(self, stamp: _Stamp, line: _Line) -> bool:
        furthest = max((each.due for each in self._lines.values() if each.offset == line.offset), default=line.due)
        time = stamp.shown if stamp.key or stamp.decoded is None else stamp.decoded
        return self._jumps_ahead and time + line.offset > furthest + AHEAD_SECONDS
