"""An engine that infers only what is not stored yet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.pipeline.inference import (
    DeviceEvent,
    ModelFacts,
    QueuedInference,
    completing,
    device_events,
    processor_seconds,
)
from sapiens_stream.pipeline.stores import Store

if TYPE_CHECKING:  # torch takes seconds to load
    from concurrent.futures import Future

    from sapiens_stream.inference.refiner import Refiner

_AT_ONCE = 4  # frames on their way between decoding and painting, so that neither waits for the other
READ = "read"
"""The stage in which stored class maps are read."""


class Reader:
    """Takes class maps from a store, as results of the model that made them; `complete` adds what else is known."""

    def __init__(
        self,
        store: Store[np.uint8],
        model: ModelFacts,
        complete: Callable[[Segmentation], Segmentation] = lambda result: result,
    ) -> None:
        self.seconds = 0.0
        self.found = 0
        self._store = store
        self._model = model
        self._complete = complete

    def read(self, frame: Frame) -> Segmentation | None:
        """The stored result of a frame; None where there is none."""
        started = time.perf_counter()
        class_map = self._store.find(frame)
        self.seconds += time.perf_counter() - started
        if class_map is None or class_map.max() >= len(self._model.classes):  # it is damaged
            return None
        self.found += 1
        return self._complete(
            Segmentation(frame=frame, class_map=class_map, classes=self._model.classes, model=self._model.name)
        )


@dataclass
class _Batch:
    """What was found of a batch, and what is inferred of it."""

    found: list[Segmentation | None]
    inferred: Future[list[Segmentation]] | None

    def results(self) -> list[Segmentation]:
        """All of it, in order."""
        others = iter(self.inferred.result() if self.inferred is not None else ())
        return [next(others) if each is None else each for each in self.found]


class StoredFirst:
    """`engine`, but for the frames that are in the `store` once one is set; `infers_all` says when that is no use."""

    def __init__(self, engine: QueuedInference) -> None:
        self._engine = engine
        self._reader: Reader | None = None

    def take_from(self, store: Store[np.uint8]) -> None:
        """Sets the store; before `run`."""
        self._reader = Reader(store, self._engine.model, completing(self._engine))

    def infers_all(self, refiner: Refiner | None) -> str | None:
        """Why every frame is inferred, whatever is stored; None where it need not be."""
        if refiner is not None or self._engine.looks_closer:
            return "as frames depend on those before them (--steady, --every, --people, --boxes)"
        if self._engine.gives_soft:
            return "as class maps hold no probabilities (--save statistics, cryptomatte, soft edges)"
        return None

    @property
    def found(self) -> int:
        """Frames that were taken from the store."""
        return self._reader.found if self._reader is not None else 0

    @property
    def model(self) -> ModelFacts:
        """The engine's."""
        return self._engine.model

    @property
    def device(self) -> str:
        """The engine's."""
        return self._engine.device

    @property
    def devices(self) -> Sequence[object]:
        """The engine's."""
        return self._engine.devices

    @property
    def dtype(self) -> object:
        """The engine's."""
        return self._engine.dtype

    @property
    def batch_size(self) -> int:
        """The engine's."""
        return self._engine.batch_size

    @property
    def device_events(self) -> Sequence[DeviceEvent]:
        """The engine's."""
        return device_events(self._engine)

    def processor_seconds(self) -> float | None:
        """The engine's."""
        return processor_seconds(self._engine)

    @property
    def timings(self) -> Mapping[Any, float]:
        """Those of the engine, and the reading."""
        return {**self._engine.timings, READ: self._reader.seconds if self._reader is not None else 0.0}

    def run(self, batches: Iterable[Sequence[Frame]], refiner: Refiner | None = None) -> Iterator[list[Segmentation]]:
        """As `Engine.run`."""
        if self._reader is None or self.infers_all(refiner):
            yield from self._engine.run(batches, refiner)
            return
        pending: deque[_Batch] = deque()
        try:
            for frames in batches:
                found = [self._reader.read(frame) for frame in frames]
                missing = [frame for frame, result in zip(frames, found, strict=True) if result is None]
                pending.append(_Batch(found, self._engine.submit(missing) if missing else None))
                while len(pending) > self._engine.ahead or (pending and pending[0].inferred is None):
                    yield pending.popleft().results()
            while pending:
                yield pending.popleft().results()
        finally:
            for each in pending:
                if each.inferred is not None:
                    each.inferred.cancel()


class StoredOnly:
    """What is in a `store`, by a model that is known by its record alone.

    `complete` adds to a result what else is known of it. `on_missing` is called with a frame of which there is nothing;
    if it returns True, the others go on without it.
    """

    on_missing: Callable[[Frame], bool] = staticmethod(lambda frame: False)

    def __init__(
        self,
        store: Store[np.uint8],
        model: ModelFacts,
        precision: str,
        complete: Callable[[Segmentation], Segmentation] = lambda result: result,
    ) -> None:
        self.model = model
        self.dtype = precision
        self.batch_size = _AT_ONCE
        self.device = "none"
        self.devices: Sequence[object] = (self.device,)
        self._reader = Reader(store, model, complete)

    @property
    def timings(self) -> Mapping[Any, float]:
        """Of the reading."""
        return {READ: self._reader.seconds}

    def run(self, batches: Iterable[Sequence[Frame]], refiner: Refiner | None = None) -> Iterator[list[Segmentation]]:
        """The stored results of each batch, in order."""
        for frames in batches:
            results = []
            for frame in frames:
                if (result := self._reader.read(frame)) is not None:
                    results.append(result)
                elif not self.on_missing(frame):
                    yield results
                    return
            yield results
