"""How people are seen, told by their labels, and the mistakes of side that are counted by it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.evaluate import swapped_by_view
from sapiens_stream.training.labels import IGNORE
from sapiens_stream.training.views import views_of

ID = {name: index for index, name in enumerate(SAPIENS.names)}


def somebody(*, left, right, feet=90, rims=False):
    """(120, 80) label: an arm and a shoe of each side at the columns given, the shoes down to row `feet`."""
    label = np.zeros((120, 80), np.uint8)
    label[5:15, 35:45], label[15:50, 28:52], label[50 : max(51, feet - 8), 28:52] = (
        ID["Face_Neck"],
        ID["Upper_Clothing"],
        ID["Lower_Clothing"],
    )
    for side, column in (("Left", left), ("Right", right)):
        if column is not None:
            label[20:45, column : column + 4] = ID[f"{side}_Lower_Arm"]
            label[feet - 8 : feet, column : column + 6] = ID[f"{side}_Shoe"]
    if rims:
        label[14:16] = np.where(label[14:16] > 0, IGNORE, 0)
        label[49:51] = np.where(label[49:51] > 0, IGNORE, 0)
    return label


@pytest.mark.parametrize(
    "label, view",
    [
        pytest.param(somebody(left=50, right=26), "front", id="their left is the picture's right"),
        pytest.param(somebody(left=26, right=50), "back", id="their left is the picture's left"),
        pytest.param(somebody(left=38, right=37), "side", id="both at one place"),
        pytest.param(somebody(left=48, right=None), "side", id="one alone is seen"),
        pytest.param(somebody(left=50, right=26, feet=62), "seated", id="the feet are little below the hips"),
        pytest.param(somebody(left=50, right=26, rims=True), "front", id="cut in pieces by rims that are ignored"),
    ],
)
def test_how_somebody_is_seen(label, view):
    found = views_of(label)
    assert list(found) == [view]
    assert (found[view] == (label > 0)).all()


def test_people_beside_each_other_are_told_apart():
    label = np.hstack([somebody(left=50, right=26), somebody(left=26, right=50)])
    found = views_of(label)
    assert set(found) == {"front", "back"}
    assert not found["front"][:, 80:].any() and not found["back"][:, :80].any()


def test_nobody_and_who_is_too_small_is_seen_nowhere():
    label = np.zeros((40, 40), np.uint8)
    label[5:15, 5:15] = ID["Hair"]
    assert views_of(label) == {}


def test_swapped_sides_count_where_they_are():
    front, back = somebody(left=50, right=26), somebody(left=26, right=50)
    wrong = back.copy()
    wrong[back == ID["Left_Shoe"]] = ID["Right_Shoe"]
    found = swapped_by_view([(front, front), (back, wrong)])
    assert found["front"] == 0
    shoe, arm = 8 * 6, 25 * 4
    assert found["back"] == pytest.approx(shoe / (2 * (shoe + arm)))


def test_a_view_without_limbs_says_nothing():
    label = somebody(left=None, right=None)
    assert math.isnan(swapped_by_view([(label, label)])["side"])
