"""What becomes of a run, of files or live: its status, its failure, and the record that says so, kept on the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Literal

from sapiens_stream.errors import cause
from sapiens_stream.pipeline.record import RunRecord, Status
from sapiens_stream.pipeline.run_folder import RunFolder
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.threads import ThreadGroup

RECORD_EVERY = 30.0  # seconds: what a killed run's record may lag behind
HASHING_PATIENCE = 0.5  # seconds that the first record waits for a small model's checksum


class RunLog:
    """Holds `status` and `error`, reads the model's checksum beside the run, and keeps the record in `folder`, if any.

    Until the end the record says "interrupted", which is what a killed process leaves. `start` comes first, then
    `claim`, `save` whenever `is_due`, and `ending` last.
    """

    def __init__(
        self,
        record: RunRecord,
        folder: RunFolder | None,
        *,
        overwrite: bool,
        resume: bool = False,
        keep: Path | None = None,
    ) -> None:
        self.error: BaseException | None = None
        self._came_to: Status = "interrupted"
        self.claimed = False
        self._record = record
        self._folder = folder
        self.starts: list[dict[str, Any]] = []
        """The earlier ones of the same run."""
        self.reached = 0
        """How many frames those have written."""
        self._overwrite = overwrite
        self._resume = resume
        self._keep = keep
        self._sha256: str | None = None
        self._hashed = Event()
        self._threads = ThreadGroup()
        self._unhashed = True
        self._saved = time.monotonic()
        self._ended = False

    def start(self) -> None:
        """Begins to read the model's file; takes seconds for a large one."""
        self._threads.start("sha256", self._hash_model)

    def wait_for_checksum(self, timeout: float | None = None) -> None:
        """Until the model's file is read."""
        self._hashed.wait(timeout)

    @property
    def sha256(self) -> str | None:
        """The model file's checksum, once it is read."""
        return self._sha256

    def fail(self, error: BaseException) -> None:
        """Takes note of a failure; the first one stays."""
        self.error = self.error or error

    @property
    def status(self) -> Status:
        """How the run stands: whatever came to its end, a failure that anybody has noted is one."""
        return self._came_to if self.error is None else "failed"

    def come_to(self, end: Literal["complete", "interrupted"]) -> None:
        """The run has ended so, if nothing has failed, and nothing will, such as its last record."""
        self._came_to = end

    def claim(self, check: Callable[[], object] = lambda: None) -> None:
        """Takes the folder, once. Raises what `RunFolder.claim` or `check` does; no record is left there then."""
        self._saved = time.monotonic()  # where it is refused, it is not to be asked for again at once
        if self._folder is not None and not self.claimed:
            self._folder.claim(
                self._record.fingerprint, overwrite=self._overwrite, resume=self._resume, keep=self._keep
            )
            check()
            self.claimed = True

    @property
    def is_due(self) -> bool:
        """Whether the record on disk has become old, or lacks a checksum that is known now."""
        hashed = self.claimed and self._unhashed and self._hashed.is_set()
        return hashed or time.monotonic() - self._saved > RECORD_EVERY

    def save(self, record: Mapping[str, Any]) -> None:
        """Writes the record."""
        self._saved, self._unhashed = time.monotonic(), not self._hashed.is_set()
        if self._folder is not None:
            self._folder.save(record, last=self._ended)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What is saved in the block is the last record. A failure is noted; the folder is let go of in any case."""
        self.wait_for_checksum()
        self._ended = True
        try:
            yield
        except Exception as error:
            self.fail(error)
        finally:
            self._threads.join()
            if self._folder is not None:
                self._folder.release()

    def as_dict(self, statistics: Statistics, outputs: Sequence[Path]) -> dict[str, Any]:
        """The record as it stands now, as JSON types."""
        return self._record.as_dict(
            self.status,
            statistics,
            outputs=outputs,
            error=cause(self.error) if self.error else None,
            sha256=self._sha256,
            files=self._folder.files(ended=self._ended) if self._folder is not None and self.claimed else None,
            starts=self.starts,
            reached=self.reached,
        )

    def _hash_model(self) -> None:
        try:
            self._sha256 = self._record.engine.model.sha256
        finally:
            self._hashed.set()


class LoggedRun:
    """What every run tells of itself."""

    _log: RunLog

    @property
    def status(self) -> Status:
        """How it stands, or ended."""
        return self._log.status

    @property
    def error(self) -> BaseException | None:
        """What it failed with, if it has."""
        return self._log.error
