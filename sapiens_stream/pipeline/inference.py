"""What a run needs of an engine: results for frames, and the facts that its record and its fingerprint tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sapiens_stream.classes import ClassSet
from sapiens_stream.frame import Frame, Segmentation

if TYPE_CHECKING:  # torch takes seconds to load
    from sapiens_stream.inference.refiner import Refiner


class InputSize(Protocol):
    """What pictures are brought to, pixels."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


class ModelFacts(Protocol):
    """As `models.model.Model` has them."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def classes(self) -> ClassSet: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def input(self) -> InputSize: ...
    @property
    def aspect_step(self) -> int | None: ...
    @property
    def photo_detail(self) -> float: ...


class Inference(Protocol):
    """As `inference.engine.Engine` does it; or results that are there already."""

    @property
    def model(self) -> ModelFacts: ...
    @property
    def device(self) -> str: ...
    @property
    def devices(self) -> Sequence[object]: ...
    @property
    def dtype(self) -> object:
        """Its text is the precision, with or without "torch." before it."""

    @property
    def batch_size(self) -> int: ...
    @property
    def timings(self) -> Mapping[Any, float]:
        """Seconds spent so far in each stage."""

    def run(self, batches: Iterable[Sequence[Frame]], refiner: Refiner | None = None) -> Iterator[list[Segmentation]]:
        """The results of each batch, in order."""


class DeviceEvent(Protocol):
    """What befell a device of an engine."""

    @property
    def time(self) -> datetime: ...
    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""


def device_events(engine: Inference) -> Sequence[DeviceEvent]:
    """What befell its devices, of an engine that tells."""
    found: Sequence[DeviceEvent] = getattr(engine, "device_events", ())
    return found


def completing(engine: Inference) -> Callable[[Segmentation], Segmentation]:
    """What adds to a stored result what an engine that stands for a run knows of it beside its class map."""
    tell: Callable[[Segmentation], Segmentation] = getattr(engine, "complete", lambda result: result)
    return tell


def processor_seconds(engine: Inference) -> float | None:
    """What its threads have computed so far; None where a device does that, or it does not tell."""
    tell: Callable[[], float | None] | None = getattr(engine, "processor_seconds", None)
    return tell() if tell is not None else None


class QueuedInference(Inference, Protocol):
    """One that takes single batches too, and computes ahead."""

    @property
    def looks_closer(self) -> bool:
        """Whether results hold people beside class maps, for which each needs the frames before it."""

    @property
    def gives_soft(self) -> bool:
        """Whether results hold probabilities beside class maps."""

    @property
    def ahead(self) -> int:
        """How many batches are to be queued so that it is always busy."""

    def submit(self, frames: Sequence[Frame]) -> Future[list[Segmentation]]:
        """Queues a batch; its results come in its order."""
