"""The people of a map of ids: each with the box and the classes of their own pixels, wherever those lie."""

import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.people.members import coded, people_in

SIZE = (17, 29)
IDS = (1, 3, 700, 65535, 65536 + 8)


def dots(random):
    return np.where(random.random(SIZE) < 0.05, random.integers(1, len(IDS) + 1, SIZE), 0)


def blocks(random):
    """Everybody from edge to edge, so that who ends a row begins the next."""
    return np.repeat(np.arange(1, SIZE[0] + 1) % (len(IDS) + 1), SIZE[1]).reshape(SIZE)


def noise(random):
    return random.integers(0, len(IDS) + 1, SIZE)


def nobody(random):
    return np.zeros(SIZE, np.intp)


@pytest.mark.parametrize("kind", [dots, blocks, noise, nobody])
@pytest.mark.parametrize("seed", range(5))
def test_everybody_has_the_box_and_the_classes_of_their_pixels(kind, seed):
    random = np.random.default_rng(seed)
    person_map = coded(np.array([0, *IDS], np.int32))[kind(random)]
    class_map = random.integers(0, len(SAPIENS), SIZE).astype(np.uint8)
    found = {person.id: person for person in people_in(person_map, class_map, SAPIENS, dict.fromkeys(IDS, 0.5))}
    for identity in IDS:
        rows, columns = np.nonzero(person_map == (identity - 1) % 65535 + 1)
        assert (identity in found) == bool(rows.size)
        if not rows.size:
            continue
        left, top = columns.min(), rows.min()
        assert found[identity].bbox == (left, top, columns.max() + 1 - left, rows.max() + 1 - top)
        own = class_map[rows, columns]
        assert {label.id: label.pixels for label in found[identity].labels} == {
            int(each): np.count_nonzero(own == each) for each in np.unique(own) if each
        }
        shares = {label.id: label.fraction for label in found[identity].labels}
        assert shares == {each: np.count_nonzero(own == each) / class_map.size for each in shares}
