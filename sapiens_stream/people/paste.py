"""What the model saw of people from nearer, put back into the logits of the whole picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from sapiens_stream.inference.closer import Look
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.people.crops import larger

_MOST_CELLS = 1 << 20
"""Of a frame's logits, unless the model's own are more."""
_TIMES = (1, 2, 3, 4, 8, 16, 32)
"""What they may be finer by, along a side."""
_FADE = 0.1
"""Of a look's side, over which it gives way to the whole picture, or to another look."""
_AGREE = 0.5
"""Of the foreground that the whole picture shows in the middle of a look, the share that the look has to find too. Or
it finds as much as it misses: a few cells that the whole picture takes for somebody are not worth a person."""

_Rectangle = tuple[slice, slice, slice, slice]


def pasted(alone: PendingBatch, looks: Sequence[Look], seen: Sequence[Tensor], threshold: float) -> PendingBatch:
    """The frame's logits, as much finer as the looks at it are, with what each look saw in its place.

    Where looks overlap, that one counts which is the surer, and less so near its border. One that misses what the
    whole picture shows, and finds less, is left out. The whole picture has its say in it, by how many pixels it saw
    there: a look that is hardly larger does not overrule what was certain. Whatever no look covers is the whole
    picture's, interpolated.
    """
    whole = _finer(alone.logits, max(larger(look.place, alone.places[0]) for look in looks))
    result = whole.clone()
    surest = torch.zeros_like(whole[:, :1])
    patches = [_patch(replace(alone, logits=whole), look, found) for look, found in zip(looks, seen, strict=True)]
    changed = False
    for look, found, patch in zip(looks, seen, patches, strict=True):
        if patch is None:
            continue
        was, now, into = whole[patch.where], patch.resampled(found), result[patch.where]
        if not _agrees(was[patch.middle], now[patch.middle], threshold):
            continue
        weight = patch.weight
        shared = patch.shared_with(patches)
        sure = confidence(now[shared], threshold) * weight[shared]
        best = surest[patch.where][shared]
        surer = (sure > best).to(torch.float32)
        into[shared].lerp_(was[shared], surer)
        torch.maximum(sure, best, out=best)
        weight *= _heard(larger(look.place, alone.places[0]))
        weight[shared] *= surer
        into.lerp_(now, weight)
        changed = True
    return replace(alone, logits=result) if changed else alone


def _heard(times: float) -> float:
    """The share of a look that shows a place so many times as large as the whole picture does: by its pixels, squared.

    By the pixels alone, what the whole picture misses for certain weighs on people who are seven times as large.
    """
    return times**4 / (times**4 + 1)


def confidence(logits: Tensor, threshold: float) -> Tensor:
    """(1, 1, h, w): the probability of the likeliest class."""
    if logits.shape[1] == 1:
        return (logits - threshold).abs().sigmoid()
    return (logits - logits.amax(1, keepdim=True)).exp_().sum(1, keepdim=True).reciprocal_()


def foreground(logits: Tensor, threshold: float) -> Tensor:
    """(N, h, w) bool: where anybody is."""
    if logits.shape[1] == 1:
        return logits[:, 0] > threshold
    return logits[:, 1:].amax(1) > logits[:, 0]


@dataclass(frozen=True)
class _Side:
    """One side of a look in the whole picture's logits."""

    first: int
    end: int
    places: Tensor
    """(n,): where each of these cells lies in the look's own logits, -1 to 1."""
    weight: Tensor
    """(n,): 1 in the middle, falling towards those ends that are not the picture's own."""
    middle: slice
    """Where it is 1, counted from the first."""

    def shared_with(self, others: Sequence[_Side]) -> slice:
        """From the first to the last cell that any other has too, counted from the first of all."""
        first, end = min(other.first for other in others), max(other.end for other in others)
        return slice(max(self.first, first) - self.first, min(self.end, end) - self.first)


@dataclass(frozen=True)
class _Patch:
    """Where a look lies in the whole picture's logits."""

    rows: _Side
    columns: _Side

    @property
    def where(self) -> _Rectangle:
        return _rectangle(slice(self.rows.first, self.rows.end), slice(self.columns.first, self.columns.end))

    @property
    def middle(self) -> _Rectangle:
        """Where its weight is 1, counted from its own corner."""
        return _rectangle(self.rows.middle, self.columns.middle)

    @property
    def weight(self) -> Tensor:
        """(1, 1, h, w)"""
        return torch.minimum(self.rows.weight[:, None], self.columns.weight)[None, None]

    def resampled(self, found: Tensor) -> Tensor:
        """(1, C, h, w) float32: what the look saw, (C, h of the look, w of the look), bilinear."""
        size = len(self.rows.places), len(self.columns.places)
        grid = torch.stack((self.columns.places.expand(size), self.rows.places[:, None].expand(size)), -1)
        return F.grid_sample(found[None].float(), grid[None], padding_mode="border", align_corners=False)

    def shared_with(self, patches: Sequence[_Patch | None]) -> _Rectangle:
        """What others may cover too, as one rectangle, counted from its own corner; an empty one where none does."""
        others = [other for other in patches if other is not None and other is not self and self._meets(other)]
        if not others:
            return _rectangle(slice(0), slice(0))
        return _rectangle(
            self.rows.shared_with([other.rows for other in others]),
            self.columns.shared_with([other.columns for other in others]),
        )

    def _meets(self, other: _Patch) -> bool:
        sides = ((self.rows, other.rows), (self.columns, other.columns))
        return all(max(one.first, two.first) < min(one.end, two.end) for one, two in sides)


