"""Small clips whose class maps are known to the pixel, and a model that errs elsewhere in each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from sapiens_stream.classes import numbered
from sapiens_stream.frame import Frame, Skipped, SourceInfo, UInt8Array
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.sources import Source

SIZE = (120, 160)
CLASS = 5
SPEC = InputSpec(height=96, width=128, mean=(127.5, 127.5, 127.5), std=(58.0, 58.0, 58.0))


def texture(seed: int, size: tuple[int, int] = SIZE) -> UInt8Array:
    """(height, width) with something to see at every scale, as clothes and walls have."""
    random = np.random.default_rng(seed)
    height, width = size
    layers = [cv2.resize(random.random((height // n, width // n)), (width, height)) for n in (3, 6, 14)]
    return np.asarray(np.mean(layers, axis=0) * 255, np.uint8)


def scene(index: int, *, seed: int = 0, turns: int = 0, planar: bool = False, people: bool = True) -> Frame:
    """A patch, red, that moves two pixels a frame over a still background without any red."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[..., 1] = texture(seed)
    picture[..., 2] = texture(seed + 1)
    if people:
        rows, columns = patch(index)
        picture[rows, columns, 0] = 255
        picture[rows, columns, 1] = texture(seed + 2, (60, 50))
        picture[rows, columns, 2] = texture(seed + 3, (60, 50))
    stored = np.ascontiguousarray(np.rot90(picture, -turns))
    decoded = av.VideoFrame.from_ndarray(stored, "rgb24").reformat(format="yuv444p") if planar else stored
    return Frame(
        index=index,
        name=f"scene/{index:06d}",
        decoded=decoded,
        quarter_turns=turns,
        pts=index,
        time_base=Fraction(1, 25),
    )


def patch(index: int) -> tuple[slice, slice]:
    left = 15 + 2 * index
    return slice(30, 90), slice(left, left + 50)


def exact(index: int) -> UInt8Array:
    """The class map of a scene."""
    class_map = np.zeros(SIZE, np.uint8)
    class_map[patch(index)] = CLASS
    return class_map


def seeing(doubt: float = 3.0, channels: int = 8) -> Model:
    """Sees what is red as CLASS, and in each frame takes some other blocks of it for another class, or for nothing.

    `doubt` is how large its errors are; 0 sees all as it is.
    """

    def forward(pixels: Tensor) -> Tensor:
        red = pixels[:, :1, ::2, ::2].float() * 1.5
        logits = torch.full((len(pixels), channels, *red.shape[2:]), -8.0)
        if channels == 1:
            return red + _blocks(pixels, doubt)
        logits[:, :1] = -red
        logits[:, CLASS : CLASS + 1] = red
        logits[:, 3:4] = red - 2 + _blocks(pixels, doubt)
        return logits

    return Model(
        name="seeing",
        kind="test",
        classes=numbered(max(channels, 2)),
        input=SPEC,
        logits_size=(SPEC.height // 2, SPEC.width // 2),
        place=lambda device, dtype: forward,
    )


def _blocks(pixels: Tensor, doubt: float) -> Tensor:
    """(N, 1, h, w): errors in blocks, others for every picture but the same whenever it is asked for."""
    planes = []
    for picture in pixels:
        random = torch.Generator().manual_seed(int((picture.double() * 1e3).sum().abs()) % 2**31)
        small = torch.randn(1, 1, 12, 16, generator=random) * doubt
        height, width = picture.shape[1:]
        planes.append(torch.nn.functional.interpolate(small, size=(height // 2, width // 2))[0])
    return torch.stack(planes)


class Clip(Source):
    """Frames as a source gives them; `before` is called with each index."""

    def __init__(
        self,
        items: Sequence[Frame | Skipped],
        *,
        kind: str = "video",
        before: Callable[[int], None] = lambda index: None,
    ) -> None:
        self.info = SourceInfo(name="scene", kind=kind, frame_count=len(items), size=SIZE)  # type: ignore[arg-type]
        self._items, self._before = items, before

    def frames(self) -> Iterator[Frame | Skipped]:
        for index, item in enumerate(self._items):
            self._before(index)
            yield item

    def close(self) -> None:
        pass
