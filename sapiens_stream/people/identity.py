"""Who is who from frame to frame: ids by overlap along the optical flow, then by where somebody was last seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import Frame, IdArray, Person, PersonBox, Segmentation, UInt8Array
from sapiens_stream.inference.propagation import destinations
from sapiens_stream.people.members import coded, people_in
from sapiens_stream.people.motion import pair_of
from sapiens_stream.people.segments import people_of
from sapiens_stream.people.track import overlap

_SIDE = 640  # pixels of the longer side at which people are told apart
_LIVE_SIDE = 320  # the same of a camera's, in a quarter of the time
_SAME = 0.2  # intersection over union of a person's pixels with those that the flow brings
_BACK = 0.1  # of a box with the one where somebody is expected
_PATIENCE = Fraction(2)  # seconds that somebody may be gone
_HIDDEN = Fraction(2, 5)  # seconds that somebody may be behind others whom they are not told apart from
_APART = 3  # frames in a row that what was a part of somebody looks like somebody else before that is believed
_LEFT = 0.25  # of somebody's pixels, that the flow still finds of one who is hidden
_NEAR = 0.25  # of somebody's height, that what has no head may be away from whose part it is
_STEADY = 0.8  # of somebody's speed, that stays from frame to frame
_EDGE = 3  # pixels at that size
_LEAST, _LEAST_HEAD = 16, 4  # such pixels
_HEADS = ("Face_Neck", "Hair")

_Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Sight:
    """When and where somebody was last told apart from others, and how fast they went, pixels a second."""

    time: Fraction
    box: PersonBox
    score: float
    speed: tuple[float, float] = (0.0, 0.0)

    def expected(self, time: Fraction) -> PersonBox:
        """Where they are if they have gone on."""
        right, down = (speed * float(time - self.time) for speed in self.speed)
        return replace(self.box, left=self.box.left + right, top=self.box.top + down)

    def then(self, time: Fraction, box: PersonBox, score: float) -> _Sight:
        """The same person later, at `box`."""
        passed = float(time - self.time)
        if passed <= 0:
            return _Sight(time, box, score)
        right = (box.left + box.width / 2 - self.box.left - self.box.width / 2) / passed
        down = (box.top + box.height / 2 - self.box.top - self.box.height / 2) / passed
        across, along = (
            _STEADY * was + (1 - _STEADY) * now for was, now in zip(self.speed, (right, down), strict=True)
        )
        return _Sight(time, box, score, (across, along))


@dataclass(frozen=True, eq=False)
class _Seen:
    """The frame before."""

    frame: Frame
    ids: _Ids
    """(h, w): whose each pixel is; 0: nobody's."""


@dataclass(frozen=True, eq=False)
class _Group:
    """The people who were told apart in a frame, by their numbers."""

    owner: UInt8Array
    """(h, w): the number of each pixel; 0: nobody's."""
    numbers: Sequence[int]
    boxes: Mapping[int, PersonBox]
    scores: Sequence[float]
    headed: npt.NDArray[np.bool_]
    """By number, whether a head is seen."""

    @classmethod
    def of(cls, result: Segmentation, foreground: UInt8Array, heads: UInt8Array) -> _Group:
        owner, scores = people_of(foreground, heads, result.boxes or (), result.frame.size)
        areas = np.bincount(owner.ravel(), minlength=256)
        numbers = [number for number in range(1, 256) if areas[number] >= _LEAST]
        boxes = {number: _box(owner == number, result.frame.size) for number in numbers}
        headed = np.bincount(owner[heads > 0], minlength=256) >= _LEAST_HEAD
        return cls(owner, numbers, boxes, scores, headed)


