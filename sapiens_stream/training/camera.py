"""What real cameras do to a picture: exposure, colour, blur, grain, small sensors, compression."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# float32 and uint8: OpenCV's stubs cannot tell.
FloatArray = npt.NDArray[Any]
UInt8Array = npt.NDArray[Any]

METERED = 0.7
"""Share of the pictures whose exposure is set by their own light, as cameras do; the others stay as they are."""
MEAN_GREY = 0.3, 0.58
"""What it is set to: the mean of such a picture's values, 1 for white."""


def shoot(canvas: FloatArray, level: float, rng: np.random.Generator) -> UInt8Array:
    """(H, W, 3) float32 RGB, 0..255, as a camera might have stored it; `level` 0 (mild) to 1 (everything)."""
    image = _exposure(np.clip(canvas, 0, 255).astype(np.uint8), level, rng)
    image = _optics(np.clip(image, 0, 1), level, rng)
    if rng.random() < 0.6:
        fine = rng.random() < 0.7
        spread = rng.uniform(0.003, 0.02 + 0.035 * level)
        grain = np.empty((*image.shape[:2], 3 if fine else 1), np.float32)
        cv2.setRNGSeed(int(rng.integers(2**31)))  # its numbers cost a quarter of NumPy's
        cv2.randn(grain.reshape(len(grain), -1), np.zeros(1), np.full(1, spread))
        image = image + grain
    stored: UInt8Array = cv2.convertScaleAbs(np.maximum(image, 0), alpha=255)
    if rng.random() < 0.5:
        encoded = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(75 - 45 * level, 95))])[1]
        stored = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return stored


def saturation_matrix(amount: float) -> npt.NDArray[np.float64]:
    """(3, 3) RGB to RGB: 0 grey, 1 unchanged, more is stronger."""
    return amount * np.eye(3) + (1 - amount) / 3


def _exposure(image: UInt8Array, level: float, rng: np.random.Generator) -> FloatArray:
    """(H, W, 3) float32 RGB, 1 for white: gamma, contrast and tint by a table, then saturation."""
    metered = 1.0
    if rng.random() < METERED:
        grey = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).mean() / 255
        metered = np.log(rng.uniform(*MEAN_GREY)) / np.log(np.clip(grey, 0.02, 0.98))
    gamma = np.clip(metered, 0.45, 1.6) * np.exp(rng.normal(0, 0.1 + 0.12 * level))
    contrast = np.exp(rng.normal(0, 0.16))
    curve = ((np.arange(256) / 255) ** gamma - 0.5) * contrast + 0.5 + rng.normal(0, 0.04)
    table = curve[:, None] * np.exp(rng.normal(0, 0.05 + 0.03 * level, 3))
    if rng.random() < 0.1 * level:  # a dim room
        table = table * rng.uniform(0.2, 0.6)
    elif rng.random() < 0.1 * level:  # haze, or light into the lens
        table = table * rng.uniform(0.55, 0.9) + rng.uniform(0.05, 0.35)
    exposed: FloatArray = cv2.LUT(image, table[None].astype(np.float32))
    saturation = rng.random()
    if saturation < 0.05:
        toned = saturation_matrix(0) * np.exp(rng.normal(0, 0.05, 3))[:, None]
        exposed = cv2.transform(exposed, toned.astype(np.float32))
    elif saturation < 0.4:
        exposed = cv2.transform(exposed, saturation_matrix(rng.uniform(0.3, 1.5)).astype(np.float32))
    return exposed


def _optics(image: FloatArray, level: float, rng: np.random.Generator) -> FloatArray:
    height, width = image.shape[:2]
    if rng.random() < 0.25 * level + 0.05:  # what is bright outshines the edges before it
        glare = np.maximum(image - np.float32(rng.uniform(0.5, 0.85)), 0)
        image = image + cv2.GaussianBlur(glare, (0, 0), rng.uniform(1, 12)) * np.float32(rng.uniform(0.3, 1.5))
    kind = rng.random()
    if kind < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.6 + 0.8 * level))
    elif kind < 0.3 + 0.08 * level:  # the camera moved
        size = int(rng.integers(3, 9))
        kernel = np.zeros((size, size), np.float32)
        cv2.line(kernel, (0, int(rng.integers(size))), (size - 1, int(rng.integers(size))), 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    elif kind < 0.3 + 0.23 * level:  # enlarged from fewer pixels
        scale = rng.uniform(0.4, 0.9)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    elif kind > 0.85:  # sharpened
        image = image + (image - cv2.GaussianBlur(image, (0, 0), 1.0)) * rng.uniform(0.3, 1.2)
    return np.asarray(image, np.float32)
