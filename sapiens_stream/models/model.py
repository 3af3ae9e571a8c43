"""What every model is: a network from normalised pixels to logits, and what must be known to feed and read it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from sapiens_stream.classes import ClassSet

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a model takes: float (N, 3, height, width) RGB, `(pixel - mean) / std` with pixels of 0..255.

    Args:
        height: pixels.
        width: pixels.
        mean: of red, green and blue.
        std: of the same.

    >>> open_model("builtin").input.height
    288
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Runnable:
    """How a network is run, whatever it tells apart.

    Args:
        kind: "torchscript", "torch-export", "onnx", "builtin", ...: what the file is, in a word for the run record.
        logits_size: (h, w) of the logits.
        place: the callable of (N, 3, height, width) to logits (N, C, h, w) on a device, in a precision.
        runner: where not None, another way to run it, as `place` gives: None on devices and in precisions where it is
            none.
        dtype: the precision of the file's weights.
        fixed_batch: the only N that it accepts, None if any will do.
        fixed_dtype: the graph runs in `dtype` alone.
        own_dtype: it is a file's graph, which is run in `dtype` unless another precision is asked for.
        devices: the types of those that it runs on, None for any.
        aspect_step: where not None, pictures keep their aspect: each side of their input is a multiple of this; see
            `Model.input_for`.
        photo_detail: with `aspect_step`, times as many pixels as it is made for, which a photo is brought to if it has
            about as many: nothing has to be kept up with there.
        spread: it is so small that a CPU's cores are better used on a frame each than together on one, and that a GPU
            is done sooner with a full batch than with getting ready for a smaller one.
        path: the file, None where it comes from none.
    """

    kind: str
    logits_size: tuple[int, int]
    place: Callable[[torch.device, torch.dtype], Forward]
    runner: Callable[[torch.device, torch.dtype], Forward | None] | None = None
    dtype: torch.dtype = torch.float32
    fixed_batch: int | None = None
    fixed_dtype: bool = False
    own_dtype: bool = False
    devices: tuple[str, ...] | None = None
    aspect_step: int | None = None
    photo_detail: float = 1.0
    spread: bool = False
    path: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Network(Runnable):
    """What a checkpoint's format gives: a network of so many channels for an input of `size`, (height, width).

    What its channels mean, and how pictures are normalised for it, is for its family, its file or the user to say: see
    `known`.
    """

    channels: int
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model(Runnable):
    """A segmentation model, loaded on the CPU in the precision of its file.

    Args:
        name: for people, and the run record.
        classes: what it tells apart.
        input: what it takes.
        threshold: with one channel of logits, a pixel is foreground where its logit is above it.
        assumed: what of this nobody has said, in a sentence; None where all is known.

    Those of Runnable say how it is run.

    >>> model = open_model("builtin")
    >>> logits = model.place(torch.device("cpu"), torch.float32)(pixels)       # (N, C, h, w)

    A network of one's own, which takes 1024x768 and gives logits of 256x192 for the 28 classes of Sapiens:

    >>> spec = InputSpec(height=1024, width=768, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    >>> model = Model(
    ...     name="mine",
    ...     kind="own",
    ...     classes=SAPIENS,
    ...     input=spec,
    ...     logits_size=(256, 192),
    ...     place=lambda device, dtype: copy.deepcopy(network).to(device, dtype).eval(),
    ... )
    >>> result = Segmenter(model)("photo.jpg")
    """

    name: str
    classes: ClassSet
    input: InputSpec
    threshold: float = 0.0
    assumed: str | None = None

    def input_for(self, size: tuple[int, int], *, widening: float = 1.0, photo: bool = False) -> InputSpec:
        """What a picture is brought to: `input`, or with `aspect_step` as many pixels, about, in its aspect.

        That is at most 4 to 1.

        Args:
            size: (H, W) of the picture.
            widening: how many times as wide it is meant to be seen, its pixels being no squares.
            photo: it has a `photo_detail`, if it has about as many pixels.
        """
        if self.aspect_step is None:
            return self.input
        step, area = self.aspect_step, float(self.input.height * self.input.width)
        if photo and size[0] * size[1] >= self.photo_detail**0.5 * area:  # of the two the nearer: a GPU plans each size
            area *= self.photo_detail
        taller = min(4.0, max(0.25, size[0] / size[1] / widening)) ** 0.5
        height, width = (max(1, round(area**0.5 * stretch / step)) * step for stretch in (taller, 1 / taller))
        return replace(self.input, height=height, width=width)

    @property
    def sha256(self) -> str | None:
        """Of the file, hexadecimal; read at the first use (seconds for gigabytes)."""
        return self._sha256  # a property, since to Pyright a cached one is not what a protocol's property asks for

    @cached_property
    def _sha256(self) -> str | None:
        if self.path is None:
            return None
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
