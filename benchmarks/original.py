"""The baseline: what the original program does with each photo, plainly and in sequence, with its own outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from sapiens_stream.classes import SAPIENS
from sapiens_stream.models.model import InputSpec

Forward = Callable[[torch.Tensor], torch.Tensor]


def preprocess(bgr: np.ndarray, spec: InputSpec) -> torch.Tensor:
    """(3, height, width) float32: stretched, RGB, normalised."""
    resized = cv2.resize(bgr, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
    pixels = torch.from_numpy(resized[:, :, ::-1].transpose(2, 0, 1).copy()).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return (pixels - mean) / std


def class_map(logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """(H, W) int64: every logit brought to the photo's size, then the largest."""
    return F.interpolate(logits[None].float(), size=size, mode="bilinear").argmax(1)[0].numpy()


def paint(bgr: np.ndarray, classes: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """[photo | overlay], BGR, the colours put in a class at a time."""
    colours = np.zeros_like(bgr)
    for label in np.unique(classes):
        colours[classes == label] = SAPIENS.palette[label][::-1]
    overlay = (bgr * (1 - opacity) + colours * opacity).astype(np.uint8)
    return np.hstack([bgr, overlay])


@torch.inference_mode()
def segment_photos(
    forward: Forward, spec: InputSpec, photos: Sequence[Path], folder: Path, batch_size: int = 4
) -> None:
    """Photos to `NAME.png`, `NAME.npy` and `NAME_seg.npy`."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(photos), batch_size):
        names = photos[start : start + batch_size]
        pictures = [cv2.imread(str(name)) for name in names]
        logits = forward(torch.stack([preprocess(picture, spec) for picture in pictures])).cpu()
        for name, picture, one in zip(names, pictures, logits, strict=True):
            classes = class_map(one, picture.shape[:2])
            np.save(folder / f"{name.stem}.npy", classes > 0)
            np.save(folder / f"{name.stem}_seg.npy", classes)
            cv2.imwrite(str(folder / f"{name.stem}.png"), paint(picture, classes))