def _rectangle(rows: slice, columns: slice) -> _Rectangle:
    return slice(None), slice(None), rows, columns


def _finer(logits: Tensor, larger: float) -> Tensor:
    """(1, C, h, w) float32: about as many times finer as the nearest look is larger, bilinear.

    About, so that the frames of a clip have logits of few sizes.
    """
    height, width = logits.shape[2:]
    possible = [times for times in _TIMES if height * width * times * times <= _MOST_CELLS] or [1]
    times = next((times for times in possible if times >= larger), possible[-1])
    if times == 1:
        return logits.float()
    if logits.device.type != "cpu":
        return F.interpolate(logits.float(), scale_factor=times, mode="bilinear", align_corners=False)
    finer = logits.new_empty((1, logits.shape[1], height * times, width * times), dtype=torch.float32)
    for plane, into in zip(logits[0].float().contiguous().numpy(), finer[0].numpy(), strict=True):
        cv2.resize(plane, into.shape[::-1], dst=into, interpolation=cv2.INTER_LINEAR)  # five times as fast as torch
    return finer


def _agrees(whole: Tensor, look: Tensor, threshold: float) -> bool:
    """By the logits of both in the middle of the look."""
    there, found = (foreground(logits, threshold) for logits in (whole, look))
    was, kept, now = torch.stack((there.sum(), (there & found).sum(), found.sum())).tolist()
    return bool(kept >= _AGREE * was or was - kept <= now)


def _patch(whole: PendingBatch, look: Look, found: Tensor) -> _Patch | None:
    """None where the look lies between the cells of the whole picture."""
    size = (whole.logits.shape[2], whole.logits.shape[3])
    to, of = whole.places[0], look.place
    to_region = to.region(whole.spec, size) or (0.0, 0.0, *map(float, size))
    of_size = (found.shape[1], found.shape[2])
    of_region = of.region(look.spec, of_size) or (0.0, 0.0, *map(float, of_size))
    rows, columns = (
        _side(
            (to_region[side], to_region[side + 2], size[side]),
            (of_region[side], of_region[side + 2], of_size[side]),
            [(box.top, box.height) if side == 0 else (box.left, box.width) for box in (to.seen, of.seen)],
            whole.frames[0].size[side],
            found.device,
        )
        for side in (0, 1)
    )
    return None if rows is None or columns is None else _Patch(rows, columns)


def _side(
    to: tuple[float, float, int],
    of: tuple[float, float, int],
    seen: Sequence[tuple[int, int]],
    length: int,
    device: torch.device,
) -> _Side | None:
    """`to` and `of` are (start, length, cells) of what shows `seen`, (first, pixels) of the picture's `length`."""
    (whole_first, whole_pixels), (first, pixels) = seen
    cells_a_pixel = to[1] / whole_pixels
    begin = to[0] + (first - whole_first) * cells_a_pixel
    end = begin + pixels * cells_a_pixel
    low, high = max(0, math.ceil(begin - 0.5)), min(to[2], math.floor(end - 0.5) + 1)
    if high <= low:
        return None
    middles = torch.arange(low, high, device=device, dtype=torch.float32) + 0.5
    # What lies beyond the outermost cells of the picture's part is the mean colour's.
    inside = (of[0] + (middles - begin) / (end - begin) * of[1]).clamp(
        of[0] + 0.5, max(of[0] + 0.5, of[0] + of[1] - 0.5)
    )
    weight = ((middles - low) / ((high - low) * _FADE)).clamp(max=1)
    ones = torch.ones_like(weight)
    at_start, at_end = first == 0, first + pixels == length
    fading = math.ceil((high - low) * _FADE - 0.5)
    return _Side(
        low,
        high,
        inside / of[2] * 2 - 1,
        torch.minimum(ones if at_start else weight, ones if at_end else weight.flip(0)),
        slice(0 if at_start else fading, high - low - (0 if at_end else fading)),
    )
