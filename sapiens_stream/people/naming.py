"""Who is who along a clip: the first second of each scene of a file is told once it has been seen."""

from __future__ import annotations

from fractions import Fraction

from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.people.identity import Identities
from sapiens_stream.people.motion import pair_of

_SPAN = Fraction(1)  # seconds of a scene that are seen before they are told
_FRAMES = 32  # of these at most
_BYTES = 256 << 20  # of pictures that wait, at most
_BYTES_A_PIXEL = 6  # as it was decoded, the same in RGB, its class map, and who is who


class Naming:
    """Names the people of one clip as `Identities` does, but the first of each scene with what comes later.

    Nobody is known there yet, and those who stand before each other are taken for one until they part. Live frames and
    photos do not wait; nor does a file, later in a scene.
    """

    def __init__(self) -> None:
        self._identities = Identities()
        self._last: Frame | None = None
        self._begins = False
        self._waiting: list[Segmentation] = []

    def follow(self, result: Segmentation) -> list[Segmentation]:
        """Takes the next frame; returns those that can be told by now, with their people, in order."""
        frame, told = result.frame, list[Segmentation]()
        if frame.time is None or frame.arrived is not None:
            return [self._identities.follow(result)]
        if result.boxes is not None:
            if self._last is None or pair_of(frame, self._last).result().cut:
                told, self._begins = self.rest(), True
            self._last = frame
        if not self._begins:
            return [*told, self._identities.follow(result)]
        self._waiting.append(result)
        most = min(_FRAMES, _BYTES // (_BYTES_A_PIXEL * result.class_map.size))
        if frame.time - (self._waiting[0].frame.time or 0) >= _SPAN or len(self._waiting) >= most:
            told += self.rest()
        return told

    def rest(self) -> list[Segmentation]:
        """Those that still wait. The scene goes on as if its beginning were over."""
        waiting, self._waiting, self._begins = self._waiting, [], False
        return self._identities.begin(waiting) if waiting else []
