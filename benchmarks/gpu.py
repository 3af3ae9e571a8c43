"""`python -m benchmarks.gpu`: how much of the model's own speed is left end to end on a CUDA device.

Prints, as ratios in one run: `video` end to end against the model alone (goal 0.97), and from a profiler trace how
much of the copies to and from the device ran while kernels did. `--model` takes any checkpoint; by default a network
of random weights with the layout and the cost of the 0.3B Sapiens is traced on the spot.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.cpu import make_clip, run
from sapiens_stream import Segmenter
from sapiens_stream.frame import Frame
from sapiens_stream.sinks import Outputs
from sapiens_stream.sources import Video

FRAMES = 300
WARM_UP_BATCHES = 5


class StandIn(nn.Module):
    """A vision transformer with a deconvolution head: 24 layers of 1024, 16 heads, 28 classes at half resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 1024, 16, stride=16)
        layer = nn.TransformerEncoderLayer(1024, 16, 4096, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 24, enable_nested_tensor=False)
        head: list[nn.Module] = []
        for channels in (1024, 768, 768):
            head += [nn.ConvTranspose2d(channels, 768, 4, 2, 1, bias=False), nn.InstanceNorm2d(768), nn.SiLU()]
        for _ in range(3):
            head += [nn.Conv2d(768, 768, 1), nn.InstanceNorm2d(768), nn.SiLU()]
        self.head = nn.Sequential(*head, nn.Conv2d(768, 28, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.patches(pixels)
        tokens: torch.Tensor = self.layers(patches.flatten(2).transpose(1, 2))
        logits: torch.Tensor = self.head(tokens.transpose(1, 2).unflatten(2, patches.shape[2:]))
        return logits


def stand_in(path: Path) -> Path:
    """Traces `StandIn` on the device and saves it as TorchScript."""
    network = StandIn().cuda().eval()
    with torch.inference_mode():
        traced = torch.jit.trace(network, torch.zeros(2, 3, 1024, 768, device="cuda"), check_trace=False)
    traced.cpu().save(str(path))
    return path


def model_alone(segmenter: Segmenter, frames: int) -> float:
    """Frames/s of the network on pixels that are already on the device, batch size and precision as end to end."""
    engine, spec = segmenter.engine, segmenter.model.input
    forward = segmenter.model.place(engine.devices[0], engine.dtype)
    pixels = torch.zeros(engine.batch_size, 3, spec.height, spec.width, device=engine.devices[0], dtype=engine.dtype)
    batches = max(frames // engine.batch_size, 1)
    with torch.inference_mode():
        for _ in range(WARM_UP_BATCHES):
            forward(pixels)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(batches):
            forward(pixels)
        torch.cuda.synchronize()
    return batches * engine.batch_size / (time.perf_counter() - start)


def engine_alone(segmenter: Segmenter, frames: Sequence[Frame], batches: int) -> float:
    """Frames/s of the engine fed with frames in memory: what decoding and writing can at best leave."""
    for _ in segmenter.engine.run(repeat(frames, WARM_UP_BATCHES)):
        pass
    start = time.perf_counter()
    done = sum(len(results) for results in segmenter.engine.run(repeat(frames, batches)))
    return done / (time.perf_counter() - start)


def end_to_end(segmenter: Segmenter, clip: Path, outputs: Outputs, folder: Path) -> float:
    """Frames/s of `video`, from the file to the files."""
    start = time.perf_counter()
    run(Video(clip), segmenter, outputs, folder)
    return FRAMES / (time.perf_counter() - start)


def copy_overlap(segmenter: Segmenter, frames: Sequence[Frame]) -> tuple[float, float]:
    """(share of the copies' time during which a kernel ran too, share of the time the device was busy)."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
        for _ in segmenter.engine.run(repeat(frames, 10)):
            pass
    copies, kernels = [], []
    for event in trace.events():
        if event.device_type == DeviceType.CUDA:
            span = (event.time_range.start, event.time_range.end)
            (copies if "memcpy" in event.name.lower() else kernels).append(span)
    kernels = _merged(kernels)
    copied = sum(end - start for start, end in copies)
    both = sum(max(0.0, min(end, stop) - max(start, begin)) for start, end in copies for begin, stop in kernels)
    first, last = min(span[0] for span in kernels), max(span[1] for span in kernels)
    return both / copied, sum(end - start for start, end in kernels) / (last - first)


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of spans, as spans that do not touch."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def main() -> None:
    """Prints one block of ratios a precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--precision", default="fp16,bf16,fp32")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: this benchmark measures one")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batch size {chosen.batch_size}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = chosen.model or str(stand_in(folder / "stand_in.pt2"))
        clip = make_clip(folder / "clip.mp4", width=1920, height=1080, frames=FRAMES)
        with Video(clip) as source:
            frames = [frame for frame, _ in zip(source.frames(), range(chosen.batch_size), strict=False)]
        for precision in chosen.precision.split(","):
            segmenter = Segmenter(model, device="cuda", precision=precision, batch_size=chosen.batch_size)
            alone = model_alone(segmenter, FRAMES)
            print(f"{precision}: the model alone {alone:.1f} frames/s")
            rows = [("engine, frames in memory", engine_alone(segmenter, frames, FRAMES // chosen.batch_size))]
            for what, outputs in (
                ("video to class masks and JSON", Outputs(overlay="none")),
                ("video to overlay, masks and JSON", Outputs()),
                ("the same, encoded by the GPU", Outputs(codec="h264_nvenc", preset="p4")),
            ):
                try:
                    rows.append((what, end_to_end(segmenter, clip, outputs, folder)))
                except Exception as error:  # a card without an encoder still has the other figures
                    print(f"  {what}: {error}")
            for what, rate in rows:
                print(f"  {what:<36} {rate / alone:5.2f} of the model alone ({rate:.1f} frames/s)")
            overlap, busy = copy_overlap(segmenter, frames)
            print(f"  {overlap:.0%} of the copies ran beside kernels; the device computed {busy:.0%} of the time")


if __name__ == "__main__":
    main()
