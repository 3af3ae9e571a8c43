"""Pictures varied where they lie, on whatever device: mirrored, cropped and turned, people added, colour, light, grain.

So that a picture that was costly to compose teaches more than once. Nothing here waits for the device.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from sapiens_stream.training.joints import MIRRORED
from sapiens_stream.training.labels import IGNORE
from sapiens_stream.training.targets import LEFT_RIGHT

Pair = tuple[torch.Tensor, torch.Tensor]
"""(N, 3, H, W) float32, 0..255, and (N, 3, H / 2, W / 2) uint8: targets, joints, and whether two are a moment apart."""

ZOOM = 1.5
"""How much nearer a varied picture is seen, at most."""
UNMOVED = 0.3
"""Share of the pictures that are resampled by no more than a mirror, which are as sharp as they were."""
GUESTS = 0.2
"""Share of the pictures into which the people of another one step."""
SEAM = 5
"""As wide as what is ignored between two parts of a photographed person, in the targets' pixels, or wider."""
MOVED = 8
"""How far a picture moves between two frames, at most, in the labels' pixels."""
RIM = 8
"""Of what is said near the edges, the labels' pixels that do not count."""
CROWDED = 0.35
"""Share of a picture that is people from which on they are not pasted into another: they would hide it."""


def varied(images: torch.Tensor, targets: torch.Tensor) -> Pair:
    """(N, H, W, 3) uint8 and their targets, changed at random: moved two by two, as they came, lit one by one."""
    pixels = images.permute(0, 3, 1, 2).float()
    pixels, targets = with_guests(pixels, targets)
    pixels, targets = moved(pixels, targets)
    return shot(pixels), targets


