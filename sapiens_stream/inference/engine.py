"""Frames to class maps, on one device or several at once."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from sapiens_stream.errors import SapiensStreamError
from sapiens_stream.frame import Segmentation
from sapiens_stream.inference.closer import Closer
from sapiens_stream.inference.device import resolve_devices, resolve_precision
from sapiens_stream.inference.forks import SPAWN
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.inference.soft import probabilities_for
from sapiens_stream.inference.worker import Stage, Worker
from sapiens_stream.inference.worker_loop import Batch, Results
from sapiens_stream.inference.workers import DeviceEvent, Workers
from sapiens_stream.models.model import Model
from sapiens_stream.threads import OwnProcess

_MOST_HELD = 64
"""Frames of a clip that wait for its refiner; beyond, no more is queued than keeps one device busy. In 4K 1.6 GB."""


class Engine:
    """Runs a model over batches of frames, each device in a thread of its own.

    Args:
        model: an open Model; what `options` say of opening one does not matter.
        options: device, precision, batch size, fit and compile. The batch size is the largest batch that is computed at
            once, and shrinks where a device runs out of memory.
        closer: makes of a device what chooses the parts of frames that the model looks at again, from nearer.
        warn: is called with a sentence about whatever has to be changed on the way.
        note: is called with what takes long and what was chosen.

    `devices` and `dtype` are those in use. What becomes of a batch whose device is lost: `Workers`.

    Raises:
        UsageError: for settings that are at odds with the model.
        DeviceError: for a device that is not there, or whose memory is too small for the model.
        ModelError: for a model that cannot be placed.

    >>> engine = Engine(open_model("builtin"), InferenceOptions(device="cpu"), warn=print)
    >>> for segmentations in engine.run([[frame], [another, third]]):
    ...     print([each.class_map.shape for each in segmentations])
    """

    def __init__(
        self,
        model: Model,
        options: InferenceOptions | None = None,
        *,
        closer: Callable[[torch.device], Closer] | None = None,
        warn: Callable[[str], None],
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        options = options or InferenceOptions()
        self.model = model
        self._process = OwnProcess()
        self._closer = closer
        self._gives_soft = probabilities_for(options, model.classes) is not None
        devices = resolve_devices(options.device, model)
        precisions = {each: resolve_precision(options.precision, each, model) for each in devices}
        make = partial(_worker, model, precisions, options, closer, _Once(warn), _Once(note))
        instead = partial(resolve_devices, "cpu", model) if options.fallback == "cpu" else tuple
        self._workers = Workers(make, warn=warn, instead=instead)
        # A thread that still computes when the interpreter goes takes the process with it.
        self._end = weakref.finalize(self, self._workers.group.close)
        self._workers.add(devices)
        torch.set_num_threads(torch.get_num_threads())  # else a worker's becomes the default of later threads

    @property
    def devices(self) -> list[torch.device]:
        """Those in use: fewer than in the beginning, or others, once one was lost."""
        return [thread.device for thread in self._workers.threads]

    @property
    def device(self) -> str:
        """The devices in use, as a user would name them."""
        names = [str(each) for each in self.devices]
        return names[0] if len(set(names)) == 1 else ",".join(names)

    @property
    def dtype(self) -> torch.dtype:
        """The precision in use: of several devices', the first's."""
        return self._workers.all[0].dtype

    @property
    def batch_size(self) -> int:
        """The largest batch that is computed at once."""
        return max(worker.batch_size for worker in self._workers.all)

    def record(self) -> dict[str, Any]:
        """For the run record: what was chosen on the way."""
        return self._workers.all[0].record()

    @property
    def looks_closer(self) -> bool:
        """Whether it was given a `closer`: results then hold boxes, which follow from the frames before."""
        return self._closer is not None

    @property
    def gives_soft(self) -> bool:
        """Whether results hold probabilities, which class maps of an earlier run do not."""
        return self._gives_soft

    @property
    def ahead(self) -> int:
        """How many batches are to be queued so that every device is busy."""
        return self._ahead(None)

    @property
    def timings(self) -> dict[Stage, float]:
        """Seconds spent so far in each stage, summed over the devices; may be read from any thread."""
        return self._workers.seconds

    @property
    def device_events(self) -> Sequence[DeviceEvent]:
        """What befell the devices so far, in order."""
        return tuple(self._workers.events)

    def processor_seconds(self) -> float | None:
        """What its threads have computed so far, on the CPU; None where another device does it, or nothing tells."""
        return self._workers.processor_seconds

    def replace_hung(self, error: SapiensStreamError) -> None:
        """Gives up the workers that are at something, whose batches fail with `error`, and makes others.

        Waits until the model is placed anew. What they hold of the device's memory stays taken.
        """
        self._workers.replace_hung(error)

    def submit(self, frames: Batch, refiner: Refiner | None = None) -> Results:
        """Queues a batch on the device with the least to do; its results come in the order of `frames`.

        A batch may be larger than `batch_size`; it is then computed in parts. With a `refiner`, which has taken the
        frames, the results are those that it has ready, in the order in which batches are queued, and all goes to one
        device, where its logits lie; no frames at all are the end of its clip.

        The future raises ModelError where the model fails on a frame or its logits are not finite, DeviceError where
        the device runs out of memory for a single frame, InputError for a frame that cannot be converted.
        Raises UsageError once the engine is closed, and in a process that was forked; DeviceError once all devices are
        lost; batches that were in flight on one that is lost are done again on another.
        """
        self._process.require("this Segmenter was made", SPAWN)
        return self._workers.submit(frames, refiner)

    def run(self, batches: Iterable[Batch], refiner: Refiner | None = None) -> Iterator[list[Segmentation]]:
        """The results of each batch, in order, computed ahead as far as keeps every device busy.

        Args:
            batches: frames, as many at once as are to be computed together. An empty batch says that nothing is
                waiting: what is in flight is handed back, and the empty batch itself has no list.
            refiner: for this clip alone; a list then holds what has become ready, nothing perhaps.

        Returns:
            An iterator of a list of results for each batch. It raises what the futures of `submit` do.
        """
        ahead, least = self._ahead(refiner), self._workers.all[0].depth + 1
        held, most_held = 0, _MOST_HELD if refiner is not None else math.inf
        pending: deque[Results] = deque()
        try:
            for frames in batches:
                held += len(frames)
                if taken := (refiner.take(frames) if refiner is not None and frames else frames):
                    pending.append(self.submit(taken, refiner))
                while len(pending) > (0 if not frames else ahead if held <= most_held else least):
                    found = pending.popleft().result()
                    held -= len(found)
                    yield found
                    del found
                del frames, taken  # else the pictures are held until others have come
            if refiner is not None:
                if last := refiner.last():
                    pending.append(self.submit(last, refiner))
                pending.append(self.submit((), refiner))
            while pending:
                yield pending.popleft().result()
        finally:
            for each in pending:
                each.cancel()

    def close(self) -> None:
        """Ends the threads after what is queued, and lets go of the network; may be called again."""
        self._end()

    def _ahead(self, refiner: Refiner | None) -> int:
        workers = [thread.worker for thread in self._workers.sharing(refiner)]
        # Results are handed on in order: where there are several, one that is done waits for another that is not.
        waiting = 1 if len(workers) > 1 else 0
        return sum(worker.depth + 1 + waiting for worker in workers)


def _worker(
    model: Model,
    precisions: Mapping[torch.device, torch.dtype],
    options: InferenceOptions,
    closer: Callable[[torch.device], Closer] | None,
    warn: Callable[[str], None],
    note: Callable[[str], None],
    device: torch.device,
) -> Worker:
    """One for a device; for another than was asked for, in the precision that is usual there."""
    dtype = precisions.get(device) or resolve_precision("auto", device, model)
    return Worker(model, device=device, dtype=dtype, options=options, closer=closer, warn=warn, note=note)


class _Once:
    """Passes each warning on once, whichever device it is about first."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._said: set[str] = set()

    def __call__(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._warn(sentence)
