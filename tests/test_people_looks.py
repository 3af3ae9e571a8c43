"""Who is known again by what they look like: people in plain clothes who cross, leave and come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.frame import Frame, PersonBox, Segmentation, UInt8Array
from sapiens_stream.people.claims import Brought, Picture, claimed
from sapiens_stream.people.foreground import Foreground
from sapiens_stream.people.identity import Identities
from sapiens_stream.people.known import Known
from sapiens_stream.people.looks import Look, codes_of

SIZE = (120, 240)
RATE = 10
HEIGHT, WIDTH = 60, 16
FEET = 105
_NOISE = np.random.default_rng(2)
_STREET = _NOISE.integers(90, 130, (SIZE[0] // 4, SIZE[1] // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
RED, GREEN, BLUE, BLACK = (190, 40, 40), (40, 150, 60), (40, 60, 190), (25, 25, 30)
_PARTS = (("Hair", 5, (60, 40, 30)), ("Face_Neck", 6, (200, 160, 140)), ("Upper_Clothing", 24, None))
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Walker:
    """Somebody's clothes, and where they are in each frame, pixels from the left; None: not in the picture."""

    top: Colour
    trousers: Colour
    path: Sequence[float | None]


def frame_of(walkers: Sequence[Walker], index: int) -> tuple[Segmentation, UInt8Array]:
    """The later ones in front; each piece of foreground is in a box, as a detector that tells nobody apart has it."""
    picture, classes, truth = _STREET.copy(), np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    for number, walker in enumerate(walkers, 1):
        x = walker.path[index]
        if x is None:
            continue
        columns = slice(max(0, round(x) - WIDTH // 2), max(0, round(x) + WIDTH // 2))
        top = FEET - HEIGHT
        for name, rows, colour in (*_PARTS, ("Lower_Clothing", HEIGHT - 35, walker.trousers)):
            part = slice(top, top + rows), columns
            shade = (np.arange(rows) % 5 - 2)[:, None, None] * 3
            picture[part] = np.clip(np.array(colour or walker.top) + shade, 0, 255)
            classes[part], truth[part] = SAPIENS.names.index(name), number
            top += rows
    frame = Frame(index=index, name=f"clip/{index:06d}", decoded=picture, pts=index, time_base=Fraction(1, RATE))
    boxes = tuple(_boxes(truth > 0))
    return Segmentation(frame=frame, class_map=classes, classes=SAPIENS, boxes=boxes), truth


def _boxes(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[PersonBox]:
    there = np.flatnonzero(np.diff(np.concatenate([[False], mask.any(0), [False]]).astype(np.int8)))
    return [
        PersonBox(float(left), FEET - HEIGHT, float(right - left), HEIGHT, 0.9)
        for left, right in zip(there[::2].tolist(), there[1::2].tolist(), strict=True)
    ]


def one_by_one(clip: Sequence[Segmentation]) -> list[Segmentation]:
    """As they are told where nothing waits."""
    identities = Identities()
    return [identities.follow(result) for result in clip]


def ids_of(
    *walkers: Walker, told: Callable[[Sequence[Segmentation]], list[Segmentation]] = one_by_one
) -> list[list[int]]:
    """For each walker the ids that most of what is seen of them has had, one after the other."""
    made = [frame_of(walkers, index) for index in range(len(walkers[0].path))]
    results, found = told([segmentation for segmentation, _ in made]), [list[int]() for _ in walkers]
    assert [result.frame.index for result in results] == list(range(len(made)))
    for result, (segmentation, truth) in zip(results, made, strict=True):
        assert result.person_map is not None and result.people is not None
        assert np.array_equal(result.person_map > 0, segmentation.class_map > 0)
        assert {person.id for person in result.people} == set(np.unique(result.person_map).tolist()) - {0}
        for number, ids in enumerate(found, 1):
            seen = result.person_map[truth == number]
            if seen.size >= HEIGHT * WIDTH // 2:
                identity = int(np.bincount(seen).argmax())
                if not ids or ids[-1] != identity:
                    ids.append(identity)
    return found


def way(start: float, end: float, frames: int) -> list[float | None]:
    return np.linspace(start, end, frames).tolist()


def away(frames: int) -> list[float | None]:
    return [None] * frames


@pytest.mark.parametrize(
    ("walkers", "expected"),
    [
        ([Walker(RED, BLACK, way(30, 210, 45)), Walker(BLUE, GREEN, way(210, 30, 45))], [[1], [2]]),
        (
            [
                Walker(RED, BLACK, way(30, 165, 45)),
                Walker(GREEN, BLUE, way(120, 120, 45)),
                Walker(BLUE, BLACK, way(225, 195, 45)),
            ],
            [[1], [2], [3]],
        ),
        (
            [
                Walker(RED, BLACK, way(60, 60, 10) + away(12) + way(180, 180, 10)),
                Walker(BLUE, GREEN, way(120, 120, 32)),
            ],
            [[1], [2]],
        ),
        (
            [
                Walker(RED, BLACK, way(40, 40, 10) + away(12) + way(150, 150, 10)),
                Walker(GREEN, BLUE, way(80, 80, 10) + away(12) + way(200, 200, 10)),
            ],
            [[1], [2]],
        ),
        (
            [
                Walker(BLUE, GREEN, way(180, 180, 32)),
                Walker(RED, BLACK, way(50, 50, 10) + away(10) + way(162, 162, 12)),
            ],
            [[2], [1]],
        ),
        (
            [Walker(RED, BLACK, way(60, 60, 10) + away(20)), Walker(GREEN, BLUE, away(15) + way(60, 60, 15))],
            [[1], [2]],
        ),
        ([Walker(RED, BLACK, way(60, 60, 10) + away(25) + way(60, 60, 5))], [[1, 2]]),
    ],
    ids=[
        "two in different clothes cross",
        "before somebody who stands",
        "comes back elsewhere",
        "two come back elsewhere",
        "comes back elsewhere, beside somebody",
        "a stranger where somebody left",
        "too late",
    ],
)
def test_people_keep_their_ids(walkers: list[Walker], expected: list[list[int]]) -> None:
    assert ids_of(*walkers) == expected


def test_who_steps_out_from_behind_another_is_somebody_else() -> None:
    behind, before = ids_of(
        Walker(GREEN, BLUE, away(6) + way(60, 140, 20)), Walker(RED, BLACK, way(60, 60, 6) + way(60, 20, 20))
    )
    assert (behind[-1], before) == (2, [1])


@pytest.mark.parametrize("left", [124, 118], ids=["by itself", "that touches who hides them"])
def test_a_foot_that_is_seen_of_somebody_is_not_all_there_is_of_them(left: int) -> None:
    walkers = Walker(RED, BLACK, way(40, 108, 17) + way(110, 110, 12)), Walker(BLUE, GREEN, way(110, 110, 29))
    identities, foot = Identities(), (slice(FEET - 8, FEET), slice(left, left + 8))
    own_box = [PersonBox(left - 1, FEET - 9, 10, 10)] if left > 120 else []
    for index in range(29):
        segmentation, _ = frame_of(walkers, index)
        if index > 18:
            segmentation.frame.decoded[foot] = BLACK  # type: ignore[index]
            segmentation.class_map[foot] = SAPIENS.names.index("Lower_Clothing")
            segmentation = replace(segmentation, boxes=(*(segmentation.boxes or ()), *own_box))
        identities.follow(segmentation)
    (hidden,) = (person for person in identities._known if person.id == 1)
    assert hidden.seen == Fraction(28, RATE)
    assert hidden.height > 0.9 * HEIGHT
    assert hidden.headed >= 5  # frames; that a foot has no head tells nothing
    assert hidden.speed[0] > 15  # as they were seen to go last


def test_twins_who_cross_are_two() -> None:
    found = ids_of(Walker(RED, BLACK, way(30, 210, 45)), Walker(RED, BLACK, way(210, 30, 45)))
    assert {each for ids in found for each in ids} == {1, 2}


@pytest.mark.parametrize("frames", [20, 30])
@pytest.mark.parametrize("clothes", [(150, 60, 40), (170, 60, 60)], ids=["brown", "rose"])
def test_who_goes_on_after_passing_another_in_like_clothes_is_the_same(clothes: Colour, frames: int) -> None:
    found = ids_of(Walker(RED, BLACK, way(30, 210, frames)), Walker(clothes, BLACK, way(210, 30, frames)))
    assert [ids[-1] for ids in found] == [ids[0] for ids in found] == [1, 2]


@pytest.mark.parametrize(("speeds", "expected"), [((30, -30), [1, 2]), ((-30, 30), [2, 1]), ((0, 0), [2, 1])], ids=str)
def test_a_pixel_is_theirs_who_goes_the_way_that_it_goes(speeds: tuple[float, float], expected: list[int]) -> None:
    segmentation, truth = frame_of([Walker(RED, BLACK, [60]), Walker(RED, BLACK, [76])], 0)
    there = truth > 0
    codes = codes_of(segmentation.class_map, segmentation.frame.rgb, SAPIENS)
    box = np.array([52.0, FEET - HEIGHT, 84.0, FEET])
    known = []
    for number, speed in enumerate(speeds, 1):
        person = Known(number, box, Fraction(0), Fraction(0), 0.9, Look(codes[there]), there.sum() / 2)
        person.speed = np.array([speed, 0.0])
        known.append(person)
    goes = np.zeros((*SIZE, 2), np.float32)  # from a cell to where it was
    goes[truth == 1, 0], goes[truth == 2, 0] = -3, 3
    came = np.choose(truth, [0, 2, 1]).astype(np.int32)  # the other way round
    brought = Brought(came, np.zeros(SIZE, np.bool_), goes, passed=1 / RATE)
    picture = Picture(Foreground.of(there), np.zeros(SIZE, np.bool_), truth, [0, 0.9, 0.9], codes)
    places = claimed(known, picture, brought, Fraction(1, RATE))
    assert [int(np.bincount(places[truth == number]).argmax()) for number in (1, 2)] == expected


def test_somebody_looks_more_like_themselves_in_other_light_than_others_do() -> None:
    seen = []
    for clothes, dim in ((RED, 1.0), (RED, 0.85), (GREEN, 1.0)):
        segmentation, truth = frame_of([Walker(clothes, BLACK, [60])], 0)
        picture = (segmentation.frame.rgb * dim).astype(np.uint8)
        seen.append(codes_of(segmentation.class_map, picture, SAPIENS)[truth == 1])
    look = Look(seen[0])
    assert look.usual == pytest.approx(look.likeness(seen[0]), abs=1e-3)
    assert look.likeness(seen[0]) >= look.likeness(seen[1]) > look.likeness(seen[2]) + 0.5
