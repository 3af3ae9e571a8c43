"""A run that goes on with what an earlier start of it has left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sapiens_stream.pipeline.inference import QueuedInference
from sapiens_stream.pipeline.stored_first import StoredFirst

if TYPE_CHECKING:
    import numpy as np

    from sapiens_stream.pipeline.earlier_run import EarlierRun
    from sapiens_stream.pipeline.stores import Store
    from sapiens_stream.sinks.sink import Sink
    from sapiens_stream.sources.source import Source


class Resumption:
    """Passes over the photos that are done, and gives the run an `engine` that infers what no class map is left of."""

    def __init__(self, engine: QueuedInference) -> None:
        self.engine = StoredFirst(engine)
        self._sha256 = engine.model.sha256
        self._store: Store[np.uint8] | None = None

    def take_up(
        self,
        earlier: EarlierRun,
        source: Source,
        sinks: Sequence[Sink],
        on_done: Callable[[str, Sequence[tuple[str, int]]], None],
        stopping: Callable[[], bool],
        note: Callable[[str], None],
    ) -> None:
        """Before the first frame is read; `on_done` is called with each photo that is passed over, and its files by
        ending and size. Once the run is `stopping`, no more photos are looked at; `note` is told how many were.
        """
        for sink in sinks:
            sink.resume(earlier.reached)
        done = earlier.done_photos(source, sinks, stopping, note)
        source.pass_over(done, lambda name: on_done(name, earlier.files_of(name, sinks)))
        self._store = earlier.open_store(source, sinks, self._sha256)
        self.engine.take_from(self._store)

    def close(self) -> None:
        """Lets go of the files that class maps are read from."""
        if self._store is not None:
            self._store.close()
