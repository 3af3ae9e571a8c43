"""Sapiens (v1) run by our own module, with the weights of any file that holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from sapiens_stream.classes import MAX_CLASSES
from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models.interface import Shape, naming
from sapiens_stream.models.model import Network
from sapiens_stream.models.sapiens.config import (
    PATCH,
    UPSAMPLING,
    SapiensConfig,
    infer_config,
    is_sapiens,
    published_names,
)
from sapiens_stream.models.sapiens.network import Sapiens

__all__ = ["Sapiens", "SapiensConfig", "is_sapiens", "open_sapiens", "published_names"]

_POSITIONS = "backbone.pos_embed"
_LISTED = 3


def open_sapiens(path: Path, weights: Mapping[str, torch.Tensor], shape: Shape | None = None) -> Network:
    """The network of the weights in the file `path`, whatever wraps them.

    `shape` is its input, (height, width), by default what the weights were trained with; for any other the position
    embedding is interpolated bicubically to the new grid. Weights are copied when the model is placed, and only if
    device or precision asks for it.

    Raises ModelError where weights are missing, left over or of another shape, with the first few of each; UsageError
    for a shape that is not of whole patches.
    """
    weights = published_names(weights)
    with naming(path):
        config = infer_config(weights)
        _require_fit(weights, config)
    if shape is not None:
        weights, config = _reshaped(weights, config, _tokens(shape, path))
    height, width = (PATCH * tokens for tokens in config.grid)

    def place(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        network = _without_weights(config)
        network.load_state_dict({name: weight.to(device, dtype) for name, weight in weights.items()}, assign=True)
        return network.eval().requires_grad_(False)

    return Network(
        kind="sapiens",
        channels=config.classes,
        size=(height, width),
        logits_size=(UPSAMPLING * config.grid[0], UPSAMPLING * config.grid[1]),
        place=place,
        dtype=weights["backbone.layers.0.attn.qkv.weight"].dtype,
        path=path,
    )


def _without_weights(config: SapiensConfig) -> Sapiens:
    with torch.device("meta"):
        return Sapiens(config)


def _require_fit(weights: Mapping[str, torch.Tensor], config: SapiensConfig) -> None:
    if not 1 <= config.classes <= MAX_CLASSES:
        raise ModelError(f"has {config.classes} classes; a class map holds 1 to {MAX_CLASSES}")
    wanted = _without_weights(config).state_dict()
    shared = [name for name in wanted if name in weights]
    wrong = {
        "missing": [name for name in wanted if name not in weights],
        "left over": [name for name in weights if name not in wanted],
        "misshapen": [
            f"{name} {tuple(weights[name].shape)} for {tuple(wanted[name].shape)}"
            for name in shared
            if weights[name].shape != wanted[name].shape
        ],
        "not floating point": [name for name in shared if not weights[name].is_floating_point()],
    }
    if any(wrong.values()):
        said = "; ".join(f"{len(names)} {how} ({_first(names)})" for how, names in wrong.items() if names)
        raise ModelError(f"does not hold the weights of a Sapiens network of {config.layers} layers: {said}")


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_LISTED]) + (", ..." if len(listed) > _LISTED else "")


def _tokens(shape: Shape, path: Path) -> tuple[int, int]:
    height, width = shape
    if height % PATCH or width % PATCH:
        raise UsageError(f"a shape of {height}x{width} (height x width); {path} takes multiples of {PATCH}")
    return height // PATCH, width // PATCH


def _reshaped(
    weights: Mapping[str, torch.Tensor], config: SapiensConfig, grid: tuple[int, int]
) -> tuple[Mapping[str, torch.Tensor], SapiensConfig]:
    """Weights and configuration for another input."""
    if grid == config.grid:
        return weights, config
    trained = weights[_POSITIONS].float().reshape(1, *config.grid, config.dim).permute(0, 3, 1, 2)
    positions = F.interpolate(trained, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    return {**weights, _POSITIONS: positions}, replace(config, grid=grid)
