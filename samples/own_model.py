"""Frames into a model of your own: each person's pixels, cut out, in batches for a network that expects crops.

    python samples/own_model.py clip.mp4

Replace `Embedding` by yours. The class maps are at the picture's own size, so a cut-out loses nothing to resizing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

import cv2
import numpy as np
import torch
from torch import nn

from sapiens_stream import Result, SapiensStreamError, segment

SIZE = (256, 128)  # height, width
BATCH = 8


class Embedding(nn.Module):
    """Stands for your network: the mean colour of four bands from head to feet, 12 numbers a crop."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float from 0 to 1, black around the person, to (N, 12)."""
        person = (crops.sum(1, keepdim=True) > 0).float()
        bands = nn.functional.adaptive_avg_pool2d(torch.cat([crops, person], 1), (4, 1))[..., 0]
        return (bands[:, :3] / bands[:, 3:].clamp_min(1e-6)).flatten(1)


def cut_out(result: Result) -> np.ndarray | None:
    """What the picture holds of people, the rest black, resized to SIZE; None where there is nobody."""
    mask = result.mask().astype(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    part = (slice(y, y + height), slice(x, x + width))
    return cv2.resize(result.frame.rgb[part] * mask[part][..., None], SIZE[::-1], interpolation=cv2.INTER_AREA)


def embeddings(source: str, network: nn.Module) -> Iterator[tuple[float, torch.Tensor]]:
    """The time of each frame that somebody is in, and what the network makes of it. Memory stays flat."""
    found = ((result, crop) for result in segment(source) if (crop := cut_out(result)) is not None)
    while batch := list(islice(found, BATCH)):
        crops = torch.from_numpy(np.stack([crop for _, crop in batch])).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            for (result, _), vector in zip(batch, network(crops), strict=True):
                yield float(result.frame.time or 0), vector


def main(source: str, most: int | None = None) -> None:
    for time, vector in islice(embeddings(source, Embedding().eval()), most):
        print(f"{time:7.2f} s  " + " ".join(f"{value:.2f}" for value in vector.tolist()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python samples/own_model.py SOURCE")
    try:
        main(sys.argv[1])
    except SapiensStreamError as error:  # what its user can mend
        sys.exit(f"error: {error}")
