"""What the model saw of people from nearer, put back into the logits of the whole picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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

_Axis = tuple[Tensor, slice]
"""For each cell along a side, where it lies in a look's logits, -1 to 1; and which cells."""


def pasted(alone: PendingBatch, looks: Sequence[Look], seen: Sequence[Tensor], threshold: float) -> PendingBatch:
    """The frame's logits, as much finer as the looks at it are, with what each look saw in its place.

    Where looks overlap, that one counts which is the surer, and less so near its border. One that misses what the
    whole picture shows, and finds less, is left out. The whole picture has its say in it, by how many pixels it saw
    there: a look that is hardly larger does not overrule what was certain. Whatever no look covers is the whole
    picture's, interpolated.
    """
    logits = alone.logits
    times = _times_finer(logits, max(larger(look.place, alone.places[0]) for look in looks))
    whole = (
        F.interpolate(logits.float(), scale_factor=times, mode="bilinear", align_corners=False)
        if times > 1
        else (logits.float())
    )
    result = whole.clone()
    surest = torch.zeros_like(whole[:, :1])
    changed = False
    for look, found in zip(looks, seen, strict=True):
        patch = _patch(replace(alone, logits=whole), look, found)
        if patch is None or not _agrees(whole[patch.where], patch, threshold):
            continue
        sure = confidence(patch.logits, threshold) * patch.weight
        mixed = torch.lerp(whole[patch.where], patch.logits, patch.weight * _heard(larger(look.place, alone.places[0])))
        here, best = result[patch.where], surest[patch.where]
        result[patch.where] = torch.where(sure > best, mixed, here)
        surest[patch.where] = torch.maximum(sure, best)
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
    return (logits.amax(1, keepdim=True) - logits.logsumexp(1, keepdim=True)).exp()


def foreground(logits: Tensor, threshold: float) -> Tensor:
    """(N, h, w) bool: where anybody is."""
    if logits.shape[1] == 1:
        return logits[:, 0] > threshold
    return logits[:, 1:].amax(1) > logits[:, 0]


@dataclass(frozen=True)
class _Patch:
    logits: Tensor
    """(1, C, h, w)"""
    weight: Tensor
    """(1, 1, h, w): 1 in the middle, falling towards the border."""
    where: tuple[slice, slice, slice, slice]


def _times_finer(logits: Tensor, larger: float) -> int:
    """As many times as the nearest look is larger, about, so that the frames of a clip have logits of few sizes."""
    cells = logits.shape[2] * logits.shape[3]
    possible = [times for times in _TIMES if cells * times * times <= _MOST_CELLS] or [1]
    return next((times for times in possible if times >= larger), possible[-1])


def _agrees(whole: Tensor, patch: _Patch, threshold: float) -> bool:
    middle = patch.weight[:, 0] >= 1
    there, found = (foreground(logits, threshold) & middle for logits in (whole, patch.logits))
    was, kept, now = torch.stack((there.sum(), (there & found).sum(), found.sum())).tolist()
    return bool(kept >= _AGREE * was or was - kept <= now)


def _patch(whole: PendingBatch, look: Look, found: Tensor) -> _Patch | None:
    """What a look saw, on the grid of the whole picture's logits; None where it lies between its cells."""
    size = (whole.logits.shape[2], whole.logits.shape[3])
    to, of = whole.places[0], look.place
    to_region = to.region(whole.spec, size) or (0.0, 0.0, *map(float, size))
    of_size = (found.shape[1], found.shape[2])
    of_region = of.region(look.spec, of_size) or (0.0, 0.0, *map(float, of_size))
    device = found.device
    rows, columns = (
        _axis(
            (to_region[side], to_region[side + 2], size[side]),
            (of_region[side], of_region[side + 2], of_size[side]),
            [(box.top, box.height) if side == 0 else (box.left, box.width) for box in (to.seen, of.seen)],
            device,
        )
        for side in (0, 1)
    )
    if rows is None or columns is None:
        return None
    height, width = len(rows[0]), len(columns[0])
    grid = torch.stack((columns[0].expand(height, width), rows[0][:, None].expand(height, width)), -1)[None]
    logits = F.grid_sample(found[None].float(), grid, padding_mode="border", align_corners=False)
    frame = whole.frames[0].size
    fade_down = _fading(height, of.seen.top > 0, of.seen.top + of.seen.height < frame[0], device)
    fade_across = _fading(width, of.seen.left > 0, of.seen.left + of.seen.width < frame[1], device)
    weight = torch.minimum(fade_down[:, None], fade_across[None])[None, None]
    return _Patch(logits, weight, (slice(None), slice(None), rows[1], columns[1]))


def _axis(
    to: tuple[float, float, int],
    of: tuple[float, float, int],
    seen: Sequence[tuple[int, int]],
    device: torch.device,
) -> _Axis | None:
    """Along one side: `to` and `of` are (start, length, cells) of what shows `seen`, (first, pixels) of the picture."""
    (whole_first, whole_pixels), (first, pixels) = seen
    cells_a_pixel = to[1] / whole_pixels
    begin = to[0] + (first - whole_first) * cells_a_pixel
    end = begin + pixels * cells_a_pixel
    low, high = max(0, math.ceil(begin - 0.5)), min(to[2], math.floor(end - 0.5) + 1)
    if high <= low:
        return None
    centres = (torch.arange(low, high, device=device, dtype=torch.float32) + 0.5 - begin) / (end - begin)
    # What lies beyond the outermost cells of the picture's part is the mean colour's.
    inside = (of[0] + centres * of[1]).clamp(of[0] + 0.5, max(of[0] + 0.5, of[0] + of[1] - 0.5))
    return inside / of[2] * 2 - 1, slice(low, high)


def _fading(cells: int, at_start: bool, at_end: bool, device: torch.device) -> Tensor:
    """(cells,): 1 but towards those ends that are not the picture's own."""
    place = (torch.arange(cells, device=device, dtype=torch.float32) + 0.5) / (cells * _FADE)
    weight = torch.ones_like(place)
    if at_start:
        weight = torch.minimum(weight, place)
    return torch.minimum(weight, place.flip(0)) if at_end else weight