def moved(pixels: torch.Tensor, targets: torch.Tensor) -> Pair:
    """Mirrored, and seen nearer, stretched and turned, within what each picture shows. Sides follow the mirror."""
    count, _, height, width = pixels.shape
    device, aspect = pixels.device, width / height
    chance = _for_both(torch.rand(4, (count + 1) // 2, device=device), count)
    mirror = torch.where(chance[0] < 0.5, -1.0, 1.0)
    still = chance[1] < UNMOVED
    leaning, stretched = _for_both(torch.randn(2, (count + 1) // 2, device=device), count)
    turn = torch.where(still, 0, leaning * math.radians(4))
    nearer = torch.where(still, 0, math.log(ZOOM) * chance[2] ** 2)
    stretch = torch.where(still, 0, 0.08 * stretched)
    wide, high = torch.exp(-nearer + stretch / 2), torch.exp(-nearer - stretch / 2)
    cosine, sine = turn.cos(), turn.sin()
    # Half the extent of what is seen, in halves of the picture; where it would reach beyond, it is seen nearer yet.
    reach = torch.stack([cosine * wide + sine.abs() * high / aspect, sine.abs() * wide * aspect + cosine * high])
    fit = reach.amax(0).clamp(min=1)
    slack = (1 - reach / fit).clamp(min=0)
    shift = slack * (2 * _for_both(torch.rand(2, (count + 1) // 2, device=device), count) - 1)
    across, down = wide / fit, high / fit
    rows = [cosine * across * mirror, -sine * down / aspect, shift[0], sine * across * aspect * mirror, cosine * down]
    matrix = torch.stack([*rows, shift[1]], 1).view(count, 2, 3)
    seen = _sampled(pixels, matrix, "bilinear", "reflection")
    found = _sampled(targets.float(), matrix, "nearest", "border").long()
    swapped = torch.stack([table[codes] for table, codes in zip(_mirrored(device), found.unbind(1), strict=True)], 1)
    return seen, torch.where((mirror < 0)[:, None, None, None], swapped, found).to(torch.uint8)


def with_guests(pixels: torch.Tensor, targets: torch.Tensor) -> Pair:
    """Some pictures with the people of their neighbours in the batch before their own, shifted aside."""
    count, _, _, width = pixels.shape
    guests = 2 * round(count * GUESTS / 2)
    if guests == 0 or count < 4:
        return pixels, targets
    side, far = _for_both(torch.rand(2, guests // 2, device=pixels.device), guests)
    cells = width // 2
    shift = torch.where(side < 0.5, -1.0, 1.0) * (cells * (0.15 + 0.4 * far)).round() * 2 / cells
    matrix = torch.eye(2, 3, device=pixels.device).repeat(guests, 1, 1)
    matrix[:, 0, 2] = shift
    theirs, both = pixels.roll(2, 0)[:guests], targets.roll(2, 0)[:guests]
    moved_in = _sampled(theirs, matrix, "bilinear", "zeros")
    both = _sampled(both.float(), matrix, "nearest", "zeros").to(torch.uint8)
    codes = both[:, 0]
    person = (codes > 0) & ((codes > 0).float().mean((1, 2)) < CROWDED)[:, None, None]
    # What is ignored at the edges of people in photographs is no part of them, but what is between their parts is.
    sure = (person & (codes != IGNORE)).float()[:, None]
    closed = -F.max_pool2d(-F.max_pool2d(sure, SEAM, 1, SEAM // 2), SEAM, 1, SEAM // 2)
    inner = F.interpolate(closed * person[:, None], scale_factor=2)
    alpha = (2 * F.avg_pool2d(inner, 3, 1, 1) - 0.5).clamp(0, 1)  # half of them where the targets change
    mixed = torch.lerp(pixels[:guests], moved_in, alpha)
    shown = torch.where(person[:, None], both, targets[:guests])
    return torch.cat([mixed, pixels[guests:]]), torch.cat([shown, targets[guests:]])


def shot(pixels: torch.Tensor) -> torch.Tensor:
    """In other light and colour, with grain, as the next picture of the same camera may be."""
    count, device = len(pixels), pixels.device

    def each(spread: float, channels: int = 1) -> torch.Tensor:
        return spread * torch.randn(count, channels, 1, 1, device=device)

    mean = pixels.mean((2, 3), keepdim=True)
    lit = mean + (pixels - mean) * each(0.12).exp()
    grey = lit.mean(1, keepdim=True)
    coloured = torch.lerp(grey, lit, (1 + each(0.2)).clamp(min=0))
    exposed = coloured * (each(0.15) + each(0.04, 3)).exp()
    grain = torch.randn_like(exposed) * (6 * torch.rand(count, 1, 1, 1, device=device) - 2).clamp(min=0)
    return (exposed + grain).clamp(0, 255)


def seen_again(pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
    """Pictures as the next frame of a video might show them, and by how much they moved: rows and columns."""
    down, across = (2 * int(step) for step in torch.randint(-MOVED, MOVED + 1, (2,)))
    light = (0.03 * torch.randn(len(pixels), 1, 1, 1, device=pixels.device)).exp()
    return (pixels.roll((down, across), (2, 3)) * light + 3 * torch.randn_like(pixels)).clamp(0, 255), (down, across)


def disagreement(before: torch.Tensor, after: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
    """Mean divergence of what is said of the same things, from logits at half the pictures' size; not at the edges,
    where other things came into view."""
    rows, columns = (step // 2 for step in shift)
    edge = MOVED + RIM
    first, second = (logits[..., edge:-edge, edge:-edge] for logits in (before.roll((rows, columns), (2, 3)), after))
    return _divergence(first, second).mean()


def unsteadiness(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean divergence of what is said of two pictures a moment apart, where the same is right in both; 0 if there are
    none. (N, classes, h, w) logits with (N, 3, h, w) targets, two by two."""
    count = len(logits) // 2 * 2
    first, second = logits[:count:2], logits[1:count:2]
    before, after = targets[:count:2], targets[1:count:2]
    same = (before[:, 0] == after[:, 0]) & (before[:, 2] > 0) & (after[:, 2] > 0)
    return (_divergence(first, second) * same).sum() / same.sum().clamp(min=1)


def _divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(N, h, w): half the sum of both Kullback-Leibler divergences, of (N, classes, h, w) logits."""
    first, second = first.log_softmax(1), second.log_softmax(1)
    return ((first.exp() - second.exp()) * (first - second)).sum(1) / 2


def _for_both(drawn: torch.Tensor, count: int) -> torch.Tensor:
    """What was drawn for each two pictures, (..., (count + 1) // 2), for each of `count`."""
    return drawn.repeat_interleave(2, -1)[..., :count]


def _sampled(pictures: torch.Tensor, matrix: torch.Tensor, mode: str, beyond: str) -> torch.Tensor:
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode=mode, padding_mode=beyond, align_corners=False)


@cache
def _mirrored(device: torch.device) -> torch.Tensor:
    """(3, 256): what targets and joints become in a mirror, and what stays."""
    return torch.from_numpy(np.stack([LEFT_RIGHT, MIRRORED, np.arange(256, dtype=np.uint8)])).to(device).long()
