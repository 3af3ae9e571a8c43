"""Frames to class maps: a model on one device, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, repeat
from typing import Any, Literal, TypeVar

import torch

from sapiens_stream.errors import DeviceError
from sapiens_stream.frame import Frame, Segmentation, UInt8Array
from sapiens_stream.inference.closer import Closer, Look
from sapiens_stream.inference.forward import ForwardPass
from sapiens_stream.inference.memory import out_of_memory
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.placed_model import PlacedModel, reason
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.inference.soft import probabilities_for
from sapiens_stream.inference.streams import streams_for
from sapiens_stream.inference.turns import Refining, Turn, Turns
from sapiens_stream.models.model import Model

Stage = Literal["preprocess", "infer", "class_map"]
Reduced = TypeVar("Reduced")


class Worker:
    """Runs a model over batches on one device. All of it is called from one thread.

    `closer` is made of the device; it has the model look a second time at parts of the frames.

    `warn` is called with a sentence, `note` with what takes long and what was found. Of the `options`, a `batch_size`
    of "auto" is the fastest, which is tried for a few seconds; with `compile` the network is compiled for batches of
    that size, and smaller ones are filled up to it. Device and precision are resolved already.

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
        self._soft = probabilities_for(options, model.classes)
        self._warn = warn
        self._streams = streams_for(device)
        self._placed = PlacedModel(
            model, device=device, dtype=dtype, options=options, streams=self._streams, warn=warn, note=note
        )
        self._forward = ForwardPass(self._placed, self._streams, fit=options.fit)
        self._closer = closer(device) if closer is not None else None
        self._seconds_a_look: float | None = None
        self._infer_seconds = self._class_map_seconds = 0.0
        self._placed.settle()

    @property
    def dtype(self) -> torch.dtype:
        """The precision in use, which widens where logits overflow."""
        return self._placed.dtype

    @property
    def batch_size(self) -> int:
        """The largest batch that is computed at once, which shrinks where the device runs out of memory."""
        return self._placed.batch_size

    @property
    def seconds(self) -> dict[Stage, float]:
        """What each stage has taken so far."""
        return {
            "preprocess": self._forward.preprocess_seconds,
            "infer": self._infer_seconds,
            "class_map": self._class_map_seconds,
        }

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
        return self._forward.start(self._forward.whole(frame) for frame in frames)

    def finish(
        self,
        pending: list[PendingBatch],
        refining: Refining | None = None,
        turn: Turn | None = None,
        *,
        ends: bool = True,
    ) -> list[Segmentation]:
        """The results of what was started, in order, or what a refiner has ready of them; waits for them alone.

        A batch whose logits are not finite is computed again in a precision of a wider range. The closer looks at the
        batches of several workers in `turn`, which ends once it has, if this `ends` it; None: there are no others. So
        does the refiner in its own, which lasts until there are class maps: these may follow from those before them.

        Raises DeviceError where the memory is short or the device fails, ModelError where logits are not finite in any
        precision.
        """
        results: list[Segmentation] = []
        turn = turn or Turns().next()
        for batch in pending:
            is_last = ends and batch is pending[-1]
            ready = self._looked_closer(batch, turn, is_last)
            if ready is not None and refining is not None:
                refining.turn.wait()
                ready = self._refined(refining.refiner, ready)
            maps = self._retried(partial(self._reduce, ready, batch), batch.frames) if ready is not None else None
            self._infer_seconds += batch.span.seconds
            if ready is None or maps is None:
                if batch.dtype == self.dtype:  # else the batch before it has seen to that
                    self._placed.widen()
                results += self.finish(self.start(batch.frames), refining, turn, ends=is_last)
            else:
                results += self._segmentations(ready, maps)
        return results

    def rest(self, refining: Refining) -> list[Segmentation]:
        """The results that a refiner has left at the end of its clip. Raises DeviceError as `finish` does."""
        refining.turn.wait()
        ready = self._retried(partial(self._refine_rest, refining.refiner), ())
        if not ready:
            return []
        maps = self._retried(
            partial(self._reduce, ready, ready[-1]), [frame for each in ready for frame in each.frames]
        )
        return self._segmentations(ready, maps or [])

    def close(self) -> None:
        """Waits for what still uses the weights, and lets them go."""
        self._placed.close()
        self._forward.close()

    def _retried(self, reduce: Callable[[], Reduced], frames: Sequence[Frame]) -> Reduced:
        """What comes of a piece of work on the stream of the class maps, if need be at the second try."""
        name = frames[0].name if frames else self.model.name
        for last in (False, True):
            try:
                return reduce()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise DeviceError(f"{name}: {self._placed.device} failed: {reason(error)}") from error
                if last:
                    count = f"the class maps of {len(frames)} frames" if frames else "the last frames"
                    raise DeviceError(f"{name}: {self._placed.device} is out of memory for {count}") from error
            # The batch that computes meanwhile holds the memory; once it is done there is some.
            self._streams.release()
        raise AssertionError("unreachable")

    def _looked_closer(self, batch: PendingBatch, turn: Turn, is_last: bool) -> list[PendingBatch] | None:
        """The batch, its frames with what a second look tells; None where the logits of that are not finite."""
        if self._closer is None:
            return [batch]
        looks = self._retried(partial(self._looks, self._closer, batch, turn), batch.frames)
        if is_last and looks:
            turn.end()
        seen = self._forward.start(look for each in looks for look in each)
        if not seen:
            return [batch]
        joined = self._retried(partial(self._join, self._closer, batch, looks, seen), batch.frames)
        spent = sum(each.span.seconds for each in seen)
        self._infer_seconds += spent
        self._seconds_a_look = spent / sum(map(len, looks))
        return joined

    @torch.inference_mode()
    def _looks(self, closer: Closer, batch: PendingBatch, turn: Turn) -> Sequence[Sequence[Look]]:
        """Of each frame; of none where the logits are not finite."""
        with self._streams.reduce(batch.span) as span:
            looks = closer.looks(batch, self._seconds_a_look, turn) if batch.finite else []
        self._class_map_seconds += span.seconds
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
        self._class_map_seconds += span.seconds  # which waits for it, so that the logits may go
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
        self._class_map_seconds += span.seconds
        return ready

    @torch.inference_mode()
    def _refine_rest(self, refiner: Refiner) -> list[PendingBatch]:
        with self._streams.reduce(None) as span:
            ready = refiner.rest()
        self._class_map_seconds += span.seconds
        return ready

    @torch.inference_mode()
    def _reduce(self, ready: Sequence[PendingBatch], batch: PendingBatch) -> list[UInt8Array] | None:
        """The class maps of what is ready now that `batch` is inferred, and then what else is wanted of it.

        None where its logits are not finite.
        """
        with self._streams.reduce(batch.span) as span:
            maps = [each for part in ready for each in part.class_maps(self.model.threshold)]
            if self._soft is not None:
                maps += [each for part in ready for each in self._soft.planes(part, self.model.threshold)]
            finite = batch.finite.view(torch.uint8)
        *host, all_finite = self._streams.download([*maps, finite])
        self._class_map_seconds += span.seconds
        return host if all_finite else None

    def _segmentations(self, batches: Sequence[PendingBatch], maps: Sequence[UInt8Array]) -> list[Segmentation]:
        frames = sum(len(batch.frames) for batch in batches)
        host, others = iter(maps[:frames]), iter(maps[frames:])
        soft = self._soft.read(batches, others) if self._soft is not None else repeat((None, None))
        return [
            Segmentation(
                frame=frame,
                class_map=next(host),
                classes=self.model.classes,
                model=self.model.name,
                carried=carried,
                boxes=self._closer.boxes(source) if self._closer is not None else None,
                alpha=alpha,
                ranked=ranked,
            )
            for batch in batches
            for frame, source, carried, (alpha, ranked) in zip(
                batch.frames, batch.sources or batch.frames, batch.carried or repeat(0), soft, strict=False
            )
        ]

    def record(self) -> dict[str, Any]:
        """What was chosen on the way."""
        return self._closer.record() if self._closer is not None else {}
