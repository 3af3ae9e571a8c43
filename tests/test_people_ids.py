"""Who is who along a clip: ids on rendered clips whose people are known exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.frame import Frame, PersonBox, Segmentation, UInt8Array
from sapiens_stream.people.claims import Picture
from sapiens_stream.people.foreground import Foreground
from sapiens_stream.people.identity import Identities
from sapiens_stream.people.known import Known
from sapiens_stream.people.looks import Look
from sapiens_stream.people.segments import told_apart
from sapiens_stream.people.single import Doubles, Figures
from sapiens_stream.sinks.json_file import as_json

SIZE = (180, 320)
RATE = 10
SIDES = (24, 48)  # of a person, pixels
HEAD = 12
Place = tuple[float, float] | None
"""Where a person's middle is, x and y; None while not in the picture."""

_NOISE = np.random.default_rng(1)
_STREET = _NOISE.integers(40, 90, (SIZE[0] // 4, SIZE[1] // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
_PARK = _NOISE.integers(150, 250, (SIZE[0] // 9, SIZE[1] // 8, 3), dtype=np.uint8).repeat(9, 0).repeat(8, 1)
_CLOTHES = [_NOISE.integers(0, 255, (12, 6, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1) for _ in range(8)]


def rendered(
    places: Sequence[Place], index: int, street: UInt8Array = _STREET, *, photo: bool = False
) -> tuple[Segmentation, UInt8Array]:
    """A frame with a box for each person who is seen, and whose each pixel is: the person's number and 1."""
    picture, truth = street.copy(), np.zeros(SIZE, np.uint8)
    for person, place in enumerate(places):
        if place is None:
            continue
        left, top = round(place[0] - SIDES[0] / 2), round(place[1] - SIDES[1] / 2)
        rows = slice(max(0, top), min(SIZE[0], top + SIDES[1]))
        columns = slice(max(0, left), min(SIZE[1], left + SIDES[0]))
        if rows.start < rows.stop and columns.start < columns.stop:
            clothes = _CLOTHES[person]
            picture[rows, columns] = clothes[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
            truth[rows, columns] = person + 1
    frame = Frame(
        index=index,
        name=f"clip/{index:06d}",
        decoded=picture,
        pts=None if photo else index,
        time_base=None if photo else Fraction(1, RATE),
    )
    boxes = tuple(_around(truth == number) for number in np.unique(truth[truth > 0]))
    class_map = np.where(truth > 0, np.uint8(22), np.uint8(0))
    return Segmentation(frame=frame, class_map=class_map, classes=SAPIENS, boxes=boxes), truth


def _around(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> PersonBox:
    rows, columns = np.nonzero(mask)
    return PersonBox(float(columns.min()), float(rows.min()), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1), 0.75)


def in_one_box(segmentation: Segmentation, truth: UInt8Array) -> Segmentation:
    """The same with heads, and with a single box around everybody."""
    class_map = segmentation.class_map.copy()
    for person in np.unique(truth[truth > 0]):
        rows, columns = np.nonzero(truth == person)
        middle = round(columns.mean())
        head = slice(rows.min(), rows.min() + HEAD), slice(middle - HEAD // 2, middle + HEAD // 2)
        class_map[head][truth[head] == person] = SAPIENS.names.index("Face_Neck")
    return replace(segmentation, class_map=class_map, boxes=(_around(truth > 0),))


def followed(clip: Sequence[Sequence[Place]], cut_at: int | None = None, *, boxes: bool = True) -> list[dict[int, int]]:
    """For each frame, the id that most of each person's pixels have."""
    identities, found = Identities(), []
    for index, places in enumerate(clip):
        street = _PARK if cut_at is not None and index >= cut_at else _STREET
        segmentation, truth = rendered(places, index, street)
        segmentation = segmentation if boxes else in_one_box(segmentation, truth)
        result = identities.follow(segmentation)
        assert result.person_map is not None and result.people is not None
        assert {person.id for person in result.people} == set(np.unique(result.person_map).tolist()) - {0}
        assert np.array_equal(result.person_map > 0, result.class_map > 0)
        found.append(
            {
                int(person): int(np.bincount(result.person_map[truth == person]).argmax())
                for person in np.unique(truth[truth > 0])
            }
        )
    return found


def switches(found: Sequence[dict[int, int]]) -> int:
    """How often somebody has another id than when last seen."""
    last: dict[int, int] = {}
    count = 0
    for frame in found:
        count += sum(last.get(person, identity) != identity for person, identity in frame.items())
        last |= frame
    return count


def line(start: tuple[float, float], step: tuple[float, float], frames: int) -> list[Place]:
    return [(start[0] + step[0] * index, start[1] + step[1] * index) for index in range(frames)]


def gone(path: list[Place], first: int, last: int) -> list[Place]:
    return [None if first <= index < last else place for index, place in enumerate(path)]


@pytest.mark.parametrize(
    "people",
    [
        [line((60, 90), (3, 0), 30)],
        [line((40, 60), (4, 0), 40), line((280, 120), (-4, 0), 40)],
        [line((40 + 60 * each, 70 + 10 * (each % 2)), (1.5, 0.5), 20) for each in range(5)],
        [gone(line((100, 90), (1, 0), 40), 10, 28), line((220, 90), (0, 0), 40)],
        [line((-10, 90), (4, 0), 30)],
        [gone(line((100, 90), (0, 0), 30), 10, 11), gone(line((160, 90), (0, 0), 30), 10, 11)],
    ],
    ids=[
        "one who walks",
        "two who pass each other",
        "five side by side",
        "gone for nearly two seconds",
        "walks in from outside",
        "both missed for a frame",
    ],
)
def test_everybody_keeps_the_id(people: list[list[Place]]) -> None:
    found = followed(list(zip(*people, strict=True)))
    assert switches(found) == 0
    assert len({identity for frame in found for identity in frame.values()}) == len(people)


@pytest.mark.parametrize(
    "people",
    [
        [line((60, 90), (0, 0), 10), line((60 + SIDES[0], 94), (0, 0), 10)],
        [line((60, 80), (3, 0), 50), line((240, 104), (-3, 0), 50)],
        [line((60, 40), (3, 0), 50), line((150, 140), (0, 0), 50), line((240, 64), (-3, 0), 50)],
    ],
    ids=["two who stand together", "two who pass before each other", "and one aside"],
)
def test_who_is_in_one_box_is_told_apart_by_the_heads(people: list[list[Place]]) -> None:
    found = followed(list(zip(*people, strict=True)), boxes=False)
    assert len(set(found[0].values())) == len(people)
    assert found[-1] == found[0]


def test_what_has_no_head_is_a_part_of_who_has_one() -> None:
    segmentation, truth = rendered([(60, 90)], 0)
    segmentation = in_one_box(segmentation, truth)
    segmentation.class_map[100:110, 80:86] = 22  # a bag
    result = Identities().follow(replace(segmentation, boxes=(*segmentation.boxes, PersonBox(80, 100, 6, 10))))
    assert result.person_map is not None
    assert np.array_equal(result.person_map > 0, segmentation.class_map > 0) and result.person_map.max() == 1


@pytest.mark.parametrize(
    ("clip", "cut_at", "ids"),
    [
        (gone(line((100, 90), (0, 0), 40), 10, 38), None, [1, 2]),
        (line((100, 90), (0, 0), 12), 6, [1, 2]),
        ([*line((60, 90), (0, 0), 6), *line((260, 90), (0, 0), 6)], None, [1, 2]),
    ],
    ids=["gone for longer", "over a cut", "another elsewhere"],
)
def test_who_is_not_known_gets_a_new_id(clip: list[Place], cut_at: int | None, ids: list[int]) -> None:
    found = followed([[place] for place in clip], cut_at)
    assert list(dict.fromkeys(identity for frame in found for identity in frame.values())) == ids


def test_a_speck_is_theirs_in_whose_box_it_is() -> None:
    segmentation, _ = rendered([(60, 90), (200, 90)], 0)
    large = [
        cv2.resize(plane, (1280, 720), interpolation=cv2.INTER_NEAREST)
        for plane in (segmentation.frame.rgb, segmentation.class_map)
    ]
    large[1][[301, 301, 1], [331, 901, 1]] = 22  # between pixels of half the size; the last in no box
    frame = replace(segmentation.frame, decoded=large[0])
    boxes = [PersonBox(180, 250, 160, 220), PersonBox(740, 250, 170, 220)]
    result = Identities().follow(replace(segmentation, frame=frame, class_map=large[1], boxes=boxes))
    assert result.person_map is not None
    assert result.person_map[[301, 301, 1], [331, 901, 1]].tolist() == [1, 2, 0]


@pytest.mark.parametrize(("side", "people"), [(5, 1), (9, 2)], ids=["a speck", "a head far away"])
def test_a_speck_that_looks_like_hair_is_nobody(side: int, people: int) -> None:
    frame = rendered([], 0, photo=True)[0].frame
    class_map = np.zeros(SIZE, np.uint8)
    class_map[60:175, 40:180], class_map[10:60, 90:130] = 22, SAPIENS.names.index("Face_Neck")
    class_map[20 : 20 + side, 50 : 50 + side] = SAPIENS.names.index("Hair")
    boxes = (PersonBox(40, 10, 140, 165), PersonBox(48, 18, side + 4, side + 4))
    result = Identities().follow(Segmentation(frame=frame, class_map=class_map, classes=SAPIENS, boxes=boxes))
    assert len(result.people or ()) == people
    assert result.person_map is not None
    assert np.array_equal(result.person_map > 0, class_map > 0)


def test_each_photo_counts_from_one() -> None:
    identities = Identities()
    for index in range(3):
        result = identities.follow(rendered([(60, 90), (200, 90)], index, photo=True)[0])
        assert [person.id for person in result.people or ()] == [1, 2]


def test_a_person_in_the_json() -> None:
    result = Identities().follow(rendered([(60, 90)], 0)[0])
    [person] = json.loads(as_json(result, title="t", regions="none"))["people"]
    assert (person["id"], person["bbox"], person["score"]) == (1, [48, 66, 24, 48], 0.75)
    [label] = person["labels"]
    assert (label["id"], label["bbox"], label["pixels"]) == (22, [48, 66, 24, 48], 24 * 48)
    assert label["fraction"] == pytest.approx(24 * 48 / (180 * 320), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"boxes": None}, None), ({"boxes": ()}, ())],
    ids=["not looked for", "nobody found"],
)
def test_without_people(change: dict[str, object], told: tuple[()] | None) -> None:
    made: Callable[..., Segmentation] = Segmentation
    plain = rendered([None], 0)[0]
    result = Identities().follow(made(frame=plain.frame, class_map=plain.class_map, classes=SAPIENS, **change))
    assert result.people == told
    assert ("people" in json.loads(as_json(result, title="t"))) == (told is not None)


def test_pixels_belong_to_the_box_in_whose_middle_they_lie() -> None:
    foreground = np.zeros((10, 20), np.uint8)
    foreground[2:8, 2:18] = 5
    foreground[0, 0] = 5  # touches nobody
    owner = told_apart(foreground, [PersonBox(2, 2, 8, 6), PersonBox(8, 2, 8, 6)], (10, 20))
    assert owner[5].tolist() == [0] * 2 + [1] * 7 + [2] * 9 + [0] * 2
    assert owner[0, 0] == 0


@pytest.mark.parametrize("known_before", [True, False], ids=["somebody who is gone", "nobody else"])
def test_of_two_who_had_one_id_it_is_theirs_who_look_like_it_if_the_other_was_known(known_before: bool) -> None:
    """Else only where they are tells."""
    owner = np.zeros((60, 120), np.uint8)
    owner[10:50, 20:36], owner[10:50, 70:86] = 1, 2
    codes = np.where(owner == 1, 100, 2000).astype(np.int32)
    heads = (owner > 0) & (np.arange(60) < 18)[:, None]
    picture = Picture(Foreground.of(owner > 0), heads, owner, (0.0, 0.9, 0.9), codes)

    def known(number: int, box: tuple[int, int, int, int], look: npt.NDArray[np.int32], seen: Fraction) -> Known:
        edges = np.array(box, np.float64)
        return Known(id=number, box=edges, born=Fraction(0), seen=seen, score=0.9, look=Look(look), area=640.0)

    both = np.concatenate([codes[owner == 1][:200], codes[owner == 2]])
    people = [known(1, (24, 10, 40, 50), both, Fraction(2))]  # nearer to the one on the left
    if known_before:
        people.append(known(2, (40, 10, 56, 50), codes[owner == 1], Fraction(1)))
    doubles, nearest = Doubles(), dict[int, int]()
    for frame in range(3):
        assert not nearest
        places = (owner > 0).astype(np.int32)
        doubles.part(people, Figures(picture, places, len(people)), places, Fraction(21 + frame, 10), nearest)
    stays = 2 if known_before else 1
    assert nearest == {1: stays}
    assert (places[owner == stays] == 1).all() and not places[owner == 3 - stays].any()


def figures_side_by_side() -> tuple[Picture, UInt8Array]:
    """Two of 16x40 cells who hang together by their legs, a head each; and whose each cell is, by number."""
    owner = np.zeros((60, 120), np.uint8)
    owner[10:50, 20:36], owner[10:50, 36:52] = 1, 2
    owner[:34, 34:38] = 0
    heads = (owner > 0) & (np.arange(60) < 18)[:, None]
    codes = np.where(owner == 1, 100, 2000).astype(np.int32)
    return Picture(Foreground.of(owner > 0), heads, owner, (0.0, 0.9, 0.9), codes), owner


def known_in(number: int, box: tuple[int, int, int, int], *, alone: int = 0) -> Known:
    edges, codes = np.array(box, np.float64), np.array([100, 2000], np.int32)
    person = Known(id=number, box=edges, born=Fraction(0), seen=Fraction(2), score=0.9, look=Look(codes), area=640.0)
    person.alone = alone
    return person


@pytest.mark.parametrize("alone", [0, 1], ids=["never seen alone", "seen alone before"])
def test_the_legs_of_who_came_in_behind_somebody_become_theirs(alone: int) -> None:
    """But of who was seen alone it is known what all of them looks like, and heads tell less."""
    picture, owner = figures_side_by_side()
    people = [known_in(1, (36, 10, 52, 50), alone=3), known_in(2, (20, 10, 36, 32), alone=alone)]
    doubles, nearest = Doubles(), dict[int, int]()
    for frame in range(8):
        assert not nearest
        places = np.where(owner == 2, 1, 2 * (owner == 1)).astype(np.int32)
        legs = (owner == 1) & (np.arange(60) >= 34)[:, None]
        places[legs] = 1
        doubles.part(people, Figures(picture, places, 2), places, Fraction(21 + frame, 10), nearest)
    if alone:
        assert not nearest and (places[legs] == 1).all()
    else:
        assert nearest == {1: 2, 2: 1}, "they are known by their own figures from here on"
        assert (places[owner == 1] == 2).all() and (places[owner == 2] == 1).all()


@pytest.mark.parametrize("frames", [7, 8])
def test_two_with_one_id_who_stand_together_with_a_head_each_are_two(frames: int) -> None:
    picture, owner = figures_side_by_side()
    people = [known_in(1, (20, 10, 36, 50))]
    doubles, nearest = Doubles(), dict[int, int]()
    for frame in range(frames):
        places = (owner > 0).astype(np.int32)
        places[(owner == 1) & (np.arange(60) >= 45)[:, None]] = 0  # the other one is more surely of that id
        doubles.part(people, Figures(picture, places, 1), places, Fraction(21 + frame, 10), nearest)
    assert (places[owner == 2] == 1).all()
    assert nearest == ({1: 2} if frames == 8 else {})
    assert places[owner == 1].any() == (frames < 8)


@pytest.mark.parametrize(
    ("colour", "away", "is_back"),
    [(100, 0, True), (2000, 0, False), (100, 400, False)],
    ids=["they", "somebody in other clothes", "somebody who was elsewhere"],
)
def test_who_is_gone_and_looks_like_one_of_two_heads_with_one_id_is_back_at_once(
    colour: int, away: int, is_back: bool
) -> None:
    """They come out from behind somebody, who had what was seen of them so far."""
    picture, owner = figures_side_by_side()
    people = [known_in(1, (36, 10, 52, 50)), known_in(2, (20, 10, 36, 50))]
    people[0].look = Look(np.full(400, 2000, np.int32))
    people[1].look = Look(np.full(400, colour, np.int32))
    people[1].box = people[1].box + away
    places = (owner > 0).astype(np.int32)
    places[(owner == 1) & (np.arange(60) >= 45)[:, None]] = 0
    Doubles().part(people, Figures(picture, places, 2), places, Fraction(21, 10), {})
    assert (places[owner == 2] == 1).all()
    assert places[owner == 1].any() != is_back
