"""One line of time for recordings that were joined end to end, or whose clock jumps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer

AHEAD_SECONDS, BACK_SECONDS = Fraction(10), Fraction(1, 10)
"""How far a clock may stand from where it should; what is farther is another recording's (as `ffmpeg` has it)."""
REORDER_SECONDS = Fraction(1)
"""How far it may be back for pictures that are stored before others which are shown earlier."""
DAMAGE_SECONDS = Fraction(1, 2)
"""How soon after a jump a stream may turn out to go on as before."""

# A clock that is a broadcast's may jump ahead; in other containers that is a pause, to be kept.
_BROADCAST = frozenset({"flv"})


@dataclass(frozen=True)
class _Line:
    """Where a stream stands: the seconds that are added to its times, and when its next packet is due."""

    offset: Fraction
    due: Fraction

    def after(self, end: Fraction) -> _Line:
        return replace(self, due=max(self.due, end))


class Joins:
    """Puts the times of a container's packets, given one after the other, on one line that never jumps.

    A packet of sound or video that lies before the one before it, or in a broadcast's container far behind all that
    came, begins another recording: it follows where its stream had come to, and the others' times move by as much once
    they come to that recording too. If its stream then goes on as if nothing had been, the packet's time was damaged.
    Whoever reads the same file gets the same times.
    """

    def __init__(self, container: InputContainer) -> None:
        format = container.format
        self._jumps_ahead = av.format.Flags.ts_discont in av.format.Flags(format.flags) or format.name in _BROADCAST
        self._offset = Fraction(0)  # of the newest recording
        self._lines: dict[int, _Line] = {}
        self._before: dict[int, _Line] = {}  # as it was before the last jump

    def place(self, packet: av.Packet[Any]) -> bool:
        """Moves the packet to its place on the line; True where it is its stream's first of another recording."""
        stamp = packet.pts if packet.pts is not None else packet.dts  # after a join FFmpeg guesses some dts wrong
        if stamp is None or not packet.time_base:
            return False
        offset, joined = self._offset, False
        if packet.stream.type in ("video", "audio"):
            before = self._lines.get(packet.stream.index)
            line = self._line(packet, stamp * packet.time_base)
            self._lines[packet.stream.index] = line
            offset, joined = line.offset, before is not None and before.offset != line.offset
        if offset:
            ticks = round(offset / packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
        return joined

    def _line(self, packet: av.Packet[Any], time: Fraction) -> _Line:
        """The line that a packet of this time belongs to, with the packet on it."""
        lasts = (packet.duration or 0) * packet.time_base
        index = packet.stream.index
        line = self._lines.get(index)
        if line is None:
            return self._first(time, lasts)
        back = BACK_SECONDS if packet.is_keyframe else REORDER_SECONDS
        if packet.is_keyframe or self._is_jump(time, line, back):
            line = self._nearest(index, time, line)
            if self._is_jump(time, line, back):
                self._before[index] = line
                self._offset = line.due - time
                line = replace(line, offset=self._offset)
        return line.after(time + line.offset + lasts)

    def _nearest(self, index: int, time: Fraction, line: _Line) -> _Line:
        """Of a stream's own line, that of the newest recording, and its own before the last jump."""
        before = self._before.get(index, line)
        if line.due - before.due > DAMAGE_SECONDS:
            before = line
        # Of the recording before, a stream may still have some when another stream is in the next one.
        newest = replace(line, offset=self._offset)
        found = min((line, newest, before), key=lambda each: abs(time + each.offset - each.due))
        if found is not before or before is line:
            return found
        if self._offset == line.offset:
            self._offset = before.offset
        return replace(before, due=max(before.due, line.due))

    def _first(self, time: Fraction, lasts: Fraction) -> _Line:
        """Of a stream. It may come late, but in a broadcast not far from the others."""
        line = _Line(self._offset, time + self._offset)
        if self._lines and self._is_far_ahead(time, line):
            self._offset = max(each.due for each in self._lines.values()) - time
            line = _Line(self._offset, time + self._offset)
        return line.after(line.due + lasts)

    def _is_jump(self, time: Fraction, line: _Line, back: Fraction) -> bool:
        return time + line.offset < line.due - back or self._is_far_ahead(time, line)

    def _is_far_ahead(self, time: Fraction, line: _Line) -> bool:
        furthest = max((each.due for each in self._lines.values() if each.offset == line.offset), default=line.due)
        return self._jumps_ahead and time + line.offset > furthest + AHEAD_SECONDS
