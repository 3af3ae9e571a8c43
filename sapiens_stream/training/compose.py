"""Puts cut-outs before backgrounds: random people, sizes, light, things in the way, and a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.backgrounds import Backgrounds, Scenery
from sapiens_stream.training.camera import shoot
from sapiens_stream.training.furnishings import hung
from sapiens_stream.training.joints import joint_plane, unknown_joints
from sapiens_stream.training.outfits import Outfits
from sapiens_stream.training.photos import StreetPhotos
from sapiens_stream.training.shards import Cutout, Cutouts

# float32 and uint8: OpenCV's stubs cannot tell.
FloatArray = npt.NDArray[Any]
UInt8Array = npt.NDArray[Any]
Picture = tuple[UInt8Array, UInt8Array]
"""An image and its label."""

STRETCH = 0.17
"""Standard deviation of the logarithm of a picture's stretch in width."""
CUT_HEIGHT = 2.5
"""A whole person's height over what is seen of one whom the frame cuts off, about."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much there is of what, 0 to 1."""

    photos: float = 0.3
    """Of the pictures, pieces of photographs, where there are any."""
    rows: float = 0.2
    """Of the difficult composites, those in which several people stand or sit side by side."""
    moments: float = 0.0
    """Of the pictures, those that come in twos, a moment apart."""
    photographed: float = 0.3
    """Of the people in composites, those who are cut out of a photograph."""


@dataclass(frozen=True)
class _Place:
    """Where a person stands: centre and size of their box in the picture, pixels; rotation in degrees."""

    x: float
    y: float
    width: float
    height: float
    angle: float


