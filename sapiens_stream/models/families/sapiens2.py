"""Sapiens2: weights alone, or a folder of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sapiens_stream.classes import SAPIENS2
from sapiens_stream.models.families.family import Family, HubFile, Normalisation, Published
from sapiens_stream.models.licences import SAPIENS2_LICENCE
from sapiens_stream.models.options import ModelOptions

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
    from sapiens_stream.models.sapiens2 import is_sapiens2  # torch takes seconds to load

    if checkpoint.format != "safetensors":
        return False
    return checkpoint.path.is_dir() or is_sapiens2(checkpoint.shapes)


def _open(checkpoint: Checkpoint, options: ModelOptions) -> Network:
    from sapiens_stream.models.sapiens2 import open_sapiens2

    return open_sapiens2(checkpoint.path, options.shape)


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
