"""Sapiens2: weights alone, or a folder of transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sapiens_stream.classes import FOREGROUND, SAPIENS2
from sapiens_stream.errors import ModelError
from sapiens_stream.models.families.family import Family, HubFile, Published
from sapiens_stream.models.licences import SAPIENS2_LICENCE
from sapiens_stream.models.normalisation import Normalisation
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.models.sapiens2.sizes import MATTING, is_matting, is_sapiens2

if TYPE_CHECKING:
    from sapiens_stream.models.checkpoint import Checkpoint
    from sapiens_stream.models.model import Network


def _published(size: str, parameters: int, tflop: float) -> Published:
    # The repositories hold the same weights once more as model.safetensors.
    file = HubFile(
        variant="safetensors", repository=f"facebook/sapiens2-seg-{size}", file=f"sapiens2_{size}_seg.safetensors"
    )
    return Published(
        name=f"sapiens2-{size}",
        classes=SAPIENS2,
        parameters=parameters,
        tflop=tflop,
        licence=SAPIENS2_LICENCE,
        files=(file,),
    )


def _recognise(checkpoint: Checkpoint) -> bool:
    if checkpoint.format != "safetensors" or _is_matting(checkpoint):
        return False
    return checkpoint.path.is_dir() or is_sapiens2(checkpoint.shapes)


def _is_matting(checkpoint: Checkpoint) -> bool:
    from sapiens_stream.models.sapiens2.opening import shapes_of  # torch takes seconds to load

    if checkpoint.format != "safetensors":
        return False
    if not checkpoint.path.is_dir():
        return is_matting(checkpoint.shapes)
    try:
        return is_matting(shapes_of(checkpoint.path))
    except ModelError:  # which the segmentation family, whose folders most are, tells
        return False


def _open(checkpoint: Checkpoint, options: ModelOptions) -> Network:
    from sapiens_stream.models.sapiens2.opening import open_sapiens2

    return open_sapiens2(checkpoint.path, options.shape)


def _open_matting(checkpoint: Checkpoint, options: ModelOptions) -> Network:
    from sapiens_stream.models.sapiens2.opening import open_sapiens2

    return open_sapiens2(checkpoint.path, options.shape, MATTING)


SAPIENS2_FAMILY = Family(
    name="sapiens2",
    run_by="transformers' Sapiens2 network",
    recognise=_recognise,
    open=_open,
    classes=SAPIENS2,
    normalisation=Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    licence=SAPIENS2_LICENCE,
    published=(
        _published("0.4b", 398_000_000, 3.59),
        _published("0.8b", 818_000_000, 6.80),
        _published("1b", 1_462_000_000, 11.54),
        _published("5b", 5_071_000_000, 36.7),
    ),
)
SAPIENS2_MATTING_FAMILY = replace(
    SAPIENS2_FAMILY,
    name="sapiens2-matting",
    run_by="transformers' Sapiens2 matting network",
    recognise=_is_matting,
    open=_open_matting,
    classes=FOREGROUND,
    published=(
        Published(
            name="sapiens2-matting-1b",
            classes=FOREGROUND,
            parameters=1_462_000_000,
            tflop=None,
            licence=SAPIENS2_LICENCE,
            files=(
                HubFile(
                    variant="safetensors",
                    repository="facebook/sapiens2-matting-1b",
                    file="sapiens2_1b_matting.safetensors",
                ),
            ),
        ),
    ),
)
"""How opaque people are: its one channel is an alpha, and the class map is foreground where that is a half or more."""
