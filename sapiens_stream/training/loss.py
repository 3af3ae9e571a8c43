"""What training minimises: cross-entropy with one class or a set of classes, guesses within sets, and overlap."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.labels import IGNORE
from sapiens_stream.training.shards import Cutouts
from sapiens_stream.training.targets import ALLOWED, GUESS

WEIGHT_LIMITS = (0.5, 4.0)
"""Of a class in the loss: rare ones count more, within reason."""
GUESSED = 1.0
"""Weight of the guesses which part of a set it is: with 0.3 lips, and the skin below a neck, were forgotten."""
NEVER = -1e4
"""The logarithm of a chance that counts as nothing."""


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
    chance, and a share of the same of what is guessed among them, whose sides are summed too.

    What the loss adds for rare classes is in the logits that it sees, so that the network's own give the classes
    their true chances (logit adjustment: Menon et al., 2021). Where sets are given, every pixel counts the same, and
    the logits are the network's own: else hands and lips would be taught away wherever a photograph says "skin".

    Nothing in it waits for the device: every pixel goes the same way, and a table tells how much it counts.
    """
    allowed, guess, several = _tables(logits.device)
    codes = targets.flatten()
    exact = codes < len(SAPIENS)
    own = logits.movedim(1, -1).flatten(0, 2)
    logarithms = F.log_softmax(torch.where(exact[:, None], own + weights.log(), own), 1)
    counts = torch.cat([weights, several])[codes]
    right, guessed = allowed[codes], guess[codes]
    of_set = _summed(logarithms, right)
    of_guess = torch.where(guessed.any(1), _summed(logarithms, guessed) - of_set, 0)
    total = (counts * of_set).sum() + GUESSED * of_guess.sum()
    return -total / counts.sum().clamp(min=1) + 0.5 * _dice(logarithms, right & exact[:, None])


@cache
def _tables(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ALLOWED, GUESS, and what a pixel of each target that is not a class counts: nothing where it is ignored."""
    several = torch.ones(len(ALLOWED) - len(SAPIENS))
    several[IGNORE - len(SAPIENS)] = 0
    return torch.from_numpy(ALLOWED).to(device), torch.from_numpy(GUESS).to(device), several.to(device)


def _summed(logarithms: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The logarithm of the summed chances of the classes chosen of each pixel, of (pixels, classes) both."""
    return torch.logsumexp(logarithms.masked_fill(~chosen, NEVER), 1)


def _dice(logarithms: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean Dice loss of the classes present, of (pixels, classes) both, among the pixels that `truth` gives a class."""
    chances = logarithms.exp() * truth.any(1, keepdim=True)
    both, pixels = (chances * truth).sum(0), truth.sum(0)
    present = pixels > 20
    missed = 1 - (2 * both + 1) / (chances.sum(0) + pixels + 1)
    return (missed * present).sum() / present.sum().clamp(min=1)
