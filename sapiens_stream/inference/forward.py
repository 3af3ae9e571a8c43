"""Frames, and parts of them, to logits on their way: resized, copied up and through the network, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile

import torch

from sapiens_stream.cores import usable_cores
from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import Frame, UInt8Array
from sapiens_stream.inference.closer import Look
from sapiens_stream.inference.memory import out_of_memory
from sapiens_stream.inference.options import Fit
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.placed_model import PlacedModel
from sapiens_stream.inference.preprocess import Placement, draw, placement
from sapiens_stream.inference.streams import Streams
from sapiens_stream.models.model import InputSpec
from sapiens_stream.threads import Pool


class ForwardPass:
    """Sets batches going on a placed model. `fit` says how frames are brought to its size."""

    def __init__(self, placed: PlacedModel, streams: Streams, *, fit: Fit) -> None:
        self.preprocess_seconds = 0.0
        self._placed = placed
        self._streams = streams
        self._fit = fit
        # One thread cannot resize as fast as such a device computes.
        self._pool = Pool(min(4, usable_cores()), "resize") if placed.device.type == "cuda" else None

    def whole(self, frame: Frame) -> Look:
        """All of a frame, brought to what a network takes."""
        spec = self._placed.input_for(frame)
        return Look(frame, spec, placement(frame.size, spec, self._fit, frame.widening))

    def start(self, wanted: Iterable[Look]) -> list[PendingBatch]:
        """Sets looks going, in parts where they are more than are computed at once. Raises what `Worker.start` does."""
        looks = list(wanted)
        pending: list[PendingBatch] = []
        while looks:
            part = _alike(looks[: self._placed.batch_size])
            short: RuntimeError | None = None
            try:
                pending.append(self._infer(part))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                short = error.with_traceback(None)  # whose frames hold what is to be freed
            if short is not None:
                self._placed.shrink(len(part), part[0].frame.name, part[0].spec, short)
                continue
            looks = looks[len(part) :]
        return pending

    def close(self) -> None:
        """Ends the threads that resize."""
        if self._pool is not None:
            self._pool.shutdown()

    @torch.inference_mode()
    def _infer(self, looks: Sequence[Look]) -> PendingBatch:
        start = time.perf_counter()
        spec = looks[0].spec
        frames, places = [look.frame for look in looks], [look.place for look in looks]
        at_once = self._placed.computed_at_once(len(looks), spec)
        pixels = self._streams.buffer((at_once, spec.height, spec.width, 3))
        canvases = list(pixels.numpy())
        list((self._pool.map if self._pool else map)(partial(_draw, spec), frames, places, canvases))
        pixels[len(frames) :] = pixels[len(frames) - 1]
        self.preprocess_seconds += time.perf_counter() - start

        uploaded = self._streams.upload(pixels)
        with self._streams.compute() as span:
            logits = self._placed.logits(uploaded, frames[0].name)[: len(frames)]
            finite = torch.stack(logits.aminmax()).isfinite().all()  # a NaN is both the least and the largest
        return PendingBatch(frames, spec, places, logits, finite, self._placed.dtype, span)


def _alike(looks: Sequence[Look]) -> Sequence[Look]:
    """The first of the looks, as far as they are brought to the same size."""
    return list(takewhile(lambda look: look.spec == looks[0].spec, looks))


def _draw(spec: InputSpec, frame: Frame, place: Placement, canvas: UInt8Array) -> None:
    try:
        draw(frame, place, spec, canvas)
    except Exception as error:
        raise InputError(f"{frame.name}: {cause(error)}") from error
