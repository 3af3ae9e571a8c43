"""Graphs of networks that nothing else is known of, in any format that brings one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sapiens_stream.models.families.family import Family
from sapiens_stream.models.options import ModelOptions

if TYPE_CHECKING:
    from sapiens_stream.models.checkpoint import Checkpoint
    from sapiens_stream.models.model import Network


def open_graph(checkpoint: Checkpoint, options: ModelOptions) -> Network:
    """The file's own graph, of whichever family."""
    if checkpoint.format == "torchscript":
        from sapiens_stream.models.torchscript import open_torchscript  # torch takes seconds to load

        return open_torchscript(checkpoint.path, options.shape, trust=options.trust)
    if checkpoint.format == "torch-export":
        from sapiens_stream.models.exported import open_exported

        return open_exported(checkpoint.path, options.shape, trust=options.trust)
    from sapiens_stream.models.onnx_model import open_onnx

    return open_onnx(checkpoint, options.shape, trust=options.trust)


GRAPH_FAMILY = Family(
    name="graph",
    run_by="its own {format} graph",
    recognise=lambda checkpoint: checkpoint.has_graph and not checkpoint.is_onnx,
    open=open_graph,
    own_graph=True,
)
