"""What training minimises: cross-entropy with one class or a set of classes, guesses within sets, and overlap."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.shards import Cutouts
from sapiens_stream.training.targets import ALLOWED, GUESS

WEIGHT_LIMITS = (0.5, 4.0)
"""Of a class in the loss: rare ones count more, within reason."""
GUESSED = 0.3
"""Weight of the guesses which part of a set it is."""
NEVER = -1e4
"""The logarithm of a chance that counts as nothing."""

_ALLOWED, _GUESS = torch.from_numpy(ALLOWED), torch.from_numpy(GUESS)


def class_weights(cutouts: Cutouts, samples: int = 400) -> torch.Tensor:
    """(classes,) by one over the fourth root of a class's share of the pixels, mean 1 before the limits."""
    rng = np.random.default_rng(0)
    counts = np.zeros(len(SAPIENS))
    for _ in range(samples):
        counts += np.bincount(cutouts.draw(rng).label.ravel(), minlength=len(SAPIENS))[: len(SAPIENS)]
    weights = (counts / counts.sum() + 1e-5) ** -0.25
    return torch.tensor(np.clip(weights / np.median(weights), *WEIGHT_LIMITS), dtype=torch.float32)


def loss_of(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Of (N, classes, H, W) logits with (N, H, W) targets: weighted cross-entropy, and half the Dice loss of the
    classes in the batch where a pixel's class is known; where it is one of several, minus the log of their summed
    chance, and a share of the same of what is guessed among them, whose sides are summed too."""
    logarithms = F.log_softmax(logits, 1).movedim(1, -1).flatten(0, 2)
    flat = targets.flatten()
    known = flat < len(SAPIENS)
    exact, truth = logarithms[known], flat[known]
    total = F.nll_loss(exact, truth, weights, reduction="sum")
    counted = weights[truth].sum()
    several = ~known & (flat != 255)
    if several.any():
        some, codes = logarithms[several], flat[several]
        of_set = _summed(some, _ALLOWED[codes])
        guessed = _GUESS[codes].any(1)
        of_guess = _summed(some[guessed], _GUESS[codes[guessed]]) - of_set[guessed]
        total = total - of_set.sum() - GUESSED * of_guess.sum()
        counted = counted + len(codes)
    return total / counted.clamp(min=1) + 0.5 * _dice(exact.exp(), truth)


def _summed(logarithms: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The logarithm of the summed chances of the classes chosen of each pixel, of (pixels, classes) both."""
    return torch.logsumexp(logarithms.masked_fill(~chosen, NEVER), 1)


def _dice(chances: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean Dice loss of the classes present, of (pixels, classes) chances."""
    both = torch.zeros(len(SAPIENS)).index_add(0, truth, chances.gather(1, truth[:, None])[:, 0])
    pixels = torch.bincount(truth, minlength=len(SAPIENS))
    present = pixels > 20
    if not present.any():
        return chances.sum() * 0
    return (1 - (2 * both + 1) / (chances.sum(0) + pixels + 1))[present].mean()
