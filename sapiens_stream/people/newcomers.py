"""Those in a frame who look like nobody who is there: people who come back, parts of somebody, and strangers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from itertools import count as counted

import numpy as np

from sapiens_stream.people.claims import LEAST, LEAST_BACK, SHARE_BACK
from sapiens_stream.people.known import Cells, Edges, Known
from sapiens_stream.people.looks import Look
from sapiens_stream.people.single import LEAST_HEAD, Figures

_YOUNG = Fraction(1, 2)  # seconds for which somebody who comes into view becomes more of a person
_NEAR = 0.25  # of somebody's height, that what has no head may be away from whose part it is
_SPECK = 0.002  # of somebody in whose box it lies, that is no person, though it may look like a head
_LEAST_PART = 4  # cells
_FRAGMENT = 0.2  # of somebody, that is there at least if it is them without their head


def named(known: list[Known], figures: Figures, places: Cells, now: Fraction, ids: counted[int]) -> set[int]:
    """Says who the figures are that nobody known was found for, in place, and adds to `known` who is new.

    Returns:
        The places of those who came back.
    """
    unknown = [each for each in figures.numbers if figures.votes[each, 0] > figures.areas[each] / 2]
    unknown = [each for each in unknown if not _grown(each, known, figures, places, now)]
    back = _back(unknown, known, figures, places, now)
    for number, place in back.items():
        places[places == place] = 0  # what else has the same colours there
        known[place - 1].returns(figures.boxes[number])
        figures.give(number, places, 0, place)
    unknown = [each for each in unknown if each not in back]
    for number in sorted(unknown, key=lambda each: (not figures.headed[each], figures.boxes[each, 0])):
        box = figures.boxes[number]
        near = _near(number, figures, places, len(known))
        if near:
            figures.give(number, places, 0, near)
            continue
        part, mask = figures.part(number)
        mask &= places[part] == 0
        places[part][mask] = len(known) + 1
        look = Look(figures.picture.codes[part][mask])
        score = figures.picture.scores[number]
        area = float(np.count_nonzero(mask))
        known.append(Known(id=next(ids), box=box, born=now, seen=now, score=score, look=look, area=area))
    return set(back.values())


def _grown(number: int, known: Sequence[Known], figures: Figures, places: Cells, now: Fraction) -> bool:
    """Whether this is more of somebody of whom little was in view; then it is theirs."""
    votes = figures.votes[number]
    young = [
        place
        for place, person in enumerate(known[: len(votes) - 1], 1)
        if votes[place] >= _LEAST_PART
        and now - person.born < _YOUNG
        and votes[place] >= 0.8 * figures.votes[:, place].sum()
    ]
    if young:
        place = max(young, key=lambda each: int(votes[each]))
        known[place - 1].look.begin_again()
        figures.give(number, places, 0, place)
    return bool(young)


def _back(
    unknown: Iterable[int], known: Sequence[Known], figures: Figures, places: Cells, now: Fraction
) -> dict[int, int]:
    """By number the place of who is back; each once, the likeliest first."""
    areas = figures.picture.foreground.counts(places, len(known) + 1)
    heads = np.bincount(places[figures.picture.heads], minlength=len(known) + 1)
    pairs = []
    for number in unknown:
        part, mask = figures.part(number)
        codes = figures.picture.codes[part][mask & (places[part] == 0)]
        headed = figures.headed[number]
        for place, person in enumerate(known, 1):
            least = max(LEAST, _FRAGMENT * person.area) if headed and heads[place] < LEAST_HEAD else LEAST
            enough = headed or codes.size >= max(LEAST_BACK, SHARE_BACK * person.area)
            if areas[place] < least and enough and person.seen < now:
                like = person.comes_back_as(figures.boxes[number], codes, now)
                if like is not None:
                    pairs.append((like, number, place))
    back: dict[int, int] = {}
    for _, number, place in sorted(pairs, reverse=True):
        if number not in back and place not in back.values():
            back[number] = place
    return back


def _near(number: int, figures: Figures, places: Cells, count: int) -> int | None:
    """Whose part something beside them is: of those with heads the nearest. What has a head must be a speck of them."""
    foreground = figures.picture.foreground
    box, boxes = figures.boxes[number], foreground.boxes(places, count + 1)
    headed: Collection[int] = np.unique(places[figures.picture.heads]).tolist()
    far = {place: _distance(box, boxes[place]) / max(1.0, boxes[place, 3] - boxes[place, 1]) for place in headed}
    near = {place: away for place, away in far.items() if place and away <= _NEAR}
    if figures.headed[number]:
        areas = foreground.counts(places, count + 1)
        near = {
            place: away
            for place, away in near.items()
            if figures.areas[number] < _SPECK * areas[place] and _within(box, boxes[place])
        }
    return min(near, key=lambda place: near[place], default=None)


def _within(inner: Edges, outer: Edges) -> bool:
    return bool((inner[:2] >= outer[:2]).all() and (inner[2:] <= outer[2:]).all())


def _distance(one: Edges, other: Edges) -> float:
    """Between two boxes; 0 where they touch."""
    across = max(one[0] - other[2], other[0] - one[2])
    down = max(one[1] - other[3], other[1] - one[3])
    return float(max(across, down, 0.0))
