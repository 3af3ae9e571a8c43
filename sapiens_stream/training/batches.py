"""Composites in batches, as the network takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import IterableDataset

from sapiens_stream.models.builtin import INPUT
from sapiens_stream.training.backgrounds import load_backgrounds
from sapiens_stream.training.compose import Composer
from sapiens_stream.training.photos import StreetPhotos
from sapiens_stream.training.plan import Plan
from sapiens_stream.training.shards import Cutouts

ASPECTS = (0.57, 0.67, 0.78, 1.0, 1.25, 1.4, 1.75)
"""Widths over heights of the batches; one a batch, each of about the same number of pixels."""

Batch = tuple[torch.Tensor, torch.Tensor]


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
        composer = Composer(*self.data, int(np.random.SeedSequence(seed).generate_state(1)[0]), self.photos)
        (low, high), (first, last) = self.plan.levels, self.plan.sides
        while True:
            aspect = composer.rng.choice(ASPECTS)
            progress = float(self.progress)
            side = (first + (last - first) * progress) * composer.rng.choice([0.85, 1.0, 1.0, 1.2])
            height, width = (max(96, round(side * k / 32) * 32) for k in (aspect**-0.5, aspect**0.5))
            level = low + (high - low) * min(1.0, progress / 0.6)
            pairs = [composer.draw(height, width, level * composer.rng.uniform(0.5, 1)) for _ in range(self.plan.batch)]
            images, labels = zip(*pairs, strict=True)
            yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB to what the network takes."""
    pixels = images.permute(0, 3, 1, 2).float()
    mean, std = torch.tensor(INPUT.mean), torch.tensor(INPUT.std)
    return ((pixels - mean[:, None, None]) / std[:, None, None]).contiguous(memory_format=torch.channels_last)
