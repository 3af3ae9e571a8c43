"""Makes small checkpoints whose answer is known: a pixel in the colour of a class belongs to that class."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sapiens_stream.classes import numbered
from sapiens_stream.models.families.sapiens import SAPIENS_NORMALISATION
from sapiens_stream.models.manifest import NAME

Shape = tuple[int, int]


class NearestColour(nn.Module):
    """Scores a class by how near its colour is: logits 2 c.x - c.c for a pixel x and colours c, both normalised.

    One channel scores brightness: positive above mid-grey. `place`, of the input's size and zero, refuses any other
    size as a learned position embedding does; `batch` refuses any other batch as a careless trace does. `returns` is
    how the logits leave: "tensor", "tuple", "dict", or wrongly as "tokens", "pair" or "ids".
    """

    def __init__(self, channels: int, shape: Shape | None, stride: int, batch: int | None, returns: str) -> None:
        super().__init__()
        colours = torch.from_numpy(numbered(max(2, channels)).palette[:channels].astype("float32"))
        colours = (colours - torch.tensor(SAPIENS_NORMALISATION.mean)) / torch.tensor(SAPIENS_NORMALISATION.std)
        if channels == 1:
            colours, offsets = torch.ones(1, 3), torch.zeros(1)
        else:
            offsets = -(colours**2).sum(1)
        self.score = nn.Conv2d(3, channels, 1)
        self.score.weight = nn.Parameter(2 * colours[:, :, None, None])
        self.score.bias = nn.Parameter(offsets)
        self.place = nn.Parameter(torch.zeros(1, 1, *shape)) if shape else None
        self.stride, self.batch, self.returns = stride, batch, returns

    def forward(self, pixels: torch.Tensor) -> Any:
        if self.place is not None:
            pixels = pixels + self.place
        logits = self.score(functional.avg_pool2d(pixels, self.stride))
        if self.batch is not None:
            logits = logits.reshape(self.batch, *logits.shape[1:])
        match self.returns:
            case "tuple":
                return (logits,)
            case "dict":
                return {"features": logits.mean(1), "logits": logits}
            case "tokens":
                return logits.flatten(2)
            case "pair":
                return logits, logits * 2
            case "ids":
                return logits.argmax(1, keepdim=True)
        return logits


def tiny_torchscript(
    path: Path,
    *,
    channels: int = 28,
    shape: Shape = (256, 192),
    stride: int = 2,
    fixed_shape: bool = False,
    batch: int = 1,
    fixed_batch: bool = False,
    dtype: torch.dtype = torch.float32,
    returns: str = "tensor",
    frozen: bool = False,
    known: bool = False,
) -> Path:
    """Writes a traced TorchScript file; `frozen` leaves the record of its input out.

    Where it is `known`, the file says its classes and its normalisation itself, as our exports do.
    """
    net = NearestColour(channels, shape if fixed_shape else None, stride, batch if fixed_batch else None, returns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.zeros(batch, 3, *shape, dtype=dtype)
        module = torch.jit.trace(net.to(dtype).eval(), example, strict=False)
        extra = {NAME: _facts(channels)} if known else {}
        torch.jit.save(torch.jit.freeze(module) if frozen else module, str(path), _extra_files=extra)
    return path


def _facts(channels: int) -> str:
    """What a file says of itself: numbered classes, in the colours that the network tells apart."""
    classes = numbered(channels)
    return json.dumps(
        {
            "mean": SAPIENS_NORMALISATION.mean,
            "std": SAPIENS_NORMALISATION.std,
            "classes": classes.names,
            "title": classes.title,
            "colours": classes.colours,
        }
    )


def tiny_export(
    path: Path,
    *,
    channels: int = 28,
    shape: Shape = (256, 192),
    stride: int = 2,
    dynamic_batch: bool = True,
    most: int = 64,
    dynamic_shape: bool = False,
    dtype: torch.dtype = torch.bfloat16,
    returns: str = "tensor",
) -> Path:
    """Writes a torch.export program; `most` is the largest batch of a dynamic one."""
    net = NearestColour(channels, None, stride, None, returns).to(dtype).eval()
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=most)} if dynamic_batch else {}
    if dynamic_shape:
        free |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    example = torch.zeros(2 if dynamic_batch else 1, 3, *shape, dtype=dtype)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=(free,)), path)
    return path
