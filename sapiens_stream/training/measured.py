"""The network measured while it trains, by composites and photographs that training never sees."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sapiens_stream.training.batches import normalised
from sapiens_stream.training.evaluate import STREET, Agreement, UInt8Array, held_out
from sapiens_stream.training.labels import OURS, Labels
from sapiens_stream.training.photos import clothing_labels, held_out_photos
from sapiens_stream.training.plan import Plan

HELD_OUT_PICTURES = 48
SEEN_SHAPE = 384, 256
"""Height and width at which photographs of people are measured."""


class Measured:
    """What held-out composites and photographs say, measured alike each time."""

    def __init__(self, plan: Plan) -> None:
        self._pairs = held_out(plan.cutouts, plan.backgrounds, HELD_OUT_PICTURES)
        self._street = (
            (seen_small(held_out_photos(plan.photos[0])), clothing_labels(plan.photos[0])) if plan.photos else None
        )

    def say(self, network: nn.Module) -> None:
        found = agreement(network, self._pairs)
        print(
            f"held out: foreground {found.foreground:.3f}, mean {found.mean:.3f}, swapped {found.swapped:.3f}",
            flush=True,
        )
        if self._street is not None:
            print(street_line(agreement(network, *self._street)), flush=True)


@torch.inference_mode()
def agreement(network: nn.Module, pairs: Iterable[tuple[UInt8Array, UInt8Array]], labels: Labels = OURS) -> Agreement:
    """Of a network in eval mode with (image, label) pairs, at the labels' size."""

    device = next(network.parameters()).device

    def found(image: UInt8Array, label: UInt8Array) -> UInt8Array:
        logits = network(normalised(torch.from_numpy(image[None]).to(device)))
        return F.interpolate(logits, size=label.shape, mode="bilinear")[0].argmax(0).byte().cpu().numpy()

    return Agreement.of(((label, found(image, label)) for image, label in pairs), labels)


def seen_small(photos: Iterable[tuple[UInt8Array, UInt8Array]]) -> list[tuple[UInt8Array, UInt8Array]]:
    """The pictures at the shape for photographs of people, their labels as they are."""
    size = SEEN_SHAPE[::-1]
    return [
        (np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), label) for image, label in photos
    ]


def street_line(found: Agreement) -> str:
    groups = ", ".join(f"{name} {found.merged(names):.3f}" for name, names in STREET.items())
    return f"photographs: foreground {found.foreground:.3f}, right set {found.right_set:.3f}, {groups}"
