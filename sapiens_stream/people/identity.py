"""Who is who from frame to frame: ids by overlap along the optical flow, then by where somebody was last seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import Frame, IdArray, Person, PersonBox, Segmentation, UInt8Array
from sapiens_stream.inference.propagation import destinations, low_resolution
from sapiens_stream.people.members import coded, people_in
from sapiens_stream.people.motion import pair_of
from sapiens_stream.people.segments import told_apart
from sapiens_stream.people.track import overlap

_SAME = 0.2  # intersection over union of a person's pixels with those that the flow brings
_BACK = 0.1  # of a box with the one where somebody was last seen
_PATIENCE = Fraction(2)  # seconds that somebody may be gone
_EDGE = 2  # low-resolution pixels
_LEAST = 8  # low-resolution pixels of a person

_Boxes = dict[int, tuple[PersonBox, Fraction]]


@dataclass(frozen=True, eq=False)
class _Seen:
    """The frame before."""

    frame: Frame
    ids: npt.NDArray[np.int32]
    """(h, w) low-resolution: whose each pixel is; 0: nobody's."""


class Identities:
    """Names the people of one clip, frame by frame, in order. An id is never given twice.

    Nobody is followed over a cut. Photos, which have no time, are each a clip of their own.
    """

    def __init__(self) -> None:
        self._ids = count(1)
        self._before: _Seen | None = None
        self._last: _Boxes = {}
        """Where and when everybody was last seen."""

    def follow(self, result: Segmentation) -> Segmentation:
        """The same with its people, if they were looked for."""
        if result.boxes is None:
            return result
        if result.frame.time is None:
            self._ids, self._before, self._last = count(1), None, {}
        grey = low_resolution(result.frame)
        owner = told_apart(_foreground(result.class_map, grey.shape), result.boxes, result.frame.size)
        known = self._known(owner, result, self._brought(result.frame))
        ids = np.zeros(256, np.int32)
        for number, identity in known.items():
            ids[number] = identity
        low = ids[owner]
        people, person_map = _people(result, low, {known[number]: result.boxes[number - 1] for number in known})
        self._before = _Seen(result.frame, low)
        return replace(result, people=people, person_map=person_map)

    def _brought(self, frame: Frame) -> npt.NDArray[np.int32] | None:
        """The ids of the frame before, where the flow takes them; None after a cut, when nobody is known any more."""
        if self._before is None:
            return None
        pair = pair_of(frame, self._before.frame).result()
        if pair.cut:
            self._last = {}
            return None
        places = destinations(pair.forth.field)
        ids = self._before.ids.astype(np.float32)  # exact up to 16 million
        brought = cv2.remap(ids, places, None, cv2.INTER_NEAREST)  # type: ignore[call-overload]
        return np.asarray(brought, np.int32)

    def _known(self, owner: UInt8Array, result: Segmentation, brought: npt.NDArray[np.int32] | None) -> dict[int, int]:
        """The id of each person of a frame, by the number in `owner`."""
        areas = np.bincount(owner.ravel(), minlength=256)
        numbers = [number for number in range(1, 256) if areas[number] >= _LEAST]
        boxes = {number: _box(owner == number, result.frame.size) for number in numbers}
        now = result.frame.time or Fraction(0)
        known = _matched(_by_pixels(owner, areas, brought)) if brought is not None else {}
        known = {number: identity for number, identity in known.items() if number in boxes}
        self._last = {id_: seen for id_, seen in self._last.items() if now - seen[1] <= _PATIENCE}
        gone = self._last.keys() - set(known.values())
        found_again = [
            (_nearness(boxes[number], self._last[identity][0]), number, identity)
            for number in numbers
            if number not in known
            for identity in gone
        ]
        known |= _matched([each for each in found_again if each[0] > _BACK])
        for number in numbers:
            known.setdefault(number, 0)
        for number in sorted(numbers, key=lambda each: boxes[each].left):
            known[number] = known[number] or next(self._ids)
            self._last[known[number]] = boxes[number], now
        return known


def _by_pixels(
    owner: UInt8Array, areas: npt.NDArray[np.intp], brought: npt.NDArray[np.int32]
) -> list[tuple[float, int, int]]:
    """(intersection over union, number, id) of what overlaps enough."""
    both = np.stack((owner.ravel().astype(np.int32), brought.ravel()))
    pairs, pixels = np.unique(both[:, both.all(axis=0)], axis=1, return_counts=True)
    identities, sizes = np.unique(brought, return_counts=True)
    size = dict(zip(identities.tolist(), sizes.tolist(), strict=True))
    shares = [
        (shared / (int(areas[number]) + size[identity] - shared), number, identity)
        for (number, identity), shared in zip(pairs.T.tolist(), pixels.tolist(), strict=True)
    ]
    return [each for each in shares if each[0] > _SAME]


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


def _foreground(class_map: UInt8Array, size: tuple[int, ...]) -> UInt8Array:
    return np.asarray(cv2.resize(class_map, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _box(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> PersonBox:
    """Around a low-resolution mask, in pixels of the picture."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    across, down = size[1] / mask.shape[1], size[0] / mask.shape[0]
    return PersonBox(x * across, y * down, width * across, height * down)


def _people(
    result: Segmentation, low: npt.NDArray[np.int32], boxes: dict[int, PersonBox]
) -> tuple[tuple[Person, ...], IdArray]:
    """The people of a frame, and whose each pixel is."""
    class_map = result.class_map
    # What is finer than a low-resolution pixel, as edges are, belongs to whom it touches.
    beside = cv2.dilate(low.astype(np.float32), np.ones((2 * _EDGE + 1,) * 2, np.uint8))
    wide = cv2.resize(np.where(low > 0, low, beside), class_map.shape[::-1], interpolation=cv2.INTER_NEAREST)
    ids = np.where(class_map > 0, coded(np.asarray(wide, np.int32)), 0).astype(np.uint16)
    scores = {identity: round(box.score, 4) for identity, box in boxes.items()}
    return people_in(ids, class_map, result.classes, scores), ids
