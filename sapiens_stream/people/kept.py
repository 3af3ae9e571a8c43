"""Class maps whose pixels keep their class, along the motion, while it is about as likely as another.

Between two classes probabilities cross within a pixel or two, and in each frame somewhere else: even where they are
steady, whole pixels at the edges change. That is seen in class maps of the picture's size alone.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream.frame import UInt8Array
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.propagation import Field, destinations
from sapiens_stream.people.flicker import Flicker, compared
from sapiens_stream.people.motion import Motion, resized
from sapiens_stream.people.probabilities import Way

AHEAD = 0.15
"""By how much another class must be likelier than the one that a pixel had; where it had none, that is not kept: who
was missed a while is not to be kept out."""
_AROUND = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across]


class Kept:
    """Makes of a frame's class map one that keeps what the frame before had: a link of a chain along a clip.

    Called for each frame in order, it may be called again until it has been for the next.
    """

    def __init__(
        self,
        batch: PendingBatch,
        likely: Tensor,
        before: Kept | None,
        motion: Motion | None,
        *,
        way: Way | None = None,
        flicker: Flicker | None = None,
    ) -> None:
        """`batch` is the frame alone, `likely`, (1, C, h, w), its probabilities, `motion` leads to the frame before.

        Without a motion nothing is kept: a scene begins, or what is remembered ends here. In `flicker` it is counted
        what changes from the frame before, along the `way` from that, if there is one.
        """
        self._batch = batch
        self._likely: Tensor | None = likely
        self._before = before
        self._way = way
        self._flicker = flicker
        self._counts: tuple[Tensor, Tensor] | None = None
        self._winners: Tensor | None = None
        self._motion = motion
        self._class_map: Tensor | None = None

    def __call__(self, class_map: Tensor) -> Tensor:
        """(H, W) uint8: the class map as the frame has it."""
        before = self._before
        if before is not None and before._class_map is not None:
            if self._motion is not None:
                class_map = self._keeping(class_map, before._class_map)
            before.settle()
        self._class_map = class_map
        if self._flicker is not None:
            self._winners = self._in_cells(class_map)
            if before is not None and before._winners is not None and self._way is not None:
                [self._counts] = compared(self._winners, before._winners, self._way)
        return class_map

    @property
    def counts(self) -> tuple[int, int]:
        """Foreground places that the way connects with the frame before, and of these those that changed, till it is
        settled."""
        counts = self._counts
        return (0, 0) if counts is None else (int(counts[0]), int(counts[1]))

    def settle(self) -> None:
        """It is not called again; what changed counts."""
        counts = self.counts
        if self._flicker is not None:
            self._flicker.count(*counts)
        self._before = self._likely = self._way = self._counts = None

    def _in_cells(self, class_map: Tensor) -> Tensor:
        """(1, 1, h, w) float32: the class in the middle of each cell of the logits, 0 where the model saw nothing."""
        assert self._likely is not None
        place, size = self._batch.places[0], (self._likely.shape[2], self._likely.shape[3])
        region = place.region(self._batch.spec, size) or (0.0, 0.0, *map(float, size))
        axes = [(place.seen.top, place.seen.height), (place.seen.left, place.seen.width)]
        pixels, inside = [], []
        for side, (first, length) in enumerate(axes):
            cells = torch.arange(size[side], dtype=torch.float32, device=class_map.device)
            at = ((cells + (0.5 - region[side])) * (length / region[side + 2])).floor().long()
            inside.append((at >= 0) & (at < length))
            pixels.append(at.clamp(0, length - 1) + first)
        found = class_map.index_select(0, pixels[0]).index_select(1, pixels[1])
        return (found * (inside[0][:, None] & inside[1])).to(torch.float32)[None, None]

    def _keeping(self, class_map: Tensor, before: Tensor) -> Tensor:
        assert self._likely is not None and self._motion is not None
        came = _came(before, self._motion)
        places = self._sure(((came != class_map) & (came > 0)).flatten().nonzero().flatten())
        places = places.index_select(0, self._beside(class_map, came, places).nonzero().flatten())
        was, now = (each.flatten().index_select(0, places) for each in (came, class_map))
        likely = self._at(places)
        as_was, as_now = (likely.gather(0, each.long()[None])[0] for each in (was, now))
        classes = torch.where(as_was > as_now - AHEAD, was, now)
        return class_map.flatten().index_copy(0, places, classes).view(class_map.shape)

    def _sure(self, places: Tensor) -> Tensor:
        """Those of some pixels, counted row by row, that the model saw, and where the motion is to be trusted."""
        assert self._motion is not None
        seen, sure = self._batch.places[0].seen, torch.from_numpy(self._motion.sure).to(places.device)
        height, width = self._batch.frames[0].size
        rows, columns = places // width, places % width
        nearest = rows * sure.shape[0] // height * sure.shape[1] + columns * sure.shape[1] // width
        trusted = sure.flatten().index_select(0, nearest) > 0
        inside = (rows >= seen.top) & (rows < seen.top + seen.height)
        inside &= (columns >= seen.left) & (columns < seen.left + seen.width)
        return places.index_select(0, (trusted & inside).nonzero().flatten())

    def _beside(self, class_map: Tensor, came: Tensor, places: Tensor) -> Tensor:
        """Whether the class that a pixel had is near it now: edges are kept, and no islands in what changes."""
        assert self._likely is not None
        height, width = class_map.shape
        reach = max(1, round(self._batch.places[0].seen.width / self._likely.shape[3] / 2))
        rows, columns = places // width, places % width
        was, flat = came.flatten().index_select(0, places), class_map.flatten()
        found = torch.zeros_like(places, dtype=torch.bool)
        for down, across in _AROUND:
            near = (rows + down * reach).clamp(0, height - 1) * width + (columns + across * reach).clamp(0, width - 1)
            found |= flat.index_select(0, near) == was
        return found

    def _at(self, places: Tensor) -> Tensor:
        """(C, n): the probabilities at some pixels."""
        assert self._likely is not None
        place, size = self._batch.places[0], (self._likely.shape[2], self._likely.shape[3])
        top, left, height, width = place.region(self._batch.spec, size) or (0.0, 0.0, *map(float, size))
        seen, across = place.seen, self._batch.frames[0].size[1]
        rows, columns = (places // across).float(), (places % across).float()
        y = ((rows - seen.top + 0.5) * (height / seen.height) + top) / size[0] * 2 - 1
        x = ((columns - seen.left + 0.5) * (width / seen.width) + left) / size[1] * 2 - 1
        grid = torch.stack((x, y), 1).to(self._likely.dtype)[None, None]
        return F.grid_sample(self._likely, grid, padding_mode="border", align_corners=False)[0, :, 0]


def _came(class_map: Tensor, motion: Motion) -> Tensor:
    """(H, W) uint8: the class map of the frame before as it lies in this one."""
    if class_map.device.type == "cpu":
        return torch.from_numpy(_moved(class_map.numpy(), motion.field))
    size = (class_map.shape[0], class_map.shape[1])
    field = torch.from_numpy(motion.field).to(class_map.device).permute(2, 0, 1)[None]
    step = field.new_tensor([2 / field.shape[3], 2 / field.shape[2]])
    still = torch.eye(2, 3, dtype=field.dtype, device=field.device)[None]
    grid = F.affine_grid(still, [1, 1, *size], align_corners=False)
    grid += F.interpolate(field, size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0) * step
    planes = class_map.to(torch.float32)[None, None]
    came = F.grid_sample(planes, grid, "nearest", padding_mode="border", align_corners=False)
    return came[0, 0].to(class_map.dtype)


def _moved(class_map: UInt8Array, field: Field) -> UInt8Array:
    """Each pixel's class as it is at the nearest to where `field` leads from it."""
    height, width = class_map.shape
    moved = resized(field, (width, height), cv2.INTER_LINEAR)
    places = destinations(moved, out=moved)
    return np.asarray(cv2.remap(class_map, places, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.uint8)  # type: ignore[call-overload]
