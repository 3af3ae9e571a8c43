"""Takes the newest frames of all cameras to the engine, as soon as it has room for them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from threading import Condition
from typing import Any

from sapiens_stream.errors import InputError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.engine import Engine
from sapiens_stream.live.camera import Camera, InferenceResult, LiveFrame
from sapiens_stream.live.delays import per_second
from sapiens_stream.people.flicker import Flickers
from sapiens_stream.people.hold import Hold, Holds

_TIMES_KEPT = 1000
_LATENCIES_KEPT = 16
_CLOSE_SECONDS = 10.0  # a large model on a slow machine may be long about its frame


@dataclass(frozen=True, eq=False)
class _PendingBatch:
    """A batch on its way: at most one frame of each camera."""

    cameras: Sequence[Camera]
    frames: Sequence[Frame]
    started: float
    refiner: Holds | None = None


class Inference:
    """Keeps each device busy with one batch of the newest frames across cameras, none of them twice.

    With `steady` a place of a camera keeps its class until another is clearly ahead; not on several devices, which take
    a camera's frames in turns. It has no thread of its own: `feed` is called when frames arrive, and again when a
    device is done. `on_change` is called after each batch, from a device's thread. `error` is what the engine failed
    with, if it has.
    """

    def __init__(
        self, engine: Engine, cameras: Sequence[Camera], on_change: Callable[[], None], *, steady: bool = False
    ) -> None:
        self.model = engine.model
        self.error: BaseException | None = None
        self.unreadable = 0
        """Frames that could not be converted."""
        self._engine = engine
        self._cameras = cameras
        self._on_change = on_change
        self._slots = len(engine.devices)
        steady = steady and self._slots == 1
        self._holds = {camera: Hold(engine.model.threshold) for camera in cameras} if steady else None
        self._pending: list[_PendingBatch] = []
        self._latencies: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._finished: deque[float] = deque(maxlen=_TIMES_KEPT)
        self._closed = False
        self._changed = Condition()

    def feed(self) -> None:
        """Hands frames that wait to the engine if it has room."""
        while (batch := self._next()) is not None:
            if batch.refiner is not None:
                batch.refiner.take(batch.frames)
            self._engine.submit(batch.frames, batch.refiner).add_done_callback(partial(self._done, batch))

    def close(self) -> None:
        """Takes no more frames, and waits for those in flight."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._pending, _CLOSE_SECONDS)

    def in_flight(self, camera: Camera) -> list[Frame]:
        """The camera's frames that are being inferred."""
        with self._changed:
            return [
                frame
                for batch in self._pending
                for owner, frame in zip(batch.cameras, batch.frames, strict=True)
                if owner is camera
            ]

    def awaits(self, camera: Camera, frame: Frame) -> bool:
        """Whether a class map of this frame may still come."""
        with self._changed:
            waiting = camera.is_to_infer(frame) and not self._closed
            return waiting or any(each is frame for batch in self._pending for each in batch.frames)

    def expected(self, arrival: LiveFrame) -> float:
        """When the class map of a frame that has just arrived will be there, by `time.monotonic()`."""
        with self._changed:
            if not self._latencies:
                return math.inf
            now = time.monotonic()
            # The better ones: carrying maps along slows the model down, which must not keep it carrying.
            latency = sorted(self._latencies)[len(self._latencies) // 4]
            for batch in self._pending:
                if any(frame is arrival.frame for frame in batch.frames):
                    return max(now, batch.started + latency)
            free = now
            if len(self._pending) >= self._slots:
                free = max(now, min(batch.started for batch in self._pending) + latency)
            return free + latency

    def per_second(self, now: float) -> float:
        """Frames inferred a second, lately."""
        with self._changed:
            return per_second(list(self._finished), now)

    def record(self) -> dict[str, Any]:
        """For the run record: of all cameras, how much their class maps flicker, if they are held still."""
        if self._holds is None:
            return {}
        found = Flickers()
        for hold in self._holds.values():
            found.add(hold.flickers)
        return found.record()

    def _next(self) -> _PendingBatch | None:
        with self._changed:
            if self._closed or len(self._pending) >= self._slots:
                return None
            taken = [(camera, arrival.frame) for camera in self._cameras if (arrival := camera.take_to_infer())]
            if not taken:
                return None
            owners = [camera for camera, _ in taken]
            holds = Holds([self._holds[camera] for camera in owners]) if self._holds is not None else None
            batch = _PendingBatch(owners, [frame for _, frame in taken], time.monotonic(), holds)
            self._pending.append(batch)
            return batch

    def _done(self, batch: _PendingBatch, results: Future[list[Segmentation]]) -> None:
        now = time.monotonic()
        seconds = now - batch.started
        try:
            for camera, result in zip(batch.cameras, results.result(), strict=True):
                camera.deliver(InferenceResult(result, seconds))
        except InputError:  # of one damaged frame; the next may be whole
            self.unreadable += 1
            if batch.refiner is not None:
                batch.refiner.lose(batch.frames)
        except (Exception, CancelledError) as error:
            self.error, self._closed = error, True
        with self._changed:
            self._pending.remove(batch)
            self._finished.extend([now] * len(batch.frames))
            self._latencies.append(seconds)
            self._changed.notify_all()
        self.feed()
        self._on_change()
