"""Who is who from frame to frame: ids along the optical flow, and by what everybody looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

import cv2
import numpy as np

from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.propagation import destinations
from sapiens_stream.people.claims import Brought, Picture, claimed
from sapiens_stream.people.foreground import Foreground
from sapiens_stream.people.known import PATIENCE, WHOLE, Cells, Known, hull, window
from sapiens_stream.people.looks import Look, codes_of
from sapiens_stream.people.members import coded, with_people
from sapiens_stream.people.motion import pair_of, resized
from sapiens_stream.people.newcomers import named
from sapiens_stream.people.segments import people_of
from sapiens_stream.people.single import Doubles, Figures, alone_in_pieces, tidy

_SIDE = 640  # pixels of the longer side at which people are told apart
_LIVE_SIDE = 320  # the same of a camera's, in a quarter of the time
_MOST = 255  # people who are remembered at a time
_SEEN = 4  # pixels at that size, of somebody, from which on they are there
_SHIFT_LEAST = 8  # such pixels whose flow tells how somebody moves
_BESIDE, _TOUCHED = 3, 0.02  # such pixels around somebody's box, and of somebody, that others may have there
_GLIMPSE = 0.2  # of somebody: less does not tell where they go, for much of it may be another's
_HEADS = ("Face_Neck", "Hair")


@dataclass(frozen=True, eq=False)
class _Seen:
    """The frame before."""

    frame: Frame
    places: Cells
    """Whose each pixel is: the place in `people`, and 1; 0: nobody's."""
    people: tuple[Known, ...]


