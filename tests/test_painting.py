"""Painting equals the original's formula to the bit in RGB, and nearly so in YUV planes."""

import av
import cv2
import numpy as np
import pytest

from sapiens_stream.classes import FOREGROUND, SAPIENS, SAPIENS2, numbered
from sapiens_stream.errors import UsageError
from sapiens_stream.painting import Painter, Planes

OPACITIES = [0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.85, 1]


def every_value_of_every_class(classes):
    """A picture that holds each value of each channel once a class."""
    rgb = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (len(classes), 256, 3)).copy()
    class_map = np.broadcast_to(np.arange(len(classes), dtype=np.uint8)[:, None], rgb.shape[:2]).copy()
    return rgb, class_map


@pytest.mark.parametrize("classes", [SAPIENS, SAPIENS2, FOREGROUND, numbered(256)], ids=lambda c: c.title)
@pytest.mark.parametrize("opacity", OPACITIES)
def test_every_value_and_colour_blends_as_in_the_original(opacity, classes):
    rgb, class_map = every_value_of_every_class(classes)
    original = (rgb * (1 - opacity) + classes.palette[class_map] * opacity).astype(np.uint8)
    assert np.array_equal(Painter(classes, opacity=opacity).paint(rgb, class_map), original)


@pytest.mark.parametrize("opacity", [0.5, 0.7])
def test_kept_background_and_unwanted_classes(opacity):
    rgb, class_map = every_value_of_every_class(SAPIENS)
    painter = Painter(SAPIENS, opacity=opacity, keep_background=True, only=(2, 5))
    painted = painter.paint(rgb, class_map)
    wanted = np.isin(class_map, (2, 5))
    original = (rgb * (1 - opacity) + SAPIENS.palette[class_map] * opacity).astype(np.uint8)
    assert np.array_equal(painted[wanted], original[wanted])
    assert np.array_equal(painted[~wanted], rgb[~wanted])

    dimmed = Painter(SAPIENS, opacity=opacity, only=(2, 5)).paint(rgb, class_map)
    background = (rgb * (1 - opacity) + 0x32 * opacity).astype(np.uint8)
    assert np.array_equal(dimmed[~wanted], background[~wanted])


def test_painting_leaves_its_input_alone():
    rgb, class_map = every_value_of_every_class(SAPIENS)
    before = rgb.copy()
    Painter(SAPIENS, keep_background=True).paint(rgb, class_map)
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize("opacity", [-0.1, 1.01, float("nan")])
def test_opacity_out_of_range_is_refused(opacity):
    with pytest.raises(UsageError, match="opacity"):
        Painter(SAPIENS, opacity=opacity)


# Number of the matrix coefficients in H.273, luma weights of red and blue.
MATRICES = {
    "untagged": (2, 0.299, 0.114),
    "bt601": (5, 0.299, 0.114),
    "bt709": (1, 0.2126, 0.0722),
    "bt2020": (9, 0.2627, 0.0593),
}


def to_planes(rgb, red, blue, full_range):
    """RGB to yuv420p in float64, chroma the mean of each block of 2x2 pixels (of those that are there)."""
    rgb = rgb / 255
    luma = rgb @ (red, 1 - red - blue, blue)
    chroma = [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]
    padding = ((0, luma.shape[0] % 2), (0, luma.shape[1] % 2))
    chroma = [np.pad(c, padding, "edge") for c in chroma]
    chroma = [(c[::2, ::2] + c[1::2, ::2] + c[::2, 1::2] + c[1::2, 1::2]) / 4 for c in chroma]
    if full_range:
        planes = [luma * 255, chroma[0] * 255 + 128, chroma[1] * 255 + 128]
    else:
        planes = [luma * 219 + 16, chroma[0] * 224 + 128, chroma[1] * 224 + 128]
    return Planes(*(np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in planes))


@pytest.mark.parametrize("keep_background", [False, True])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("size", [(64, 96), (63, 95), (1, 1)])
def test_painting_planes_is_painting_in_rgb_and_converting(size, matrix, full_range, keep_background):
    rng = np.random.default_rng(0)
    # Blocks of one colour: a chroma sample does not tell apart the four pixels under it, some of which may be kept.
    rgb = rng.integers(0, 256, (32, 48, 3), np.uint8).repeat(2, axis=0).repeat(2, axis=1)[: size[0], : size[1]]
    coarse = rng.integers(0, len(SAPIENS), (9, 13)).astype(np.uint8)
    class_map = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST).reshape(size)
    class_map[rng.random(size) < 0.3] = 0
    number, red, blue = MATRICES[matrix]
    painter = Painter(SAPIENS, opacity=0.6, keep_background=keep_background, only=(1, 2, 3, 8, 20))
    got = painter.paint_planes(to_planes(rgb, red, blue, full_range), class_map, matrix=number, full_range=full_range)
    want = to_planes(painter.paint(rgb, class_map), red, blue, full_range)
    for got_plane, want_plane in zip(got, want, strict=True):
        # The paint in RGB truncates (up to a level down), the palette and the planes are rounded once each.
        assert np.abs(got_plane.astype(int) - want_plane).max() <= 2


def test_untagged_planes_are_read_as_swscale_reads_them():
    colour = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    frame = av.VideoFrame.from_ndarray(colour, "rgb24").reformat(format="yuv420p")
    planes = Planes(*(np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes))
    class_map = np.full((32, 32), 3, np.uint8)
    out = Planes(*(np.empty_like(plane) for plane in planes))
    assert Painter(SAPIENS).paint_planes(planes, class_map, out=out) is out
    painted = av.VideoFrame.from_ndarray(np.vstack([out.y, out.u.reshape(8, 32), out.v.reshape(8, 32)]), "yuv420p")
    want = Painter(SAPIENS).paint(colour, class_map)
    assert np.abs(painted.to_ndarray(format="rgb24").astype(int) - want).max() <= 4  # 8-bit YUV and back
