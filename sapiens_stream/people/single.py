"""One person a piece and one piece a person: what the class map alone tells of who is who, against what is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.people.claims import LEAST, Picture
from sapiens_stream.people.known import WHOLE, Cells, Known, middle, window
from sapiens_stream.people.looks import Codes

LEAST_HEAD = 4  # cells
_AGAIN = 3  # frames in a row that two people have one id before they have two
_AGAIN_TOGETHER = 8  # the same while they stand together
_PART = 0.2  # of somebody, that another has of them at least by mistake
_STRAY = 0.04  # of a piece, that is somebody else's by mistake
_LARGE = 0.2  # of a piece, that its person has of it at least
_ALL = 0.95  # of a piece, that is one person's: nobody else is there
_ISLAND, _LEAST_ISLAND = 0.03, 6  # of somebody, and cells, that are too few to be apart from the rest


class Figures:
    """Those who are told apart in one frame, by their numbers, and whose their cells are.

    `votes` are by number and place: how many cells of the one are the other's.
    """

    def __init__(self, picture: Picture, places: Cells, count: int) -> None:
        owner, foreground = picture.owner, picture.foreground
        self.picture = picture
        self.connected = np.asarray(cv2.connectedComponents(foreground.mask.view(np.uint8))[1], np.int32)
        """The pieces of the foreground, from 1 on."""
        self.votes = foreground.votes(owner, places, count + 1)
        self.areas = self.votes.sum(1)
        self.boxes = foreground.boxes(owner, len(self.areas))
        self.headed = np.bincount(owner[picture.heads], minlength=len(self.areas)) >= LEAST_HEAD
        self.numbers = [number for number in range(1, len(self.areas)) if self.areas[number] >= LEAST]

    def part(self, number: int) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
        """The window of one of them, and which cells of it are theirs."""
        part = window(self.boxes[number], self.picture.owner.shape)
        return part, self.picture.owner[part] == number

    def codes(self, number: int) -> Codes:
        """Of the cells of one of them."""
        part, mask = self.part(number)
        return self.picture.codes[part][mask]

    def pieces(self, numbers: Collection[int]) -> dict[int, set[int]]:
        """Of each of them the pieces of the foreground that they have a part of."""
        found = {}
        for number in numbers:
            part, mask = self.part(number)
            found[number] = set(np.unique(self.connected[part][mask]).tolist())
        return found

    def main(self, places: Cells, count: int) -> dict[int, int]:
        """Of each figure with a head the place of whose it is, for the most part; a head counts twice."""
        heads = self.picture.heads
        table = self.votes.copy()
        np.add.at(table, (self.picture.owner[heads], places[heads]), 1)
        table[:, 0] = 0
        most = table.argmax(1).tolist()
        return {number: most[number] for number in self.numbers if self.headed[number] and most[number]}

    def with_heads(self, places: Cells, count: int) -> set[int]:
        """The places of those who are a figure with a head, and it them, for the most part."""
        votes = self.picture.foreground.votes(self.picture.owner, places, count + 1)
        areas = votes.sum(0)
        most = votes.argmax(1)
        return {
            int(most[number])
            for number in self.numbers
            if self.headed[number] and votes[number, most[number]] > max(self.areas[number], areas[most[number]]) / 2
        } - {0}

    def give(self, number: int, places: Cells, old: int, new: int) -> None:
        """The cells of a number that are `old`'s become `new`'s, in place."""
        part, mask = self.part(number)
        places[part][mask & (places[part] == old)] = new
        if new < self.votes.shape[1]:  # and not somebody new
            self.votes[number, new] += self.votes[number, old]
        self.votes[number, old] = 0


_Case = tuple[str, int] | tuple[str, int, int]
"""What the heads of a frame tell otherwise, and of whom, by their ids."""


class Doubles:
    """Whom the flow and the colours take for another, against heads that tell otherwise for some frames in a row.

    People who came in as one and walk apart, or stand together with a head each; and who came in behind somebody and
    had their legs taken for the other's.
    """

    def __init__(self) -> None:
        self._since: dict[_Case, int] = {}
        """For how many frames in a row it was so up to the frame before."""
        self._now: dict[_Case, int] = {}

    def part(
        self, known: Sequence[Known], figures: Figures, places: Cells, now: Fraction, nearest: dict[int, int]
    ) -> None:
        """Leaves an id to whom it fits best, in place; the others are not known. `nearest` takes its number by id."""
        self._now = {}
        self._part_of_others(known, figures, places, nearest)
        areas = figures.votes.sum(0)
        gone = [person for place, person in enumerate(known, 1) if areas[place] < LEAST]
        for place, person in enumerate(known, 1):
            own = [
                number
                for number in figures.numbers
                if figures.headed[number] and figures.votes[number, place] > figures.areas[number] / 2
            ]
            if len(own) < 2:
                continue
            expected = middle(person.box)
            own.sort(key=lambda number: float(np.abs(middle(figures.boxes[number]) - expected).sum()))
            likeliest = _likeliest(person, own, gone, figures, now)
            own.sort(key=lambda number: number != likeliest)
            first = figures.boxes[own[0]]
            pieces = figures.pieces(own)
            away = [
                each for each in own[1:] if _beside(figures.boxes[each], first) or not pieces[each] & pieces[own[0]]
            ]
            if away:
                keeps, others = own[0], away
                is_so = self._goes_on(("away", person.id), _AGAIN)
            else:
                keeps = max(own, key=lambda number: int(figures.votes[number, place]))
                others = [each for each in own if each != keeps]
                back = [each for each in others if _is_rather(gone, person, each, figures, now)]
                is_so = bool(back) or self._goes_on(("together", person.id), _AGAIN_TOGETHER)
                others = back or others
            if is_so:
                nearest[person.id] = keeps
                for number in others:
                    figures.give(number, places, place, 0)
        self._since = self._now

    def _part_of_others(self, known: Sequence[Known], figures: Figures, places: Cells, nearest: dict[int, int]) -> None:
        """What hangs from somebody's head is theirs, though another one, who has a head elsewhere, had it."""
        main = figures.main(places, len(known))
        number_of = {place: number for number, place in main.items()}
        for number, place in main.items():
            if known[place - 1].alone:  # by now it is known what all of them looks like
                continue
            for other in np.flatnonzero(figures.votes[number] >= _PART * figures.areas[number]).tolist():
                if not other or other == place or number_of.get(other, number) == number:
                    continue
                if self._goes_on(("part", known[place - 1].id, known[other - 1].id), _AGAIN_TOGETHER):
                    figures.give(number, places, other, place)
                    nearest[known[place - 1].id] = number
                    nearest[known[other - 1].id] = number_of[other]

    def _goes_on(self, case: _Case, least: int) -> bool:
        """Whether it has been so for `least` frames in a row, this one among them."""
        self._now[case] = self._since.get(case, 0) + 1
        if self._now[case] < least:
            return False
        self._now[case] = 0
        return True


