"""A second look at people who are small in the picture: what it shows, and how it is put back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream import Segmenter
from sapiens_stream.errors import DeviceError, InputError, ModelError
from sapiens_stream.frame import Frame, PersonBox, UInt8Array
from sapiens_stream.inference.closer import Look
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Box, Placement, placement
from sapiens_stream.inference.turns import Turn, Turns
from sapiens_stream.models.model import Model
from sapiens_stream.people.boxes_file import BoxesFile
from sapiens_stream.people.closer import CloserToPeople, Seen, closer_for
from sapiens_stream.people.crops import crop, larger
from sapiens_stream.people.detection import boxes_in
from sapiens_stream.people.first_look import Sighting, tiles_of
from sapiens_stream.people.followed import Followed
from sapiens_stream.people.paste import pasted
from sapiens_stream.people.track import Track, overlap
from sapiens_stream.settings import MOST_PEOPLE
from tests import moving
from tests.moving import patch
from tests.test_engine import SPEC, by_brightness, model

SAMPLES = Path(__file__).parents[1] / "samples"
LEVEL = 32  # of brightness, a class of the toy model


class Given:
    """Finds what it is told, by the frame's number."""

    def __init__(self, *people: Sequence[PersonBox]) -> None:
        self._people = people

    def find(self, batch: PendingBatch, _turn: Turn) -> list[list[PersonBox]]:
        return [list(self._people[frame.index % len(self._people)]) for frame in batch.frames]


def engine(given: Given | None, made: Model | None = None, **options: object) -> Engine:
    made = made or model()

    def closer(_device: torch.device) -> CloserToPeople:
        assert given is not None
        return CloserToPeople(made, SPEC, given, Seen())

    settings = InferenceOptions(**{"device": "cpu", **options})  # type: ignore[arg-type]
    return Engine(made, settings, closer=closer if given else None, warn=lambda sentence: None)


