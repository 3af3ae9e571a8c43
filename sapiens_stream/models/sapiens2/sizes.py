"""What the names and shapes of a Sapiens2 checkpoint's tensors tell: for which task it is, and its sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sapiens_stream.classes import MAX_CLASSES
from sapiens_stream.errors import ModelError
from sapiens_stream.text import whole_number

# Each tensor as Meta's files name it, and as transformers does.
_PATCHES = r"(?:patch_embed\.projection|embeddings\.patch_embeddings)\.weight$"
_REGISTERS = r"(?:storage_tokens|embeddings\.register_tokens)$"
_QUERY_NORM = r"\.(\d+)\.(?:attn|attention)\.q_norm\.weight$"
_QUERY = r"\.(\d+)\.(?:attn\.wq|attention\.q_proj)\.weight$"
_KEY = r"\.(\d+)\.(?:attn\.wk|attention\.k_proj)\.weight$"
_MLP_DOWN = r"\.(\d+)\.(?:ffn\.w3|mlp\.down_proj)\.weight$"
_MLP_GATE = r"\.(\d+)\.(?:ffn\.w12|mlp\.gate_proj)\.weight$"
_CONVOLVE = r"^decode_head\.conv_layers\.(\d+)(?:\.convolution)?\.weight$"
_BEFORE_UPSAMPLING = r"^decode_head\.input_conv\.(?:0|convolution)\.weight$"
_BIASES = {
    "query_bias": r"\.(?:attn\.wq|attention\.q_proj)\.bias$",
    "key_bias": r"\.(?:attn\.wk|attention\.k_proj)\.bias$",
    "value_bias": r"\.(?:attn\.wv|attention\.v_proj)\.bias$",
    "proj_bias": r"\.(?:attn\.proj|attention\.o_proj)\.bias$",
    "mlp_bias": r"\.(?:ffn\.w3|mlp\.down_proj)\.bias$",
}
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a network tells of each pixel: the library's class, and its tensors' names.

    `spread` says that four channels of a convolution become one of twice the size; else its transpose upsamples.
    """

    network: str
    task: str
    upsample: str
    predict: str
    named: str
    spread: bool = False


SEGMENTATION = Head(
    network="Sapiens2ForSemanticSegmentation",
    task="segmentation",
    upsample=r"^decode_head\.(?:deconv_layers\.(\d+)|upsample_layers\.(\d+)\.convolution)\.weight$",
    predict=r"^decode_head\.(?:conv_seg|predictor)\.weight$",
    named="classifier (decode_head.conv_seg)",
)
MATTING = Head(
    network="Sapiens2ForImageMatting",
    task="matting",
    upsample=r"^decode_head\.(?:upsample_blocks\.(\d+)\.0|upsample_layers\.(\d+)\.convolution)\.weight$",
    predict=r"^decode_head\.(?:conv_matting|predictor)\.weight$",
    named="colours and alpha (decode_head.conv_matting)",
    spread=True,
)
_COLOURS_AND_ALPHA = 4
"""Channels of the matting network: red, green and blue, multiplied by the alpha, and that."""


def is_sapiens2(shapes: Shapes) -> bool:
    """Whether tensors of these names are of a Sapiens2 network, for whatever task."""
    return any(re.search(_QUERY_NORM, name) for name in shapes)


def is_matting(shapes: Shapes) -> bool:
    """Whether they are of the Sapiens2 network that tells how opaque people are."""
    sizes = [size[0] for name, size in shapes.items() if re.search(MATTING.predict, name)]
    spread = any(re.search(_BEFORE_UPSAMPLING, name) for name in shapes)
    return is_sapiens2(shapes) and spread and sizes == [_COLOURS_AND_ALPHA]


@dataclass(frozen=True)
class Sizes:
    """A network's sizes: `settings` are those of transformers' Sapiens2Config."""

    patch: int
    scale: int
    """Logits a patch, along each side."""
    classes: int
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, shapes: Shapes, head: Head = SEGMENTATION) -> Sizes:
        """Raises ModelError where a tensor is missing without which there is no such head."""
        hidden, _, patch, _ = _only(shapes, _PATCHES, "patch embedding")
        head_width = _only(shapes, _QUERY_NORM, "normalised queries")[0]
        keys = _layers(shapes, _KEY)
        up, refine = _layers(shapes, head.upsample), _layers(shapes, _CONVOLVE)
        classes = _only(shapes, head.predict, f"{head.named}: it is not of the {head.task} model")[0]
        if not up or not 1 <= classes <= MAX_CLASSES or (head is MATTING and classes != _COLOURS_AND_ALPHA):
            raise ModelError(f"is not a {head.task} model of Sapiens2: {len(up)} upsampling steps, {classes} channels")
        registers = [size for name, size in shapes.items() if re.search(_REGISTERS, name)]
        settings = {
            "patch_size": patch,
            "hidden_size": hidden,
            "intermediate_size": _only(shapes, _MLP_DOWN, "feed-forward layers")[1],
            "num_hidden_layers": len(_layers(shapes, _QUERY)),
            "num_attention_heads": hidden // head_width,
            "num_key_value_heads_per_layer": [size[0] // head_width for size in keys],
            "num_register_tokens": registers[0][1] if registers else 0,
            "use_gated_mlp": any(re.search(_MLP_GATE, name) for name in shapes),
            "num_labels": classes,
            "head_config": {
                "use_pixel_shuffle": head.spread or None,
                "upsample_out_channels": [size[0] // 4 if head.spread else size[1] for size in up],
                "upsample_kernel_sizes": [size[2] for size in up],
                "conv_out_channels": [size[0] for size in refine],
                "conv_kernel_sizes": [size[2] for size in refine],
            },
            **{name: any(re.search(bias, each) for each in shapes) for name, bias in _BIASES.items()},
        }
        return cls(patch=patch, scale=2 ** len(up), classes=classes, settings=settings)


def _only(shapes: Shapes, pattern: str, what: str) -> tuple[int, ...]:
    """The shape of the first tensor of that name; every layer's is the same."""
    for name, size in shapes.items():
        if re.search(pattern, name):
            return size
    raise ModelError(f"holds no Sapiens2 segmentation network: it has no {what}")


def _layers(shapes: Shapes, pattern: str) -> list[tuple[int, ...]]:
    """The shapes of the tensors of that name, by the number of their layer."""
    found = {}
    for name, size in shapes.items():
        if match := re.search(pattern, name):
            found[whole_number(next(filter(None, match.groups()))) or 0] = size
    return [found[layer] for layer in sorted(found)]