def _likeliest(
    person: Known, numbers: Sequence[int], gone: Sequence[Known], figures: Figures, now: Fraction
) -> int | None:
    """Which of these figures somebody is if another of them is one of those who are gone; None if none can be."""
    codes = {number: figures.codes(number) for number in numbers}
    back = {
        number: [like for each in gone if (like := each.comes_back_as(figures.boxes[number], seen, now)) is not None]
        for number, seen in codes.items()
    }
    likely = {}
    for number, seen in codes.items():
        others = [like for other, likes in back.items() if other != number for like in likes]
        if others:
            likely[number] = person.look.likeness(seen) + max(others)
    return max(likely, key=lambda number: likely[number], default=None)


def _is_rather(gone: Sequence[Known], person: Known, number: int, figures: Figures, now: Fraction) -> bool:
    """Whether a figure is more like somebody who is gone, and may come back there, than like this person."""
    codes = figures.codes(number)
    likely = (each.comes_back_as(figures.boxes[number], codes, now) for each in gone)
    return max((like for like in likely if like is not None), default=-np.inf) > person.look.likeness(codes)


def _beside(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    return bool(one[0] > other[2] or other[0] > one[2])


def alone_in_pieces(known: Sequence[Known], figures: Figures, places: Cells) -> tuple[set[int], set[int]]:
    """Gives what is connected and has one head to one person, but for what is surely another's; in place.

    Returns:
        Of those with a piece to themselves their places, and of those who were a part of another.
    """
    foreground, pieces = figures.picture.foreground, figures.connected
    owner = foreground.take(figures.picture.owner)
    pairs = np.unique((foreground.take(pieces) << 8 | owner)[owner > 0]).tolist()
    numbers = set(figures.numbers)
    pairs = [(pair >> 8, pair & 255) for pair in pairs if pair & 255 in numbers]
    inhabitants = Counter(piece for piece, _ in pairs)
    areas = foreground.counts(places, len(known) + 1)
    alone, absorbed = set[int](), set[int]()
    boxes = foreground.boxes(pieces, int(pieces.max()) + 1)
    for piece, number in pairs:
        if inhabitants[piece] != 1 or not figures.headed[number]:
            continue
        part = window(boxes[piece], pieces.shape)
        mask = pieces[part] == piece
        counts = np.bincount(places[part][mask], minlength=len(known) + 1)
        counts[0] = 0
        there = [place for place in np.flatnonzero(counts).tolist() if place not in absorbed]
        if not there:
            continue
        main = _main(known, there, counts, areas)
        for other in there:
            if other == main:
                continue
            mostly_here = counts[other] >= 0.9 * areas[other]
            if mostly_here and counts[other] >= WHOLE * known[other - 1].area:  # else their head may be hidden
                known[other - 1].has_head(own=False)
            if not known[other - 1].is_own and mostly_here:
                absorbed.add(other)
            elif counts[other] >= _STRAY * counts.sum() and counts[other] >= areas[other] / 2:
                continue
            places[part][mask & (places[part] == other)] = main
        if np.count_nonzero(places[part][mask] == main) >= _ALL * counts.sum():
            alone.add(main)
    return alone, absorbed


def _main(
    known: Sequence[Known], there: Collection[int], counts: npt.NDArray[np.intp], areas: npt.NDArray[np.intp]
) -> int:
    """Whose a piece is: theirs who has the most of it of those who are surely somebody, or else was there first.

    Who is mostly elsewhere has but strays in it, of the same colours.
    """
    total = counts.sum()
    there = [place for place in there if counts[place] > min(areas[place], total) / 2] or there
    own = [place for place in there if known[place - 1].is_own and counts[place] > _LARGE * total]
    if own:
        return max(own, key=lambda place: int(counts[place]))
    return min(there, key=lambda place: (counts[place] < total / 10, known[place - 1].id))


def tidy(figures: Figures, places: Cells, count: int) -> None:
    """Islands that are too small to be somebody's become theirs whose the rest of that figure is; in place."""
    foreground, owner = figures.picture.foreground, figures.picture.owner
    votes = foreground.votes(owner, places, count + 1)
    votes[:, 0] = 0
    most = votes.argmax(1)
    left = foreground.cells[foreground.take(places) == 0]
    np.put(places, left, most[owner.take(left)])
    areas, boxes = foreground.counts(places, count + 1), foreground.boxes(places, count + 1)
    for place in np.flatnonzero(areas[1:]) + 1:
        part = window(boxes[place], places.shape)
        _, pieces, sizes, _ = cv2.connectedComponentsWithStats((places[part] == place).astype(np.uint8))
        small = sizes[:, 4] < max(_LEAST_ISLAND, _ISLAND * areas[place])
        small[0] = False
        island = small[pieces]
        better = most[owner[part][island]]
        places[part][island] = np.where(better > 0, better, place)
