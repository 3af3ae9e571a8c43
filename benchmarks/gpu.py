"""`python -m benchmarks.gpu`: what a card makes of each size of Sapiens, with random weights.

For each size, in one run, prints frames/s as a ratio to the original's way (its layers as TorchScript, fp32), and the
share of the card's matrix rate, which is measured first: our own module in fp32, fp16 and bf16, and compiled. Then
`video` end to end, from a file to masks, against the model alone.

Goals: 6 times the original, 60 % of the bf16 matrix rate, 97 % of the model alone. Random weights cost what the
published ones do. `python -m benchmarks.gpu --device cpu --tiny` runs it all at toy size, to see that it works.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cpu import make_clip, run
from benchmarks.head import published
from sapiens_stream import Segmenter
from sapiens_stream.inference.compilation import compiled, warm_up
from sapiens_stream.models.interface import quiet_torch
from sapiens_stream.models.model import Model
from sapiens_stream.models.sapiens import open_sapiens
from sapiens_stream.models.sapiens.config import PATCH, SapiensConfig
from sapiens_stream.models.sapiens.network import Sapiens
from sapiens_stream.sinks import Outputs
from sapiens_stream.sources import Video

Forward = Callable[[Tensor], Tensor]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Bench:
    """Where and how long to measure."""

    device: torch.device
    batch: int
    seconds: float
    matrix: int
    """Rows and columns of the product that the matrix rate is measured by."""

    def rate(self, work: Callable[[], object]) -> float:
        """Calls a second, after one that is not counted."""
        work()
        self.wait()
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < self.seconds:
            for _ in range(max(1, calls // 4)):  # waiting now and then, not after each call
                work()
                calls += 1
            self.wait()
        return calls / (time.perf_counter() - start)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def matrix_rate(self, dtype: torch.dtype) -> float:
        """FLOP/s of a large square matrix product."""
        left, right = (torch.randn(self.matrix, self.matrix, device=self.device, dtype=dtype) for _ in range(2))
        return 2 * self.matrix**3 * self.rate(lambda: left @ right)

    def frame_rate(self, forward: Forward, config: SapiensConfig, dtype: torch.dtype) -> float:
        """Frames/s of a network on pixels that are already on the device."""
        return self.batch * self.rate(lambda: forward(self.pixels(config, dtype)))

    def pixels(self, config: SapiensConfig, dtype: torch.dtype) -> Tensor:
        """A batch of black."""
        rows, columns = config.grid
        return torch.zeros(self.batch, 3, PATCH * rows, PATCH * columns, device=self.device, dtype=dtype)


class Original(nn.Module):
    """The layers as published, one after the other."""

    def __init__(self, network: Sapiens) -> None:
        super().__init__()
        self.backbone, self.head = network.backbone, published(network.decode_head)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(pixels))
        return logits


def random_model(size: str, config: SapiensConfig) -> Model:
    """Sapiens of random weights, without a file."""
    torch.manual_seed(0)
    return replace(open_sapiens(Path(f"sapiens-{size}"), Sapiens(config).state_dict()), path=None)


def flop_of_a_frame(config: SapiensConfig) -> int:
    """Of matrix products, convolutions and attention: counted on shapes alone."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        rows, columns = config.grid
        Sapiens(config)(torch.zeros(1, 3, PATCH * rows, PATCH * columns))
    return counter.get_total_flops()


def ways(bench: Bench, model: Model, config: SapiensConfig) -> Iterator[tuple[str, str, Forward]]:
    """Each way to run a model: what it is, its precision, and the network; the original's comes first."""
    network = model.place(bench.device, torch.float32)
    assert isinstance(network, Sapiens)
    with quiet_torch():
        traced = torch.jit.trace(Original(network), bench.pixels(config, torch.float32), check_trace=False)
    yield "the original's layers, TorchScript", "fp32", traced
    del network, traced
    for precision, dtype in DTYPES.items():
        yield "our own module", precision, model.place(bench.device, dtype)
    for precision in ("fp16", "bf16") if bench.device.type == "cuda" else ("fp32",):
        dtype = DTYPES[precision]
        forward = compiled(model.place(bench.device, dtype), model)
        warm_up(lambda: forward(bench.pixels(config, dtype)), f"{model.name} in {precision}", lambda note: None)  # noqa: B023
        yield "our own module, compiled", precision, forward


