"""Photographs and panoramas without people, and made-up rooms: what stands behind the cut-outs."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.camera import saturation_matrix
from sapiens_stream.training.furnishings import cloth, plate

# float32 and uint8: OpenCV's stubs cannot tell.
FloatArray = npt.NDArray[Any]
UInt8Array = npt.NDArray[Any]

PHOTO_SIDE = 480
"""Shorter side of a photograph in memory, pixels."""
OBJECT_SIDE = 160
"""Longer side of an object in memory, pixels."""
MIN_BYTES = 60_000
"""Smaller files among wallpapers are icons and previews."""
OBJECTS = 0.4
"""Share of photographed objects, where there are any, among the clutter."""
FURNISHINGS = 0.25
"""Share of hanging cloth and plates among the clutter."""
WARM_LIGHT = np.array([235.0, 192.0, 160.0])
"""RGB of pale skin, cream leather and light wood; times a shade, of dark ones."""


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """Pictures, uint8 each.

    `photos`: (H, W, 3) RGB; `panoramas`: equirectangular, (H, 2 H, 3) RGB; `objects`: things cut out of photographs,
    (H, W, 4) RGBA, colour not premultiplied.
    """

    photos: tuple[UInt8Array, ...]
    panoramas: tuple[UInt8Array, ...]
    objects: tuple[UInt8Array, ...] = ()


def load_backgrounds(folders: Iterable[Path]) -> Backgrounds:
    """Every picture below the folders, and the EXR panoramas inside `*.exr.js` modules (npm `@pmndrs/assets`).

    Several sizes of one wallpaper count once. A PNG whose corners are transparent is an object.
    """
    photos: dict[tuple[Path, str], UInt8Array] = {}
    panoramas, objects = [], []
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        cut_out = read_object(path) if path.suffix == ".png" else None
        if cut_out is not None:
            objects.append(cut_out)
        elif path.suffix in {".jpg", ".jpeg", ".png", ".webp"} and path.stat().st_size > MIN_BYTES:
            image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_4)
            if image is None or min(image.shape[:2]) < 150:
                continue
            scale = min(1.0, PHOTO_SIDE / min(image.shape[:2]))
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            wallpaper = path.parents[2].name if path.parent.name.startswith("images") else path.stem
            photos[path.parents[1], wallpaper] = np.ascontiguousarray(image[..., ::-1])
        elif path.name.endswith(".exr.js"):
            panoramas.append(read_panorama(path))
    if not photos:
        raise FileNotFoundError(f"no background photographs in {', '.join(map(str, folders))}")
    return Backgrounds(tuple(photos.values()), tuple(panoramas), tuple(objects))


def read_object(path: Path) -> UInt8Array | None:
    """(H, W, 4) uint8 RGBA, H and W at most OBJECT_SIDE, cut to what is opaque; None if the corners are not clear."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 4:
        return None
    if np.count_nonzero(image[[0, 0, -1, -1], [0, -1, 0, -1], 3]) > 1:
        return None
    x, y, width, height = cv2.boundingRect((image[..., 3] > 127).view(np.uint8))
    if min(width, height) < 8:
        return None
    scale = min(1.0, OBJECT_SIDE / max(width, height))
    cut = cv2.resize(image[y : y + height, x : x + width], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(cut, cv2.COLOR_BGRA2RGBA))


def read_panorama(module: Path) -> UInt8Array:
    """(H, 2 H, 3) uint8 RGB of an EXR inside a JavaScript module, exposed for its brighter half."""
    import OpenEXR

    encoded = module.read_text().partition("base64,")[2].rstrip("'\"`;\n ")
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(base64.b64decode(encoded))
        file.flush()
        light = OpenEXR.File(file.name).channels()["RGB"].pixels.astype(np.float32)
    exposed = light / (np.percentile(light, 70) * 2.2 + 1e-6)
    return np.asarray(np.clip(exposed, 0, 1) ** (1 / 2.2) * 255, np.uint8)


def crop_photo(photo: UInt8Array, height: int, width: int, rng: np.random.Generator) -> UInt8Array:
    """A random piece, (height, width, 3), its shape stretched by up to a third, mirrored or not."""
    stretch = np.exp(rng.uniform(-0.3, 0.3))
    scale = min(photo.shape[0] / height, photo.shape[1] / (width * stretch)) * rng.uniform(0.25, 1)
    h, w = max(8, int(height * scale)), max(8, int(width * stretch * scale))
    y, x = rng.integers(photo.shape[0] - h + 1), rng.integers(photo.shape[1] - w + 1)
    piece = photo[y : y + h, x : x + w]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)


