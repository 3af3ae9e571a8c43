"""Somebody who is followed along a clip: where they are, where they go, and what they look like."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from sapiens_stream.people.looks import Codes, Look

Edges = npt.NDArray[np.float64]
"""(4,): left, top, right and bottom of a box, in cells of the picture in little."""
Cells = npt.NDArray[np.int32]
"""(h, w): a number for each cell, 0 being nobody's."""
Field = npt.NDArray[np.float32]

PATIENCE = Fraction(2)  # seconds that somebody may be gone
WHOLE = 0.5  # of somebody, that is seen at least where nobody hides them
_STEADY = 0.8  # of somebody's speed, that stays from frame to frame
_AROUND = 0.2  # of somebody's height, that they may be beside where they are expected; half as much above and below
_GROWTH = 0.8  # the same, for each second that they are not seen
_RUN = 3.0  # heights a second that somebody may go while they are not seen
_START = 0.8  # heights
_NEAR = 0.5  # heights from where somebody is expected, and as much again for each second
_LIKE, _LIKE_AFAR = -4.0, -3.3  # how likely the colours of who comes back are at least, there and elsewhere
_LESS = 1.0  # or by how much less likely than usual, where somebody has many colours
_HIDDEN_RATE = 0.01  # of what somebody looks like, that a frame changes in which they touch others
_OWN = 3  # frames in which somebody was seen alone, or with their own head, from which on they are no part of another
_SURE = 10  # such frames with a head count at most
_LONG = 0.3  # seconds from frame to frame beyond which the flow tells no speed


@dataclass(eq=False)
class Known:
    """One person. `box` is around the whole of them, hidden parts too, when they were last seen."""

    id: int
    box: Edges
    born: Fraction
    seen: Fraction
    score: float
    look: Look
    area: float
    """Cells, when last seen whole."""
    speed: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Cells a second, right and down."""
    alone: int = 0
    """Frames in which nobody else was near."""
    headed: int = 0
    """Frames in which they had a head of their own, less those since in which another's was all that there was."""

    @property
    def height(self) -> float:
        return float(self.box[3] - self.box[1])

    @property
    def is_own(self) -> bool:
        """Whether they are sure to be somebody, and not a part of another."""
        return self.alone >= _OWN or self.headed >= _OWN

    def expected(self, now: Fraction) -> Edges:
        """Where they are if they have gone on."""
        return self.box + _twice(self.speed * float(now - self.seen))

    def reach(self, now: Fraction, times: float = 1.0) -> Edges:
        """The box in which they may be."""
        around = times * self.height * (_AROUND + _GROWTH * float(now - self.seen))
        return self.expected(now) + around * np.array([-1, -0.5, 1, 0.5])

    def comes_back_as(self, box: Edges, codes: Codes, now: Fraction) -> float | None:
        """How well somebody found in `box` may be this person, who is gone; None where they cannot be."""
        gone = float(now - self.seen)
        height = max(self.height, float(box[3] - box[1]))
        places = self.expected(now), self.box
        away = min(float(np.hypot(*(middle(box) - middle(place)))) for place in places) / height
        if away > _START + _RUN * gone:
            return None
        like = self.look.likeness(codes)
        needed = min(_LIKE if away < _NEAR * (1 + gone) else _LIKE_AFAR, self.look.usual - _LESS)
        return like - 0.3 * away if like > needed + 0.1 * away else None

    def returns(self, box: Edges) -> None:
        """They were found elsewhere than where they were seen last, in `box`; where they go is not known."""
        there = self.box + _twice(middle(box) - middle(self.box))
        self.box = np.concatenate([np.minimum(there[:2], box[:2]), np.maximum(there[2:], box[2:])])
        self.speed = np.zeros(2)

    def see(self, now: Fraction, box: Edges, shift: npt.NDArray[np.float64] | None, *, touched: bool) -> None:
        """They are seen, in `box`, `shift` cells from the last frame by the flow; `touched` by others or not."""
        passed = float(now - self.seen)
        if shift is not None and 0 < passed < _LONG:
            new = shift / passed
            self.speed = _STEADY * self.speed + (1 - _STEADY) * new if self.speed.any() else new
            gone_on = self.box + _twice(shift)
        else:
            gone_on = self.expected(now)
            shift = None
        if not touched:
            self.box = box if shift is None else (box + gone_on) / 2
        else:  # some of them may be hidden
            wider = np.concatenate([np.minimum(box[:2], gone_on[:2]), np.maximum(box[2:], gone_on[2:])])
            self.box = 0.7 * gone_on + 0.3 * wider
        self.seen = now

    def learn(self, codes: Codes, *, touched: bool) -> None:
        if touched:
            self.look.learn(codes, _HIDDEN_RATE)
            return
        self.look.learn(codes)
        self.area = 0.9 * self.area + 0.1 * codes.size

    def has_head(self, *, own: bool) -> None:
        """Whether what is seen of them has a head, or hangs together with that of one other alone."""
        self.headed = min(self.headed + 1, _SURE) if own else max(self.headed - 1, 0)

    def is_alone(self) -> None:
        """Nobody else is near in this frame."""
        if not self.alone:
            self.look.begin_again()
        self.alone += 1


def _twice(step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(2,) for either corner of a box, (4,)."""
    return np.concatenate((step, step))


def middle(box: Edges) -> npt.NDArray[np.float64]:
    return (box[:2] + box[2:]) / 2


def hull(one: Edges, other: Edges) -> Edges:
    """The box around two."""
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])


def window(box: Edges, size: tuple[int, ...], around: int = 0) -> tuple[slice, slice]:
    """The cells in a box, of (h, w)."""
    left, top, right, bottom = box.tolist()
    return (
        slice(int(min(max(0, top - around), size[0])), int(max(0, min(size[0], np.ceil(bottom + around))))),
        slice(int(min(max(0, left - around), size[1])), int(max(0, min(size[1], np.ceil(right + around))))),
    )
