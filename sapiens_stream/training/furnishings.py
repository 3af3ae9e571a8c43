"""Things that are taken for clothing: hanging cloth (tables, curtains, flags), and plates (lids, covers, books, signs).

Each is laid over a (height, width, 3) float32 canvas, 0..255, in place, and its mask (height, width), 0..255, returned.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# float32 and uint8: OpenCV's stubs cannot tell.
FloatArray = npt.NDArray[Any]
UInt8Array = npt.NDArray[Any]
Material = Callable[[int, int], FloatArray]
"""A surface of a height and a width, (height, width, 3) float32."""

VIVID = 0.6
"""Share of these things in a strong colour of their own: the rest are of any material."""


def vivid(rng: np.random.Generator) -> FloatArray:
    """(3,) RGB of a dyed thing."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.45, 1), rng.uniform(0.25, 1))
    return np.array([red, green, blue], np.float32) * 255


def cloth(canvas: FloatArray, material: Material, low: float, high: float, rng: np.random.Generator) -> UInt8Array:
    """Cloth that hangs in folds from an edge, or down to the picture's own; `low` to `high`: width over the picture's
    longer side."""
    height, width = canvas.shape[:2]
    wide = float(np.exp(rng.uniform(np.log(low), np.log(high)))) * max(height, width)
    left, top = rng.uniform(-wide / 2, width - wide / 2), rng.uniform(-0.2, 0.9) * height
    return hung(canvas, material, (left, left + wide), (top, top + wide * np.exp(rng.uniform(-0.7, 1.0))), rng)


def hung(
    canvas: FloatArray,
    material: Material,
    across: tuple[float, float],
    down: tuple[float, float],
    rng: np.random.Generator,
) -> UInt8Array:
    """Cloth between the columns `across`, from the first to the second of the rows `down`, which may lie outside."""
    height, width = canvas.shape[:2]
    (left, right), (top, bottom) = across, down
    mask = np.zeros((height, width), np.uint8)
    flare, sag = rng.uniform(-0.05, 0.15) * (right - left), rng.normal(0, 0.04, 2) * (bottom - top)
    x = np.linspace(0, 1, 24)
    hem = bottom + 0.03 * (bottom - top) * np.sin(2 * np.pi * (x * rng.uniform(1, 6) + rng.random()))
    under = np.stack([left - flare + x * (right - left + 2 * flare), hem], 1)[::-1]
    outline = np.vstack([[(left, top + sag[0]), (right, top + sag[1])], under])
    cv2.fillPoly(mask, [outline.clip(-4000, 4000).astype(np.int32)], 255)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1)), np.uint8)
    x0, y0, columns, rows = cv2.boundingRect(mask)
    if columns < 4 or rows < 4:
        return np.zeros_like(mask)
    box = slice(y0, y0 + rows), slice(x0, x0 + columns)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    fallen = np.clip((y0 + y - top) / max(bottom - top, 1), 0, 1)
    along = (x0 + x - (left + right) / 2) / (right - left) / (1 + 0.2 * fallen)
    folds = np.zeros((rows, columns), np.float32)
    for _ in range(int(rng.integers(2, 6))):
        many, phase, lean = rng.uniform(2, 18), rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15)
        folds += np.sin(2 * np.pi * many * (along + lean * fallen) + phase) / np.sqrt(many)
    surface = _dyed(material(rows, columns), rng)
    if rng.random() < 0.25:  # striped across or along
        stripes = (along if rng.random() < 0.5 else fallen) * rng.uniform(4, 20) % 1 < rng.uniform(0.2, 0.6)
        surface = np.where(stripes[..., None], vivid(rng), surface)
    shade = np.exp(np.float32(rng.uniform(0.05, 0.3)) * folds * (0.3 + 0.7 * fallen))
    if rng.random() < 0.5:  # the board on which it lies, seen from above
        shade = np.where(fallen < rng.uniform(0.03, 0.25), np.float32(rng.uniform(0.9, 1.4)), shade)
    _lay(canvas[box], surface * shade[..., None], mask[box])
    return mask


def plate(canvas: FloatArray, material: Material, low: float, high: float, rng: np.random.Generator) -> UInt8Array:
    """A stiff flat thing with rounded corners, seen aslant, often with a rim, a bend or an emblem; `low` to `high`: its
    side over the picture's longer one."""
    height, width = canvas.shape[:2]
    side = float(np.exp(rng.uniform(np.log(low), np.log(high)))) * max(height, width)
    half = side * np.exp(rng.normal(0, 0.25) * np.array([1, -1])) / 2
    turn = rng.normal(0, 0.15)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half + rng.normal(0, 0.12, (4, 2)) * half
    rotate = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre = np.array([rng.uniform(0, width), rng.beta(1.5, 1) * height])  # most things lie low
    corners = (corners @ rotate + centre).astype(np.float32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 255)
    rounding = rng.uniform(0.01, 0.08) * side
    whole = np.where(cv2.GaussianBlur(mask, (0, 0), rounding + 0.3) > 127, 255, 0).astype(np.uint8)
    mask = np.asarray(cv2.GaussianBlur(whole, (0, 0), rng.uniform(0.4, 0.8)), np.uint8)
    x0, y0, columns, rows = cv2.boundingRect(mask)
    if columns < 4 or rows < 4:
        return np.zeros_like(mask)
    box = slice(y0, y0 + rows), slice(x0, x0 + columns)
    surface = _dyed(material(rows, columns), rng)
    light = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] * np.float32(rng.normal(0, 0.12))
    surface = (
        surface
        * (1 + light + np.linspace(-1, 1, columns, dtype=np.float32) * np.float32(rng.normal(0, 0.12)))[..., None]
    )
    inside = whole[box]
    if rng.random() < 0.3:
        rim = inside - cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=1 + int(0.03 * side))
        surface = np.where(rim[..., None] > 0, surface * np.float32(rng.uniform(0.2, 1.5)), surface)
    if rng.random() < 0.4:  # bent: a stand, the side of a box
        at, slope = rng.uniform(0.2, 0.9) * rows, rng.normal(0, 0.1)
        beyond = np.arange(rows)[:, None] > at + slope * np.arange(columns)
        surface = np.where(beyond[..., None], surface * np.float32(rng.uniform(0.5, 0.95)), surface)
    if rng.random() < 0.4:
        spot = tuple(int(value) for value in (columns * rng.uniform(0.3, 0.7), rows * rng.uniform(0.3, 0.7)))
        size = tuple(1 + int(side * share) for share in rng.uniform(0.03, 0.12, 2))
        surface = np.ascontiguousarray(surface, np.float32)
        cv2.ellipse(
            surface,
            spot,
            size,
            0,
            0,
            360,
            (vivid(rng) if rng.random() < 0.5 else surface.mean((0, 1)) * 1.5).tolist(),
            -1,
        )
    _lay(canvas[box], surface, mask[box])
    return mask


def _dyed(surface: FloatArray, rng: np.random.Generator) -> FloatArray:
    """In a strong colour, some of the material's own light left in it; or as it is."""
    if rng.random() > VIVID:
        return surface
    share = np.float32(rng.uniform(0.6, 1))
    return np.asarray(surface * (1 - share) + vivid(rng) * share, np.float32)


def _lay(canvas: FloatArray, surface: FloatArray, mask: UInt8Array) -> None:
    canvas += (np.clip(surface, 0, 255) - canvas) * (mask[..., None] / np.float32(255))