class Composer:
    """Draws pictures with their labels. `level` 0: one large person, mildly disturbed; 1: everything.

    With `photos` labels are targets, of which not all are classes.
    """

    def __init__(
        self,
        cutouts: Cutouts,
        backgrounds: Backgrounds,
        seed: int,
        photos: StreetPhotos | None = None,
        shares: Shares = Shares(),
    ) -> None:
        self.rng, self.shares = np.random.default_rng(seed), shares
        self.cutouts, self.scenery, self.photos = cutouts, Scenery(backgrounds, self.rng), photos
        self.outfits = Outfits(self.scenery, self.rng)

    def draw(self, height: int, width: int, level: float, *, later: bool = False) -> Picture:
        """Image (height, width, 3) uint8 RGB and label (2, height / 2, width / 2) uint8, as the network's output lies:
        the targets, and the joints. `later`: of a moment later, drawn from the same state of `rng`."""
        rng = self.rng
        if self.photos is not None and rng.random() < self.shares.photos:
            canvas, targets = self.photos.crop(height, width, rng)
            return shoot(canvas, level * 0.6, rng), np.stack([targets, unknown_joints(targets)])
        canvas = self.scenery.draw(height, width, level)
        label = np.zeros((2, height // 2, width // 2), np.uint8)
        if rng.random() < self.shares.rows * level:
            self._row(canvas, label, later)
            return shoot(canvas, level, rng), label
        chances = np.array([0.04, 0.9 - 0.34 * level, 0.04 + 0.16 * level, 0.02 + 0.1 * level, 0.08 * level])
        people = int(rng.choice(5, p=chances / chances.sum()))
        # One stretch for the whole picture: the network's input has the photo's aspect, but not exactly.
        stretch = float(np.exp(rng.normal(0, STRETCH)))
        cast = [self._dressed(later) for _ in range(people)]
        placed = [(cutout, self._place(cutout, height, width, people, stretch, level)) for cutout in cast]
        # The farther ones first; of those cut off by the frame less is seen than there is.
        for cutout, place in sorted(placed, key=lambda pair: pair[1].height * (CUT_HEIGHT if any(pair[0].cut) else 1)):
            self._paste(canvas, label, cutout, place)
        if rng.random() < 0.3 * level:
            self._occlude(canvas, label)
        return shoot(canvas, level, rng), label

    def moments(self, height: int, width: int, level: float) -> tuple[Picture, Picture]:
        """As `draw`, and the same a moment later: the people move who were rendered so, and nothing else does.

        For that what is drawn at random must never depend on what is seen of somebody.
        """
        begun = self.rng.bit_generator.state
        first = self.draw(height, width, level)
        self.rng.bit_generator.state = begun
        return first, self.draw(height, width, level, later=True)

    def _row(self, canvas: FloatArray, label: UInt8Array, later: bool) -> None:
        """People of about one size side by side, overlapping, often seen from the waist up, a table before them."""
        rng = self.rng
        height, width = canvas.shape[:2]
        count = int(rng.integers(3, 7))
        tall = rng.uniform(0.5, 1.0) if rng.random() < 0.4 else rng.uniform(1.0, 1.9)  # heights of the picture
        stretch = float(np.exp(rng.normal(0, STRETCH)))
        floor = height * (rng.uniform(0.8, 1.0) if tall < 1 else tall + rng.uniform(0.05, 0.25))
        slots = (np.arange(count) + rng.uniform(-0.3, 0.3, count) + 0.5) / count * width
        for x in rng.permutation(slots):
            cutout = self._dressed(later)
            rows, columns = cutout.label.shape
            high = height * tall * np.exp(rng.normal(0, 0.12))
            bottom = floor + rng.normal(0, 0.04) * height
            if cutout.cut[1]:  # what is below was never seen
                high, bottom = high * 0.6, max(bottom, height * 1.01)
            wide = high * columns / rows * stretch
            if any((cutout.cut[0], cutout.cut[2], cutout.cut[3])) or wide > width:
                continue
            if bottom - high > 0.75 * height:
                bottom = high + 0.75 * height
            self._paste(canvas, label, cutout, _Place(x, bottom - high / 2, wide, high, rng.normal(0, 3)))
        if rng.random() < 0.5:
            self._table(canvas, label)

    def _table(self, canvas: FloatArray, label: UInt8Array) -> None:
        """A slab or a table with its cloth, across the lower part of the picture; things on it that nobody wears."""
        rng, (height, width) = self.rng, canvas.shape[:2]
        edge = int(rng.uniform(0.6, 0.95) * height) // 2 * 2
        if rng.random() < 0.5:
            left, wide = rng.uniform(-0.3, 0.6) * width, rng.uniform(0.3, 1.4) * width
            bottom = height * rng.uniform(0.95, 1.6)
            self._hide(label, hung(canvas, self.scenery.surface, (left, left + wide), (edge, bottom), rng))
        else:
            canvas[edge:] = self.scenery.surface(height - edge, width)
            label[:, edge // 2 :] = 0
        for _ in range(int(rng.integers(0, 5))):
            self._obstacle(canvas, label, 0.05, 0.25)

    def _occlude(self, canvas: FloatArray, label: UInt8Array) -> None:
        """Things before the people: furniture, posts, leaves."""
        for _ in range(int(self.rng.integers(1, 4))):
            self._obstacle(canvas, label, 0.04, 0.3)

    def _obstacle(self, canvas: FloatArray, label: UInt8Array, low: float, high: float) -> None:
        self._hide(label, self.scenery.obstacle(canvas, low, high))

    @staticmethod
    def _hide(label: UInt8Array, mask: UInt8Array) -> None:
        """What is behind a thing of this mask, (height, width), 0..255, is nobody's."""
        label[:, cv2.resize(mask, label.shape[:0:-1], interpolation=cv2.INTER_AREA) > 127] = 0

    def _place(self, cutout: Cutout, height: int, width: int, people: int, stretch: float, level: float) -> _Place:
        rng = self.rng
        top, bottom, left, right = cutout.cut
        rows, columns = cutout.label.shape
        cut = any(cutout.cut)
        if cut:
            share = np.exp(rng.uniform(np.log(0.72 - 0.3 * level), np.log(1.2 + 0.3 * level)))
            scale = share * min(height / rows, 1.3 * width / (columns * stretch))
        else:
            low = 0.4 if people > 1 else 0.75 - 0.4 * level
            share = np.exp(rng.uniform(np.log(low), np.log(1.05)))
            if rng.random() < 0.18 * level:  # nearer than the picture is high
                share = np.exp(rng.uniform(0, np.log(2.2)))
            scale = min(share * height / rows, 1.9 * width / (columns * stretch))
        if left and right:
            scale = max(scale, 1.03 * width / (columns * stretch))
        if top and bottom:
            scale = max(scale, 1.03 * height / rows)
        h, w = rows * scale, columns * scale * stretch
        beyond = rng.uniform(0.005, 0.06)
        y = rng.uniform(min(h / 2, 0.35 * height), max(height - h / 2, 0.65 * height))
        x = rng.uniform(min(w / 2, 0.25 * width), max(width - w / 2, 0.75 * width))
        if not cut and rng.random() < 0.15 * level:
            x, y = rng.uniform(0, width), rng.uniform(0, height)
        if top and bottom:
            y = rng.uniform(height - h / 2, h / 2)
        elif bottom or top:
            y = height + h * (beyond - 0.5) if bottom else h * (0.5 - beyond)
        if left and right:
            x = rng.uniform(width - w / 2, w / 2)
        elif left or right:
            x = w * (0.5 - beyond) if left else width + w * (beyond - 0.5)
        angle = (
            float(np.clip(rng.normal(0, 2), -4, 4)) if cut else float(np.clip(rng.normal(0, 3 + 5 * level), -30, 30))
        )
        if not cut and rng.random() < 0.03 * level:
            angle = rng.uniform(-100, 100)
        return _Place(x, y, w, h, angle)

    def _dressed(self, later: bool) -> Cutout:
        """A person of either handedness, at times in a thick garment; a moment later, if that is known."""
        rng = self.rng
        photographed = self.photos is not None and rng.random() < self.shares.photographed
        cutout = self.photos.cutout(rng) if self.photos is not None and photographed else self.cutouts.draw(rng)
        if later and cutout.later is not None:
            cutout = cutout.later
        if rng.random() < 0.5:
            cutout = cutout.mirrored()
        return self.outfits.wrap(cutout) if not photographed and rng.random() < 0.2 else cutout

    def _paste(self, canvas: FloatArray, label: UInt8Array, cutout: Cutout, place: _Place) -> None:
        rng = self.rng
        height, width = canvas.shape[:2]
        rgba: UInt8Array = cutout.rgba
        ids: UInt8Array = cutout.label
        rows, columns = ids.shape
        shrink = min(1.0, 1.4 * max(place.height / rows, place.width / columns))
        if shrink < 0.7:  # averaged before it is warped, or edges alias
            rgba = cv2.resize(rgba, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            ids = cv2.resize(ids, rgba.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        rgba = self.outfits.redress(np.ascontiguousarray(rgba), ids)
        turn, (rows, columns) = np.deg2rad(place.angle), ids.shape
        rotate = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        linear = rotate @ np.diag([place.width / columns, place.height / rows])
        # Only the box of the person is worked on; even, so that the label's grid, half the picture's, lies on it.
        reach = np.abs(linear) @ (columns / 2, rows / 2)
        centre, size = np.array([place.x, place.y]), np.array([width, height])
        low = np.clip((centre - reach) // 2 * 2 - 2, 0, size).astype(int)
        high = np.clip((centre + reach) // 2 * 2 + 4, 0, size).astype(int)
        if (high <= low).any():
            return
        to_picture = np.column_stack([linear, centre - low - linear @ (columns / 2, rows / 2)])
        to_label = to_picture * 0.5
        to_label[:, 2] -= 0.25  # (x - 0.5) / 2: centres on centres
        box_size, label_size = tuple((high - low).tolist()), tuple(((high - low) // 2).tolist())
        warped = cv2.warpAffine(rgba, to_picture, box_size, flags=cv2.INTER_LINEAR).astype(np.float32)
        warped_ids = cv2.warpAffine(np.ascontiguousarray(ids), to_label, label_size, flags=cv2.INTER_NEAREST)
        alpha = warped[..., 3:] / 255
        colour = self._light(warped[..., :3])
        (x0, y0), (x1, y1) = low, high
        if rng.random() < 0.3 and not any(cutout.cut):
            self._shadow(canvas, np.pad(alpha[..., 0], ((y0, height - y1), (x0, width - x1))))
        if rng.random() < 0.3 and not cutout.cut[1]:
            self._cast(canvas, alpha[..., 0], x0, y0)
        under = canvas[y0:y1, x0:x1]
        under *= 1 - alpha
        under += np.minimum(colour, 255 * alpha)
        inside = cv2.resize(alpha, label_size, interpolation=cv2.INTER_AREA) > 0.5
        from_box = to_label @ np.diag([columns, rows, 1])
        found = joint_plane(cutout.joints, from_box, place.height / 2, warped_ids.shape)
        label[:, y0 // 2 : y1 // 2, x0 // 2 : x1 // 2][:, inside] = np.stack([warped_ids, found])[:, inside]

    def _light(self, colour: FloatArray) -> FloatArray:
        """Brightness, tint and saturation of the person's own, and light that falls off across them."""
        rng = self.rng
        height, width = colour.shape[:2]
        colour = colour * (np.exp(rng.normal(0, 0.22)) * np.exp(rng.normal(0, 0.05, 3))).astype(np.float32)
        if rng.random() < 0.3:
            across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
            fall = np.float32(rng.normal(0, 0.25)) * down[:, None] + np.float32(rng.normal(0, 0.35)) * across
            colour = colour * np.clip(1 + fall, 0.2, 2)[..., None]
        if rng.random() < 0.25:
            grey = colour.mean(-1, keepdims=True)
            colour = grey + (colour - grey) * np.float32(rng.uniform(0.5, 1.4))
        return np.maximum(colour, 0)

    def _cast(self, canvas: FloatArray, alpha: FloatArray, left: int, top: int) -> None:
        """The shadow, or the reflection in a shiny floor's dark, of a person whose box begins at (left, top)."""
        rng, (height, width) = self.rng, canvas.shape[:2]
        length, lean = -np.exp(rng.uniform(np.log(0.15), np.log(1.3))), rng.normal(0, 0.7)
        soft, spread, dark = rng.random() < 0.7, rng.uniform(0.5, 4), np.float32(rng.uniform(0.15, 0.75))
        rows = np.flatnonzero((alpha > 0.5).any(1))
        if not len(rows):
            return
        feet = float(rows[-1])
        # Mirrored at the feet: y goes to feet + length * (y - feet), and leans aside as it goes.
        down = np.array([[1, lean, left - lean * feet], [0, length, top + feet * (1 - length)]])
        shadow = cv2.warpAffine(alpha, down, (width, height), flags=cv2.INTER_LINEAR)
        if soft:
            shadow = cv2.GaussianBlur(shadow, (0, 0), spread)
        canvas *= 1 - dark * shadow[..., None]

    def _shadow(self, canvas: FloatArray, alpha: FloatArray) -> None:
        shift = int(self.rng.normal(4, 6)), int(self.rng.normal(0, 10))
        soft = cv2.GaussianBlur(np.roll(alpha, shift, (0, 1)), (0, 0), self.rng.uniform(2, 8))
        canvas *= 1 - self.rng.uniform(0, 0.6) * soft[..., None]
