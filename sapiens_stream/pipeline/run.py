"""A run: one source through an engine into sinks, to its end, its interruption or its failure, with a record of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from sapiens_stream.errors import SapiensStreamError, cause
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline.record import RunRecord, Status
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.pipeline.stream import Stream
from sapiens_stream.pipeline.writers import Writers
from sapiens_stream.sinks.files import written_aside
from sapiens_stream.sinks.sink import Sink
from sapiens_stream.sources.source import Source

if TYPE_CHECKING:  # torch takes seconds to load, and an input that is not there is told before
    from sapiens_stream.inference.engine import Engine

RECORD_EVERY = 30.0  # seconds: what a killed run's record may lag behind


class Run:
    """Takes every frame of `source` through `engine` into `sinks`, and keeps the record at `record_path` current.

    Until the end the record on disk says "interrupted", which is what a killed process leaves.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        sinks: Sequence[Sink],
        *,
        record_path: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        workers: int = 2,
        on_skip: Callable[[Skipped], None] | None = None,
        on_damage: Callable[[Damaged], None] | None = None,
        strict: bool = False,
    ) -> None:
        self.statistics = Statistics()
        self.error: BaseException | None = None
        self.status: Status = "interrupted"
        self.name = source.info.name
        self.frame_count = source.info.frame_count
        self._sinks = sinks
        self._record = RunRecord(source=source.info, engine=engine, settings=settings or {})
        self._record_path = record_path
        self._workers = workers
        self.stopping = False
        self._sha256: str | None = None
        self._stream = Stream(
            source, engine, statistics=self.statistics, on_skip=on_skip, on_damage=on_damage, strict=strict
        )

    def stop(self) -> None:
        """Ends the run early: the frames in flight are finished and the files closed. Safe in a signal handler."""
        self.stopping = True
        self._stream.stop()

    def execute(self, on_result: Callable[[Statistics], None] | None = None, *, check: bool = False) -> None:
        """Runs to the end; what happened is then in `status`, and what it failed with in `error`.

        That is InputError of the source, ModelError or DeviceError of the engine, OutputError of a sink or the record,
        or whatever a source or sink of your own raised. With `check` it is raised as well, once all is closed and the
        record written. KeyboardInterrupt is always raised again.

        `on_result` is called after each result, in this thread.
        """
        hashing = Thread(target=self._hash_model, name="sha256", daemon=True)
        hashing.start()
        try:
            self._write_all(on_result)
            self.status = "interrupted" if self.stopping else "complete"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.error, self.status = error, "failed"
        finally:
            self.statistics.stop()
            hashing.join()
            self._save_record()
        if check and self.error is not None:
            raise self.error

    def _hash_model(self) -> None:
        self._sha256 = self._record.engine.model.sha256

    def _write_all(self, on_result: Callable[[Statistics], None] | None) -> None:
        saved = time.monotonic()
        self._save_record()
        with self._stream as stream:
            writers = Writers(self._sinks, self.statistics, workers=self._workers)
            try:
                for result in stream:
                    writers.write(result)
                    if on_result:
                        on_result(self.statistics)
                    if time.monotonic() - saved > RECORD_EVERY:
                        saved = time.monotonic()
                        self._save_record()
            finally:
                writers.close()

    @property
    def outputs(self) -> list[Path]:
        """The files that span the whole source; those of single frames lie beside them."""
        return [path for sink in self._sinks for path in sink.written]

    def record(self) -> dict[str, Any]:
        """The record as it stands now, as JSON types."""
        error = cause(self.error) if self.error else None
        return self._record.as_dict(
            self.status, self.statistics, outputs=self.outputs, error=error, sha256=self._sha256
        )

    def _save_record(self) -> None:
        if self._record_path is None:
            return
        try:
            with written_aside(self._record_path) as file:
                file.write(json.dumps(self.record(), ensure_ascii=False, indent=1).encode() + b"\n")
        except SapiensStreamError as error:
            self.error = self.error or error
            self.status = "failed"
