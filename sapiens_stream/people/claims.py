"""Which of the people who are known each pixel is of: by the flow, by its colour, and by where everybody may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import UInt8Array
from sapiens_stream.people.foreground import Foreground
from sapiens_stream.people.known import Cells, Edges, Field, Known, hull, window
from sapiens_stream.people.looks import Codes

# Logarithms of likelihoods.
_UNKNOWN = -4.6  # of the colours of somebody who is not known
_LESS = 1.5  # than usual, that the colours of somebody with many are if it is not them
_FLOW, _FLOW_UNSURE = 1.5, 0.4  # that somebody gains where the flow brings them, or seems to
_GOES, _GOES_UNSURE = 1.0, 0.3  # that they gain at most where it goes as they do, and lose where it goes otherwise
_OTHERWISE = 1.0  # heights a second that it goes otherwise from which on they lose as much
_CLEAR = 0.7  # by which who comes back must be likelier than others
_WINDOW = (5, 5)  # cells that are looked at together
LEAST = 16  # cells that are somebody
LEAST_BACK, SHARE_BACK = 32, 0.05  # of who comes back: cells, and of the person
_IMPOSSIBLE = np.float32(-1e9)


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame in little."""

    foreground: Foreground
    heads: npt.NDArray[np.bool_]
    owner: UInt8Array
    """The number of whom each cell is of those who are told apart in this frame alone; 0: nobody's."""
    scores: Sequence[float]
    """By that number."""
    codes: Codes


@dataclass(frozen=True, eq=False)
class Brought:
    """Who the flow brings from the frame before."""

    places: Cells
    """Whose each cell is by it: the place in the list of those who are known, and 1."""
    sure: npt.NDArray[np.bool_]
    field: Field | None
    """(h, w, 2): where each cell was, cells right and down; None where there is no frame before."""
    passed: float = 0.0
    """Seconds since then."""


def claimed(known: Sequence[Known], picture: Picture, brought: Brought, now: Fraction) -> Cells:
    """For each cell of the foreground the place in `known`, and 1; 0 where it looks like none of them."""
    foreground, size = picture.foreground, picture.foreground.mask.shape
    best, second = (np.full(size, _IMPOSSIBLE, np.float32) for _ in range(2))
    places, seconds = (np.zeros(size, np.int32) for _ in range(2))
    there = foreground.mask.astype(np.float32)
    carried = foreground.counts(brought.places, len(known) + 1)
    boxes = foreground.boxes(brought.places, len(known) + 1)
    for place, person in enumerate(known, 1):
        reach, farthest = person.reach(now), person.reach(now, 2)
        extent = reach if not carried[place] else hull(reach, _within(boxes[place], farthest))
        part = window(extent, size)
        if part[0].start >= part[0].stop or part[1].start >= part[1].stop:
            continue
        on, own = there[part], brought.places[part] == place
        likely = cv2.boxFilter(person.look.likely[picture.codes[part]] * on, -1, _WINDOW)
        likely = likely / np.maximum(cv2.boxFilter(on, -1, _WINDOW), 1e-6)
        likely = likely + own * np.where(brought.sure[part], _FLOW, _FLOW_UNSURE) + _going(person, brought, part)
        may_be = (own | _inside(part, window(reach, size))) & (on > 0)
        score = np.where(may_be, likely, _IMPOSSIBLE).astype(np.float32)
        _enter(place, score, best[part], places[part], second[part], seconds[part])
    unknown = np.array([_UNKNOWN, *(min(_UNKNOWN, person.look.usual - _LESS) for person in known)], np.float32)
    _keep_back(known, foreground, carried, unknown, (best, places), (second, seconds))
    own = foreground.take(places)
    return foreground.spread(np.where(foreground.take(best) < unknown[own], 0, own))


def _going(person: Known, brought: Brought, part: tuple[slice, slice]) -> npt.NDArray[np.float32] | float:
    """What somebody gains in the cells of `part`: those who pass before each other go different ways."""
    if brought.field is None or not person.speed.any():
        return 0.0
    right, down = (person.speed * brought.passed).tolist()
    otherwise = cv2.magnitude(brought.field[part][..., 0] + right, brought.field[part][..., 1] + down)
    share = otherwise / max(1.0, _OTHERWISE * person.height * brought.passed)
    gained = (1 - 2 * np.minimum(share, 1)) * np.where(brought.sure[part], _GOES, _GOES_UNSURE)
    return np.asarray(gained, np.float32)


def _enter(
    place: int,
    score: npt.NDArray[np.float32],
    best: npt.NDArray[np.float32],
    places: Cells,
    second: npt.NDArray[np.float32],
    seconds: Cells,
) -> None:
    """Writes a person's scores among the best two of each cell, in place."""
    first = score > best
    next_one = ~first & (score > second)
    second[first], seconds[first] = best[first], places[first]
    best[first], places[first] = score[first], place
    second[next_one], seconds[next_one] = score[next_one], place


def _keep_back(
    known: Sequence[Known],
    foreground: Foreground,
    carried: npt.NDArray[np.intp],
    unknown: npt.NDArray[np.float32],
    first: tuple[npt.NDArray[np.float32], Cells],
    second: tuple[npt.NDArray[np.float32], Cells],
) -> None:
    """Who was not in the frame before has to be clearly there, in one piece; others have a few of the same colours."""
    best, places = first
    areas, boxes = foreground.counts(places, len(known) + 1), foreground.boxes(places, len(known) + 1)
    for place, person in enumerate(known, 1):
        if not areas[place] or carried[place] >= LEAST // 4:
            continue
        part = window(boxes[place], places.shape)
        mask = places[part] == place
        count, pieces, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        lead = np.where(mask, best[part] - np.maximum(second[0][part], unknown[place]), 0)
        leads = np.bincount(pieces.ravel(), weights=lead.ravel(), minlength=count)
        kept = figures[:, 4] >= max(LEAST_BACK, SHARE_BACK * person.area)
        kept &= leads > _CLEAR * figures[:, 4]
        dropped = mask & ~kept[pieces]
        places[part][dropped] = second[1][part][dropped]
        best[part][dropped] = second[0][part][dropped]


def _within(one: Edges, other: Edges) -> Edges:
    return np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])])


def _inside(part: tuple[slice, slice], box: tuple[slice, slice]) -> npt.NDArray[np.bool_]:
    """Of the cells of `part` those in `box`."""
    rows, columns = (
        (np.arange(own.start, own.stop) >= other.start) & (np.arange(own.start, own.stop) < other.stop)
        for own, other in zip(part, box, strict=True)
    )
    return np.asarray(rows[:, None] & columns[None], np.bool_)
