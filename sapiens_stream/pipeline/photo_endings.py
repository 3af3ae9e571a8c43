"""What became of each photo of a run, as of an input of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline.batch_file import DAMAGED, Ending, State
from sapiens_stream.pipeline.run_results import Done
from sapiens_stream.sources.photos import Photos


class PhotoEndings:
    """Gives `note` the ending of each photo; what a run tells goes to `done`, `skipped` and `damaged`, from any thread.

    Photos are decoded, inferred and written side by side: the seconds of one are those since the one before it. One
    that is done stays so where it is skipped as listed twice.
    """

    def __init__(self, source: Photos, note: Callable[[Ending], None]) -> None:
        self._paths = {name: str(source.path_of(name) or name) for name in source.names}
        self._names = {path: name for name, path in self._paths.items()}
        self._places = {path: place for place, path in enumerate(source.inputs)}
        self._done: set[str] = set()
        self._note = note
        self._record: str | None = None
        self._damage: dict[str, str] = {}
        self._last = time.perf_counter()
        self._lock = Lock()

    def begin(self, record: str | None) -> None:
        """The run that has its record in a file of that name is about to start."""
        self._record = record
        self._last = time.perf_counter()

    def done(self, done: Done) -> None:
        """All files of a photo are there."""
        path = self._paths.get(done.name, done.name)
        reason = "done already" if done.before else self._damage.pop(path, None)
        self._end(path, done.name, "done", reason, frames=1, segmented=not done.before, size=done.bytes)

    def skipped(self, item: Skipped) -> None:
        """A photo could not be used."""
        path = self._paths.get(item.name, item.name)
        self._end(path, self._names.get(path, item.name), "skipped", item.reason)

    def damaged(self, item: Damaged) -> None:
        """A photo could be read in part only, and is used."""
        self._damage[item.name] = f"{DAMAGED}{item.reason}"

    def _end(
        self,
        path: str,
        name: str,
        status: State,
        reason: str | None,
        *,
        frames: int = 0,
        segmented: int = 0,
        size: int = 0,
    ) -> None:
        with self._lock:
            if status == "skipped" and path in self._done:
                return
            seconds, now = 0.0, time.perf_counter()
            if frames:
                seconds, self._last = now - self._last, now
                self._done.add(path)
            self._note(
                Ending(
                    index=self._places.get(path, len(self._places)),
                    input=path,
                    name=name,
                    status=status,
                    reason=reason,
                    frames=frames,
                    segmented=segmented,
                    seconds=seconds,
                    bytes=size,
                    record=self._record,
                )
            )