class Identities:
    """Names the people of one clip, frame by frame, in order. An id is never given twice.

    Nobody is followed over a cut. Photos, which have no time, are each a clip of their own.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._ids = count(1)
        self._before: _Seen | None = None
        self._last: dict[int, _Sight] = {}
        """By id, everybody who was seen lately."""
        self._parts: dict[int, int] = {}
        """By id, for how many frames in a row a part of that person has looked like somebody else."""

    def follow(self, result: Segmentation) -> Segmentation:
        """The same with its people, if they were looked for."""
        if result.boxes is None:
            return result
        frame = result.frame
        if frame.time is None:
            self._begin()
        now = frame.time or Fraction(0)
        foreground, heads = _planes(result)
        brought = np.where(foreground != 0, self._brought(frame, foreground.shape), 0)
        self._last = {each: sight for each, sight in self._last.items() if now - sight.time <= _PATIENCE}
        group = _Group.of(result, foreground, heads)
        known, parts = self._known(group, brought, now)
        table = np.zeros(256, np.int32)
        for number, identity in (known | parts).items():
            table[number] = identity
        ids = self._with_flow(table[group.owner], brought, set(known.values()), frame, now)
        for number, identity in known.items():
            mask = ids == identity
            box = _box(mask, frame.size) if mask.any() else group.boxes[number]
            score = round(group.scores[number], 4)
            last = self._last.get(identity)
            self._last[identity] = last.then(now, box, score) if last else _Sight(now, box, score)
        self._before = _Seen(frame, ids)
        there = set(np.unique(ids).tolist()) - {0}
        people, person_map = _people(result, ids, {each: self._last[each].score for each in there})
        return replace(result, people=people, person_map=person_map)

    def _brought(self, frame: Frame, size: tuple[int, ...]) -> _Ids:
        """The ids of the frame before, where the flow takes them; 0 after a cut, when nobody is known any more."""
        if self._before is None or self._before.ids.shape != size:
            return np.zeros(size, np.int32)
        pair = pair_of(frame, self._before.frame).result()
        if pair.cut:
            self._last = {}
            return np.zeros(size, np.int32)
        field = pair.forth.field
        scale = np.array([size[1] / field.shape[1], size[0] / field.shape[0]], np.float32)
        places = destinations(np.asarray(cv2.resize(field, size[::-1]) * scale, np.float32))
        ids = self._before.ids.astype(np.float32)  # exact up to 16 million
        brought = cv2.remap(ids, places, None, cv2.INTER_NEAREST)  # type: ignore[call-overload]
        return np.asarray(brought, np.int32)

    def _known(self, group: _Group, brought: _Ids, now: Fraction) -> tuple[dict[int, int], dict[int, int]]:
        """By number the id of each person, and the ids of those whose part a number is."""
        shares = [each for each in _shares(group.owner, brought) if each[1] in group.boxes]
        known = _matched([each for each in shares if each[0] > _SAME])
        parts = self._parts_of(shares, known)
        free = [number for number in group.numbers if number not in known and number not in parts]
        gone = self._last.keys() - set(known.values())
        again = [
            (_nearness(group.boxes[number], self._last[identity].expected(now)), number, identity)
            for number in free
            for identity in gone
        ]
        known |= _matched([each for each in again if each[0] > _BACK])
        whole = {number: identity for number, identity in known.items() if group.headed[number]}
        for number in sorted(free, key=lambda each: (not group.headed[each], group.boxes[each].left)):
            if number in known:
                continue
            box = group.boxes[number]
            near = min(whole, key=lambda each: _distance(box, group.boxes[each]), default=None)
            if (
                near is None
                or group.headed[number]
                or _distance(box, group.boxes[near]) > _NEAR * group.boxes[near].height
            ):
                known[number] = next(self._ids)
                if group.headed[number]:
                    whole[number] = known[number]
            else:
                parts[number] = whole[near]
        return known, parts

    def _parts_of(self, shares: Sequence[tuple[float, int, int]], known: Mapping[int, int]) -> dict[int, int]:
        """By number the ids of those who are taken for a part of somebody who is there already."""
        there, parts = set(known.values()), dict[int, int]()
        for _, number, identity in sorted(shares):
            if number not in known:
                parts[number] = identity
        parts = {number: identity for number, identity in parts.items() if identity in there}
        self._parts = {identity: self._parts.get(identity, 0) + 1 for identity in parts.values()}
        return {number: identity for number, identity in parts.items() if self._parts[identity] < _APART}

    def _with_flow(self, ids: _Ids, brought: _Ids, known: set[int], frame: Frame, now: Fraction) -> _Ids:
        """The ids of each pixel, where people touch by the flow, and with those who are hidden by others."""
        for identity in known & self._last.keys():
            part = _part(self._last[identity].expected(now), frame.size, ids.shape)
            ids[part][brought[part] == identity] = identity
        if self._before is None:
            return ids
        before = np.bincount(self._before.ids.ravel())
        after = np.bincount(brought.ravel(), minlength=len(before))
        for identity, sight in self._last.items():
            if identity in known or now - sight.time > _HIDDEN or identity >= len(before):
                continue
            if after[identity] >= max(_LEAST, _LEFT * before[identity]):
                ids[brought == identity] = identity
        return ids


def _distance(one: PersonBox, other: PersonBox) -> float:
    """Between two boxes, pixels; 0 where they touch."""
    across = max(one.left - other.left - other.width, other.left - one.left - one.width)
    down = max(one.top - other.top - other.height, other.top - one.top - one.height)
    return max(across, down, 0.0)


def _part(box: PersonBox, size: tuple[int, int], cells: tuple[int, ...]) -> tuple[slice, slice]:
    """Of (h, w) cells over a picture of `size`, those in a box."""
    down, across = cells[0] / size[0], cells[1] / size[1]
    return (
        slice(max(0, round(box.top * down)), max(0, round((box.top + box.height) * down))),
        slice(max(0, round(box.left * across)), max(0, round((box.left + box.width) * across))),
    )


def _shares(owner: UInt8Array, brought: _Ids) -> list[tuple[float, int, int]]:
    """(intersection over union, number, id) of what overlaps."""
    there = (owner > 0) & (brought > 0)
    codes, pixels = np.unique(owner[there].astype(np.int64) << 32 | brought[there], return_counts=True)
    areas, sizes = np.bincount(owner.ravel(), minlength=256), np.bincount(brought.ravel())
    return [
        (shared / float(areas[code >> 32] + sizes[code & 0xFFFFFFFF] - shared), code >> 32, code & 0xFFFFFFFF)
        for code, shared in zip(codes.tolist(), pixels.tolist(), strict=True)
    ]


def _matched(pairs: Sequence[tuple[float, int, int]]) -> dict[int, int]:
    """Ids by number, the best pairs first; each number and each id once."""
    known: dict[int, int] = {}
    for _, number, identity in sorted(pairs, reverse=True):
        if number not in known and identity not in known.values():
            known[number] = identity
    return known


def _nearness(one: PersonBox, other: PersonBox) -> float:
    """How much two boxes, each twice as large as the person, overlap: somebody moves while gone."""
    return overlap(_doubled(one), _doubled(other))


def _doubled(box: PersonBox) -> PersonBox:
    return PersonBox(box.left - box.width / 2, box.top - box.height / 2, 2 * box.width, 2 * box.height)


def _planes(result: Segmentation) -> tuple[UInt8Array, UInt8Array]:
    """(h, w) of a frame in little: its classes, and 1 where heads are."""
    height, width = result.class_map.shape
    scale = min(1.0, (_SIDE if result.frame.arrived is None else _LIVE_SIDE) / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    classes = np.asarray(cv2.resize(result.class_map, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    table = np.zeros(256, np.uint8)
    table[[number for number, name in enumerate(result.classes.names) if name in _HEADS]] = 1
    return classes, table[classes]


def _box(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> PersonBox:
    """Around a low-resolution mask, in pixels of the picture."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    across, down = size[1] / mask.shape[1], size[0] / mask.shape[0]
    return PersonBox(x * across, y * down, width * across, height * down)


def _people(result: Segmentation, low: _Ids, scores: dict[int, float]) -> tuple[tuple[Person, ...], IdArray]:
    """The people of a frame, and whose each pixel is."""
    class_map = result.class_map
    # What is finer than a low-resolution pixel, as edges are, belongs to whom it touches.
    own = coded(low).astype(np.uint16)
    beside = cv2.dilate(own, np.ones((2 * _EDGE + 1,) * 2, np.uint8))
    wide = cv2.resize(np.where(own > 0, own, beside), class_map.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ids = np.where(class_map > 0, wide, 0).astype(np.uint16, copy=False)
    return people_in(ids, class_map, result.classes, scores), ids
