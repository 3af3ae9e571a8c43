"""The sizes of Sapiens, and which of them a file of weights is for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch

from sapiens_stream.errors import ModelError

Weight = TypeVar("Weight")
"""A tensor, or what stands for one."""
PATCH = 16
"""Pixels a side that make one token."""
UPSAMPLING = 8
"""Logits a token, each way."""

_PATCHES = "backbone.patch_embed.projection.weight"
_PLACES = "backbone.pos_embed"
_UPSAMPLED = "decode_head.deconv_layers.0.weight"
CLASSIFIER = "decode_head.conv_seg.weight"
_DIMENSIONS = {_PATCHES: 4, _PLACES: 3, _UPSAMPLED: 4, CLASSIFIER: 4}


@dataclass(frozen=True)
class Size:
    """What sets the published sizes apart; all have `head_channels` 768 and 28 classes or one."""

    dim: int
    layers: int
    heads: int


SIZES = {
    "0.3b": Size(1024, 24, 16),
    "0.6b": Size(1280, 32, 16),
    "1b": Size(1536, 40, 24),
    "2b": Size(1920, 48, 32),
    "toy": Size(96, 3, 6),  # of tests
}
_HEADS = {size.dim: size.heads for size in SIZES.values()}


@dataclass(frozen=True, kw_only=True)
class SapiensConfig:
    """What there is to know about a Sapiens network. `grid` is its input in tokens, (rows, columns)."""

    dim: int
    layers: int
    heads: int
    head_channels: int = 768
    classes: int = 28
    grid: tuple[int, int] = (64, 48)

    @classmethod
    def of(cls, size: str, *, classes: int = 28) -> SapiensConfig:
        """A published size, by its name in SIZES, at 1024x768."""
        chosen = SIZES[size]
        return cls(dim=chosen.dim, layers=chosen.layers, heads=chosen.heads, classes=classes)


def is_sapiens(weights: Mapping[str, Weight]) -> bool:
    """Whether these are the weights of a Sapiens segmentation network, by their names."""
    return _PATCHES in weights and _UPSAMPLED in weights


def published_names(weights: Mapping[str, Weight]) -> dict[str, Weight]:
    """The weights without what a wrapper put before their names (`module.`), and without those of preprocessing."""
    wrapped = next((name for name in weights if name.endswith(f".{_PATCHES}")), _PATCHES)
    prefix = wrapped.removesuffix(_PATCHES)
    bare = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    return {name: weight for name, weight in bare.items() if not name.startswith("data_preprocessor.")}


def infer_config(weights: Mapping[str, torch.Tensor]) -> SapiensConfig:
    """The configuration, from the shapes of the weights, by their published names.

    The number of heads does not show in a shape and follows from the width, the trained grid from the number of
    positions: 4 to 3, as for 1024x768, or square. Raises ModelError for what fits no Sapiens network.
    """
    missing = [name for name in _DIMENSIONS if name not in weights]
    if missing:
        raise ModelError(f"is a Sapiens checkpoint without {', '.join(missing)}")
    for name, dimensions in _DIMENSIONS.items():
        if weights[name].ndim != dimensions:
            raise ModelError(f"has a {name} of shape {tuple(weights[name].shape)}, which has {dimensions} dimensions")
    dim = weights[_PATCHES].shape[0]
    if dim not in _HEADS:
        raise ModelError(f"is a Sapiens checkpoint of width {dim}; those known are {', '.join(map(str, _HEADS))}")
    layers = [int(found[1]) for name in weights if (found := re.match(r"backbone\.layers\.([0-9]{1,9})\.", name))]
    if not layers:
        raise ModelError("is a Sapiens checkpoint without backbone.layers")
    if max(layers) > len(weights):
        raise ModelError(f"is a Sapiens checkpoint of {len(weights)} tensors, one of which is for layer {max(layers)}")
    return SapiensConfig(
        dim=dim,
        layers=max(layers) + 1,
        heads=_HEADS[dim],
        head_channels=weights[_UPSAMPLED].shape[1],
        classes=weights[CLASSIFIER].shape[0],
        grid=_grid(weights[_PLACES].shape[1]),
    )


def _grid(tokens: int) -> tuple[int, int]:
    unit = math.isqrt(tokens // 12)
    if tokens and unit * unit * 12 == tokens:
        return 4 * unit, 3 * unit
    side = math.isqrt(tokens)
    if tokens and side * side == tokens:
        return side, side
    raise ModelError(f"has {tokens} positions, which make no grid of 4 to 3 and no square")
