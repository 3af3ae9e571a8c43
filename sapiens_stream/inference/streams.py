"""Where the stages of a batch run: one after the other on the host, or side by side on CUDA streams."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from sapiens_stream.frame import UInt8Array


class Span:
    """A piece of work on a stream."""

    seconds = 0.0
    """What it took, once it is done."""


class Streams:
    """Runs everything where it is called; for a device without streams."""

    depth = 0
    """Batches to have in flight before the oldest is finished."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def buffer(self, shape: tuple[int, ...]) -> Tensor:
        """uint8 memory on the host to fill and hand to `upload`; not to be kept."""
        return torch.empty(shape, dtype=torch.uint8)

    def upload(self, pixels: Tensor) -> Tensor:
        """The buffer on the device, for use in `compute`."""
        return pixels.to(self.device)

    @contextmanager
    def compute(self) -> Iterator[Span]:
        """Within it, work goes to the stream of the model."""
        span, start = Span(), time.perf_counter()
        yield span
        span.seconds = time.perf_counter() - start

    @contextmanager
    def reduce(self, after: Span) -> Iterator[Span]:
        """Within it, work goes to the stream of the class maps, behind the given span."""
        with self.compute() as span:
            yield span

    def download(self, maps: Sequence[Tensor]) -> list[UInt8Array]:
        """What was made within `reduce`, on the host; waits for it."""
        return [each.cpu().numpy() for each in maps]

    def release(self) -> None:
        """Gives memory that is held for reuse back to the device."""


class _CudaSpan(Span):
    def __init__(self) -> None:
        self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    @property
    def seconds(self) -> float:  # type: ignore[override]
        self.end.synchronize()
        return float(self.begin.elapsed_time(self.end)) / 1000


@dataclass
class _Slot:
    """A pinned buffer, and the event of its last copy up."""

    memory: Tensor
    uploaded: torch.cuda.Event


class CudaStreams(Streams):
    """Copies up, the model, and the class maps on a stream each, so that they overlap; never the default stream."""

    depth = 1

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._up, self._model = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
        # Its small kernels slip in between those of the next batch, which is queued before them.
        self._maps = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
        empty = torch.empty(0, dtype=torch.uint8)
        self._slots = cycle([_Slot(empty, torch.cuda.Event()) for _ in range(2)])  # type: ignore[no-untyped-call]
        self._slot = next(self._slots)

    def buffer(self, shape: tuple[int, ...]) -> Tensor:
        self._slot = next(self._slots)
        self._slot.uploaded.synchronize()
        count = int(np.prod(shape))
        if len(self._slot.memory) < count:
            self._slot.memory = torch.empty(count, dtype=torch.uint8, pin_memory=True)
        return self._slot.memory[:count].view(shape)

    def upload(self, pixels: Tensor) -> Tensor:
        with torch.cuda.stream(self._up):
            there = pixels.to(self.device, non_blocking=True)
            self._slot.uploaded.record()
        self._model.wait_event(self._slot.uploaded)
        there.record_stream(self._model)
        return there

    @contextmanager
    def compute(self) -> Iterator[Span]:
        with self._on(self._model) as span:
            yield span

    @contextmanager
    def reduce(self, after: Span) -> Iterator[Span]:
        assert isinstance(after, _CudaSpan)
        self._maps.wait_event(after.end)
        with self._on(self._maps) as span:
            yield span

    @contextmanager
    def _on(self, stream: torch.cuda.Stream) -> Iterator[_CudaSpan]:
        span = _CudaSpan()
        with torch.cuda.stream(stream):
            span.begin.record()
            yield span
            span.end.record()

    def download(self, maps: Sequence[Tensor]) -> list[UInt8Array]:
        with torch.cuda.stream(self._maps):
            host = [torch.empty(each.shape, dtype=torch.uint8, pin_memory=True) for each in maps]
            for here, there in zip(host, maps, strict=True):
                here.copy_(there, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        copied.synchronize()
        return [each.numpy() for each in host]

    def release(self) -> None:
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
