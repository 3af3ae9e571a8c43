"""How long a stream is whose clock jumps: its container tells what lies between the clock at both ends."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from statistics import median

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from sapiens_stream.containers.joins import AHEAD_SECONDS, tells_jumps
from sapiens_stream.containers.opening import open_file
from sapiens_stream.errors import InputError

_PLACES = 16
"""Looked at first, as far apart as can be."""
_LAST = (64, 256, 1024, 4096)
"""How large a share of the file lies behind those that are looked at beside, towards its end."""
_MOST_LOOKS = 200
"""Places that are looked at to find jumps; what is not found by then counts for no jump."""
_MOST_PACKETS = 2000
"""That are read for a time at one of them."""
_TIMES_AS_LONG = 4
"""As the others of as many bytes are, and there may be a jump in between."""


@dataclass(frozen=True)
class _Place:
    """Where a packet begins, in bytes, and its time, in seconds."""

    byte: int
    time: Fraction


@dataclass(frozen=True)
class _Stretch:
    """What lies between two places."""

    begin: _Place
    end: _Place

    @property
    def bytes(self) -> int:
        return self.end.byte - self.begin.byte

    @property
    def seconds(self) -> Fraction:
        return self.end.time - self.begin.time


def length_without_jumps(path: Path) -> Fraction | None:
    """The seconds of a file's first video stream, about; None where its clock does not jump, or none can tell.

    Joined recordings, and a transport stream's clock, which begins anew every 26.5 hours, jump ahead or back. Jumps are
    told apart from what is long for its bytes by halving what lies around them, until they are between two packets.
    """
    try:
        with open_file(path) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or not tells_jumps(container):
                return None
            return _length(container, stream, path.stat().st_size)
    except (InputError, OSError, av.FFmpegError):
        return None


def _length(container: InputContainer, stream: VideoStream, size: int) -> Fraction | None:
    evenly = [size * place // _PLACES for place in range(_PLACES)]
    looked = (_look(container, stream, byte) for byte in (*evenly, *(size - size // share for share in _LAST)))
    places = {each.byte: each for each in looked if each is not None}
    waiting = [_Stretch(*each) for each in pairwise(places[byte] for byte in sorted(places))]
    if not waiting:
        return None
    usual = median(each.seconds / each.bytes for each in waiting)
    settled, jumps = [], 0
    for _ in range(_MOST_LOOKS):
        suspect = max(waiting, key=lambda each: abs(each.seconds), default=None)
        if suspect is None:
            break
        waiting.remove(suspect)
        if 0 <= suspect.seconds <= max(AHEAD_SECONDS, _TIMES_AS_LONG * usual * suspect.bytes):
            settled.append(suspect)
            continue
        middle = _between(container, stream, suspect)
        if middle is None:
            jumps += 1
        else:
            waiting += [_Stretch(suspect.begin, middle), _Stretch(middle, suspect.end)]
    known = sum((max(each.seconds, Fraction(0)) for each in (*settled, *waiting)), Fraction(0))
    rest = usual * (size - max(places))
    told = Fraction(container.duration or 0, av.time_base)
    # The last jump may lie behind the last place.
    if usual <= 0 or (not jumps and known <= told <= known + max(AHEAD_SECONDS, _TIMES_AS_LONG * rest)):
        return None
    return known + rest


def _between(container: InputContainer, stream: VideoStream, stretch: _Stretch) -> _Place | None:
    """A place in the middle of a stretch, or behind its first packet; None where those two are all there are."""
    for step in (stretch.bytes // 2, 1):
        found = _look(container, stream, stretch.begin.byte + step)
        if found is not None and stretch.begin.byte < found.byte < stretch.end.byte:
            return found
    return None


def _look(container: InputContainer, stream: VideoStream, byte: int) -> _Place | None:
    """The first packet from there on that tells its time."""
    container.seek(byte, backward=False, unsupported_byte_offset=True)
    for packet in islice(container.demux(stream), _MOST_PACKETS):
        if packet.dts is not None and packet.time_base and packet.pos is not None and packet.pos >= byte:
            return _Place(packet.pos, packet.dts * packet.time_base)
    return None
