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

STAGING_BYTES = 128 << 20
"""Of pinned memory for downloads, unless one array alone is larger; what does not fit goes in turns."""


class Span:
    """A piece of work on a stream."""

    seconds = 0.0
    """What it took; on CUDA, asking waits for its end."""


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
    def reduce(self, after: Span | None) -> Iterator[Span]:
        """Within it, work goes to the stream of the class maps, behind the given span if there is one."""
        with self.compute() as span:
            yield span

    def download(self, arrays: Sequence[Tensor]) -> list[UInt8Array]:
        """uint8 arrays that were made within `reduce`, in ordinary memory of the host; waits for them alone."""
        return [each.cpu().numpy() for each in arrays]

    def wait(self) -> None:
        """Waits for all that was queued on the device."""

    def release(self) -> None:
        """Waits, and gives memory that is held for reuse back to the device."""


class MpsStreams(Streams):
    """Metal queues work as CUDA does, on one stream."""

    def wait(self) -> None:
        torch.mps.synchronize()

    def release(self) -> None:
        self.wait()
        torch.mps.empty_cache()


def _event(*, timing: bool = False) -> torch.cuda.Event:
    """An event that a thread sleeps for, where it would otherwise keep a core busy polling."""
    return torch.cuda.Event(enable_timing=timing, blocking=True)  # type: ignore[no-untyped-call]


class _CudaSpan(Span):
    def __init__(self) -> None:
        self.begin, self.end = _event(timing=True), _event(timing=True)

    @property
    def seconds(self) -> float:  # type: ignore[override]
        self.end.synchronize()
        return float(self.begin.elapsed_time(self.end)) / 1000


@dataclass
class _Pinned:
    """Page-locked memory that is used again and again, and the event of its last use by the device."""

    memory: Tensor
    used: torch.cuda.Event

    @classmethod
    def empty(cls) -> _Pinned:
        return cls(torch.empty(0, dtype=torch.uint8), _event())

    def take(self, count: int) -> Tensor:
        """(count,) uint8, free for the host to use; grows where it is too small."""
        self.used.synchronize()
        if len(self.memory) < count:
            self.memory = torch.empty(count, dtype=torch.uint8, pin_memory=True)
        return self.memory[:count]


class CudaStreams(Streams):
    """Copies up, the model, and the class maps on a stream each, so that they overlap; never the default stream.

    To be made in the thread that uses it: it becomes the thread's current device.
    """

    depth = 1

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        # Leaving a stream's context returns to the current device's stream; of another device, it would open that one.
        torch.cuda.set_device(device)
        self._up, self._model = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
        # Its small kernels slip in between those of the next batch, which is queued before them.
        self._maps = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
        self._slots = cycle([_Pinned.empty(), _Pinned.empty()])
        self._slot = next(self._slots)
        self._staging = _Pinned.empty()

    def buffer(self, shape: tuple[int, ...]) -> Tensor:
        self._slot = next(self._slots)
        return self._slot.take(int(np.prod(shape))).view(shape)

    def upload(self, pixels: Tensor) -> Tensor:
        with torch.cuda.stream(self._up):
            there = pixels.to(self.device, non_blocking=True)
            self._slot.used.record()
        self._model.wait_event(self._slot.used)
        there.record_stream(self._model)
        return there

    @contextmanager
    def compute(self) -> Iterator[Span]:
        with self._on(self._model) as span:
            yield span

    @contextmanager
    def reduce(self, after: Span | None) -> Iterator[Span]:
        if after is not None:
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

    def download(self, arrays: Sequence[Tensor]) -> list[UInt8Array]:
        # Results may be kept for as long as their user likes, and pinned memory is lost to the rest of the machine.
        return [each for turn in _turns(arrays, STAGING_BYTES) for each in self._through_staging(turn)]

    def _through_staging(self, arrays: Sequence[Tensor]) -> list[UInt8Array]:
        sizes = [each.numel() for each in arrays]
        staged = torch.split(self._staging.take(sum(sizes)), sizes)
        with torch.cuda.stream(self._maps):
            for here, there in zip(staged, arrays, strict=True):
                here.copy_(there.flatten(), non_blocking=True)
            self._staging.used.record()
        self._staging.used.synchronize()
        return [here.numpy().reshape(there.shape).copy() for here, there in zip(staged, arrays, strict=True)]

    def wait(self) -> None:
        torch.cuda.synchronize(self.device)

    def release(self) -> None:
        self.wait()
        torch.cuda.empty_cache()


def streams_for(device: torch.device) -> Streams:
    """The streams of a device, made in the thread that is to use them."""
    return {"cuda": CudaStreams, "mps": MpsStreams}.get(device.type, Streams)(device)


def _turns(arrays: Sequence[Tensor], limit: int) -> Iterator[list[Tensor]]:
    """The arrays in order, as many at once as `limit` bytes hold, but at least one."""
    turn: list[Tensor] = []
    for each in arrays:
        if turn and sum(other.numel() for other in turn) + each.numel() > limit:
            yield turn
            turn = []
        turn.append(each)
    if turn:
        yield turn
