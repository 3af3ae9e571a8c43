"""The network as an ONNX graph, written straight from its weights for onnxruntime."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
from torch import nn

from sapiens_stream.models.builtin.network import SKIPS, BodyPartNet, Context, HalvingConv2d, InvertedResidual, Up
from sapiens_stream.models.onnx_graph import Graph

PIXELS = "pixels"


def onnx_graph(network: BodyPartNet) -> bytes:
    """Of a network on the CPU whose batch norms are folded: (N, 3, H, W) to logits, H and W multiples of 32."""
    graph = Graph()
    features = _sequence(graph, network.stem, PIXELS)
    skips = []
    for index, stage in enumerate(network.stages):
        for block in cast(nn.Sequential, stage):
            features = _residual(graph, cast(InvertedResidual, block), features)
        if index in SKIPS:
            skips.append(features)
    for context in network.context:
        features = graph.node("Add", features, _sequence(graph, cast(Context, context).steps, features))
    for up in network.ups:
        features = _up(graph, cast(Up, up), features, skips.pop())
    logits = _convolution(graph, network.head, features)
    return graph.finished(PIXELS, ("n", 3, "h", "w"), logits, ("n", network.head.out_channels, "h/2", "w/2"))


def _residual(graph: Graph, block: InvertedResidual, features: str) -> str:
    steps = _sequence(graph, block.steps, features)
    return graph.node("Add", steps, features) if block.residual else steps


def _up(graph: Graph, up: Up, features: str, skip: str) -> str:
    """The first convolution is of one pixel each, so that it may as well come before the enlargement and the joining:
    a quarter of the pixels, and fewer channels to enlarge."""
    first, *others = up.mix
    weight, bias = _arrays(cast(nn.Conv2d, first))
    inputs = weight.shape[1] - up.skip
    coarse = graph.node("Conv", features, graph.constant(weight[:, :inputs]), kernel_shape=(1, 1))
    fine = graph.node("Conv", skip, graph.constant(weight[:, inputs:]), graph.constant(bias), kernel_shape=(1, 1))
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    enlarged = graph.node("Resize", coarse, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    return _sequence(graph, others, graph.node("Add", fine, enlarged))


def _sequence(graph: Graph, layers: nn.Sequential | list[nn.Module], features: str) -> str:
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            features = _convolution(graph, layer, features)
        elif isinstance(layer, nn.ReLU6):
            low, high = (graph.constant(np.array(value, np.float32)) for value in (0, 6))
            features = graph.node("Clip", features, low, high)
        elif isinstance(layer, nn.ReLU):
            features = graph.node("Relu", features)
        elif not isinstance(layer, nn.Identity):
            raise TypeError(f"{type(layer).__name__} is none of the layers that the network has")
    return features


def _convolution(graph: Graph, layer: nn.Conv2d, features: str) -> str:
    weight, bias = _arrays(layer)
    kernel, around = weight.shape[2], layer.kernel_size[0] // 2
    before = around - 1 if isinstance(layer, HalvingConv2d) else around
    return graph.node(
        "Conv",
        features,
        graph.constant(weight),
        graph.constant(bias),
        kernel_shape=(kernel, kernel),
        strides=layer.stride,
        pads=(before, before, around, around),
        group=layer.groups,
    )


def _arrays(layer: nn.Conv2d) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weight and bias."""
    bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
    return layer.weight.detach().float().numpy(), bias.detach().float().numpy()
