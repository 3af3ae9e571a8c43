"""What the preview's keys mean, how screens pass through shared memory, and that any of them can be drawn."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sapiens_stream import Frame, Segmentation
from sapiens_stream.classes import SAPIENS, ClassSet, numbered
from sapiens_stream.painting import Painter
from sapiens_stream.viewers.controls import Look, press
from sapiens_stream.viewers.drawing import Drawing, first_size
from sapiens_stream.viewers.theme import GROUND, PANEL
from sapiens_stream.viewers.viewer import CameraView, LiveFigures, Screen
from sapiens_stream.viewers.window.shared_frames import PIXELS, SharedSlots

FIGURES = LiveFigures(model="builtin", device="cpu", delay_median=4.0, parts_median=(("decode", 1.5), ("infer", 2.5)))


def view(size: tuple[int, int], classes: ClassSet = SAPIENS, **more: object) -> CameraView:
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (*size, 3), np.uint8)
    class_map = random.integers(0, len(classes), size, np.uint8)
    result = Segmentation(frame=Frame(index=0, name="x", decoded=rgb), class_map=class_map, classes=classes)
    return CameraView(**{"camera": "0", "latest": result, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "look"),
    [
        ("+", Look(opacity=0.6)),
        ("-" * 9, Look(opacity=0.0)),
        ("=" * 9, Look(opacity=1.0)),
        ("c", Look(only=2)),
        ("cc", Look(only=5)),
        ("ccc", Look()),
        ("C", Look(only=5)),
        ("bl", Look(beside=True, legend=False)),
        ("ff", Look()),
        ("h", Look(help=True)),
        ("x", Look()),
        ("", Look()),
    ],
)
def test_keys_change_the_look(keys: str, look: Look) -> None:
    reached = Look()
    for key in keys:
        reached = press(key, reached, SAPIENS, [2, 5]).look
    assert reached == look


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize(("turns", "size", "seen"), [(0, (96, 160), (72, 160)), (1, (160, 96), (160, 72))])
def test_pixels_that_are_no_squares_are_shown_as_they_are_meant(
    turns: int, size: tuple[int, int], seen: tuple[int, int], marked: bool
) -> None:
    stored = np.zeros((96, 160, 3), np.uint8)
    frame = Frame(index=0, name="x", decoded=stored, quarter_turns=turns, sample_aspect_ratio=Fraction(4, 3))
    if marked:  # as `Coloured` does
        frame = frame.with_picture(frame.rgb)
    result = Segmentation(frame=frame, class_map=np.zeros(size, np.uint8), classes=SAPIENS)
    slots = SharedSlots.create()
    slots.write(0, Screen(views=[CameraView(camera="0", latest=result)], figures=FIGURES))
    [picture] = slots.read(0).views
    assert picture.rgb is not None and picture.class_map is not None
    assert picture.rgb.shape[:2] == picture.class_map.shape == seen


@pytest.mark.parametrize("sizes", [[(480, 640)], [(2160, 3840)], [(3000, 100), (480, 640), (1080, 1920)], []])
def test_a_screen_passes_through_shared_memory(sizes: list[tuple[int, int]]) -> None:
    views = [view(size, camera=str(place), carried=place) for place, size in enumerate(sizes)]
    views.append(CameraView(camera="gone", trouble="refused"))
    slots = SharedSlots.create()
    slots.write(1, Screen(views=views, figures=FIGURES, recording=True))
    shared = slots.read(1)
    assert (shared.figures, shared.recording, shared.paused) == (FIGURES, True, False)
    assert [picture.camera for picture in shared.views] == [view.camera for view in views]
    assert (shared.views[-1].rgb, shared.views[-1].trouble) == (None, "refused")
    shown = 0
    for size, sent, picture in zip(sizes, views, shared.views, strict=False):
        assert picture.rgb is not None and picture.class_map is not None and sent.latest is not None
        shown += picture.class_map.size
        if size[0] * size[1] * len(views) <= PIXELS:
            assert np.array_equal(picture.rgb, sent.latest.frame.rgb)
            assert np.array_equal(picture.class_map, sent.latest.class_map)
        else:
            height, width = picture.class_map.shape
            assert height / width == pytest.approx(size[0] / size[1], rel=0.02)
    assert shown <= PIXELS
    slots.close()


@pytest.mark.parametrize("classes", [SAPIENS, numbered(255)], ids=["sapiens", "numbered"])
@pytest.mark.parametrize("size", [(64, 64), (320, 240), (1920, 1080)])
@pytest.mark.parametrize("look", [Look(help=True), Look(beside=True, only=3, legend=False)])
def test_any_screen_can_be_drawn(classes: ClassSet, size: tuple[int, int], look: Look) -> None:
    views = [view((60, 80), classes), view((80, 60), classes, trouble="stalled " * 40), CameraView(camera="c" * 200)]
    slots = SharedSlots.create()
    slots.write(0, Screen(views=views, figures=FIGURES, recording=True, paused=True))
    shared = slots.read(0)
    picture = Drawing(classes).draw(shared, look, size, 0.0, "snapshot")
    assert picture.shape == (size[1], size[0], 3)
    assert picture.any()
    assert min(first_size(shared, look)) >= 240
    slots.close()


@pytest.mark.parametrize("keep_background", [False, True])
@pytest.mark.parametrize(
    ("only", "alone", "painted"), [(None, None, (2, 5)), ((2,), None, (2,)), ((2,), 5, (5,)), (None, 5, (5,))]
)
def test_background_and_classes_look_as_in_the_video(
    keep_background: bool, only: tuple[int, ...] | None, alone: int | None, painted: tuple[int, ...]
) -> None:
    """Stripes of background and two classes over grey: each colour that the video has is on the screen, and no other.

    `only` is what the run paints, `alone` the one class that the viewer asks for."""
    rgb = np.full((240, 320, 3), 200, np.uint8)
    class_map = np.repeat(np.array([0, 2, 5], np.uint8), 80)[:, None].repeat(320, 1)
    result = Segmentation(frame=Frame(index=0, name="x", decoded=rgb), class_map=class_map, classes=SAPIENS)
    slots = SharedSlots.create()
    slots.write(0, Screen(views=[CameraView(camera="0", latest=result)], figures=FIGURES))
    look = Look(only=alone, legend=False)
    drawing = Drawing(SAPIENS, keep_background=keep_background, only=only)
    screen = drawing.draw(slots.read(0), look, (640, 480), 0.0)
    slots.close()
    video = Painter(SAPIENS, keep_background=keep_background, only=painted).paint(rgb, class_map)
    in_video = {tuple(colour) for colour in video[40::80, 0].tolist()}
    colours, counts = np.unique(screen.reshape(-1, 3), axis=0, return_counts=True)
    on_screen = {tuple(colour) for colour in colours[counts > 5000].tolist()} - {GROUND, PANEL}
    assert on_screen == in_video