def measure(bench: Bench, model: Model, config: SapiensConfig, matrix_rates: dict[str, float]) -> None:
    """Prints a row for each way to run a model."""
    flop = flop_of_a_frame(config)
    print(f"{model.name}: {flop / 1e12:.3g} TFLOP a frame, batches of {bench.batch}")
    baseline = 0.0
    for what, precision, forward in ways(bench, model, config):
        rate = bench.frame_rate(forward, config, DTYPES[precision])
        baseline = baseline or rate
        share = rate * flop / matrix_rates[precision]
        print(
            f"  {what:<36} {precision}  {rate / baseline:6.2f} x the original ({rate:.1f} frames/s,"
            f" {share:.0%} of the {precision} matrix rate)"
        )


def end_to_end(bench: Bench, model: Model, clip: Path, frames: int, folder: Path, compile: bool) -> None:
    """Prints what is left of the model's own speed from the file to masks, and to an overlay too."""
    segmenter = Segmenter(model, device=str(bench.device), batch_size=bench.batch, compile=compile)
    dtype = segmenter.engine.dtype
    forward = model.place(bench.device, dtype)
    spec = model.input
    config = SapiensConfig(dim=0, layers=0, heads=0, grid=(spec.height // PATCH, spec.width // PATCH))
    with torch.inference_mode():
        alone = bench.frame_rate(compiled(forward, model) if compile else forward, config, dtype)
    kind = f"{model.name} in {str(dtype).removeprefix('torch.')}{', compiled' if compile else ''}"
    print(f"{kind}, from a 1080p video, against the model alone ({alone:.1f} frames/s):")
    for what, outputs in (
        ("to class masks", Outputs(overlay="none", save=frozenset({"classes"}))),
        ("to class masks and JSON", Outputs(overlay="none")),
        ("to overlay, masks and JSON", Outputs()),
        ("the same, encoded by the GPU", Outputs(codec="h264_nvenc", preset="p4")),
    ):
        start = time.perf_counter()
        try:
            run(Video(clip), segmenter, outputs, folder)
        except Exception as error:  # a machine without such an encoder still has the other figures
            print(f"  {what}: {error}")
            continue
        rate = frames / (time.perf_counter() - start)
        print(f"  {what:<36} {rate / alone:5.2f} of the model alone ({rate:.1f} frames/s)")


def main() -> None:
    """Prints a block for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", default="0.3b,0.6b,1b")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="For each figure.")
    parser.add_argument("--frames", type=int, default=300, help="Of the video.")
    parser.add_argument("--tiny", action="store_true", help="A toy network, small matrices, a short video.")
    chosen = parser.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no CUDA device: this benchmark measures one (--device cpu --tiny shows that it works)")
    if chosen.tiny:
        chosen.sizes, chosen.batch_size, chosen.seconds, chosen.frames = "toy", 2, 0.2, 8
    bench = Bench(torch.device(chosen.device), chosen.batch_size, chosen.seconds, 512 if chosen.tiny else 8192)
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else str(bench.device)
    matrix_rates = {precision: bench.matrix_rate(dtype) for precision, dtype in DTYPES.items()}
    rates = ", ".join(f"{precision} {rate / 1e12:.4g}" for precision, rate in matrix_rates.items())
    print(f"{name}, torch {torch.__version__}; matrix rates, TFLOP/s: {rates}")
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", width=1920, height=1080, frames=chosen.frames)
        for size in chosen.sizes.split(","):
            config = SapiensConfig.of(size)
            if chosen.tiny:
                config = replace(config, head_channels=16, grid=(8, 6))
            model = random_model(size, config)
            with torch.inference_mode():
                measure(bench, model, config, matrix_rates)
            for compile in (False, True):
                end_to_end(bench, model, clip, chosen.frames, Path(folder) / size, compile)


if __name__ == "__main__":
    main()
