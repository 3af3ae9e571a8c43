"""Cloth and plates that nobody wears: what is laid over a picture is what the mask says."""

from collections.abc import Callable

import numpy as np
import pytest

from sapiens_stream.training.furnishings import cloth, hung, plate


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 90, np.float32)


@pytest.mark.parametrize("laid", [cloth, plate], ids=["cloth", "plate"])
def test_a_thing_changes_the_picture_where_its_mask_is_and_nowhere_else(laid: Callable[..., np.ndarray]) -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(30):
        canvas = np.full((96, 128, 3), -1000, np.float32)  # which no colour is
        mask = laid(canvas, grey, 0.1, 0.6, rng)
        assert mask.shape == (96, 128) and mask.dtype == np.uint8
        changed = (canvas != -1000).any(-1)
        assert not changed[mask == 0].any() and changed[mask > 0].all()
        opaque = canvas[mask == 255]
        assert not len(opaque) or (opaque.min() >= 0 and opaque.max() <= 255)
        covered += bool((mask == 255).sum() > 100)
    assert covered > 15


def test_a_tablecloth_hangs_from_its_edge_over_what_it_was_given() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        mask = hung(grey(100, 200), grey, (40, 160), (50, 130), rng)
        assert not mask[:40].any() and mask[70:, 70:130].min() == 255


def test_what_lies_outside_the_picture_covers_nothing() -> None:
    assert not hung(grey(40, 40), grey, (500, 600), (0, 30), np.random.default_rng(2)).any()
