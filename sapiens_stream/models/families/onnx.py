"""ONNX graphs of networks that nothing else is known of."""

from __future__ import annotations

from sapiens_stream.models.families.family import Family
from sapiens_stream.models.families.graph import open_graph

ONNX_FAMILY = Family(
    name="onnx",
    run_by="its own {format} graph, by onnxruntime",
    recognise=lambda checkpoint: checkpoint.is_onnx,
    open=open_graph,
    own_graph=True,
)
