"""Frames to class maps: a model on one device, a batch at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Literal

import torch
from torch import Tensor

from sapiens_stream.errors import DeviceError, InputError, ModelError, SapiensStreamError, cause
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.inference.batch_probe import choose_batch_size
from sapiens_stream.inference.class_map import class_map
from sapiens_stream.inference.compilation import compiled, warm_up
from sapiens_stream.inference.device import PRECISION_NAMES, bears_bfloat16
from sapiens_stream.inference.memory import out_of_memory
from sapiens_stream.inference.preprocess import Fit, Placement, draw, normalise, placement
from sapiens_stream.inference.streams import CudaStreams, Span, Streams
from sapiens_stream.models.model import InputSpec, Model

Stage = Literal["preprocess", "infer", "class_map"]
BatchSize = int | Literal["auto"]


@dataclass(frozen=True)
class PendingBatch:
    """Frames whose logits are computed, or being computed."""

    frames: Sequence[Frame]
    spec: InputSpec
    places: Sequence[Placement]
    logits: Tensor
    span: Span


class Worker:
    """Runs a model over batches on one device. All of it is called from one thread.

    `dtype` and `batch_size` are those in use: the latter, the largest batch that is computed at once, shrinks where the
    device has not the memory, the former widens where logits overflow. `warn` is told in a sentence, `note` what takes
    long and what was found. "auto" as `batch_size` is the fastest, which is tried for a few seconds; with `compile`
    the network is compiled for batches of that size, and smaller ones are filled up to it.

    On CUDA a batch is resized and copied up while the one before it computes: `start` the next before you `finish`.

    Raises DeviceError or ModelError for a model that can not be placed.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: torch.device,
        dtype: torch.dtype,
        batch_size: BatchSize,
        fit: Fit,
        compile: bool,
        warn: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self.batch_size = 1 if batch_size == "auto" else batch_size
        self.seconds: dict[Stage, float] = {"preprocess": 0.0, "infer": 0.0, "class_map": 0.0}
        self._fit = fit
        self._compile = compile
        self._warn = warn
        self._note = note
        self._finite = False
        self._pool: ThreadPoolExecutor | None = None
        self._streams = Streams(device)
        if device.type == "cuda":
            # One thread can not resize as fast as such a device computes.
            self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "resize")
            self._streams = CudaStreams(device)
        self._place()
        if batch_size == "auto":
            self.batch_size = choose_batch_size(self._compute_zeros, device, note)
            self._streams.release()
        if compile:
            self._compile_network()

    @property
    def depth(self) -> int:
        """Batches to have started before the oldest is finished, so that the device never waits."""
        return self._streams.depth

    def start(self, frames: Sequence[Frame]) -> list[PendingBatch]:
        """Sets a batch going, in parts where it is larger than `batch_size`.

        Raises ModelError where the model fails on a frame or its logits are not finite, DeviceError where the device
        has not the memory for a single frame, InputError for a frame that can not be converted.
        """
        pending: list[PendingBatch] = []
        while frames:
            part = self._alike(frames[: self.batch_size])
            try:
                pending.append(self._infer(part))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._halve(part, error)
                continue
            frames = frames[len(part) :]
        return pending

    def _spec(self, frame: Frame) -> InputSpec:
        """What the frame is brought to; a network is compiled for one size alone."""
        return self.model.input if self._compile else self.model.input_for(frame.size)

    def _alike(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The first of the frames, as far as they are brought to the same size."""
        spec = self._spec(frames[0])
        return list(takewhile(lambda frame: self._spec(frame) == spec, frames))

    @torch.inference_mode()
    def _infer(self, frames: Sequence[Frame]) -> PendingBatch:
        start = time.perf_counter()
        spec = self._spec(frames[0])
        places = [placement(frame.size, spec, self._fit) for frame in frames]
        batch = self.model.fixed_batch or (max(self.batch_size, len(frames)) if self._compile else len(frames))
        pixels = self._streams.buffer((batch, spec.height, spec.width, 3))
        canvases = list(pixels.numpy())
        list((self._pool.map if self._pool else map)(partial(self._draw, spec), frames, places, canvases))
        pixels[len(frames) :] = pixels[len(frames) - 1]
        self.seconds["preprocess"] += time.perf_counter() - start

        uploaded = self._streams.upload(pixels)
        while True:
            with self._streams.compute() as span:
                given = normalise(uploaded, self._mean, self._std, self.dtype)
                try:
                    logits = self._forward(given)
                except Exception as error:
                    if out_of_memory(error):
                        raise
                    raise ModelError(f"{frames[0].name}: {self.model.name} failed: {_reason(error)}") from error
            if self._finite or bool(logits.isfinite().all()):
                self._finite = True
                return PendingBatch(frames, spec, places, logits[: len(frames)], span)
            self._fall_back()

    @staticmethod
    def _draw(spec: InputSpec, frame: Frame, place: Placement, canvas: UInt8Array) -> None:
        try:
            draw(frame, place, spec, canvas)
        except Exception as error:
            raise InputError(f"{frame.name}: {cause(error)}") from error

    def finish(self, pending: list[PendingBatch]) -> list[Segmentation]:
        """The results of what was started, in order; waits for them. Raises DeviceError where the memory is short."""
        results: list[Segmentation] = []
        for batch in pending:
            try:
                maps = self._reduce(batch)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                # The batch that computes meanwhile holds the memory; once it is done there is some.
                self._streams.release()
                maps = self._reduce(batch)
            for frame, each in zip(batch.frames, maps, strict=True):
                results.append(Segmentation(frame=frame, class_map=each, classes=self.model.classes))
        return results

    @torch.inference_mode()
    def _reduce(self, batch: PendingBatch) -> list[UInt8Array]:
        with self._streams.reduce(batch.span) as span:
            maps = [
                self._class_map(logits, frame.size, place, batch.spec)
                for logits, frame, place in zip(batch.logits, batch.frames, batch.places, strict=True)
            ]
        host = self._streams.download(maps)
        self.seconds["infer"] += batch.span.seconds
        self.seconds["class_map"] += span.seconds
        return host

    def _class_map(self, logits: Tensor, size: tuple[int, int], place: Placement, spec: InputSpec) -> Tensor:
        region = place.region(spec, (logits.shape[1], logits.shape[2]))
        seen = class_map(logits, (place.seen.height, place.seen.width), threshold=self.model.threshold, region=region)
        if tuple(seen.shape) == size:
            return seen
        whole = seen.new_zeros(size)
        whole[place.seen.slices] = seen
        return whole

    def _place(self) -> None:
        """Puts the model on the device in `dtype`."""
        try:
            self._forward = self.model.place(self.device, self.dtype)
            mean, std = self.model.input.mean, self.model.input.std
            self._mean, self._std = torch.tensor(mean, device=self.device), torch.tensor(std, device=self.device)
            self._streams.release()
        except SapiensStreamError:
            raise
        except Exception as error:
            precision = PRECISION_NAMES[self.dtype]
            if out_of_memory(error):
                raise DeviceError(f"{self.device} has not the memory for {self.model.name} in {precision}") from error
            raise ModelError(f"{self.model.name}: not to be run on {self.device}: {_reason(error)}") from error

    def _compile_network(self) -> None:
        self._forward = compiled(self._forward, self.model)
        what = f"{self.model.name} for batches of {self.batch_size} in {PRECISION_NAMES[self.dtype]} on {self.device}"
        warm_up(partial(self._compute_zeros, self.batch_size), what, self._note)

    @torch.inference_mode()
    def _compute_zeros(self, batch: int) -> None:
        """Runs the network on nothing in particular, and waits for it."""
        shape = (batch, 3, self.model.input.height, self.model.input.width)
        with self._streams.compute() as span:
            self._forward(torch.zeros(shape, device=self.device, dtype=self.dtype))
        assert span.seconds >= 0  # asking waits

    def _fall_back(self) -> None:
        """Goes to the next precision of a wider range."""
        was = PRECISION_NAMES[self.dtype]
        if self.dtype == torch.float32 or self.model.fixed_dtype:
            raise ModelError(f"{self.model.name}: its logits are not finite in {was}; the checkpoint may be damaged")
        half = self.dtype == torch.float16 and bears_bfloat16(self.device)
        self.dtype = torch.bfloat16 if half else torch.float32
        self._warn(f"{self.model.name} overflows in {was}; going on in {PRECISION_NAMES[self.dtype]}")
        self._place()
        if self._compile:
            self._compile_network()

    def _halve(self, frames: Sequence[Frame], error: RuntimeError) -> None:
        """Goes to half the batch that was too large for the device."""
        if len(frames) == 1 or self.model.fixed_batch:
            spec = self._spec(frames[0])
            raise DeviceError(
                f"{frames[0].name}: {self.device} has not the memory for {self.model.name} on"
                f" {self.model.fixed_batch or 1} x {spec.height}x{spec.width} pixels in {PRECISION_NAMES[self.dtype]}"
            ) from error
        self._streams.release()
        self.batch_size = len(frames) // 2
        self._warn(
            f"{self.device} has not the memory for {len(frames)} frames at once; going on with {self.batch_size}"
        )


def _reason(error: BaseException) -> str:
    """The cause in one line; TorchScript says it at the end of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else cause(error)
