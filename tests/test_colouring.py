"""Overlays whose colours tell people apart, and ids beside heads, in every output that paints."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from sapiens_stream import Segmenter, UsageError
from sapiens_stream.colour.meaning import Colour
from sapiens_stream.colour.planes import Planes
from sapiens_stream.colouring import PEOPLE, Colouring, Mark, write_on, write_on_planes
from sapiens_stream.frame import Person, Segmentation
from sapiens_stream.labels import Label
from sapiens_stream.sinks import Outputs
from sapiens_stream.viewers.coloured import coloured
from sapiens_stream.viewers.viewer import CameraView, Command, LiveFigures, Screen, Viewer
from tests.test_sinks import result

SAMPLES = Path(__file__).parents[1] / "samples"
SMALL = ("--shape", 96, 160, "--quiet", "--save", "json,people,labels")


def crowd(*ids: int, size: tuple[int, int] = (96, 160)) -> Segmentation:
    """People side by side, each as wide as the others, with a head above; the last column is nobody's."""
    class_map, person_map = np.zeros(size, np.uint8), np.zeros(size, np.uint16)
    wide = (size[1] - 10) // len(ids)
    people = []
    for place, identity in enumerate(ids):
        left = place * wide
        class_map[10:30, left : left + wide // 2] = 2
        class_map[30:90, left : left + wide // 2] = 22
        person_map[10:90, left : left + wide // 2] = identity
        head = Label(2, "Face_Neck", 100, 0.1, (left, 10, wide // 2, 20))
        people.append(Person(identity, (left, 10, wide // 2, 80), 0.9, (head,)))
    class_map[:, -5:] = 22
    own = result(class_map=class_map, pts=0, time_base=Fraction(1, 25))
    return replace(own, people=tuple(people), person_map=person_map, boxes=())


def test_each_person_has_a_colour() -> None:
    own = crowd(1, 2, 254, 255, 256, 40000)
    seen = Colouring(by="person").seen(own)
    assert seen.classes is PEOPLE
    np.testing.assert_array_equal(seen.class_map > 0, own.class_map > 0)
    numbers = [np.unique(seen.class_map[own.person_map == each]).tolist() for each in (1, 2, 254, 255, 256, 40000)]
    assert numbers == [[1], [2], [254], [1], [2], [(40000 - 1) % 254 + 1]]
    assert set(np.unique(seen.class_map[(own.person_map == 0) & (own.class_map > 0)])) == {255}
    assert len(set(PEOPLE.colours)) == 256
    head = Colouring(by="person", only=(2,)).seen(own)
    np.testing.assert_array_equal(head.class_map > 0, own.class_map == 2)
    assert Colouring().seen(own) is own


def test_neighbours_in_number_look_unlike() -> None:
    colours = np.array(PEOPLE.colours[1:21], int)
    assert all(np.abs(one - other).max() > 60 for one, other in pairwise(colours))


def test_ids_stand_beside_heads_and_inside_the_picture() -> None:
    own = crowd(3, 12)
    first, second = Colouring(ids=True).marks(own)
    assert (first.text, second.text) == ("3", "12")
    assert (first.x, first.y) == (37, 10)  # beside the head of the first
    assert second.x == 75 + 37
    [mark] = Colouring(ids=True).marks(replace(own, people=(Person(7, (140, 90, 20, 6), 0.5, ()),)))
    picture = np.full((96, 160, 3), 90, np.uint8)
    write_on(picture, [mark])
    rows, columns = np.nonzero((picture != 90).any(axis=2))
    assert rows.max() < 95 and columns.min() > 0 and columns.max() < 140
    assert picture.max() > 220 and picture.min() < 20
    assert Colouring().marks(own) == []


@pytest.mark.parametrize("bits", [8, 10])
def test_ids_are_written_on_planes_as_on_rgb(bits: int) -> None:
    grey = 110 << bits - 8
    dtype = np.uint8 if bits == 8 else np.uint16
    planes = Planes(np.full((96, 160), grey, dtype), *(np.full((48, 80), 128 << bits - 8, dtype) for _ in range(2)))
    write_on_planes(planes, [Mark("8", 31, 21, 20)], Colour(bits=bits))
    assert planes.y.max() >> bits - 8 in range(225, 240) and planes.y.min() >> bits - 8 in range(10, 40)
    assert np.abs(planes.u.astype(int) - (128 << bits - 8)).max() <= 1 << bits - 8
    rows, columns = np.nonzero(planes.y != grey)
    assert rows.min() >= 21 and columns.min() >= 31 and rows.max() < 60


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A few frames of the sample's people, and boxes of two of them."""
    from tests.test_person_maps import sample

    folder = tmp_path_factory.mktemp("street")
    (folder / "boxes.jsonl").write_text(
        "\n".join(json.dumps({"frame": index, "boxes": [[26, 37, 45, 113], [174, 48, 36, 104]]}) for index in range(3))
    )
    return sample(folder / "street.mkv", frames=3), folder / "boxes.jsonl"


def pictures(path: Path) -> list[Any]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_is_painted_by_person_and_again_from_its_results(
    street: tuple[Path, Path], program: Any, tmp_path: Path
) -> None:
    clip, boxes = street
    options = ("--boxes", boxes, "--color-by", "person", "--ids", "--opacity", 1, "--codec", "ffv1")
    assert program("video", clip, "-o", tmp_path, *SMALL, *options, "--contact-sheet").code == 0
    [overlay] = tmp_path.glob("street_overlay.*")
    person_map = np.load(tmp_path / "street" / "000001_people.npy")
    inner = cv2.erode((person_map == 1).astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(np.median(pictures(overlay)[1][inner], axis=0) - PEOPLE.colours[1]).max() < 12
    assert (tmp_path / "street_sheet.png").stat().st_size > 1000
    assert program("results", "render", tmp_path).code == 0
    np.testing.assert_array_equal(pictures(overlay), pictures(tmp_path / "rendered" / overlay.name))
    assert program("results", "render", tmp_path, "-o", tmp_path / "plain", "--color-by", "class", "--no-ids").code == 0
    assert not np.array_equal(pictures(overlay)[1], pictures(tmp_path / "plain" / overlay.name)[1])


def test_photos_are_painted_by_person(program: Any, tmp_path: Path) -> None:
    options = ("--people", "builtin", "--color-by", "person", "--opacity", 1, "--save", "people")
    photo = SAMPLES / "astronaut.jpg"
    assert program("images", "builtin", photo, "-o", tmp_path, "--shape", 96, 96, "--quiet", *options).code == 0
    painted = cv2.imread(str(tmp_path / "astronaut.png"))
    assert painted is not None
    person_map = np.load(tmp_path / "astronaut_people.npy")
    np.testing.assert_array_equal(painted[person_map == 1][0, ::-1], PEOPLE.colours[1])


def test_a_result_is_painted_by_person(tmp_path: Path) -> None:
    with Segmenter("builtin", device="cpu", shape=(96, 96), people="builtin", warn=lambda sentence: None) as model:
        found = model(SAMPLES / "astronaut.jpg")
    painted = found.overlay(1.0, color_by="person")
    assert found.person_map is not None
    assert (painted[found.person_map == 1] == PEOPLE.colours[1]).all()
    assert not np.array_equal(painted, found.overlay(1.0, color_by="person", ids=True))
    found.save(tmp_path, "a", save="none", color_by="person", opacity=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(UsageError, match="color_by is 'head'; there are class, person"):
        found.overlay(color_by="head")  # type: ignore[arg-type]
    from sapiens_stream.result import result_of

    alone = result_of(replace(found, people=None, person_map=None, boxes=None))
    with pytest.raises(UsageError, match="people were not looked for"):
        alone.overlay(ids=True)


ALONE = {"color": ("--color-by", "person"), "ids": ("--ids",)}


@pytest.mark.parametrize("options", ALONE.values(), ids=ALONE.keys())
def test_people_are_shown_only_where_they_are_looked_for(options: tuple[str, ...], program: Any) -> None:
    outcome = program("video", SAMPLES / "clip.mp4", *options)
    assert outcome.code == 2 and f"{' '.join(options)}, but people are not looked for" in outcome.stderr


class Shown(Viewer):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.screens: list[Screen] = []

    def show(self, screen: Screen) -> None:
        self.screens.append(screen)

    def commands(self) -> list[Command]:
        return [Command.PAUSE]

    def close(self) -> None:
        self.screens.clear()


def test_viewers_are_shown_people() -> None:
    own, plain = crowd(1, 2), Shown()
    viewer = coloured(Colouring(by="person", ids=True))(plain)
    screen = Screen(
        views=[CameraView(camera="a", latest=own), CameraView(camera="b")], figures=LiveFigures(model="", device="")
    )
    viewer.show(screen)
    viewer.show(replace(screen, paused=True))
    first, second = (each.views[0].latest for each in plain.screens)
    assert first is second and first is not None  # so that it is encoded once
    np.testing.assert_array_equal(first.class_map, Colouring(by="person").seen(own).class_map)
    assert not np.array_equal(first.frame.rgb, own.frame.rgb)
    assert plain.screens[0].views[1].latest is None and viewer.commands() == [Command.PAUSE]
    assert coloured(Colouring())(plain) is plain
    assert Outputs(color_by="person").painter(own.classes).classes is PEOPLE
