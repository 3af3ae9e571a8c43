"""The small model that ships with the package: body parts with no download, fast without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import ModelError
from sapiens_stream.models.builtin.graph import onnx_graph
from sapiens_stream.models.builtin.network import BodyPartNet, fold_batch_norm
from sapiens_stream.models.families.builtin import BUILTIN, BUILTIN_FAMILY, BUILTIN_WEIGHTS, NORMALISATION
from sapiens_stream.models.knowledge import known
from sapiens_stream.models.model import InputSpec, Model, Network
from sapiens_stream.models.onnx_session import OnnxSession, onnx_session
from sapiens_stream.models.options import ModelOptions

INPUT = InputSpec(height=288, width=352, mean=NORMALISATION.mean, std=NORMALISATION.std)

PHOTO_DETAIL = 2.0
"""Times as many pixels of a photo: hands, hair and shoes gain much, and with more, groups and composites lose."""

STEP = 32
"""The network's coarsest grid, pixels."""

_FAR = 4  # times as many pixels as INPUT, or as few: bodies are then of a size that it was not made for


def load_builtin(*, shape: tuple[int, int] | None = None, weights: Path = BUILTIN_WEIGHTS) -> Model:
    """The built-in model of 28 classes (`sapiens_stream.classes.SAPIENS`); see `open_builtin`."""
    return known(BUILTIN, open_builtin(weights, shape), BUILTIN_FAMILY, None, ModelOptions())


def open_builtin(weights: Path, shape: tuple[int, int] | None = None) -> Network:
    """The built-in network with its weights in a file.

    Pictures are stretched to `shape` (height, width); where it is None they keep their aspect, at about as many pixels
    as INPUT has, photos at PHOTO_DETAIL times as many if they have them. Multiples of STEP use the network's grid best.
    Raises ModelError if the weights are missing or not this network's.
    """
    with torch.device("meta"):  # where no weights are drawn, which would move the program's random numbers on
        network = BodyPartNet(len(SAPIENS)).eval()
    try:
        network.load_state_dict(load_file(weights), assign=True)
        network.float()
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{weights} does not hold the built-in network's weights: {error}") from error
    fold_batch_norm(network)
    height, width = shape or (INPUT.height, INPUT.width)

    def place(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        # Channels last is the faster layout on a CPU and on tensor cores.
        placed = deepcopy(network).to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if dtype == torch.bfloat16:
            placed.head.float()  # logits of 8 bits would tie where classes meet
        return _ChannelsLast(placed)

    @cache
    def graph() -> bytes:
        return onnx_graph(network)

    def run_by_onnx(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Twice as fast as torch on a CPU."""
        session = onnx_session(graph) if device.type == "cpu" and dtype == torch.float32 else None
        if session is None:
            return None
        return _OnnxRunner(session, cache(lambda: place(device, dtype)))

    return Network(
        kind=BUILTIN,
        channels=len(SAPIENS),
        size=(height, width),
        logits_size=(-(-height // 2), -(-width // 2)),
        place=place,
        runner=run_by_onnx,
        dtype=torch.float16,
        aspect_step=None if shape else STEP,
        photo_detail=PHOTO_DETAIL,
        spread=True,
        path=weights,
    )


def unsuited_shape(model: Model) -> str | None:
    """What to say of a `shape` that the built-in model was not made for; None where it is no such model or shape."""
    height, width = model.input.height, model.input.width
    if (
        model.kind != "builtin"
        or INPUT.height * INPUT.width / _FAR <= height * width <= INPUT.height * INPUT.width * _FAR
    ):
        return None
    return (
        f"builtin was made for pictures of about {INPUT.height}x{INPUT.width} and finds little at {height}x{width};"
        " leave --shape (shape=) out, and it keeps each picture's aspect"
    )


class _ChannelsLast(nn.Module):
    """A network whose weights lie channels last, and which so wants its pixels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.network(pixels.contiguous(memory_format=torch.channels_last)))


class _OnnxRunner:
    """The graph where the input's sides are multiples of STEP, for which it is written; else torch."""

    def __init__(self, session: OnnxSession, by_torch: Callable[[], Callable[[torch.Tensor], torch.Tensor]]) -> None:
        self.session = session
        self._by_torch = by_torch

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        whole = pixels.shape[2] % STEP == 0 and pixels.shape[3] % STEP == 0
        return self.session(pixels) if whole else self._by_torch()(pixels)
