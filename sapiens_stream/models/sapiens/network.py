"""Sapiens for segmentation: a plain vision transformer, and a head of transposed and 1x1 convolutions.

The architecture is that of "Sapiens: Foundation for Human Vision Models" (R. Khirodkar et al., 2024); modules are named
so that the state dict is the published one.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from sapiens_stream.models.sapiens.config import PATCH, SapiensConfig

NORM_EPS = 1e-6
INSTANCE_NORM_EPS = 1e-5
MOST_IN_LAYER_NORM = 2**31 - 1
"""Numbers, at a time."""
MLP_RATIO = 4


class Attention(nn.Module):
    """Multi-head self-attention over (N, tokens, dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return cast(torch.Tensor, self.proj(mixed.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """Widen, GELU, narrow."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widen = nn.Sequential(nn.Linear(dim, MLP_RATIO * dim), nn.GELU())
        self.layers = nn.Sequential(widen, nn.Linear(MLP_RATIO * dim, dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.layers(tokens))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads)
        self.ln2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.ffn = FeedForward(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.ln1(tokens))
        return cast(torch.Tensor, tokens + self.ffn(self.ln2(tokens)))


class PatchEmbed(nn.Module):
    """A token for each square of pixels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, dim, PATCH, stride=PATCH)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.projection(pixels))


class Backbone(nn.Module):
    """(N, 3, H, W) to features (N, dim, H / 16, W / 16)."""

    def __init__(self, config: SapiensConfig) -> None:
        super().__init__()
        rows, columns = config.grid
        self.patch_embed = PatchEmbed(config.dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, rows * columns, config.dim))
        self.layers = nn.ModuleList(Block(config.dim, config.heads) for _ in range(config.layers))
        self.ln1 = nn.LayerNorm(config.dim, eps=NORM_EPS)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed(pixels)
        tokens = patches.flatten(2).transpose(1, 2) + self.pos_embed
        for layer in self.layers:
            tokens = layer(tokens)
        return cast(torch.Tensor, self.ln1(tokens).transpose(1, 2).unflatten(2, patches.shape[2:]))


class Head(nn.Module):
    """Features (N, dim, h, w) to logits (N, classes, 8 h, 8 w).

    As published, each convolution but the last is followed by an instance norm without weights and by SiLU. Here

    * an instance norm is a layer norm over each channel's plane, which is the same sum and several times faster,
    * a 1x1 convolution is a matrix product on the planes as they lie,
    * a bias before an instance norm is left out, since the norm takes every constant away.
    """

    def __init__(self, config: SapiensConfig) -> None:
        super().__init__()
        width = config.head_channels
        inputs = (config.dim, width, width)
        # The numbers count the norms and activations between, which have no weights.
        numbers = ("0", "3", "6")
        self.deconv_layers = nn.ModuleDict(
            {
                number: nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False)
                for number, channels in zip(numbers, inputs, strict=True)
            }
        )
        self.conv_layers = nn.ModuleDict({number: nn.Conv2d(width, width, 1) for number in numbers})
        self.conv_seg = nn.Conv2d(width, config.classes, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        for deconvolution in self.deconv_layers.values():
            upsampled = deconvolution(features)
            features = _normed_silu(upsampled.flatten(2)).view(upsampled.shape)
        planes = features.flatten(2)
        for convolution in self.conv_layers.values():
            planes = _normed_silu(_mixed(convolution, planes))
        logits = _mixed(self.conv_seg, planes) + cast(torch.Tensor, self.conv_seg.bias)[:, None]
        return logits.view(*logits.shape[:2], *features.shape[2:])


def _mixed(convolution: nn.Module, planes: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution, without its bias, of (N, channels, pixels)."""
    return torch.matmul(cast(nn.Conv2d, convolution).weight.flatten(1), planes)


def _normed_silu(planes: torch.Tensor) -> torch.Tensor:
    return F.silu(_normed(planes), inplace=True)


def _normed(planes: torch.Tensor) -> torch.Tensor:
    # CUDA's layer norm counts in 32 bits and goes wrong without a word beyond them (pytorch#181555). A graph has no
    # branches by size, and brings its own kernels where it is compiled.
    is_graph = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]
    if is_graph or planes.numel() <= MOST_IN_LAYER_NORM or torch.is_grad_enabled():
        return F.layer_norm(planes, planes.shape[-1:], eps=INSTANCE_NORM_EPS)
    for part in torch.split(planes, max(1, MOST_IN_LAYER_NORM // planes[0].numel())):
        part.copy_(F.layer_norm(part, part.shape[-1:], eps=INSTANCE_NORM_EPS))
    return planes


class Sapiens(nn.Module):
    """(N, 3, H, W) normalised RGB, H and W being those of `config.grid`, to logits (N, classes, H / 2, W / 2)."""

    def __init__(self, config: SapiensConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config)
        self.decode_head = Head(config)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.decode_head(self.backbone(pixels)))
