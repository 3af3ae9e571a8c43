"""The workers of an engine, and what becomes of their batches where a device is lost or hangs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from threading import Lock, RLock
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakMethod

import torch

from sapiens_stream.errors import DeviceError, SapiensStreamError, UsageError
from sapiens_stream.inference.device import cpu_threads
from sapiens_stream.inference.placed_model import reason
from sapiens_stream.inference.refiner import Refiner
from sapiens_stream.inference.turns import Refining, Turns
from sapiens_stream.inference.worker import Stage, Worker
from sapiens_stream.inference.worker_loop import Batch, Results
from sapiens_stream.inference.worker_thread import WorkerThread
from sapiens_stream.threads import ThreadGroup

MOST_HANGS = 3
"""Times that a worker which hangs is replaced: what it holds of the device's memory is not to be had back."""


@dataclass(frozen=True)
class DeviceEvent:
    """What befell a device: "lost", "hung", "again" (another worker runs on it), "instead" (it does another's work)."""

    device: str
    event: Literal["lost", "hung", "again", "instead"]
    reason: str | None = None
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        time = self.time.isoformat(timespec="milliseconds")
        return {"time": time, "device": self.device, "event": self.event, "reason": self.reason}


class Workers:
    """A worker a device, made by `make`, in threads of `group`; the end of that ends them.

    A device that is lost is tried once more with another worker; if that fails, or it is lost again, the others take
    over what it had, and where there are none, those that `instead` gives, if any.
    Batches in flight are done again, so that each has its results. What a CUDA context is left in by a failed kernel
    cannot be mended within a process: on such a device the other worker fails at once, and a new process alone goes on.
    """

    def __init__(
        self,
        make: Callable[[torch.device], Worker],
        *,
        instead: Callable[[], Sequence[torch.device]],
        warn: Callable[[str], None],
    ) -> None:
        self.events: list[DeviceEvent] = []
        self.threads: list[WorkerThread] = []
        self.group = ThreadGroup(partial(_end, self.threads))
        self._make = make
        self._instead = instead
        self._warn = warn
        self._tried_again: set[torch.device] = set()
        self._hangs = 0
        self._before: dict[Stage, float] = {"preprocess": 0.0, "infer": 0.0, "class_map": 0.0}
        self._gone: str | None = None
        self._submitted = count()
        self._recovering = RLock()
        self._turns = Turns()
        self._clips: WeakKeyDictionary[Refiner, Turns] = WeakKeyDictionary()
        self._submitting = Lock()  # so that each queue is in the order of the turns

    @property
    def all(self) -> list[Worker]:
        """Those in use."""
        return [thread.worker for thread in self.threads]

    @property
    def seconds(self) -> dict[Stage, float]:
        """Spent so far in each stage, summed over the workers, those that are gone too."""
        return {
            stage: spent + sum(each.seconds[stage] for each in self.threads) for stage, spent in self._before.items()
        }

    @property
    def processor_seconds(self) -> float | None:
        """What their threads have computed so far; None where a device does that, or the system does not tell."""
        found = [thread.processor_seconds if thread.device.type == "cpu" else None for thread in self.threads]
        return None if None in found else sum(filter(None, found))

    def submit(self, frames: Batch, refiner: Refiner | None) -> Results:
        """Queues a batch where there is least to do; a refiner sees those of its clip one by one, as they were queued.

        Raises DeviceError where no device is left.
        """
        while True:
            if self._gone is not None:
                raise DeviceError(self._gone)
            thread = self._least_busy(self.sharing(refiner))
            try:
                with self._submitting:
                    refining = None
                    if refiner is not None:
                        refining = Refining(refiner, self._clips.setdefault(refiner, Turns()).next())
                    return thread.submit(frames, refining, self._turns)
            except UsageError:
                with self._recovering:  # others may just be taking its place
                    if thread in self.threads and self._gone is None:
                        raise

    def sharing(self, refiner: Refiner | None) -> list[WorkerThread]:
        """Those that batches go to; where a refiner's logits lie on a device, the first alone."""
        threads = [*self.threads]
        return threads if refiner is None or threads[0].device.type == "cpu" else threads[:1]

    def replace_hung(self, error: SapiensStreamError) -> None:
        """Makes other workers for those that are at something, which fails with `error`; the rest is done by them."""
        with self._recovering:
            for thread in [each for each in self.threads if each.load and not each.waits]:
                self.events.append(DeviceEvent(str(thread.device), "hung", str(error)))
                self._hangs += 1
                if self._hangs > MOST_HANGS or not self._restarted(thread, error):
                    self._do_without(thread, error)

    def _lost(self, thread: WorkerThread, error: BaseException) -> None:
        with self._recovering:
            device, why = thread.device, reason(error)
            self.events.append(DeviceEvent(str(device), "lost", why))
            if device not in self._tried_again:
                self._tried_again.add(device)
                self._warn(f"{device} was lost ({why}); trying it once more")
                if self._restarted(thread, None):
                    return
            self._do_without(thread, error)

    def _restarted(self, thread: WorkerThread, error: BaseException | None) -> bool:
        thread.restart(error)
        try:
            thread.placed()
        except Exception as failure:
            self.events.append(DeviceEvent(str(thread.device), "lost", reason(failure)))
            return False
        self.events.append(DeviceEvent(str(thread.device), "again"))
        return True

    def _do_without(self, thread: WorkerThread, error: BaseException) -> None:
        jobs = thread.emptied()
        why = f"{thread.device} was lost: {reason(error)}"
        if len(self.threads) == 1:
            devices = [each for each in self._instead() if each.type != thread.device.type]
            with suppress(SapiensStreamError, RuntimeError):  # of no thread for it
                self.add(devices)
        if len(self.threads) == 1:  # it stays, as whoever asks what was used is told of it
            self._gone = f"{why}; a new process may reach it again (--resume), or the CPU takes over (--fallback cpu)"
            for job in jobs:
                job.fail(DeviceError(self._gone))
            return
        self.threads.remove(thread)
        for stage, spent in thread.seconds.items():
            self._before[stage] += spent
        names = ", ".join(dict.fromkeys(str(each.device) for each in self.threads))
        self._warn(f"{why}; going on on {names}")
        self.events += [DeviceEvent(name, "instead") for name in names.split(", ")]
        for job in jobs:
            try:
                self._least_busy(self.threads).take(job)
            except UsageError:  # they are being closed
                job.fail(DeviceError(why))

    def _least_busy(self, threads: Sequence[WorkerThread]) -> WorkerThread:
        """Of several with the least to do another each time: the first would get two while others wait."""
        first = next(self._submitted) % len(threads)
        return min([*threads[first:], *threads[:first]], key=lambda each: each.load)

    def add(self, devices: Sequence[torch.device]) -> None:
        """Places the model on each of them. Raises what a Worker does."""
        pool = max(1, cpu_threads() // len(devices)) if devices and devices[0].type == "cpu" else None
        lost = partial(_if_there, WeakMethod(self._lost))  # the threads must not keep the engine, whose end ends them
        added = [
            WorkerThread(self.group, partial(self._make, device), device=device, threads=pool, on_lost=lost)
            for device in devices
        ]
        self.threads += added
        try:
            for thread in added:
                thread.placed()
        except BaseException:
            for thread in added:
                thread.end()
                self.threads.remove(thread)
            raise


def _if_there(
    tell: WeakMethod[Callable[[WorkerThread, BaseException], None]], thread: WorkerThread, error: BaseException
) -> None:
    if (there := tell()) is not None:
        there(thread, error)


def _end(threads: Sequence[WorkerThread]) -> None:
    for thread in threads:
        thread.end()
