"""What every model is: a module from normalised pixels to logits, and what must be known to feed and read it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from sapiens_stream.classes import ClassSet


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a model takes: float (N, 3, height, width) RGB, `(pixel - mean) / std` with pixels of 0..255."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A segmentation model, loaded on the CPU in the precision of its file.

    `forward` maps (N, 3, height, width) to logits (N, C, h, w), `logits_size` being (h, w). It is put on a device
    with `place(device, dtype)`, which returns the callable to use there. `fixed_batch` is the only N it accepts,
    None if any will do. With one channel, a pixel is foreground where its logit is above `threshold`.
    """

    name: str
    kind: str
    """"torchscript", "torch-export", "builtin", ...: what the file is, in a word for the run record."""
    classes: ClassSet
    input: InputSpec
    logits_size: tuple[int, int]
    place: Callable[[torch.device, torch.dtype], Callable[[torch.Tensor], torch.Tensor]]
    runner: Callable[[torch.device, torch.dtype], Callable[[torch.Tensor], torch.Tensor] | None] | None = None
    """Where not None, another way to run it, as `place` gives: None on devices and in precisions where it is none."""
    dtype: torch.dtype = torch.float32
    """The precision of the file's weights."""
    fixed_batch: int | None = None
    fixed_dtype: bool = False
    """True where the graph runs in `dtype` alone."""
    own_dtype: bool = False
    """True where it is a file's graph, which is run in `dtype` unless another precision is asked for."""
    aspect_step: int | None = None
    """Where not None, pictures keep their aspect: each side of their input is a multiple of this; see `input_for`."""
    spread: bool = False
    """True for a model so small that a CPU's cores are better used on a frame each than together on one."""
    threshold: float = 0.0
    path: Path | None = None

    def input_for(self, size: tuple[int, int]) -> InputSpec:
        """What a picture of `size` (H, W) is brought to.

        It is `input`, or with `aspect_step` as many pixels, about, in the picture's aspect (at most 4 to 1).
        """
        if self.aspect_step is None:
            return self.input
        step, area = self.aspect_step, self.input.height * self.input.width
        taller = min(4.0, max(0.25, size[0] / size[1])) ** 0.5
        height, width = (max(1, round(area**0.5 * stretch / step)) * step for stretch in (taller, 1 / taller))
        return replace(self.input, height=height, width=width)

    @cached_property
    def sha256(self) -> str | None:
        """Of the file, hexadecimal; read at the first use (seconds for gigabytes)."""
        if self.path is None:
            return None
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
