"""Composites in batches, as the network takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import IterableDataset

from sapiens_stream.models.builtin import INPUT
from sapiens_stream.training.backgrounds import load_backgrounds
from sapiens_stream.training.compose import Composer, Picture
from sapiens_stream.training.photos import StreetPhotos
from sapiens_stream.training.plan import Plan
from sapiens_stream.training.shards import Cutouts

ASPECTS = (0.57, 0.67, 0.78, 1.0, 1.25, 1.4, 1.75)
"""Widths over heights of the batches; one a batch, each of about the same number of pixels."""
SCALES = (0.85, 1.0, 1.0, 1.2)
"""Of a batch's sides, at random."""
FEW_SHAPES = ((0.7, 1.0), (1.4, 0.85), (1.75, 0.7))
"""The same where pictures are varied on a device, and their scale. cuDNN plans its work anew for each shape of a batch,
for 10 to 20 seconds: few shapes, which stay the same to the end. Wide pictures are mostly frames of clips, which are
seen at fewer pixels than photos; the last is how `video` shows a frame of 16:9 to the network, with 432 for a side."""

PIECE = 16
"""Pictures that come at once where batches are drawn of what several workers composed. Even: they come in twos."""
TRIES = 20
"""Pictures in a row that may fail before it is not the picture's fault."""

T = TypeVar("T")
Batch = tuple[torch.Tensor, torch.Tensor]
"""(N, H, W, 3) uint8 pictures and (N, 3, H / 2, W / 2) uint8: targets, joints, and whether two pictures, the first and
second, the third and fourth and so on, are a moment apart."""


class Composites(IterableDataset[Batch]):
    """Endless batches; each worker draws its own. `progress` (shared, 0..1) sets how hard the pictures are."""

    def __init__(self, plan: Plan, progress: torch.Tensor) -> None:
        self.plan, self.progress = plan, progress
        self.photos = StreetPhotos(*plan.photos) if plan.photos is not None else None
        backgrounds = load_backgrounds(plan.backgrounds)
        if self.photos is not None:
            backgrounds = replace(backgrounds, photos=(*backgrounds.photos, *self.photos.backgrounds()))
        self.data = Cutouts(plan.cutouts, held_out=False), backgrounds

    def __iter__(self) -> Iterator[Batch]:
        worker = torch.utils.data.get_worker_info()
        seed = [self.plan.seed, worker.id if worker else 0, int(self.progress * 1e6)]
        drawn_from = int(np.random.SeedSequence(seed).generate_state(1)[0])
        composer = Composer(*self.data, drawn_from, self.photos, self.plan.shares)
        (low, high), (first, last) = self.plan.levels, self.plan.sides
        count = PIECE if self.plan.echo else self.plan.batch
        while True:
            progress = float(self.progress)
            if self.plan.echo:
                aspect, scale = composer.rng.choice(FEW_SHAPES)
                side = last * scale
            else:
                aspect = composer.rng.choice(ASPECTS)
                side = (first + (last - first) * progress) * composer.rng.choice(SCALES)
            height, width = (max(96, round(side * k / 32) * 32) for k in (aspect**-0.5, aspect**0.5))
            level = low + (high - low) * min(1.0, progress / 0.6)
            twos = (two(composer, height, width, level) for _ in range((count + 1) // 2))
            images, labels = zip(*islice(chain.from_iterable(twos), count), strict=True)
            yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def two(composer: Composer, height: int, width: int, level: float) -> list[Picture]:
    """Two pictures up to as hard as `level`, with all three planes of labels: a moment apart, or strangers."""
    rng = composer.rng
    moments = rng.random() < composer.shares.moments
    if moments:
        both = drawn(composer.moments, height, width, level * rng.uniform(0.5, 1))
    else:
        first, second = (drawn(composer.draw, height, width, level * rng.uniform(0.5, 1)) for _ in range(2))
        both = first, second
    return [(image, np.concatenate([label, np.full_like(label[:1], moments)])) for image, label in both]


def drawn(draw: Callable[[int, int, float], T], height: int, width: int, level: float) -> T:
    """What is composed; something else where that could not be made, so that hours do not end at one picture."""
    failures = 0
    while True:
        try:
            return draw(height, width, level)
        except Exception as error:
            failures += 1
            if failures == TRIES:
                raise
            print(f"a picture could not be composed: {error!r}", flush=True)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB to what the network takes."""
    return standardised(images.permute(0, 3, 1, 2).float())


def standardised(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) RGB, 0..255, to what the network takes."""
    mean, deviation = _statistics(pixels.device)
    return ((pixels - mean) / deviation).contiguous(memory_format=torch.channels_last)


@cache
def _statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(INPUT.mean, device=device)[:, None, None], torch.tensor(INPUT.std, device=device)[:, None, None]
