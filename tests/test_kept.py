"""What a frame of a steady clip keeps of the one before, and what it hears of its neighbours."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_stream.frame import Frame
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Box, Placement
from sapiens_stream.people.kept import AHEAD, Kept
from sapiens_stream.people.motion import Motion
from sapiens_stream.people.steady import REMEMBERED, Steady
from tests.moving import SPEC, texture

pytestmark = [pytest.mark.usefixtures("one_thread")]
SIZE = (48, 64)
CELLS = (12, 16)
PICTURE = np.dstack([texture(3, SIZE)] * 3)
WHOLE = Placement(Box(0, 0, *SIZE), Box(0, 0, SPEC.height, SPEC.width))


def frame(index: int, rate: int = 25) -> Frame:
    return Frame(index=index, name=f"clip/{index:06d}", decoded=PICTURE, pts=index, time_base=Fraction(1, rate))


def likely(*classes: float) -> Tensor:
    """(1, C, h, w): the same everywhere."""
    return torch.tensor(classes).view(1, -1, 1, 1).expand(1, -1, *CELLS).contiguous()


def batch(of: Tensor, index: int = 0, place: Placement = WHOLE) -> PendingBatch:
    return PendingBatch([frame(index)], SPEC, [place], of.log(), torch.tensor(True), torch.float32, None)  # type: ignore[arg-type]


def full(number: int) -> Tensor:
    return torch.full(SIZE, number, dtype=torch.uint8)


def still(sure: int = 255, step: tuple[float, float] = (0, 0)) -> Motion:
    return Motion(np.full((24, 32, 2), step, np.float32), np.full((24, 32), sure, np.uint8))


def edge(left: int, right: int, at: int) -> Tensor:
    """One class up to a column, and another from there on."""
    class_map = full(right)
    class_map[:, :at] = left
    return class_map


def kept(before: Tensor, now: Tensor, probabilities: Tensor, motion: Motion | None, place: Placement = WHOLE) -> Tensor:
    first = Kept(batch(probabilities), probabilities, None, None)
    assert torch.equal(first(before), before)
    return Kept(batch(probabilities, 1, place), probabilities, first, motion)(now)


@pytest.mark.parametrize(
    ("was", "now", "probabilities", "sure", "expected"),
    [
        (1, 2, (0.0, 0.5 - AHEAD / 2 + 0.01, 0.5 + AHEAD / 2 - 0.01), 255, 1),
        (1, 2, (0.0, 0.5 - AHEAD / 2 - 0.01, 0.5 + AHEAD / 2 + 0.01), 255, 2),
        (1, 2, (0.0, 0.49, 0.51), 0, 2),
        (1, 0, (0.55, 0.45, 0.0), 255, 1),
        (1, 0, (0.6, 0.4, 0.0), 255, 0),
        (0, 1, (0.49, 0.51, 0.0), 255, 1),
    ],
    ids=["keeps", "beaten", "no trust", "stays somebody", "goes", "comes at once"],
)
def test_a_pixel_keeps_its_class_unless_another_is_ahead(
    was: int, now: int, probabilities: Sequence[float], sure: int, expected: int
) -> None:
    found = kept(edge(was, now, 34), edge(was, now, 32), likely(*probabilities), still(sure))
    assert torch.equal(found, edge(was, now, 34 if expected == was else 32))


def test_no_islands_are_kept() -> None:
    """A pixel keeps its class beside others of it alone."""
    before, now = full(1), full(1)
    before[:, 20:40] = 2
    now[:, 30:40] = 2
    found = kept(before, now, likely(0, 0.5, 0.5), still())
    edge = int((found[10] == 2).sum())
    assert 10 < edge <= 15 and (found[:, 40 - edge : 40] == 2).all()


def test_what_is_kept_goes_along_with_the_motion() -> None:
    step = still(step=(-4, 0))  # of a field half as fine
    assert torch.equal(kept(edge(2, 1, 20), edge(2, 1, 27), likely(0, 0.5, 0.5), step), edge(2, 1, 28))


def test_where_the_model_saw_nothing_nothing_is_kept() -> None:
    place = Placement(Box(0, 0, SIZE[0], 33), WHOLE.shown)
    assert torch.equal(kept(edge(1, 0, 40), edge(1, 0, 32), likely(0.5, 0.5), still(), place), edge(1, 0, 33))


def soft_edge(column: float) -> Tensor:
    """The probabilities of a class up to a column, and of another from there on."""
    x = (torch.arange(CELLS[1]) + 0.5) * (SIZE[1] / CELLS[1])
    share = (0.5 + (x - column) / 12).clamp(0.001, 0.999)
    planes = torch.stack((torch.full_like(share, 1e-6), 1 - share, share))
    return planes[None, :, None].expand(1, 3, *CELLS).contiguous()


@pytest.mark.parametrize("edge", [20.0, 30.5])
def test_an_edge_that_wavers_stays(edge: float) -> None:
    """By less than what the next class has to be ahead by, a pixel or two; one that goes on goes on."""

    def edges(places: Sequence[float]) -> list[int]:
        before, found = None, []
        for index, place in enumerate(places):
            of = soft_edge(place)
            own = batch(of, index)
            before = Kept(own, of, before, still() if before is not None else None)
            made = replace(own, finishing=[before]).class_maps(0.0)[0]
            found.append(int((made[SIZE[0] // 2] == 1).sum()))
        return found

    wavering = [edge, edge + 0.6, edge - 0.3, edge + 0.5, edge]
    assert len(set(edges(wavering))) == 1
    gone = edges([edge + step for step in range(8)])
    assert gone[-1] - gone[0] >= 5


def test_it_may_be_asked_again_and_forgets_what_is_over() -> None:
    of = likely(0, 0.49, 0.51)
    first = Kept(batch(of), of, None, None)
    before, now = edge(1, 2, 34), edge(1, 2, 32)
    first(before)
    second = Kept(batch(of, 1), of, first, still())
    assert torch.equal(second(now), before) and torch.equal(second(now), before)
    gone = weakref.ref(first)
    third = Kept(batch(of, 2), of, second, still())
    assert torch.equal(third(now), before)
    del first, second
    gc.collect()
    assert gone() is None


def steadied(said: Sequence[Tensor], rate: int = 25, reach: int = 2) -> list[Tensor]:
    """The class maps of a clip that stands still."""
    subject, ready = Steady(reach, 0.0), list[PendingBatch]()
    frames = [frame(index, rate) for index in range(len(said))]
    subject.take(frames)
    for each, of in zip(frames, said, strict=True):
        ready += subject.refine(replace(batch(of), frames=[each]))
    return [made for each in ready + subject.rest() for made in each.class_maps(0.0)]


NOBODY, SOMEBODY, PERHAPS, HARDLY = likely(0.98, 0.02), likely(0.02, 0.98), likely(0.3, 0.7), likely(0.6, 0.4)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([NOBODY, NOBODY, SOMEBODY, NOBODY, NOBODY], [0, 0, 1, 0, 0]),
        ([NOBODY, PERHAPS, SOMEBODY, PERHAPS, NOBODY], [0, 1, 1, 1, 0]),
        ([SOMEBODY, SOMEBODY, HARDLY, SOMEBODY, SOMEBODY], [1, 1, 1, 1, 1]),
        ([NOBODY, NOBODY, HARDLY, NOBODY, NOBODY], [0, 0, 0, 0, 0]),
    ],
    ids=["seen once, surely", "seen thrice", "doubted once", "hardly seen"],
)
def test_who_is_seen_is_not_outvoted_by_frames_that_miss_them(said: Sequence[Tensor], expected: Sequence[int]) -> None:
    assert [int(each.float().mean()) for each in steadied(said)] == list(expected)


@pytest.mark.parametrize("rate", [5, 10])
def test_each_second_begins_anew(rate: int) -> None:
    """So that a chunk of a clip has to know no more of what is before it."""
    said = [soft_edge(30.0)] * 2 + [soft_edge(31.2)] * (2 * rate - 2)
    found = [int((each[0] == 1).sum()) for each in steadied(said, rate, reach=1)]
    begin = int(rate * REMEMBERED)
    assert found == [30] * begin + [31] * (2 * rate - begin)
