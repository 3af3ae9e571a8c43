"""Who is who along a file, the first second of a scene by what follows: order, bounds, and few ids that switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sapiens_stream.frame import Segmentation
from sapiens_stream.people import naming
from sapiens_stream.people.naming import Naming
from tests.test_people_looks import BLACK, BLUE, GREEN, RATE, RED, Walker, away, frame_of, ids_of, way

WHITE, YELLOW = (230, 230, 225), (210, 180, 50)


def told(clip: Sequence[Segmentation]) -> list[Segmentation]:
    people = Naming()
    results = [each for result in clip for each in people.follow(result)]
    return [*results, *people.rest()]


@pytest.mark.parametrize(
    "walkers",
    [
        [Walker(RED, BLACK, way(30, 210, 45)), Walker(BLUE, GREEN, way(210, 30, 45))],
        [Walker(GREEN, BLUE, way(64, 140, 20)), Walker(RED, BLACK, way(60, 20, 20))],
        [Walker(GREEN, BLUE, way(60, 60, 4) + way(60, 140, 20)), Walker(RED, BLACK, way(60, 60, 4) + way(60, 20, 20))],
        [Walker(RED, BLACK, way(60, 60, 10) + away(12) + way(180, 180, 10)), Walker(BLUE, GREEN, way(120, 120, 32))],
    ],
    ids=["two cross", "over each other in the first frame", "one behind another at first", "comes back elsewhere"],
)
def test_each_has_one_id(walkers: list[Walker]) -> None:
    found = ids_of(*walkers, told=told)
    assert sorted(identity for ids in found for identity in ids) == list(range(1, len(walkers) + 1))


def test_ids_of_people_who_cross_hardly_switch() -> None:
    """Three who walk to and fro before each other and before one who stands."""
    clothes = [(RED, BLACK), (BLUE, WHITE), (GREEN, RED), (YELLOW, BLUE)]
    ways = [(20, 220), (90, 90), (160, 100), (215, 30)]
    paths = [way(start, end, 40) + way(end, start, 40) for start, end in ways]
    found = ids_of(*(Walker(*worn, path) for worn, path in zip(clothes, paths, strict=True)), told=told)
    assert sum(len(ids) - 1 for ids in found) <= 1
    assert len({ids[0] for ids in found}) == len(found)


def clip(frames: int) -> list[Segmentation]:
    walker = Walker(RED, BLACK, way(60, 120, frames))
    return [frame_of([walker], index)[0] for index in range(frames)]


def test_the_first_second_waits_and_the_rest_does_not() -> None:
    people = Naming()
    counts = [len(people.follow(result)) for result in clip(24)]
    assert counts == [0] * RATE + [RATE + 1] + [1] * (24 - RATE - 1)
    assert not people.rest()


def test_fewer_large_frames_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = clip(8)
    monkeypatch.setattr(naming, "_BYTES", 3 * naming._BYTES_A_PIXEL * frames[0].class_map.size)
    people = Naming()
    assert [len(people.follow(result)) for result in frames] == [0, 0, 3, 1, 1, 1, 1, 1]


def test_a_scene_begins_anew_and_no_id_is_given_twice() -> None:
    frames = clip(24)
    dark = [replace(each, frame=replace(each.frame, decoded=255 - each.frame.rgb)) for each in frames[14:]]
    results = told([*frames[:14], *dark])
    assert [result.frame.index for result in results] == list(range(24))
    assert [[person.id for person in result.people or ()] for result in results] == [[1]] * 14 + [[2]] * 10


def test_live_frames_and_photos_do_not_wait() -> None:
    people = Naming()
    for result in clip(4):
        live = replace(result, frame=replace(result.frame, arrived=1.0))
        photo = replace(result, frame=replace(result.frame, pts=None, time_base=None))
        for now in (people.follow(live), people.follow(photo)):
            assert [[person.id for person in each.people or ()] for each in now] == [[1]]


def test_frames_in_which_nobody_was_looked_for_keep_their_place() -> None:
    frames = clip(14)
    for index in (0, 4, 12):
        frames[index] = replace(frames[index], boxes=None)
    results = told(frames)
    assert [result.frame.index for result in results] == list(range(14))
    assert [result.people is None for result in results] == [index in (0, 4, 12) for index in range(14)]
