"""Frames to class maps: a model on one device, a batch at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, takewhile
from typing import Literal, TypeVar

import torch
from torch import Tensor

from sapiens_stream.errors import DeviceError, InputError, ModelError, SapiensStreamError, cause
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.inference.batch_probe import MOST, choose_batch_size
from sapiens_stream.inference.closer import Closer, Look
from sapiens_stream.inference.compilation import compiled, warm_up
from sapiens_stream.inference.device import PRECISION_NAMES, bears_bfloat16
from sapiens_stream.inference.memory import most_frames, out_of_memory
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.preprocess import Placement, draw, normalise, placement
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.inference.streams import streams_for
from sapiens_stream.models.model import InputSpec, Model

Stage = Literal["preprocess", "infer", "class_map"]
Reduced = TypeVar("Reduced")
BATCH_SIZES = {"cpu": 1, "cuda": 8, "mps": 8}
"""Unless one is given."""


class Worker:
    """Runs a model over batches on one device. All of it is called from one thread.

    `closer` is made of the device; it has the model look a second time at parts of the frames.

    `dtype` and `batch_size` are those in use: the latter, the largest batch that is computed at once, shrinks where the
    device runs out of memory, the former widens where logits overflow. `warn` is called with a sentence, `note` with
    what takes long and what was found. Of the `options`, a `batch_size` of "auto" is the fastest, which is tried for a
    few seconds; with `compile` the network is compiled for batches of that size, and smaller ones are filled up to it.
    Device and precision are resolved already.

    On CUDA a batch is resized and copied up while the one before it computes: `start` the next before you `finish`.

    Raises DeviceError or ModelError for a model that cannot be placed.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: torch.device,
        dtype: torch.dtype,
        options: InferenceOptions,
        closer: Callable[[torch.device], Closer] | None = None,
        warn: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        wanted = model.fixed_batch or options.batch_size or BATCH_SIZES[device.type]
        self.batch_size = 1 if wanted == "auto" else most_frames(wanted, model, device, dtype)
        self.seconds: dict[Stage, float] = {"preprocess": 0.0, "infer": 0.0, "class_map": 0.0}
        self._fit = options.fit
        self._compile = options.compile
        self._warn = warn
        self._note = note
        self._streams = streams_for(device)
        self._pool: ThreadPoolExecutor | None = None
        if device.type == "cuda":  # one thread cannot resize as fast as such a device computes
            self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "resize")
        self._forward: Callable[[Tensor], Tensor] | None = None
        self._place()
        self._closer = closer(device) if closer is not None else None
        self._seconds_a_look: float | None = None
        if wanted == "auto":
            most = most_frames(MOST, model, device, dtype)
            self.batch_size = choose_batch_size(self._compute_zeros, device, note, most=most)
            self._streams.release()
        if options.compile:
            self._compile_network()

    @property
    def depth(self) -> int:
        """Batches to have started before the oldest is finished, so that the device never waits."""
        return self._streams.depth

    def start(self, frames: Sequence[Frame]) -> list[PendingBatch]:
        """Sets a batch going, in parts where it is larger than `batch_size`.

        Raises ModelError where the model fails on a frame or its logits are not finite, DeviceError where the device
        runs out of memory for a single frame, InputError for a frame that cannot be converted.
        """
        for frame in frames:
            if frame.colour.unreadable:
                self._warn(f"{frame.name.rpartition('/')[0] or frame.name}: {frame.colour.unreadable}")
        return self._start(self._whole(frame) for frame in frames)

    def _start(self, wanted: Iterable[Look]) -> list[PendingBatch]:
        looks = list(wanted)
        pending: list[PendingBatch] = []
        while looks:
            part = _alike(looks[: self.batch_size])
            short: RuntimeError | None = None
            try:
                pending.append(self._infer(part))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                short = error.with_traceback(None)  # whose frames hold what is to be freed
            if short is not None:
                self._halve(part, short)
                continue
            looks = looks[len(part) :]
        return pending

    def close(self) -> None:
        """Waits for what still uses the weights, and lets them go."""
        self._streams.wait()
        self._forward = None
        if self._pool is not None:
            self._pool.shutdown()

    def _whole(self, frame: Frame) -> Look:
        """All of a frame, brought to what a network takes; one is compiled for a single size."""
        spec = self.model.input if self._compile else self.model.input_for(frame.size)
        return Look(frame, spec, placement(frame.size, spec, self._fit))

    @torch.inference_mode()
    def _infer(self, looks: Sequence[Look]) -> PendingBatch:
        start = time.perf_counter()
        spec = looks[0].spec
        frames, places = [look.frame for look in looks], [look.place for look in looks]
        pixels = self._streams.buffer((self._computed_at_once(frames), spec.height, spec.width, 3))
        canvases = list(pixels.numpy())
        list((self._pool.map if self._pool else map)(partial(self._draw, spec), frames, places, canvases))
        pixels[len(frames) :] = pixels[len(frames) - 1]
        self.seconds["preprocess"] += time.perf_counter() - start

        uploaded = self._streams.upload(pixels)
        with self._streams.compute() as span:
            given = normalise(uploaded, self._mean, self._std, self.dtype)
            try:
                logits = self._run(given)[: len(frames)]
            except Exception as error:
                if out_of_memory(error):
                    raise
                raise ModelError(f"{frames[0].name}: {self.model.name} failed: {_reason(error)}") from error
            finite = torch.stack(logits.aminmax()).isfinite().all()  # a NaN is both the least and the largest
        return PendingBatch(frames, spec, places, logits, finite, self.dtype, span)

    def _computed_at_once(self, frames: Sequence[object]) -> int:
        """The frames that the network is given for these: as many, or filled up to the one number it takes."""
        return self.model.fixed_batch or (max(self.batch_size, len(frames)) if self._compile else len(frames))

    def _run(self, given: Tensor) -> Tensor:
        assert self._forward is not None
        return self._forward(given)

    @staticmethod
    def _draw(spec: InputSpec, frame: Frame, place: Placement, canvas: UInt8Array) -> None:
        try:
            draw(frame, place, spec, canvas)
        except Exception as error:
            raise InputError(f"{frame.name}: {cause(error)}") from error

    def finish(self, pending: list[PendingBatch], refiner: Refiner | None = None) -> list[Segmentation]:
        """The results of what was started, in order, or what `refiner` has ready of them; waits for them alone.

        A batch whose logits are not finite is computed again in a precision of a wider range.

        Raises DeviceError where the memory is short or the device fails, ModelError where logits are not finite in any
        precision.
        """
        results: list[Segmentation] = []
        for batch in pending:
            ready = self._looked_closer(batch)
            if ready is not None and refiner is not None:
                ready = self._refined(refiner, ready)
            maps = self._retried(partial(self._reduce, ready, batch), batch.frames) if ready is not None else None
            self.seconds["infer"] += batch.span.seconds
            if ready is None or maps is None:
                if batch.dtype == self.dtype:  # else the batch before it has seen to that
                    self._fall_back()
                results += self.finish(self.start(batch.frames), refiner)
            else:
                results += self._segmentations(ready, maps)
        return results

    def rest(self, refiner: Refiner) -> list[Segmentation]:
        """The results that `refiner` has left at the end of its clip. Raises DeviceError as `finish` does."""
        ready = self._retried(partial(self._refine_rest, refiner), ())
        if not ready:
            return []
        maps = self._retried(
            partial(self._reduce, ready, ready[-1]), [frame for each in ready for frame in each.frames]
        )
        return self._segmentations(ready, maps or [])

    def _retried(self, reduce: Callable[[], Reduced], frames: Sequence[Frame]) -> Reduced:
        """What comes of a piece of work on the stream of the class maps, if need be at the second try."""
        name = frames[0].name if frames else self.model.name
        for last in (False, True):
            try:
                return reduce()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise DeviceError(f"{name}: {self.device} failed: {_reason(error)}") from error
                if last:
                    count = f"the class maps of {len(frames)} frames" if frames else "the last frames"
                    raise DeviceError(f"{name}: {self.device} is out of memory for {count}") from error
            # The batch that computes meanwhile holds the memory; once it is done there is some.
            self._streams.release()
        raise AssertionError("unreachable")

    def _looked_closer(self, batch: PendingBatch) -> list[PendingBatch] | None:
        """The batch, its frames with what a second look tells; None where the logits of that are not finite."""
        if self._closer is None:
            return [batch]
        looks = self._retried(partial(self._looks, self._closer, batch), batch.frames)
        seen = self._start(look for each in looks for look in each)
        if not seen:
            return [batch]
        joined = self._retried(partial(self._join, self._closer, batch, looks, seen), batch.frames)
        spent = sum(each.span.seconds for each in seen)
        self.seconds["infer"] += spent
        self._seconds_a_look = spent / sum(map(len, looks))
        return joined

    @torch.inference_mode()
    def _looks(self, closer: Closer, batch: PendingBatch) -> Sequence[Sequence[Look]]:
        with self._streams.reduce(batch.span) as span:
            looks = closer.looks(batch, self._seconds_a_look) if batch.finite else []
        self.seconds["class_map"] += span.seconds
        return looks

    @torch.inference_mode()
    def _join(
        self, closer: Closer, batch: PendingBatch, looks: Sequence[Sequence[Look]], seen: Sequence[PendingBatch]
    ) -> list[PendingBatch] | None:
        with self._streams.reduce(seen[-1].span) as span:
            joined = None
            if all(each.finite for each in seen):
                logits = [logits for each in seen for logits in each.logits]
                starts = accumulate(map(len, looks), initial=0)
                joined = [
                    closer.joined(alone, each, logits[start : start + len(each)])
                    for alone, each, start in zip(batch.each(), looks, starts, strict=False)
                ]
        self.seconds["class_map"] += span.seconds  # which waits for it, so that the logits may go
        return joined

    def _refined(self, refiner: Refiner, batches: Sequence[PendingBatch]) -> list[PendingBatch] | None:
        ready: list[PendingBatch] = []
        for batch in batches:
            found = self._retried(partial(self._refine, refiner, batch), batch.frames)
            if found is None:
                return None
            ready += found
        return ready

    @torch.inference_mode()
    def _refine(self, refiner: Refiner, batch: PendingBatch) -> list[PendingBatch] | None:
        """What the refiner has ready now; None where the logits are not finite, which no other frame may see."""
        with self._streams.reduce(batch.span) as span:
            ready = refiner.refine(batch) if batch.finite else None
        self.seconds["class_map"] += span.seconds
        return ready

    @torch.inference_mode()
    def _refine_rest(self, refiner: Refiner) -> list[PendingBatch]:
        with self._streams.reduce(None) as span:
            ready = refiner.rest()
        self.seconds["class_map"] += span.seconds
        return ready

    @torch.inference_mode()
    def _reduce(self, ready: Sequence[PendingBatch], batch: PendingBatch) -> list[UInt8Array] | None:
        """The class maps of what is ready now that `batch` is inferred; None where its logits are not finite."""
        with self._streams.reduce(batch.span) as span:
            maps = [each for part in ready for each in part.class_maps(self.model.threshold)]
            finite = batch.finite.view(torch.uint8)
        *host, all_finite = self._streams.download([*maps, finite])
        self.seconds["class_map"] += span.seconds
        return host if all_finite else None

    def _segmentations(self, batches: Sequence[PendingBatch], maps: Sequence[UInt8Array]) -> list[Segmentation]:
        host = iter(maps)
        return [
            Segmentation(
                frame=frame,
                class_map=next(host),
                classes=self.model.classes,
                model=self.model.name,
                carried=carried,
                boxes=self._closer.boxes(frame) if self._closer is not None else None,
            )
            for batch in batches
            for frame, carried in zip(batch.frames, batch.carried or [0] * len(batch.frames), strict=True)
        ]

    def _place(self) -> None:
        """Puts the model on the device in `dtype`."""
        try:
            self._streams.wait()  # for what still uses the weights
            self._forward = None  # never two copies of them on the device
            self._streams.release()
            runner = self.model.runner if not self._compile else None
            forward = runner(self.device, self.dtype) if runner is not None else None
            self._forward = forward or self.model.place(self.device, self.dtype)
            mean, std = self.model.input.mean, self.model.input.std
            self._mean, self._std = torch.tensor(mean, device=self.device), torch.tensor(std, device=self.device)
            self._streams.release()
        except SapiensStreamError:
            raise
        except Exception as error:
            precision = PRECISION_NAMES[self.dtype]
            if out_of_memory(error):
                raise DeviceError(f"{self.device} is out of memory for {self.model.name} in {precision}") from error
            raise ModelError(f"{self.model.name}: cannot be run on {self.device}: {_reason(error)}") from error

    def _compile_network(self) -> None:
        """Compiles for `batch_size`, or what of it the device has the memory for."""
        assert self._forward is not None
        self._forward = compiled(self._forward, self.model)
        while True:
            what = f"{self.model.name} for batches of {self.batch_size}"
            where = f"{PRECISION_NAMES[self.dtype]} on {self.device}"
            try:
                warm_up(partial(self._compute_zeros, self.batch_size), f"{what} in {where}", self._note)
                return
            except DeviceError as error:
                if self.batch_size == 1 or error.__cause__ is None or not out_of_memory(error.__cause__):
                    raise
            self._halve_batch_size(self.batch_size)

    @torch.inference_mode()
    def _compute_zeros(self, batch: int) -> None:
        """Runs the network on nothing in particular, and waits for it."""
        shape = (batch, 3, self.model.input.height, self.model.input.width)
        with self._streams.compute():
            self._run(torch.zeros(shape, device=self.device, dtype=self.dtype))
        self._streams.wait()

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

    def _halve(self, looks: Sequence[Look], error: RuntimeError) -> None:
        """Goes to half the batch that was too large for the device."""
        at_once = self._computed_at_once(looks)
        if at_once == 1 or self.model.fixed_batch:
            spec = looks[0].spec
            raise DeviceError(
                f"{looks[0].frame.name}: {self.device} is out of memory for {self.model.name} on"
                f" {at_once} x {spec.height}x{spec.width} pixels in {PRECISION_NAMES[self.dtype]}"
            ) from error
        self._halve_batch_size(at_once)
        if self._compile:
            self._compile_network()

    def _halve_batch_size(self, at_once: int) -> None:
        self._streams.release()
        self.batch_size = at_once // 2
        self._warn(f"{self.device} is out of memory for {at_once} frames at once; going on with {self.batch_size}")


def _alike(looks: Sequence[Look]) -> Sequence[Look]:
    """The first of the looks, as far as they are brought to the same size."""
    return list(takewhile(lambda look: look.spec == looks[0].spec, looks))


def _reason(error: BaseException) -> str:
    """The cause in one line; TorchScript says it at the end of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else cause(error)
