"""Opens a Sapiens2 checkpoint, whose network is in the library `transformers`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch

from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models.formats import weights_file
from sapiens_stream.models.interface import DEFAULT_SHAPE, Shape, naming
from sapiens_stream.models.manifest import MOST_BYTES
from sapiens_stream.models.model import Network
from sapiens_stream.models.sapiens2.library import load_network, require_library
from sapiens_stream.models.sapiens2.sizes import MATTING, SEGMENTATION, Head, Shapes, Sizes
from sapiens_stream.models.weights import read_shapes

_MOST = 1e12
"""No setting is as large."""
_LEAST_ALPHA = 1e-6
"""So that the logit of what is opaque or clear is finite; less than a level of 16 bits."""


def shapes_of(path: Path) -> Shapes:
    """Of the tensors in a file, or in that of a folder which counts. Raises ModelError."""
    return read_shapes(weights_file(path))


def open_sapiens2(path: Path, shape: Shape | None = None, head: Head = SEGMENTATION) -> Network:
    """Opens a Sapiens2 safetensors file, or a folder of transformers (config.json and model.safetensors).

    The network's sizes are read off the tensors' shapes, so that the file alone will do; what they do not tell is
    taken from a config.json beside it, or is as published. `shape` is the (height, width) to feed it, 1024x768 unless
    given. No weights are read before the model is placed; nothing is fetched, no code of the checkpoint's is run. The
    logits of a matting network are one channel, those of its alpha.

    Raises ModelError for a file that is none or does not fit the network, and where transformers is missing, which it
    says how to install; UsageError for a shape that is not of whole patches.
    """
    file = weights_file(path)
    shapes = read_shapes(file)
    with naming(path):
        sizes = Sizes.of(shapes, head)
        require_library()
        settings = {**sizes.settings, **_told_beside(file)}
    height, width = shape or DEFAULT_SHAPE
    if height % sizes.patch or width % sizes.patch:
        raise UsageError(f"a shape of {height}x{width} (height x width); {path} takes multiples of {sizes.patch}")

    def place(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        with naming(path):
            network = load_network(file, settings | {"image_size": [height, width]}, dtype, head.network)
        return (_AlphaLogits if head is MATTING else _Logits)(network).to(device)

    return Network(
        kind="sapiens2" if head is SEGMENTATION else "sapiens2-matting",
        channels=1 if head is MATTING else sizes.classes,
        size=(height, width),
        logits_size=(height // sizes.patch * sizes.scale, width // sizes.patch * sizes.scale),
        place=place,
        dtype=torch.bfloat16,  # what the published weights were trained in; their files hold it as float32
        path=file,
    )


def _told_beside(file: Path) -> dict[str, Any]:
    """What a Sapiens2 config.json beside the weights says of what their shapes do not tell.

    Raises ModelError for what cannot be.
    """
    path = file.with_name("config.json")
    try:
        if not path.is_file():  # a pipe would be waited for
            return {}
        with path.open("rb") as opened:
            config = json.loads(opened.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(config, dict) or config.get("model_type") != "sapiens2":
        return {}
    return {name: read(name, config[name]) for name, read in _UNTOLD.items() if name in config}


def _activation(name: str, value: Any) -> str:
    from transformers.activations import ACT2FN

    if not isinstance(value, str) or value not in ACT2FN:
        raise ModelError(f"has a config.json that says {name} {str(value)[:40]!r}, which is no activation")
    return value


def _positive(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < _MOST:
        raise ModelError(f"has a config.json that says {name} {str(value)[:40]!r}, which cannot be")
    return float(value)


_UNTOLD: Mapping[str, Callable[[str, Any], Any]] = {
    "hidden_act": _activation,
    "rope_theta": _positive,
    "rms_norm_eps": _positive,
}
"""Settings that no tensor's shape tells, and how each is read."""


class _Logits(torch.nn.Module):
    """The network of the library, which returns more than logits."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.network(pixels).logits)


class _AlphaLogits(torch.nn.Module):
    """The same of a matting network: its alpha, as the logit whose probability it is. Its colours are not used."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.logit(cast(torch.Tensor, self.network(pixels).alphas).float(), eps=_LEAST_ALPHA)
