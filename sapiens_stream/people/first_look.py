"""What the built-in model sees of a picture before anybody is looked at: where people are, and where their heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import torch
from torch import Tensor

from sapiens_stream.classes import SAPIENS
from sapiens_stream.frame import Frame, UInt8Array
from sapiens_stream.inference.preprocess import Box, Placement, draw, normalise, placement
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.model import InputSpec
from sapiens_stream.people.clock import period_of
from sapiens_stream.people.paste import confidence, foreground

_COARSEST = 1.5
"""Pixels of the picture that one of the input may stand for; where it is more, parts of the picture are looked at."""
_MOST_TILES = 8  # along a side
_AGAIN = Fraction(4, 25)
"""Seconds of a clip, the first frame in which is looked at in those parts where somebody was, ..."""
EVERY = 3 * _AGAIN
"""... and in all its parts. They are counted from the clip's own zero: so a chunk of it sees what the whole does."""
_FILLED = 0.25
"""Of a part, that people take who are seen in the whole picture; they are large enough."""
_OVERLAP = 0.25  # of a tile's side, that it shares with each neighbour
_HEADS = SAPIENS.ids(("Face_Neck", "Hair"))


@dataclass(frozen=True)
class Sighting:
    """Of a picture, all of which it covers: how sure it is that anybody is in a cell, and whether that is a head."""

    sure: UInt8Array
    """(h, w) 0 to 255; 0 where nobody is."""
    heads: UInt8Array
    """(h, w) 1 where the likeliest class is one of a head's."""


@dataclass
class LookedAt:
    """The frame of a clip that was looked at in parts last, and those parts where somebody was then."""

    frame: Frame | None = None
    tiles: frozenset[Box] = frozenset()

    def is_within(self, period: Fraction, frame: Frame) -> bool:
        """Whether that was in the same period of the same clip as a later frame."""
        before = self.frame
        if before is None or frame.is_photo or _clip(before) != _clip(frame) or before.index >= frame.index:
            return False
        return period_of(before, period) == period_of(frame, period)


class BuiltinLook:
    """Runs the built-in model over whole pictures, and over parts of those that are larger than its input.

    `before` is what it, or that of another device, looked at.
    """

    def __init__(self, device: torch.device, before: LookedAt) -> None:
        self._model = load_builtin()
        self._device = device
        runner = self._model.runner(device, torch.float32) if self._model.runner is not None else None
        self._forward: Callable[[Tensor], Tensor] = runner or self._model.place(device, torch.float32)
        given = self._model.input
        self._mean, self._std = (
            torch.tensor(each, dtype=torch.float32, device=device) for each in (given.mean, given.std)
        )
        self._before = before

    def whole(self, frame: Frame) -> tuple[Tensor, Placement, InputSpec]:
        """The logits, (1, C, h, w), of a whole frame."""
        spec = self._model.input_for(frame.size, widening=frame.widening, photo=frame.is_photo)
        place = placement(frame.size, spec, "stretch")
        return self._logits(frame, place, spec), place, spec

    def is_due(self, frame: Frame) -> bool:
        """Whether parts of a frame are to be looked at; if not, somebody is where they have gone since the last one."""
        return not self._before.is_within(_AGAIN, frame) or not self._tiles(frame)

    def sighting(self, frame: Frame, whole: tuple[Tensor, Placement, InputSpec], *, closer: bool = True) -> Sighting:
        """With the logits of the whole frame, and, unless not `closer`, those of its parts where it is large.

        Frames of a clip come in order.
        """
        size, widening = frame.size, frame.widening
        seen = sighting([whole], size, 1)
        if not closer or not (tiles := self._tiles(frame)):
            return seen
        if self._before.is_within(EVERY, frame):
            tiles = [tile for tile in tiles if tile in self._before.tiles]
        tiles = [tile for tile in tiles if _filled(seen.sure, tile, size) < _FILLED]
        looks = [whole]
        for tile in tiles:
            own = self._model.input_for((tile.height, tile.width), widening=widening)
            part = Placement(tile, Box(0, 0, own.height, own.width))
            logits = self._logits(frame, part, own)
            if foreground(logits, 0.0).any():
                looks.append((logits, part, own))
        self._before.frame, self._before.tiles = frame, frozenset(place.seen for _, place, _ in looks[1:])
        return sighting(looks, size, _times(size, self._model.input_for(size, widening=widening)))

    def _tiles(self, frame: Frame) -> list[Box]:
        return tiles_of(frame.size, self._model.input_for(frame.size, widening=frame.widening))

    def _logits(self, frame: Frame, place: Placement, spec: InputSpec) -> Tensor:
        canvas = np.empty((1, spec.height, spec.width, 3), np.uint8)
        draw(frame, place, spec, canvas[0])
        pixels = torch.from_numpy(canvas).to(self._device)
        return self._forward(normalise(pixels, self._mean, self._std, torch.float32))