class Identities:
    """Names the people of one clip, frame by frame, in order. An id is never given twice.

    Each pixel is theirs whom the flow brings there and whose colours it has. Who looks like nobody that is there is
    somebody who was there within the last two seconds, if they look alike and could have come that far; or is new.
    Nobody is followed over a cut. Photos, which have no time, are each a clip of their own.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._given = 0
        self._ids = count(1)
        self._known: list[Known] = []
        self._before: _Seen | None = None
        self._doubles = Doubles()
        self._way, self._zero = 1, Fraction(0)

    def follow(self, result: Segmentation) -> Segmentation:
        """The same with its people, if they were looked for."""
        if result.boxes is None:
            return result
        if result.frame.time is None:
            self._begin()
        picture = _picture(result)
        return self._told(result, picture, self._see(result.frame, picture))

    def begin(self, results: Sequence[Segmentation]) -> list[Segmentation]:
        """The first frames of a scene with their people, as `follow` tells them one by one, but with what comes later.

        They are gone over to the last one and back, so that those who are together at first are known apart by then.
        """
        self._known, self._before = [], None
        seen = [result for result in results if result.boxes is not None]
        if len(seen) < 2:
            return [self.follow(result) for result in results]
        pictures = [_picture(result) for result in seen]
        for result, picture in zip(seen, pictures, strict=True):
            self._see(result.frame, picture)
        self._turn()
        for result, picture in zip(seen[-2:0:-1], pictures[-2:0:-1], strict=True):
            self._see(result.frame, picture)
        places = self._see(seen[0].frame, pictures[0])
        self._turn()
        self._number(places)
        told = {seen[0].frame.index: self._told(seen[0], pictures[0], places)}
        for result, picture in zip(seen[1:], pictures[1:], strict=True):
            told[result.frame.index] = self._told(result, picture, self._see(result.frame, picture))
        return [told.get(result.frame.index, result) for result in results]

    def _turn(self) -> None:
        """From here on frames come the other way round; the time of those who are known goes on."""
        assert self._before is not None
        self._zero += 2 * self._way * (self._before.frame.time or 0)
        self._way = -self._way

    def _number(self, places: Cells) -> None:
        """Numbers those who are known anew: none was told yet. Those who are there come first."""
        there = set(np.unique(places).tolist())
        order = sorted(range(len(self._known)), key=lambda each: (each + 1 not in there, self._known[each].id))
        self._ids, self._doubles = count(self._given + 1), Doubles()
        for place in order:
            self._known[place].id = next(self._ids)

    def _see(self, frame: Frame, picture: Picture) -> Cells:
        """Whose each cell of the next frame is: the place in `_known`, and 1."""
        now = self._zero + self._way * (frame.time or 0)
        known = [person for person in self._known if now - person.seen <= PATIENCE]
        self._known = sorted(known, key=lambda person: person.seen, reverse=True)[:_MOST]
        brought = self._brought(frame, picture.foreground)
        places = self._places(picture, brought, now)
        self._learn(picture, brought, places, now)
        self._before = _Seen(frame, places, tuple(self._known))
        return places

    def _told(self, result: Segmentation, picture: Picture, places: Cells) -> Segmentation:
        table = np.array([0, *(person.id for person in self._known)], np.int32)
        self._given = max(self._given, int(table.max()))
        there = np.flatnonzero(picture.foreground.counts(places, len(table))).tolist()
        scores = {self._known[place - 1].id: round(self._known[place - 1].score, 4) for place in there if place}
        return with_people(result, coded(table)[places], scores)

    def _brought(self, frame: Frame, foreground: Foreground) -> Brought:
        """Who the flow brings from the frame before; after a cut nobody, and nobody is known any more."""
        size = foreground.mask.shape
        nobody = Brought(np.zeros(size, np.int32), np.zeros(size, np.bool_), None)
        if self._before is None or self._before.places.shape != size:
            return nobody
        back = self._way < 0
        pair = (pair_of(self._before.frame, frame) if back else pair_of(frame, self._before.frame)).result()
        if pair.cut:
            self._known = []
            return nobody
        motion = pair.back if back else pair.forth
        field = resized(motion.field, size[::-1], cv2.INTER_LINEAR)
        now = {person.id: place for place, person in enumerate(self._known, 1)}
        table = np.array([0, *(now.get(person.id, 0) for person in self._before.people)], np.int16)
        before = table[self._before.places]
        came = cv2.remap(before, destinations(field), None, cv2.INTER_NEAREST)  # type: ignore[call-overload]
        sure = cv2.resize(motion.sure, size[::-1], interpolation=cv2.INTER_NEAREST) > 0
        passed = abs(float((frame.time or 0) - (self._before.frame.time or 0)))
        return Brought(foreground.spread(foreground.take(came).astype(np.int32)), sure, field, passed)

    def _places(self, picture: Picture, brought: Brought, now: Fraction) -> Cells:
        """Whose each cell is: the place in `_known`, and 1; who is new is added there."""
        places = claimed(self._known, picture, brought, now)
        figures = Figures(picture, places, len(self._known))
        nearest: dict[int, int] = {}
        self._doubles.part(self._known, figures, places, now, nearest)
        for person in self._known:
            if person.id in nearest:
                person.look = Look(figures.codes(nearest[person.id]))
        named(self._known, figures, places, now, self._ids)
        tidy(figures, places, len(self._known))
        alone, absorbed = alone_in_pieces(self._known, figures, places)
        tidy(figures, places, len(self._known))
        for place in alone:
            self._known[place - 1].is_alone()
        for place in figures.with_heads(places, len(self._known)) - absorbed:
            self._known[place - 1].has_head(own=True)
        kept = [place for place in range(1, len(self._known) + 1) if place not in absorbed]
        table = np.zeros(len(self._known) + 1, np.int32)
        table[kept] = np.arange(1, len(kept) + 1)
        self._known = [self._known[place - 1] for place in kept]
        return table[places]

    def _learn(self, picture: Picture, brought: Brought, places: Cells, now: Fraction) -> None:
        """Where everybody is, and what they look like."""
        size, people = places.shape, len(self._known) + 1
        areas, boxes = picture.foreground.counts(places, people), picture.foreground.boxes(places, people)
        for place, person in enumerate(self._known, 1):
            if areas[place] < _SEEN:
                continue
            share = areas[place] / person.area
            extent = boxes[place] if share >= WHOLE else hull(boxes[place], person.expected(now))
            part = window(extent, size, _BESIDE)
            mask = places[part] == place
            touched = np.count_nonzero((places[part] > 0) & ~mask) > _TOUCHED * areas[place]
            came = mask & (brought.places[part] == place)
            shift = None
            tells = np.count_nonzero(came) >= _SHIFT_LEAST and (share >= _GLIMPSE or not touched)
            if brought.field is not None and tells:
                shift = -np.median(brought.field[part][came], axis=0).astype(np.float64)
            owner = np.bincount(picture.owner[part][mask], minlength=1)
            person.score = picture.scores[int(owner.argmax())]
            if person.seen < now:
                person.see(now, boxes[place], shift, touched=touched)
                person.learn(picture.codes[part][came & brought.sure[part] if touched else mask], touched=touched)


def _picture(result: Segmentation) -> Picture:
    """A frame in little."""
    frame = result.frame
    height, width = result.class_map.shape
    scale = min(1.0, (_SIDE if frame.arrived is None else _LIVE_SIDE) / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    classes = np.asarray(cv2.resize(result.class_map, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    table = np.zeros(256, np.uint8)
    table[[number for number, name in enumerate(result.classes.names) if name in _HEADS]] = 1
    heads = table[classes]
    foreground = Foreground.of(classes > 0)
    owner, scores = people_of(foreground, heads, result.boxes or (), frame.size)
    rgb = np.empty((*classes.shape, 3), np.uint8)
    frame.draw((slice(0, height), slice(0, width)), rgb)
    codes = codes_of(foreground.take(classes), rgb.reshape(-1, 3)[foreground.cells], result.classes)
    return Picture(foreground, heads > 0, owner, scores, foreground.spread(codes))
