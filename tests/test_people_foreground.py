"""The cells in which anybody is: what is counted over them is what the whole plane gives."""

import numpy as np
import pytest

from sapiens_stream.people.foreground import Foreground

SIZE = (23, 31)
NUMBERS = 5


@pytest.fixture(params=[0.0, 0.03, 0.6, 1.0], ids=["nobody", "few", "many", "all"])
def plane(request):
    """Numbers below NUMBERS, 0 beyond the foreground and here and there within; and the foreground."""
    random = np.random.default_rng(3)
    mask = random.random(SIZE) < request.param
    return np.where(mask, random.integers(0, NUMBERS, SIZE), 0).astype(np.int32), Foreground.of(mask)


def test_what_is_taken_is_spread_again(plane):
    numbers, foreground = plane
    assert foreground.take(numbers).shape == (np.count_nonzero(foreground.mask),)
    np.testing.assert_array_equal(foreground.spread(foreground.take(numbers)), numbers)
    assert foreground.spread(foreground.take(numbers)).dtype == numbers.dtype


def test_numbers_are_counted(plane):
    numbers, foreground = plane
    expected = [np.count_nonzero((numbers == each) & foreground.mask) for each in range(NUMBERS + 2)]
    assert foreground.counts(numbers, NUMBERS + 2).tolist() == expected


def test_pairs_of_numbers_are_counted(plane):
    numbers, foreground = plane
    others = np.random.default_rng(4).integers(0, 3, SIZE)
    votes = foreground.votes(numbers, others, 3)
    assert votes.shape == (numbers.max() + 1, 3)
    for number, other in np.ndindex(votes.shape):
        assert votes[number, other] == np.count_nonzero((numbers == number) & (others == other) & foreground.mask)


def test_boxes_are_around_the_cells_of_each_number(plane):
    numbers, foreground = plane
    boxes = foreground.boxes(numbers, NUMBERS + 2)
    assert boxes.shape == (NUMBERS + 2, 4)
    for number, box in enumerate(boxes.tolist()):
        rows, columns = np.nonzero(numbers == number)
        around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if number and rows.size else [0] * 4
        assert box == around
