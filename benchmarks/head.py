"""`python -m benchmarks.head`: Sapiens' head as it is computed here, against its published layers one after the other.

Prints, as ratios in one run, the whole head and its parts, with the norm of the difference against float64. The last
row is a way that is not taken: each transposed convolution as a 2x2 convolution to four times the channels and a
shuffle, which is the same sum. Random weights of the published width; `--rows 64` is the published input.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import compare
from sapiens_stream.models.sapiens.config import SapiensConfig
from sapiens_stream.models.sapiens.network import Head

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def published(head: Head) -> nn.Sequential:
    """The same weights as plain layers."""
    layers: list[nn.Module] = []
    for convolution in (*head.deconv_layers.values(), *head.conv_layers.values()):
        layers += [convolution, nn.InstanceNorm2d(head.conv_seg.in_channels), nn.SiLU(inplace=True)]
    return nn.Sequential(*layers, head.conv_seg)


def shuffled(kernel: Tensor) -> Tensor:
    """The weights of a 4x4 transposed convolution of stride 2 as those of a 2x2 convolution to 2x2 output pixels.

    Window p holds the inputs p - 1 and p, and gives the outputs 2p - 1 and 2p.
    """
    taps = torch.tensor([[2, 0], [3, 1]], device=kernel.device)  # of each output, for each input
    return kernel[:, :, taps][..., taps].permute(1, 2, 4, 0, 3, 5).reshape(-1, kernel.shape[0], 2, 2)


def upsampled(features: Tensor, weight: Tensor) -> Tensor:
    """What the transposed convolution gives, from the weights of `shuffled`."""
    return F.pixel_shuffle(F.conv2d(features, weight, padding=1), 2)[..., 1:-1, 1:-1]


def main() -> None:
    """Prints a row for the head and for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--rows", type=int, default=8, help="Tokens down; three quarters of it across.")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    config, place = SapiensConfig.of("0.3b"), {"device": chosen.device, "dtype": DTYPES[chosen.precision]}
    head = Head(config).requires_grad_(False)
    tokens = (chosen.batch_size, config.dim, chosen.rows, chosen.rows * 3 // 4)
    features = torch.randn(tokens)
    exact = published(head).double()(features.double())
    head.to(**place)
    features = features.to(**place)
    planes = torch.randn(*tokens[:1], config.head_channels, 8 * tokens[2], 8 * tokens[3]).to(**place)
    half = planes[:, :, ::2, ::2].contiguous()
    up, mix = head.deconv_layers["6"], head.conv_layers["0"]
    weight = shuffled(up.weight)

    rows: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
        "the head": (partial(head, features), partial(published(head), features)),
        "norm, SiLU": (
            lambda: F.silu(F.layer_norm(planes.flatten(2), (planes[0, 0].numel(),)), inplace=True),
            lambda: F.silu(F.instance_norm(planes), inplace=True),
        ),
        "1x1 convolution": (lambda: torch.matmul(mix.weight.flatten(1), planes.flatten(2)), partial(mix, planes)),
        "upsampling, shuffled (not taken)": (partial(upsampled, half, weight), partial(up, half)),
    }
    with torch.inference_mode():
        for what, (ours, baseline) in rows.items():
            found = compare(partial(_finished, ours), partial(_finished, baseline), repeats=chosen.repeats)
            print(f"{what:<34} {found.speedup:5.2f} x the published layers ({found.ours * 1000:.2f} ms)")
        for what, result in (("here", head(features)), ("published", published(head)(features))):
            error = (result.cpu().double() - exact).norm() / exact.norm()
            print(f"off the float64 logits, {what:<10} {error:.1e}")


def _finished(work: Callable[[], Tensor]) -> None:
    if work().is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