def _clip(frame: Frame) -> str:
    return frame.name.rpartition("/")[0]


def _filled(sure: UInt8Array, tile: Box, size: tuple[int, int]) -> float:
    down, across = sure.shape[0] / size[0], sure.shape[1] / size[1]
    rows = slice(int(tile.top * down), max(1, round((tile.top + tile.height) * down)))
    columns = slice(int(tile.left * across), max(1, round((tile.left + tile.width) * across)))
    part = sure[rows, columns]
    return float(np.count_nonzero(part)) / max(1, part.size)


def tiles_of(size: tuple[int, int], spec: InputSpec) -> list[Box]:
    """The parts of a picture of `size` (H, W) that are looked at, overlapping; none where the whole shows enough."""
    count = _times(size, spec)
    if count == 1:
        return []
    rows, columns = (_spread(pixels, count) for pixels in size)
    return [Box(top, left, height, width) for top, height in rows for left, width in columns]


def _times(size: tuple[int, int], spec: InputSpec) -> int:
    coarse = max(size[0] / spec.height, size[1] / spec.width)
    return min(_MOST_TILES, int(np.ceil(coarse / _COARSEST - 1e-9)))


def _spread(pixels: int, count: int) -> list[tuple[int, int]]:
    """(first, length) of `count` parts that cover a side, each overlapping its neighbours."""
    length = min(pixels, int(np.ceil(pixels / (count - (count - 1) * _OVERLAP))))
    return [(round(place * (pixels - length) / (count - 1)), length) for place in range(count)]


def sighting(
    seen: Sequence[tuple[Tensor, Placement, InputSpec]], size: tuple[int, int], times: int, threshold: float = 0.0
) -> Sighting:
    """Joins what was seen of a picture of `size` and of its parts: each cell is as sure as the surest of them."""
    height, width = (side * times for side in seen[0][0].shape[2:])
    sure, heads = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    for logits, place, spec in seen:
        own_sure, own_heads = _maps(logits, threshold)
        top, left, rows, columns = place.region(spec, (logits.shape[2], logits.shape[3])) or (0, 0, *own_sure.shape)
        part = slice(round(top), round(top + rows)), slice(round(left), round(left + columns))
        down, across = height / size[0], width / size[1]
        box = place.seen
        y, x = round(box.top * down), round(box.left * across)
        target = max(1, round((box.left + box.width) * across) - x), max(1, round((box.top + box.height) * down) - y)
        where = slice(y, y + target[1]), slice(x, x + target[0])
        fitted = _resized(own_sure[part], target)
        better = fitted > sure[where]
        sure[where][better] = fitted[better]
        heads[where][better] = _resized(own_heads[part], target)[better]
    return Sighting(sure, heads)


def _maps(logits: Tensor, threshold: float) -> tuple[UInt8Array, UInt8Array]:
    mask = foreground(logits, threshold)[0]
    sure = mask.mul(confidence(logits.float(), threshold)[0, 0])
    heads = torch.zeros_like(mask)
    if logits.shape[1] > max(_HEADS):
        best = logits[0].amax(0)
        for each in _HEADS:
            heads |= logits[0, each] == best
    both = torch.stack((sure.mul(255).round_(), heads.float())).cpu().numpy().astype(np.uint8)
    return both[0], both[1]


def _resized(plane: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    if plane.shape[::-1] == size:
        return plane
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST), np.uint8)