def scene(*people: PersonBox, size: tuple[int, int] = (480, 640)) -> UInt8Array:
    """A dark picture, each person a rectangle of a brightness, hence a class, of its own, 1 to 7."""
    picture = np.full((*size, 3), LEVEL // 2, np.uint8)
    for index, each in enumerate(people):
        rows = slice(max(0, round(each.top)), max(0, round(each.top + each.height)))
        picture[rows, max(0, round(each.left)) : max(0, round(each.left + each.width))] = _level(index)
    return picture


def _level(index: int) -> int:
    return (1 + index % 7) * LEVEL + LEVEL // 2


def truth(picture: UInt8Array) -> UInt8Array:
    return picture[..., 0] // LEVEL


def frame_of(picture: UInt8Array, index: int = 0, **changes: object) -> Frame:
    return replace(Frame(index=index, name=f"clip/{index:06d}", decoded=picture), **changes)  # type: ignore[arg-type]


def class_maps(subject: Engine, *frames: Frame) -> list[UInt8Array]:
    return [each.class_map for each in subject.submit(frames).result()]


def wrong(class_map: UInt8Array, picture: UInt8Array) -> float:
    return float((class_map != truth(picture)).mean())


CROWD = [PersonBox(40 + 95 * column, 20 + 90 * row, 12, 30) for row in range(5) for column in range(6)]


@pytest.mark.parametrize(
    ("people", "times_better"),
    [
        ([PersonBox(100, 100, 20, 50)], 3),
        ([PersonBox(300.4, 200.7, 33, 60), PersonBox(360, 210, 30, 45)], 2),
        (CROWD, 3),
        ([PersonBox(-15, 200, 40, 70)], 2),
        ([PersonBox(600, 440, 60, 80)], 2),
    ],
    ids=["one", "two close together", "a crowd of 30", "half out at the left", "half out at the corner"],
)
def test_people_are_seen_as_large_as_the_model_takes_them(people: list[PersonBox], times_better: float) -> None:
    picture = scene(*people)
    [whole] = class_maps(engine(None), frame_of(picture))
    [nearer] = class_maps(engine(Given(people)), frame_of(picture))
    assert wrong(nearer, picture) * times_better < wrong(whole, picture)


@pytest.mark.parametrize(
    "people",
    [
        [],
        [PersonBox(0, 0, 640, 480)],
        [PersonBox(30, 20, 580, 440)],
        [PersonBox(700, 20, 50, 90), PersonBox(-60, 0, 50, 90), PersonBox(50, -91, 50, 90)],
    ],
    ids=["nobody", "who fills the picture", "who nearly fills it", "beyond the picture"],
)
@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
def test_the_whole_picture_stays_what_it_is(people: list[PersonBox], fit: str) -> None:
    picture = scene(PersonBox(100, 80, 200, 350))
    [whole] = class_maps(engine(None, fit=fit), frame_of(picture))
    [result] = engine(Given(people), fit=fit).submit([frame_of(picture)]).result()
    assert np.array_equal(result.class_map, whole)
    assert result.boxes == tuple(people)


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
def test_whatever_the_fit_a_look_lies_where_the_person_is(fit: str) -> None:
    person = PersonBox(290, 200, 24, 60)
    picture = scene(person)
    [nearer] = class_maps(engine(Given([person]), fit=fit), frame_of(picture))
    assert wrong(nearer, picture) < 0.0006


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_are_of_the_upright_picture(turns: int, mirrored: bool) -> None:
    person = PersonBox(500, 60, 30, 60)
    picture = scene(person)
    stored = np.ascontiguousarray(np.rot90(picture[:, ::-1] if mirrored else picture, -turns))
    turned = frame_of(stored, quarter_turns=turns, mirrored=mirrored)
    subject = engine(Given([person]))
    assert np.array_equal(*class_maps(subject, frame_of(picture), turned))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_frames_come_in_order_whatever_the_batches(batch_size: int, at_once: int) -> None:
    people = [[PersonBox(20 + 80 * each, 30 * each, 20, 60) for each in range(count)] for count in (0, 3, 1, 2)]
    frames = [frame_of(scene(*people[index % 4]), index) for index in range(7)]
    subject = engine(Given(*people), batch_size=batch_size)
    batches = [frames[start : start + at_once] for start in range(0, 7, at_once)]
    results = [each for found in subject.run(batches) for each in found]
    assert [each.frame for each in results] == frames
    single = engine(Given(*people))
    for frame, result in zip(frames, results, strict=True):
        assert np.array_equal(result.class_map, *class_maps(single, frame))


def test_a_look_that_misses_what_the_whole_picture_shows_is_left_out() -> None:
    calls: list[int] = []

    def blind_at_second_sight(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        logits = by_brightness(pixels)
        return logits if len(calls) == 1 else torch.cat((logits[:, :1] + 1000, logits[:, 1:]), 1)

    person = PersonBox(100, 100, 60, 150)
    picture = scene(person)
    [result] = class_maps(engine(Given([person]), model(blind_at_second_sight)), frame_of(picture))
    assert len(calls) == 2
    assert np.array_equal(result, *class_maps(engine(None), frame_of(picture)))


def test_a_speck_in_the_whole_picture_costs_nobody_their_look() -> None:
    """It lies beside somebody whom the whole picture misses, and is not there from nearer."""
    calls: list[int] = []

    def with_a_speck(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        logits = by_brightness(pixels)
        if len(calls) == 1:
            height, width = logits.shape[2:]
            logits[:, 0] = 1000
            logits[:, 1, height // 2, width // 2 + 1] = 2000
        return logits

    person = PersonBox(290, 200, 60, 100)
    picture = scene(person)
    [result] = class_maps(engine(Given([person]), model(with_a_speck)), frame_of(picture))
    assert len(calls) == 2
    assert (result[220:280, 300:340] == 1).all()


def test_logits_of_a_look_that_are_not_finite_are_never_put_back() -> None:
    calls: list[int] = []

    def broken_at_second_sight(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        return by_brightness(pixels) * (1.0 if len(calls) == 1 else float("nan"))

    person = PersonBox(100, 100, 20, 50)
    with pytest.raises(ModelError, match="not finite"):
        class_maps(engine(Given([person]), model(broken_at_second_sight)), frame_of(scene(person)))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("step", ["looks", "joined"])
def test_memory_that_is_short_is_tried_for_once_more(monkeypatch: pytest.MonkeyPatch, step: str, times: int) -> None:
    left, plain = [times], getattr(CloserToPeople, step)

    def hungry(self: CloserToPeople, *args: object) -> object:
        left[0] -= 1
        if left[0] >= 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, *args)

    person = PersonBox(100, 100, 20, 50)
    picture = scene(person)
    expected = class_maps(engine(Given([person])), frame_of(picture))
    monkeypatch.setattr(CloserToPeople, step, hungry)
    if times > 1:
        with pytest.raises(DeviceError, match="out of memory"):
            class_maps(engine(Given([person])), frame_of(picture))
    else:
        assert np.array_equal(*expected, *class_maps(engine(Given([person])), frame_of(picture)))


def test_where_looks_overlap_the_surer_counts_cell_by_cell() -> None:
    size, classes = (480, 640), 6
    random = torch.Generator().manual_seed(5)
    boxes = [PersonBox(90, 150, 110, 160), PersonBox(160, 180, 90, 140), PersonBox(560, 20, 80, 120)]
    boxes += [PersonBox(120, 230, 60, 90), PersonBox(400, 330, 70, 100)]
    looks = [Look(frame_of(scene()), SPEC, place) for box in boxes if (place := crop(box, size, SPEC)) is not None]
    seen = [4 * torch.rand(classes, 64, 48, generator=random) for _ in looks]
    logits = 4 * torch.rand(1, classes, 32, 24, generator=random)
    for each in (*seen, logits[0]):
        each[0] = -9  # somebody everywhere, so that each look has its say
    whole = PendingBatch(
        [frame_of(scene())], SPEC, [placement(size, SPEC, "stretch")], logits, torch.tensor(True), torch.float32, None
    )  # type: ignore[arg-type]
    result = pasted(whole, looks, seen, 0.0).logits

    times = result.shape[2] // logits.shape[2]
    coarse = F.interpolate(logits, scale_factor=times, mode="bilinear", align_corners=False)
    expected, surest = coarse.clone(), torch.zeros(result.shape[2:])
    close = torch.zeros_like(surest, dtype=torch.bool)
    for look, found in zip(looks, seen, strict=True):
        one, all_of_it, rows, columns = look.place.seen, look.place.shown, *_cells(look.place.seen, size, result)
        heard = larger(look.place, whole.places[0]) ** 4
        heard /= heard + 1
        for row, column in product(rows, columns):
            y = ((row + 0.5) * size[0] / result.shape[2] - one.top) / one.height * all_of_it.height + all_of_it.top
            x = ((column + 0.5) * size[1] / result.shape[3] - one.left) / one.width * all_of_it.width + all_of_it.left
            now = _between(found, y - 0.5, x - 0.5)
            weight = min(
                _fade(row, rows, one.top > 0, one.top + one.height < size[0]),
                _fade(column, columns, one.left > 0, one.left + one.width < size[1]),
            )
            sure = float(now.softmax(0).max()) * weight
            close[row, column] |= bool(abs(sure - surest[row, column]) < 1e-5)
            if sure > surest[row, column]:
                was = coarse[0, :, row, column]
                expected[0, :, row, column], surest[row, column] = was + (now - was) * weight * heard, sure
    assert times > 1 and (surest > 0).float().mean() > 0.1
    assert close.float().mean() < 0.001
    assert torch.allclose(result[0, :, ~close], expected[0, :, ~close], atol=1e-3)


def _cells(box: Box, size: tuple[int, int], logits: Tensor) -> tuple[range, range]:
    """The rows and columns whose middles lie in a part of the picture."""

    def within(first: int, pixels: int, length: int, cells: int) -> range:
        inside = [cell for cell in range(cells) if first <= (cell + 0.5) * length / cells <= first + pixels]
        return range(inside[0], inside[-1] + 1)

    rows = within(box.top, box.height, size[0], logits.shape[2])
    return rows, within(box.left, box.width, size[1], logits.shape[3])


def _fade(cell: int, cells: range, at_start: bool, at_end: bool) -> float:
    """A tenth of the side, within which it falls, but at the picture's own border."""
    steps = [cell - cells[0]] * at_start + [cells[-1] - cell] * at_end
    return min([1.0, *((step + 0.5) / (0.1 * len(cells)) for step in steps)])


def _between(planes: Tensor, y: float, x: float) -> Tensor:
    """(C,): bilinear, and beyond the border the same as at it."""
    y, x = min(max(y, 0.0), planes.shape[1] - 1.0), min(max(x, 0.0), planes.shape[2] - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, planes.shape[1] - 1), min(left + 1, planes.shape[2] - 1)
    above = planes[:, top, left] * (1 - x + left) + planes[:, top, right] * (x - left)
    below = planes[:, bottom, left] * (1 - x + left) + planes[:, bottom, right] * (x - left)
    return above * (1 - y + top) + below * (y - top)


def test_of_a_live_frame_as_many_are_looked_at_as_there_is_time_for() -> None:
    picture, live = scene(*CROWD), {"arrived": 1.0}
    closer = CloserToPeople(model(), SPEC, Given(CROWD), Seen())
    spec = SPEC
    frame = frame_of(picture, **live)
    place = placement(frame.size, spec, "stretch")
    batch = PendingBatch(
        [frame],
        spec,
        [place],
        torch.zeros(1, 8, 32, 24),
        torch.tensor(True),
        torch.float32,
        None,  # type: ignore[arg-type]
    )
    turn = Turns().next()
    assert [len(closer.looks(batch, seconds, turn)[0]) for seconds in (None, 10.0, 0.01, 0.001)] == [1, 1, 3, 30]


@pytest.mark.parametrize(
    ("person", "seen", "shown"),
    [
        (PersonBox(100, 100, 48, 64), Box(92, 94, 80, 60), Box(0, 0, 64, 48)),
        (PersonBox(0, 0, 48, 64), Box(0, 0, 80, 60), Box(0, 0, 64, 48)),
        (PersonBox(592, 416, 48, 64), Box(400, 580, 80, 60), Box(0, 0, 64, 48)),
        (PersonBox(100, 0, 48, 480), Box(0, 0, 480, 450), Box(6, 0, 51, 48)),
        (PersonBox(100, 100, 48, 6), Box(63, 94, 80, 60), Box(0, 0, 64, 48)),
        (PersonBox(640, 0, 5, 5), None, None),
        (PersonBox(0, -5, 5, 5), None, None),
    ],
    ids=["within", "at the corner", "at the other corner", "as high as the picture", "lying", "beyond", "above"],
)
def test_the_geometry_of_a_crop(person: PersonBox, seen: Box | None, shown: Box | None) -> None:
    place = crop(person, (480, 640), SPEC)
    assert (place.seen, place.shown) == (seen, shown) if place else seen is None


def test_a_crop_shows_a_person_as_wide_as_meant() -> None:
    """Of a picture that is stored half as wide, half as many columns fill the same input."""
    place = crop(PersonBox(50, 100, 24, 64), (480, 320), SPEC, 2.0)
    assert place == Placement(Box(92, 47, 80, 30), Box(0, 0, 64, 48))


def test_a_person_fills_three_quarters_and_more_of_a_crop() -> None:
    place = crop(PersonBox(100, 100, 48, 64), (480, 640), SPEC)
    assert place is not None
    assert larger(place, placement((480, 640), SPEC, "stretch")) == pytest.approx(np.sqrt(640 / 60 * 480 / 80))


LINES = """{"frame": 3, "boxes": [[1, 2, 3, 4], [5, 6, 7, 8.5, 0.5]]}

{"name": "a/b", "people": [{"bbox": [1, 2, 3, 4]}]}
"""
COCO = """{"images": [{"id": 9, "file_name": "a/b.jpg"}],
"categories": [{"id": 4, "name": "person"}, {"id": 1, "name": "dog"}],
"annotations": [{"image_id": 9, "category_id": 4, "bbox": [1, 2, 3, 4]},
{"image_id": 9, "category_id": 1, "bbox": []}]}"""
ONE = [PersonBox(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("text", "name", "index", "found"),
    [
        (LINES, "clip/000003", 3, [*ONE, PersonBox(5, 6, 7, 8.5, 0.5)]),
        (LINES, "a/b", 0, ONE),
        (LINES, "clip/000004", 4, []),
        (COCO, "a/b", 0, ONE),
        (COCO, "elsewhere/a", 0, []),
        ('[{"image_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]', "x", 2, [PersonBox(1, 2, 3, 4, 0.5)]),
        ('[{"image_id": 2, "bbox": [1, 2, 3, 4], "category_id": 7}]', "x", 2, []),
        ('{"name": "b", "boxes": [[1, 2, 3, 4]]}', "a/b", 2, ONE),
        ('{"frame": 0, "boxes": []}', "a", 0, []),
        ('\ufeff{"name": "b", "boxes": [[1, 2, 3, 4]]}', "a/b", 2, ONE),
        ('{"frame": 1, "people": [{"bbox": [1, 2, 3, 4], "score": null}]}', "x", 1, ONE),
        ('{"name": "caf\\udce9/b", "boxes": []}\n{"name": "a\\udce9", "boxes": [[1, 2, 3, 4]]}', "a\udce9", 2, ONE),
        ('{"name": "a\\udce9", "people": [{"bbox": [1, 2, 3, 4]}]}', "a\udce9", 2, ONE),
        (COCO.replace("a/b", "data/set/a/b"), "a/b", 0, ONE),
        (COCO.replace("a/b", "data/set/a/b"), "b", 0, ONE),
        (COCO.replace("a/b", "data/set/a/b"), "other/b", 0, []),
        (COCO.replace("person", "Person"), "a/b", 0, ONE),
        (COCO.replace("person", "pedestrian").replace(', {"id": 1, "name": "dog"}', ""), "a/b", 0, ONE),
        (
            '{"name": "x/a", "boxes": [[1, 2, 3, 4]]}\n{"name": "y/a", "boxes": [[1, 2, 3, 4]]}',
            "a",
            0,
            [],
        ),
    ],
)
def test_a_file_of_boxes(tmp_path: Path, text: str, name: str, index: int, found: list[PersonBox]) -> None:
    (tmp_path / "boxes").write_text(text)
    assert BoxesFile(tmp_path / "boxes").of(Frame(index=index, name=name, decoded=np.zeros((1, 1, 3), "u1"))) == found


SIZED = {
    "COCO": COCO.replace('"file_name": "a/b.jpg"', '"file_name": "a/b.jpg", "height": 100, "width": 200'),
    "by name": '{"name": "a/b", "width": 200, "height": 100, "boxes": [[1, 2, 3, 4]]}',
    "by number": '{"frame": 0, "width": 200, "height": 100, "boxes": [[1, 2, 3, 4]]}',
}


@pytest.mark.parametrize("text", SIZED.values(), ids=SIZED)
def test_boxes_of_a_smaller_copy_are_scaled(tmp_path: Path, text: str) -> None:
    path = tmp_path / "boxes"

    def of(height: int, width: int, text: str = text) -> list[PersonBox]:
        path.write_text(text)
        return BoxesFile(path).of(Frame(index=0, name="a/b", decoded=np.zeros((height, width, 3), "u1")))

    assert of(100, 200) == ONE
    assert of(300, 600) == [PersonBox(3, 6, 9, 12)]
    [nearly] = of(50, 101)
    assert (nearly.left, nearly.top, nearly.width, nearly.height) == pytest.approx((0.505, 1, 1.515, 2))
    with pytest.raises(InputError, match=f"{path}: its boxes of a/b are of a picture of 200x100, and that is 100x200"):
        of(200, 100)
    for nonsense in ("0", "-5", "1e3", '"9"', "null", "10000000", "9" * 300):
        assert of(200, 100, text.replace("100", nonsense)) == ONE


def test_a_frame_without_boxes_may_be_of_any_shape(tmp_path: Path) -> None:
    (tmp_path / "boxes").write_text('{"frame": 0, "width": 200, "height": 100, "boxes": []}')
    assert BoxesFile(tmp_path / "boxes").of(Frame(index=0, name="a", decoded=np.zeros((9, 9, 3), "u1"))) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", None),
        ("no JSON", "line 1: no JSON"),
        ("3", "line 1: not"),
        ('{"frame": 1, "boxes": [[1, 2, 3]]}', "line 1: .* is no box"),
        ('{"frame": 1, "boxes": [[1, 2, 0, 4]]}', "is an empty box"),
        ('{"frame": 1, "boxes": [[1, 2, 3, 1e300]]}', "is no box"),
        ('{"frame": 1, "boxes": [[1, 2, 3, true]]}', "is no box"),
        ('{"frame": 1, "people": [{"bbox": [1, 2, 3]}]}', r"line 1: \[\[1, 2, 3\]\] is no box"),
        ('{"frame": 1, "people": [{"bbox": [1, 2, 3, 4, 5]}]}', "is no box"),
        ('{"frame": 1, "people": [{}]}', "is no box"),
        ('{"frame": 1, "boxes": [[1, 2, 3, 4, 7]]}', "a score that is not 0 to 1"),
        ('{"frame": 1, "boxes": [[1, 2, 3, 4, -0.5]]}', "a score that is not 0 to 1"),
        ('{"frame": 1, "boxes": [[1, NaN, 3, 4]]}', "no JSON"),
        ('{"name": "\\udce9", "frame": 1, "boxes": [[1, NaN, 3, 4]]}', "is no box"),
        ('{"name": "\\udce9", "boxes": [[1, 2, 3, 4]]', "no JSON"),
        ('{"frame": -1, "boxes": []}', "a number from 0 on"),
        ('{"frame": 1.5, "boxes": []}', "a number from 0 on"),
        ('[{"image_id": 1, "bbox": [1, 2, 3]}]', r"annotation 0: \[\[1, 2, 3\]\] is no box"),
        (COCO.replace("person", "cat"), 'none of them is "person": cat, dog'),
        (COCO.replace("person", "cat" * 100_000), 'none of them is "person": catcat'),
        ('{"frame": 1, "boxes": [["1", 2, 3, 4]]}', "is no box"),
        ('{"frame": 1, "boxes": {}}', "is no list"),
        ('{"boxes": [[1, 2, 3, 4]]}', "neither"),
        ('{"images": []}', "neither COCO"),
        ('{"images": [3], "annotations": []}', "image 0"),
        ('{"images": [{"id": 1, "file_name": ""}], "annotations": []}', "image 0: '' is no file's name"),
        ('{"images": [], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]}', "there is no image 1"),
        ('[{"image_id": "' + "1" * 100_000 + '", "bbox": [1, 2, 3, 4]}]', "there is no image '111"),
        ('{"images": [{"id": 1, "file_name": "' + "/" * 100_000 + '"}], "annotations": []}', "is no file's name"),
        ("[3]", "annotation 0"),
        ("[" * 100_000, "line 1: no JSON"),
    ],
)
def test_a_file_of_no_boxes(tmp_path: Path, text: str, said: str | None) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(text)
    if said is None:
        BoxesFile(path)
        return
    with pytest.raises(InputError, match=said) as refused:
        BoxesFile(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000 + len(str(path))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have no such names")
def test_a_pipe_gives_boxes_and_no_more_than_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, said in ((1000, "not 0 to 1"), (40, "more than 0 MiB")):
        monkeypatch.setattr("sapiens_stream.people.boxes_file._MOST_BYTES", most)
        reading, writing = os.pipe()
        os.write(writing, b'{"frame": 1, "boxes": [[1, 2, 3, 4, 7]]}\n' * 2)
        os.close(writing)
        with pytest.raises(InputError, match=said):
            BoxesFile(Path(f"/dev/fd/{reading}"))
        os.close(reading)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: cannot be read"):
        closer_for(model(), InferenceOptions(boxes=tmp_path / "nowhere"))


def test_pieces_of_a_map_are_people_and_specks_are_not() -> None:
    sure = np.zeros((72, 88), np.uint8)
    sure[10:40, 10:20] = 255
    sure[42:50, 12:18] = 128  # its legs, a gap below
    sure[5:30, 60:70] = 255
    sure[70:72, 80:82] = 255
    found = boxes_in(Sighting(sure, np.zeros_like(sure)), (720, 880))
    assert [(each.left, each.top, each.width, each.height) for each in found] == [
        (100, 100, 100, 400),
        (600, 50, 100, 250),
    ]
    assert found[0].score == pytest.approx((300 * 255 + 48 * 128) / 348 / 255, abs=1e-3)
    assert boxes_in(Sighting(np.zeros_like(sure), np.zeros_like(sure)), (720, 880)) == []


Part = tuple[slice, slice]
BODIES: dict[str, tuple[list[Part], list[Part], list[tuple[float, float]]]] = {
    # what is anybody, where heads are, and the boxes that come of it: left edge and width, cells
    "side by side": (
        [np.s_[10:60, 10:50]],
        [np.s_[10:18, 14:22], np.s_[10:18, 36:44]],
        [(10, 19), (29, 21)],
    ),
    "an arm around the other": (
        [np.s_[10:60, 10:26], np.s_[10:60, 34:50], np.s_[22:26, 26:34]],
        [np.s_[10:18, 14:22], np.s_[10:18, 38:46]],
        [(10, 20), (30, 20)],
    ),
    "one in front, smaller": (
        [np.s_[5:60, 10:30], np.s_[30:60, 30:44]],
        [np.s_[5:13, 16:24], np.s_[30:34, 34:39]],
        [(10, 20), (30, 14)],
    ),
    "heads that touch": (
        [np.s_[10:60, 10:50]],
        [np.s_[10:20, 16:26], np.s_[13:17, 26:30], np.s_[10:20, 30:40]],
        [(10, 18), (28, 22)],
    ),
    "one head": ([np.s_[10:60, 10:50]], [np.s_[10:18, 14:22]], [(10, 40)]),
    "a head and a speck": ([np.s_[10:60, 10:50]], [np.s_[10:18, 14:22], np.s_[50:52, 40:42]], [(10, 40)]),
    "nobody's head is seen": ([np.s_[10:60, 10:50]], [], [(10, 40)]),
}


@pytest.mark.parametrize(("bodies", "heads", "boxes"), BODIES.values(), ids=BODIES.keys())
def test_people_who_stand_together_are_told_apart_by_their_heads(
    bodies: list[Part], heads: list[Part], boxes: list[tuple[float, float]]
) -> None:
    sure, is_head = np.zeros((72, 88), np.uint8), np.zeros((72, 88), np.uint8)
    for part in bodies:
        sure[part] = 255
    for part in heads:
        is_head[part] = 1
    found = sorted(boxes_in(Sighting(sure, is_head), (72, 88)), key=lambda each: each.left)
    assert len(found) == len(boxes)
    for each, (left, width) in zip(found, boxes, strict=True):
        assert abs(each.left - left) <= 5 and abs(each.width - width) <= 5


@pytest.mark.parametrize("size", [(2160, 3840), (1080, 1920), (1920, 1080), (720, 1280), (4000, 1000)], ids=str)
def test_parts_of_a_large_picture_cover_it_and_overlap(size: tuple[int, int]) -> None:
    tiles = tiles_of(size, replace(SPEC, height=288, width=352))
    seen = np.zeros(size, np.uint8)
    for tile in tiles:
        seen[tile.slices] += 1
        assert 0 <= tile.top <= tile.top + tile.height <= size[0] and tile.left + tile.width <= size[1]
    assert seen.min() == 1 and (seen > 1).mean() > 0.3
    assert not tiles_of((288, 352), replace(SPEC, height=288, width=352))


def test_people_who_are_small_in_a_large_picture_are_found() -> None:
    """Six of the astronaut, 150 pixels high, where the whole picture shows nobody."""
    image = cv2.imread(str(SAMPLES / "astronaut.jpg"))
    assert image is not None
    small = cv2.resize(image, (150, 150), interpolation=cv2.INTER_AREA)[..., ::-1]
    street = np.full((720, 1280, 3), 96, np.uint8)
    for place in range(3):
        street[200 + 100 * place :][:150, 150 + 400 * place :][:, :150] = small
    with Segmenter("builtin", device="cpu", people="builtin", warn=lambda sentence: None) as model:
        people = model(street).people
    assert people is not None
    inside = [
        any(abs(each.bbox[0] + each.bbox[2] / 2 - (225 + 400 * place)) < 75 for each in people) for place in range(3)
    ]
    assert all(inside)


def clip(*found: list[PersonBox]) -> list[list[PersonBox]]:
    track = Track()
    frames = (
        Frame(index=index, name=f"clip/{index}", decoded=np.zeros((1, 1, 3), "u1"), pts=index) for index in range(99)
    )
    return [track.grown(frame, each) for frame, each in zip(frames, found, strict=False)]


WHOLE, HALF, FAR = PersonBox(10, 10, 20, 60), PersonBox(10, 10, 20, 35), PersonBox(300, 10, 20, 60)


@pytest.mark.parametrize(
    ("found", "last"),
    [
        ([[WHOLE], [HALF]], [WHOLE]),
        ([[WHOLE], [FAR]], [FAR]),
        ([[WHOLE], [WHOLE], []], [replace(WHOLE, score=0.5)]),
        ([[WHOLE], []], []),
        ([[WHOLE], [WHOLE], [], []], []),
        ([[PersonBox(0, 0, 200, 300)], [WHOLE]], [WHOLE]),
        ([[WHOLE], [], [], [], [], [], [HALF]], [HALF]),
    ],
    ids=["grows", "another", "missed once", "seen once", "missed twice", "not beyond measure", "long ago"],
)
def test_boxes_grow_along_a_clip(found: list[list[PersonBox]], last: list[PersonBox]) -> None:
    assert clip(*found)[-1] == last


def test_boxes_are_followed_along_the_motion() -> None:
    followed, sizes = Followed(), []
    for index in range(6):
        rows, columns = patch(index)
        gone = followed.to(moving.scene(index))
        box = PersonBox(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        if index:
            assert gone is not None
            assert overlap(gone[0], box) > 0.9
        beyond = [PersonBox(500, 0, 9, 9)] if index == 0 else []
        boxes = followed.with_those_seen(moving.scene(index), gone, [box, *beyond])
        sizes.append(len(boxes))
    assert sizes[1:] == [1] * 5  # nobody twice, and nobody beyond the picture
    assert followed.to(moving.scene(7, seed=40)) is None  # another scene


def test_no_more_people_than_there_may_be(tmp_path: Path) -> None:
    many = [PersonBox(10 * (each % 60), 10 * (each // 60), 9, 9) for each in range(2000)]
    made: Callable[[], list[UInt8Array]] = lambda: class_maps(engine(Given(many)), frame_of(scene()))  # noqa: E731
    assert len(made()) == 1
    result = engine(Given(many + many)).submit([frame_of(scene())]).result()[0]
    assert result.boxes is not None
    assert len(set(result.boxes)) == len(result.boxes) == MOST_PEOPLE


def test_the_built_in_model_finds_them_itself() -> None:
    with Segmenter("builtin", device="cpu", people="builtin") as segmenter:
        result = segmenter(SAMPLES / "astronaut.jpg")
    assert result.boxes
    with Segmenter("builtin", device="cpu") as segmenter:
        plain = segmenter(SAMPLES / "astronaut.jpg")
    assert plain.boxes is None
    assert (result.class_map == plain.class_map).mean() > 0.95
