"""A frame's JSON is found by runs, outlines too: to the byte what looking at each pixel, and findContours, give."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import former_json
from sapiens_stream import Segmenter, labels, runs
from sapiens_stream.classes import numbered
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.sinks.json_file import as_json

SAMPLES = Path(__file__).parents[1] / "samples"
LABELLED = sorted((Path(__file__).parents[1] / ".." / "shared").glob("labelled*/*_gt.png"))
CLASSES = numbered(256)


def segmentation(class_map):
    rgb = np.broadcast_to(class_map[..., None], (*class_map.shape, 3))
    return Segmentation(frame=Frame(index=3, name="a", decoded=rgb), class_map=class_map, classes=CLASSES)


def as_it_was(class_map):
    return former_json.as_json(segmentation(np.ascontiguousarray(class_map)), title="result")


def assert_as_it_was(class_map):
    assert as_json(segmentation(class_map), title="result") == as_it_was(class_map)


def grained(size, classes, grain, seed=0):
    """Squares of `grain` pixels, most of them of one class."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, [side // grain + 1 for side in size]).astype(np.uint8)
    coarse[rng.random(coarse.shape) < rng.choice([0, 0.6, 0.95])] = rng.integers(0, classes)
    return np.ascontiguousarray(np.kron(coarse, np.ones((grain, grain), np.uint8))[: size[0], : size[1]])


def crowd(seed, size=(300, 420)):
    """Blobs and rings of some classes all over the picture, in and over each other."""
    rng = np.random.default_rng(seed)
    class_map = np.zeros(size, np.uint8)
    for _ in range(rng.integers(1, 50)):
        middle = tuple(int(rng.integers(0, side)) for side in size[::-1])
        axes = tuple(int(each) for each in rng.integers(1, rng.integers(3, 70), 2))
        thickness = int(rng.choice([-1, -1, 1, 4]))
        cv2.ellipse(class_map, middle, axes, int(rng.integers(180)), 0, 360, int(rng.integers(0, 6)), thickness)
    return class_map


def stripes(width, rows=9):
    """Columns of a pattern that comes again after eight pixels."""
    return np.tile(np.arange(width, dtype=np.uint8) // 2 % 4, (rows, 1))


def striped(seed, size=(60, 168)):
    """A crowd, some of which wear stripes."""
    class_map = crowd(seed, size)
    class_map[class_map == 1] = stripes(size[1], size[0])[class_map == 1]
    return class_map


SIZES = [(1, 1), (1, 7), (7, 1), (1, 8), (8, 1), (1, 9), (9, 1), (2, 16), (17, 33), (61, 127), (64, 64), (101, 200)]
MAPS = {
    **{f"{size} of {classes}, grain {grain}": grained(size, classes, grain)
       for size in SIZES for classes in (2, 28, 256) for grain in (2, 5)},
    **{f"one class, {value}, {size}": np.full(size, value, np.uint8) for value in (0, 7, 255) for size in SIZES},
    **{f"stripes, {width}": stripes(width) for width in (8, 16, 24, 40, 41)},
    **{f"crowd {seed}": crowd(seed) for seed in range(10)},
    **{f"striped crowd {seed}": striped(seed) for seed in range(5)},
    **{f"pixels far apart, {seed}": (np.random.default_rng(seed).random((60, 50)) < 0.002).astype(np.uint8) * 7
       for seed in range(5)},
    "a few far away": np.pad(crowd(7, (9, 11)), ((40, 30), (60, 50))),
    "wide crowd": crowd(5, (37, 900)),
    "high crowd": crowd(6, (900, 37)),
    "upside down": crowd(1)[::-1],
    "mirrored": crowd(2)[:, ::-1],
    "turned": crowd(3).T,
    "part of another": crowd(4)[3:-5, 7:-2],
    "every third": crowd(5)[::3, ::3],
}  # fmt: skip
LIMITS = {
    "as it is": (),
    "a few words at once": ((runs, "_WORDS", 8),),
    "a word at once, and too many runs": ((runs, "_WORDS", 1), (labels, "_RUNS_KEPT", 40)),
}


@pytest.fixture(scope="module")
def expected():
    return {name: as_it_was(class_map) for name, class_map in MAPS.items()}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
def test_json_is_as_it_was(limits, expected, monkeypatch):
    for module, name, value in limits:
        monkeypatch.setattr(module, name, value)
    for name, class_map in MAPS.items():
        assert as_json(segmentation(class_map), title="result") == expected[name], name


def test_json_of_found_people_is_as_it_was():
    with Segmenter("builtin", device="cpu", warn=lambda sentence: None) as model:
        photo = cv2.imread(str(SAMPLES / "astronaut.jpg"))[..., ::-1]
        group = np.tile(cv2.resize(photo, (320, 360)), (3, 6, 1))
        for picture in (photo, group, np.pad(photo, ((900, 300), (200, 1301), (0, 0)))):
            assert_as_it_was(model(picture).class_map)


@pytest.mark.skipif(not LABELLED, reason="no labelled photos beside the repository")
def test_json_of_labelled_people_is_as_it_was():
    for path in LABELLED:
        class_map = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert_as_it_was(cv2.resize(class_map, (1920, 1080), interpolation=cv2.INTER_NEAREST))


@pytest.mark.parametrize("density", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_outlines_of_every_small_shape_are_as_they_were(density):
    """Pixels alone, lines of one pixel, corners that touch, holes in holes."""
    rng = np.random.default_rng(int(density * 10))
    for size in rng.integers(1, 15, (150, 2)):
        assert_as_it_was((rng.random(size) < density).astype(np.uint8) * rng.integers(1, 3, size).astype(np.uint8))


def test_an_empty_map_holds_nothing():
    assert all(labels.find_labels(np.zeros(size, np.uint8), CLASSES) == () for size in ((0, 5), (5, 0)))


def test_a_few_stripes_do_not_have_the_whole_picture_looked_at(monkeypatch):
    in_words, looked_at = runs._in_words, []

    def counted(words, bounds):
        looked_at.append(len(bounds))
        return in_words(words, bounds)

    monkeypatch.setattr(runs, "_in_words", counted)
    class_map = np.ones((200, 400), np.uint8)
    class_map[50, 80:112] = stripes(32, 1)
    assert sum(map(len, runs.find_runs(class_map))) == 200 - 1 + 2 + 12
    assert sum(looked_at) < class_map.size / 8 / 100
