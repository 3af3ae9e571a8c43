"""Frames to a model's input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sapiens_stream.frame import Frame, UInt8Array
from sapiens_stream.inference.class_map import Region
from sapiens_stream.inference.options import Fit
from sapiens_stream.models.model import InputSpec


@dataclass(frozen=True)
class Box:
    """A part of a picture, pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Placement:
    """The part of the picture that the model sees, and the part of the model's input that shows it."""

    seen: Box
    shown: Box

    def region(self, spec: InputSpec, logits: tuple[int, int]) -> Region | None:
        """What `shown` is in logits of size (h, w); None where it is all of them."""
        shown = self.shown
        if (shown.height, shown.width) == (spec.height, spec.width):
            return None
        down, across = logits[0] / spec.height, logits[1] / spec.width
        return shown.top * down, shown.left * across, shown.height * down, shown.width * across


def placement(size: tuple[int, int], spec: InputSpec, fit: Fit, widening: float = 1.0) -> Placement:
    """How a picture of `size` (H, W), which is meant to be seen `widening` times as wide, goes into the model's input.

    What is stretched to all of it is so as ever.
    """
    height, width = size
    seen, shown = Box(0, 0, height, width), Box(0, 0, spec.height, spec.width)
    if fit == "letterbox":
        return Placement(seen, _inscribed(shown, height, width * widening))
    if fit == "crop":
        return Placement(_inscribed(seen, spec.height, spec.width / widening), shown)
    return Placement(seen, shown)


def _inscribed(outer: Box, height: float, width: float) -> Box:
    """The largest centred box of the aspect `height` to `width`."""
    scale = min(outer.height / height, outer.width / width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    return Box((outer.height - inner_height) // 2, (outer.width - inner_width) // 2, inner_height, inner_width)


def draw(frame: Frame, place: Placement, spec: InputSpec, canvas: UInt8Array) -> None:
    """Resizes a frame into `canvas`, (spec.height, spec.width, 3) uint8 RGB, as the original does."""
    shown = place.shown
    target = canvas[shown.slices]
    if target.shape != canvas.shape:
        canvas[:] = [round(mean) for mean in spec.mean]
    frame.draw(place.seen.slices, target)


def normalise(pixels: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W): `(pixels - mean) / std` in float32, then in `dtype`, on the same device."""
    planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return planes.sub_(mean[:, None, None]).div_(std[:, None, None]).to(dtype)
