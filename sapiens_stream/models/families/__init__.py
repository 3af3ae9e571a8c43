"""The families of models, a row each. A new one is its own file here, and a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sapiens_stream.models.families.builtin import BUILTIN_FAMILY
from sapiens_stream.models.families.family import Family
from sapiens_stream.models.families.graph import GRAPH_FAMILY
from sapiens_stream.models.families.onnx import ONNX_FAMILY
from sapiens_stream.models.families.sapiens import FOREGROUND_FAMILY, FOREGROUND_GRAPH_FAMILY, SAPIENS_FAMILY
from sapiens_stream.models.families.sapiens import GRAPH_FAMILY as SAPIENS_GRAPH_FAMILY
from sapiens_stream.models.families.sapiens2 import SAPIENS2_FAMILY, SAPIENS2_MATTING_FAMILY

if TYPE_CHECKING:
    from sapiens_stream.models.checkpoint import Checkpoint

FAMILIES = (
    BUILTIN_FAMILY,
    SAPIENS_FAMILY,
    SAPIENS2_FAMILY,
    SAPIENS2_MATTING_FAMILY,
    FOREGROUND_FAMILY,
    SAPIENS_GRAPH_FAMILY,
    FOREGROUND_GRAPH_FAMILY,
    ONNX_FAMILY,
    GRAPH_FAMILY,
)
"""In the order in which a checkpoint is held against them, those that know most first; models are listed so."""


def family_of(checkpoint: Checkpoint, *, as_is: bool = False) -> Family | None:
    """The family that recognises a checkpoint; with `as_is` one that runs the graph in the file. None if none does."""
    return next((each for each in FAMILIES if (each.own_graph or not as_is) and each.recognise(checkpoint)), None)
