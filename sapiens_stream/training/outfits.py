"""What cut-out people wear, changed: other colours and prints, thick garments over their own."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.backgrounds import Scenery, slope_to_light
from sapiens_stream.training.joints import joints_within
from sapiens_stream.training.shards import Cutout

# float32 and uint8: OpenCV's stubs cannot tell.
FloatArray = npt.NDArray[Any]
UInt8Array = npt.NDArray[Any]

UPPER, LOWER = SAPIENS.names.index("Upper_Clothing"), SAPIENS.names.index("Lower_Clothing")
HAIR = SAPIENS.names.index("Hair")
SLEEVED = [UPPER, *(id for id, name in enumerate(SAPIENS.names) if name == "Torso" or name.endswith("_Arm"))]
TROUSERED = [LOWER, *(id for id, name in enumerate(SAPIENS.names) if name.endswith("_Leg"))]


class Outfits:
    """Changes premultiplied (H, W, 4) uint8 people and their (H, W) classes; materials are the scenery's."""

    def __init__(self, scenery: Scenery, rng: np.random.Generator) -> None:
        self.scenery, self.rng = scenery, rng

    def wrap(self, cutout: Cutout) -> Cutout:
        """A thick garment over the others: a padded jacket, a gown, a suit in one piece, with patches and straps."""
        rng, joints = self.rng, cutout.joints
        rows, columns = cutout.label.shape
        reach = 1 + int(rng.uniform(0.005, 0.06) * max(rows, columns))
        top, bottom, left, right = (0 if side else reach for side in cutout.cut)
        rgba: UInt8Array = np.pad(cutout.rgba, ((top, bottom), (left, right), (0, 0)))
        ids: UInt8Array = np.pad(cutout.label, ((top, bottom), (left, right)))
        if joints is not None:
            joints = joints_within(joints, (rows, columns), (-top, rows + bottom, -left, columns + right))
        thick = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))

        def around(parts: list[int]) -> UInt8Array:
            return cv2.dilate(np.isin(ids, parts).view(np.uint8) * np.uint8(255), thick)

        jacket = around(SLEEVED if rng.random() < 0.7 else [UPPER])
        trousers = around(TROUSERED if rng.random() < 0.5 else [LOWER]) if rng.random() < 0.5 else np.zeros_like(ids)
        free = np.isin(ids, [0, *SLEEVED, *TROUSERED]) & (np.maximum(jacket, trousers) > 0)
        height, width = ids.shape
        colour = self.scenery.surface(height, width)
        if rng.random() < 0.5:  # a signal colour
            colour = colour * 0.2 + rng.permutation([rng.uniform(150, 255), rng.uniform(0, 200), rng.uniform(0, 80)])
        for _ in range(int(rng.integers(0, 5))):
            self.scenery.thing(colour, self.scenery.shape(height, width, 0.02, 0.15))
        coarse = rng.normal(0, 1, (max(3, height // int(rng.integers(8, 40))), max(3, width // 16))).astype(np.float32)
        relief = cv2.GaussianBlur(free.astype(np.float32), (0, 0), reach + 1.0)
        relief = relief + rng.uniform(0, 0.3) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        slope = slope_to_light(relief, rng)
        shade = np.float32(rng.uniform(0.5, 1)) + np.float32(rng.uniform(0.1, 0.5) / (slope.std() * 3 + 1e-6)) * slope
        worn = np.dstack([np.clip(colour * shade[..., None], 0, 255), np.full((height, width), 255)])
        share = cv2.GaussianBlur(free.astype(np.float32), (0, 0), 0.6)[..., None]
        ids = np.where(free, np.where(jacket > 0, UPPER, LOWER), ids).astype(np.uint8)
        return Cutout(np.asarray(rgba + (worn - rgba) * share, np.uint8), ids, cutout.cut, joints)

    def redress(self, rgba: UInt8Array, ids: UInt8Array) -> UInt8Array:
        """Other colours for clothes and hair: darkened, tinted, or overlaid with a piece of a photograph."""
        rng = self.rng
        gain = np.ones((256, 3), np.float32)
        gain[UPPER], gain[LOWER] = self._dye(), self._dye()
        if rng.random() < 0.15:  # a suit, a dress, overalls
            gain[LOWER] = gain[UPPER]
        gain[HAIR] = np.exp(rng.normal(0, 0.25)) if rng.random() < 0.5 else 1
        # Tables and products by OpenCV: a third of NumPy's time, and this is the costliest step.
        factors = cv2.LUT(cv2.merge((ids, ids, ids)), gain[None])
        image: FloatArray = cv2.multiply(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), factors, dtype=cv2.CV_32F)
        if rng.random() < 0.2:
            part = UPPER if rng.random() < 0.6 else LOWER
            mask = ids == part
            print_, strength = self.scenery.photo(*ids.shape).astype(np.float32), rng.uniform(0.5, 1.2)
            if mask.any():
                shade = image.mean(-1, keepdims=True) / max(float(image[mask].mean()), 8.0)
                alpha = rgba[..., 3:] / 255
                image = np.where(mask[..., None], print_ * shade * alpha * strength, image)
        alpha = rgba[..., 3]
        colour = cv2.min(cv2.convertScaleAbs(image), cv2.merge((alpha, alpha, alpha)))
        return np.asarray(cv2.merge((*cv2.split(colour), alpha)))

    def _dye(self) -> FloatArray:
        """(3,) factors on a cloth's colour."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.18:  # dark cloth, hardly any light on it
            return rng.uniform(0.08, 0.4) * np.exp(rng.normal(0, 0.08, 3))
        if kind < 0.4:
            return np.exp(rng.normal(0, 0.4, 3))
        if kind < 0.58:  # red, orange, blue: as strong as working clothes are
            return rng.permutation([rng.uniform(1, 2.2), rng.uniform(0.2, 1), rng.uniform(0.05, 0.5)])
        return np.ones(3)
