"""The built-in network: an EfficientNet-Lite0 encoder and a U-Net decoder, plain convolutions throughout.

The encoder follows "EfficientNet-Lite" (R. Liu, 2020): EfficientNet-B0 without squeeze-and-excitation, with ReLU6.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# A row for each stage: expansion, channels, blocks, stride, kernel.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM = 32
SKIPS = (0, 1, 2, 4)
"""The stages whose output the decoder sees again: the last at strides 2, 4, 8 and 16."""
DECODER = (128, 64, 48, 32)
ENCODER_EPS = 1e-3
CONTEXT_BLOCKS, CONTEXT_INNER, CONTEXT_KERNEL = 2, 480, 7


class HalvingConv2d(nn.Conv2d):
    """A convolution of stride 2 that pads as TensorFlow's "same" does for even sizes: the odd zero below and right.

    Padding by one more on both sides and dropping the first row and column is the same, and spares a padded copy. A
    graph of another format has convolutions with such padding: exporters see it as it is.
    """

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if torch.onnx.is_in_onnx_export():
            after = self.kernel_size[0] // 2
            padded = F.pad(pixels, (after - 1, after, after - 1, after))
            return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return super().forward(pixels)[..., 1:, 1:]


def _encoder_step(
    inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> list[nn.Module]:
    if stride == 2:
        convolution: nn.Conv2d = HalvingConv2d(inputs, outputs, kernel, 2, kernel // 2 + 1, groups=groups, bias=False)
    else:
        convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    steps = [convolution, nn.BatchNorm2d(outputs, eps=ENCODER_EPS)]
    return [*steps, nn.ReLU6(inplace=True)] if act else steps


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = _encoder_step(inputs, inner, kernel=1) if expansion > 1 else []
        filtered = _encoder_step(inner, inner, kernel=kernel, stride=stride, groups=inner)
        self.steps = nn.Sequential(*expand, *filtered, *_encoder_step(inner, outputs, kernel=1, act=False))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        steps = cast(torch.Tensor, self.steps(features))
        return steps + features if self.residual else steps


class Context(nn.Module):
    """What lies far around, at the coarsest stride: filter each channel widely, expand, project; added to its input.

    It begins by changing nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = nn.Conv2d(channels, channels, CONTEXT_KERNEL, padding=CONTEXT_KERNEL // 2, groups=channels)
        project = nn.Conv2d(CONTEXT_INNER, channels, 1)
        nn.init.zeros_(project.weight)
        nn.init.zeros_(cast(torch.Tensor, project.bias))
        self.steps = nn.Sequential(wide, nn.Conv2d(channels, CONTEXT_INNER, 1), nn.ReLU(inplace=True), project)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + cast(torch.Tensor, self.steps(features))


class Up(nn.Module):
    """One step of the decoder: to the skip's size, joined with it, mixed."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.skip = skip
        self.mix = nn.Sequential(
            nn.Conv2d(inputs + skip, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        features = F.interpolate(features, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return cast(torch.Tensor, self.mix(torch.cat([features, skip], 1)))


class BodyPartNet(nn.Module):
    """(N, 3, H, W) normalised RGB to logits (N, classes, H / 2, W / 2); H and W multiples of 32 keep the grid exact."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_encoder_step(3, STEM, kernel=3, stride=2))
        stages, channels = [], STEM
        for expansion, outputs, blocks, stride, kernel in STAGES:
            rows = [(channels, stride)] + [(outputs, 1)] * (blocks - 1)
            stage = [InvertedResidual(i, outputs, expansion=expansion, kernel=kernel, stride=s) for i, s in rows]
            stages.append(nn.Sequential(*stage))
            channels = outputs
        self.stages = nn.ModuleList(stages)
        self.context = nn.Sequential(*(Context(channels) for _ in range(CONTEXT_BLOCKS)))
        ups = []
        for stage_index, outputs in zip(reversed(SKIPS), DECODER, strict=True):
            ups.append(Up(channels, STAGES[stage_index][1], outputs))
            channels = outputs
        self.ups = nn.ModuleList(ups)
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self.stem(pixels)
        skips = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in SKIPS:
                skips.append(features)
        features = self.context(features)
        for up in self.ups:
            features = up(features, skips.pop())
        return cast(torch.Tensor, self.head(features.to(self.head.weight.dtype)))

    def encoder_tensors(self) -> list[torch.Tensor]:
        """Weights and statistics of the encoder in the order in which its published ImageNet weights list them."""
        return [*self.stem.state_dict().values(), *self.stages.state_dict().values()]


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Folds each batch norm into the convolution before it, in place; the network must be in eval mode."""
    for parent in list(network.modules()):
        if not isinstance(parent, nn.Sequential):
            continue
        names = list(parent._modules)
        for name, following in pairwise(names):
            convolution, norm = parent[int(name)], parent[int(following)]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parent[int(name)] = fuse_conv_bn_eval(convolution, norm)
                parent[int(following)] = nn.Identity()
    return network
