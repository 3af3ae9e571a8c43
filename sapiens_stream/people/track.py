"""Boxes grown along a clip: a first, coarse look misses some of a person in one frame, and shows it in another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sapiens_stream.frame import Frame, PersonBox

KEPT = 5  # frames
_SAME = 0.3  # overlap of the boxes of one person from frame to frame, intersection over union
_GROWTH = 2.0  # times its own area, that a box may become


@dataclass(frozen=True)
class _Seen:
    clip: str
    index: int
    people: Sequence[PersonBox]


class Track:
    """Remembers the last few frames, as they come; those of other clips count for nothing."""

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque(maxlen=KEPT)

    def grown(self, frame: Frame, found: Sequence[PersonBox]) -> list[PersonBox]:
        """The boxes of a frame, each as large as it takes to hold the same person's in the frames before.

        A person who was there in both of the last two frames, and is not found now, is looked for in the same place.
        """
        if frame.is_photo:
            return list(found)
        clip = frame.name.rpartition("/")[0]
        near = [each for each in self._seen if each.clip == clip and 0 < frame.index - each.index <= KEPT]
        people = [_grown(person, near) for person in found]
        for person in near[-1].people if len(near) > 1 else ():
            again = any(overlap(person, other) > _SAME for other in near[-2].people)
            if again and not any(overlap(person, other) > 0 for other in people):
                people.append(replace(person, score=person.score / 2))
        self._seen.append(_Seen(clip, frame.index, list(found)))
        return people


def _grown(person: PersonBox, before: Sequence[_Seen]) -> PersonBox:
    grown = person
    for seen in reversed(before):
        for other in seen.people:
            if overlap(person, other) > _SAME and (wider := around(grown, other)).area <= _GROWTH * person.area:
                grown = wider
    return grown


def overlap(one: PersonBox, other: PersonBox) -> float:
    """Intersection over union, 0 to 1."""
    both = shared(one, other)
    return both / (one.area + other.area - both) if both else 0.0


def shared(one: PersonBox, other: PersonBox) -> float:
    """The area of the intersection."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return max(0.0, width) * max(0.0, height)


def around(one: PersonBox, other: PersonBox) -> PersonBox:
    """The box around both, as sure as the first is."""
    left, top = min(one.left, other.left), min(one.top, other.top)
    right = max(one.left + one.width, other.left + other.width)
    bottom = max(one.top + one.height, other.top + other.height)
    return PersonBox(left, top, right - left, bottom - top, one.score)
