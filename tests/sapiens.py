"""Sapiens (v1) at toy size as published: written plainly from the architecture, traced, exported and saved."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

DIM, LAYERS, HEADS, CHANNELS = 96, 2, 6, 16
GRID = (8, 6)
SHAPE = (128, 96)
"""The input's (height, width); logits are half of it."""


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (DIM // HEADS) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, DIM))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(DIM, eps=1e-6), nn.LayerNorm(DIM, eps=1e-6)
        self.attn = Attention()
        self.ffn = nn.Module()
        self.ffn.layers = nn.Sequential(nn.Sequential(nn.Linear(DIM, 4 * DIM), nn.GELU()), nn.Linear(4 * DIM, DIM))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.ffn.layers(self.ln2(x))


class PublishedSapiens(nn.Module):
    """With random weights, the same at every call; `grid` is that of the position embedding."""

    def __init__(self, classes: int = 28) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.backbone, self.decode_head = nn.Module(), nn.Module()
        self.backbone.patch_embed = nn.Module()
        self.backbone.patch_embed.projection = nn.Conv2d(3, DIM, 16, stride=16)
        self.backbone.pos_embed = nn.Parameter(torch.randn(1, GRID[0] * GRID[1], DIM))
        self.backbone.layers = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.backbone.ln1 = nn.LayerNorm(DIM, eps=1e-6)
        up: list[nn.Module] = []
        for inputs in (DIM, CHANNELS, CHANNELS):
            up += [nn.ConvTranspose2d(inputs, CHANNELS, 4, 2, 1, bias=False), nn.InstanceNorm2d(CHANNELS), nn.SiLU()]
        mix: list[nn.Module] = []
        for _ in range(3):
            mix += [nn.Conv2d(CHANNELS, CHANNELS, 1), nn.InstanceNorm2d(CHANNELS), nn.SiLU()]
        self.decode_head.deconv_layers, self.decode_head.conv_layers = nn.Sequential(*up), nn.Sequential(*mix)
        self.decode_head.conv_seg = nn.Conv2d(CHANNELS, classes, 1)
        for name, parameter in self.named_parameters():
            if "ln" in name:
                nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.3)
        self.eval().requires_grad_(False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.backbone.patch_embed.projection(pixels)
        tokens = self.backbone.ln1(self.backbone.layers(patches.flatten(2).transpose(1, 2) + self.backbone.pos_embed))
        features = tokens.transpose(1, 2).reshape(patches.shape)
        return self.decode_head.conv_seg(self.decode_head.conv_layers(self.decode_head.deconv_layers(features)))

    def at(self, rows: int, columns: int) -> PublishedSapiens:
        """For another grid, its position embedding interpolated as the original's loader does."""
        places = self.backbone.pos_embed.reshape(1, *GRID, DIM).permute(0, 3, 1, 2)
        places = F.interpolate(places, size=(rows, columns), mode="bicubic", align_corners=False)
        self.backbone.pos_embed = nn.Parameter(places.flatten(2).transpose(1, 2), requires_grad=False)
        return self


class Wrapped(nn.Module):
    """As training tools wrap it: under a name."""

    def __init__(self, network: PublishedSapiens) -> None:
        super().__init__()
        self.module = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.module(pixels)


def pixels(batch: int = 2, shape: tuple[int, int] = SHAPE) -> torch.Tensor:
    return torch.randn(batch, 3, *shape, generator=torch.Generator().manual_seed(3))


def torchscript(path: Path, network: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = pixels().to(next(network.parameters()).dtype)
        torch.jit.trace(network, example, check_trace=False).save(str(path))
    return path


def export(path: Path, network: nn.Module) -> Path:
    """As this torch saves it; the batch is free."""
    example = pixels().to(next(network.parameters()).dtype)
    free = ({0: torch.export.Dim("batch", min=1, max=32)},)
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=free), path)
    return path


def export_of_old(path: Path, network: nn.Module, state: str = "serialized_state_dict.pt") -> Path:
    """In the layout of torch 2.1 to 2.8, with a graph that no torch reads."""
    torch.save(dict(network.state_dict()), path)
    weights = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "3.1")
        archive.writestr("serialized_exported_program.json", json.dumps({"graph_module": {}, "schema_version": [3, 1]}))
        archive.writestr(state, weights)
    return path