def look_into(panorama: UInt8Array, height: int, width: int, rng: np.random.Generator) -> UInt8Array:
    """A perspective view, (height, width, 3), from the panorama's centre, near the horizon."""
    fov = np.deg2rad(rng.uniform(45, 95))
    yaw, pitch = rng.uniform(-np.pi, np.pi), rng.normal(-0.1, 0.18)
    size = max(height, width)
    x, y = np.meshgrid(np.arange(width) - width / 2, np.arange(height) - height / 2)
    x, y, z = x * np.tan(fov / 2) * 2 / size, y * np.tan(fov / 2) * 2 / size, np.ones_like(x)
    y, z = y * np.cos(pitch) - z * np.sin(pitch), y * np.sin(pitch) + z * np.cos(pitch)
    longitude = (np.arctan2(x, z) + yaw) / (2 * np.pi) % 1
    latitude = np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5
    maps = (longitude * panorama.shape[1]).astype(np.float32), (latitude * panorama.shape[0]).astype(np.float32)
    return cv2.remap(panorama, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


def slope_to_light(relief: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(H, W) float32: how much a surface of these heights rises towards a light from a random side."""
    turn = rng.uniform(0, 2 * np.pi)
    return np.asarray(np.cos(turn) * cv2.Sobel(relief, -1, 1, 0) + np.sin(turn) * cv2.Sobel(relief, -1, 0, 1))


class Scenery:
    """Draws backgrounds: (height, width, 3) float32 RGB, 0..255."""

    def __init__(self, backgrounds: Backgrounds, rng: np.random.Generator) -> None:
        self.backgrounds, self.rng = backgrounds, rng

    def photo(self, height: int, width: int) -> UInt8Array:
        photos = self.backgrounds.photos
        return crop_photo(photos[self.rng.integers(len(photos))], height, width, self.rng)

    def tone(self) -> FloatArray:
        """(3,) RGB of a plain material: any grey, any colour, or one that skin, wood, leather and sand share."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.45:
            return np.asarray(rng.uniform(0, 255) + rng.normal(0, 14, 3), np.float32)
        if kind < 0.7:
            return np.asarray(rng.uniform(0, 255, 3), np.float32)
        light = np.clip(rng.uniform(0.15, 1.05) * WARM_LIGHT, 0, 255)
        return np.asarray(light * np.exp(rng.normal(0, 0.06, 3)), np.float32)

    def surface(self, height: int, width: int) -> FloatArray:
        """A material: part of a photograph in another colour, or a plain tone with a gradient."""
        rng = self.rng
        if rng.random() < 0.5:
            piece: FloatArray = self.photo(height, width).astype(np.float32)
            colourful, flatness = rng.uniform(0, 0.9), rng.uniform(0, 0.8)
            tint = rng.uniform(0.35, 1.35) * np.exp(rng.normal(0, 0.15, 3))
            # Towards grey, towards the mean, and tinted: one matrix for all three.
            to_grey = saturation_matrix(colourful)
            mean = to_grey @ cv2.mean(piece)[:3]
            matrix = np.column_stack([to_grey * (1 - flatness), mean * flatness]) * tint[:, None]
            return cv2.transform(piece, matrix.astype(np.float32))
        down, across = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
        light = np.float32(rng.normal(0, 25)) * down[:, None] + np.float32(rng.normal(0, 20)) * across
        return self.tone() + light[..., None]

    def shape(self, height: int, width: int, low: float, high: float) -> UInt8Array:
        """A mask (height, width), 0..255, of a box, an ellipse or a polygon; sizes are shares of the picture."""
        rng = self.rng
        mask = np.zeros((height, width), np.uint8)
        centre = rng.uniform(0, width), rng.uniform(0, height)
        a, b = np.exp(rng.uniform(np.log(low), np.log(high), 2)) * max(height, width)
        kind = rng.random()
        if kind < 0.45:
            angle = 0.0 if rng.random() < 0.5 else rng.uniform(0, 180)
            cv2.fillPoly(mask, [cv2.boxPoints((centre, (a, b), angle)).astype(np.int32)], 255)
        elif kind < 0.65:
            cv2.ellipse(mask, (centre, (a, b), rng.uniform(0, 180)), 255, -1)
        else:
            turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
            reach = rng.uniform(0.3, 0.6, len(turn))
            corners = np.stack([centre[0] + np.cos(turn) * a * reach, centre[1] + np.sin(turn) * b * reach], 1)
            cv2.fillPoly(mask, [corners.astype(np.int32)], 255)
        return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.5))

    def thing(self, canvas: FloatArray, mask: UInt8Array) -> None:
        """Lays a thing of the mask's shape over the canvas, in place: flat, or bulging as cushions and bodies do."""
        rng = self.rng
        x, y, width, height = cv2.boundingRect(mask)
        if width < 2 or height < 2:
            return
        box = slice(y, y + height), slice(x, x + width)
        surface, inside = self.surface(height, width), mask[box].astype(np.float32) / 255
        if rng.random() < 0.4:
            bulge = cv2.GaussianBlur(inside, (0, 0), rng.uniform(0.03, 0.2) * min(width, height) + 1)
            slope = slope_to_light(bulge, rng)
            steepest = float(np.abs(slope).max())
            surface = surface * (1 + np.float32(rng.uniform(0.1, 0.6) / (steepest + 1e-6)) * slope)[..., None]
        canvas[box] += (surface - canvas[box]) * inside[..., None]

    def object(self, canvas: FloatArray, low: float, high: float) -> UInt8Array:
        """Lays a photographed thing over the canvas, in place; sizes are shares of the picture. Returns its mask."""
        rng, (height, width) = self.rng, canvas.shape[:2]
        rgba = self.backgrounds.objects[rng.integers(len(self.backgrounds.objects))]
        if rng.random() < 0.5:
            rgba = rgba[:, ::-1]
        rows, columns = rgba.shape[:2]
        scale = np.exp(rng.uniform(np.log(low), np.log(high))) * max(height, width) / max(rows, columns)
        turn = rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
        linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        centre = np.array([rng.uniform(0, width), rng.beta(1.5, 1) * height])  # most things lie low
        # Only the box of the thing is worked on.
        reach, size = np.abs(linear) @ (columns / 2, rows / 2) + 2, (width, height)
        begin, end = (np.clip(corner, 0, size).astype(int) for corner in (centre - reach, centre + reach))
        mask = np.zeros((height, width), np.uint8)
        if (end <= begin).any():
            return mask
        matrix = np.column_stack([linear, centre - begin - linear @ (columns / 2, rows / 2)])
        box_size = tuple((end - begin).tolist())
        warped = cv2.warpAffine(np.ascontiguousarray(rgba), matrix, box_size, flags=cv2.INTER_AREA)
        light = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.07, 3))
        colour = warped[..., :3] * light.astype(np.float32)
        box = slice(begin[1], end[1]), slice(begin[0], end[0])
        canvas[box] += (colour - canvas[box]) * (warped[..., 3:] / np.float32(255))
        mask[box] = warped[..., 3]
        return mask

    def obstacle(self, canvas: FloatArray, low: float, high: float) -> UInt8Array:
        """Lays anything over the canvas, in place, and returns its mask (height, width), 0..255."""
        kind = self.rng.random()
        if kind < FURNISHINGS:
            made = plate if kind < FURNISHINGS / 2 else cloth
            return made(canvas, self.surface, 2 * low, 2 * high, self.rng)
        if self.backgrounds.objects and self.rng.random() < OBJECTS:
            return self.object(canvas, low, high)
        mask = self.shape(canvas.shape[0], canvas.shape[1], low, high)
        self.thing(canvas, mask)
        return mask

    def clutter(self, canvas: FloatArray, count: int, low: float, high: float) -> FloatArray:
        """Lays `count` shapes over the canvas, in place, some in rows, as seats, windows and books stand."""
        height, width = canvas.shape[:2]
        for _ in range(count):
            mask = self.obstacle(canvas, low, high)
            if self.rng.random() < 0.25:
                y, x = (int(step) for step in self.rng.normal(0, 0.15, 2) * (height, width))
                for k in range(1, int(self.rng.integers(2, 7))):
                    shift = np.array([[1, 0, x * k], [0, 1, y * k]], np.float32)
                    self.thing(canvas, cv2.warpAffine(mask, shift, (width, height)))
        return canvas

    def room(self, height: int, width: int) -> FloatArray:
        """A wall, a floor, perhaps stripes or planks on either, and things before them."""
        rng = self.rng
        canvas = self.surface(height, width)
        horizon = int(height * rng.uniform(0.35, 0.95))
        canvas[horizon:] = self.surface(height, width)[horizon:]
        if rng.random() < 0.35:
            y, x = np.mgrid[0:height, 0:width].astype(np.float32)
            vanishing = rng.uniform(-0.5, 1.5) * width, rng.uniform(-0.3, 0.5) * height
            lines = (
                np.arctan2(y - vanishing[1], x - vanishing[0])
                if rng.random() < 0.5
                else (x if rng.random() < 0.5 else y) / width
            )
            band = (lines * rng.uniform(8, 60) % 1 < rng.uniform(0.08, 0.5))[..., None]
            rows = slice(horizon, None) if rng.random() < 0.5 else slice(0, horizon)
            canvas[rows] *= np.where(band, rng.uniform(0.6, 0.95), 1)[rows]
        return self.clutter(canvas, int(rng.integers(1, 12)), 0.04, 0.6)

    def draw(self, height: int, width: int, level: float) -> FloatArray:
        """`level` 0: mostly plain and blurred; 1: everything."""
        rng = self.rng
        kind = rng.random()
        canvas: FloatArray
        if kind < 0.4:
            canvas = self.photo(height, width).astype(np.float32)
        elif kind < 0.55 and self.backgrounds.panoramas:
            panoramas = self.backgrounds.panoramas
            canvas = look_into(panoramas[rng.integers(len(panoramas))], height, width, rng).astype(np.float32)
        elif kind < 0.55 + 0.35 * max(level, 0.3):
            canvas = self.room(height, width)
        else:
            canvas = self.surface(height, width)
        if rng.random() < 0.2 + 0.5 * level:
            canvas = self.clutter(canvas, int(rng.integers(1, 9)), 0.03, 0.4)
        if rng.random() < 0.45:
            sigma = rng.uniform(0.4, 1.2) if rng.random() < 0.6 else rng.uniform(1.2, 6)
            canvas = cv2.GaussianBlur(canvas, (0, 0), sigma)
        return canvas
