"""The network that ships with the package, whichever file of weights it has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_stream.classes import SAPIENS
from sapiens_stream.models.families.family import Family
from sapiens_stream.models.licences import APACHE
from sapiens_stream.models.normalisation import Normalisation
from sapiens_stream.models.options import ModelOptions

if TYPE_CHECKING:
    from sapiens_stream.models.checkpoint import Checkpoint
    from sapiens_stream.models.model import Network

BUILTIN = "builtin"
BUILTIN_WEIGHTS = Path(__file__).parents[1] / "builtin" / "weights.safetensors"
BUILTIN_PARAMETERS = 3_707_436
NORMALISATION = Normalisation((127.5, 127.5, 127.5), (58.0, 58.0, 58.0))

_TENSORS = ("stem.0.weight", "stages.6.0.steps.0.weight", "ups.3.mix.0.weight", "head.weight")


def _recognise(checkpoint: Checkpoint) -> bool:
    if checkpoint.format != "safetensors" or checkpoint.path.is_dir():
        return False
    return checkpoint.shapes.keys() >= set(_TENSORS)


def _open(checkpoint: Checkpoint, options: ModelOptions) -> Network:
    from sapiens_stream.models.builtin import open_builtin  # torch takes seconds to load

    return open_builtin(checkpoint.path, options.shape)


BUILTIN_FAMILY = Family(
    name=BUILTIN,
    run_by="this program's built-in network",
    recognise=_recognise,
    open=_open,
    classes=SAPIENS,
    normalisation=NORMALISATION,
    licence=APACHE,
)
