"""What a run did and where its time went; written by its threads, read by its display and its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline.watchdog import Activity

REASONS_KEPT = 1000  # a damaged nine-hour file must not fill the memory with its reasons


@dataclass
class Statistics:
    """Counts of frames, and seconds spent in each stage, summed over its threads."""

    decoded: int = 0
    segmented: int = 0
    written: int = 0
    stored: int = 0
    """Frames whose class maps an earlier run had written."""
    passed: int = 0
    """Photos that an earlier run was done with."""
    dropped: int = 0
    skipped: int = 0
    skips: list[Skipped] = field(default_factory=list)
    """The first of those skipped, with reasons."""
    damaged: int = 0
    """Frames that were decoded in part only, and used."""
    damages: list[Damaged] = field(default_factory=list)
    """The first of those, with reasons."""
    seconds: dict[str, float] = field(default_factory=dict)
    threads: dict[str, int] = field(default_factory=dict)
    """How many threads share a stage; one where it is not named."""
    activity: Activity = field(default_factory=Activity, repr=False)
    lock: Lock = field(default_factory=Lock, repr=False)
    _started: float = field(default_factory=time.perf_counter)
    _stopped: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds from the start to now, or to `stop()`."""
        return (self._stopped or time.perf_counter()) - self._started

    @property
    def segmented_now(self) -> int:
        """Frames segmented by this start; what was looked up is ahead of what came out."""
        return max(0, self.segmented - self.stored)

    @property
    def rate(self) -> float | None:
        """Frames that this start segmented a second, from its beginning on; None before the first."""
        elapsed = self.elapsed
        return self.segmented_now / elapsed if self.segmented_now and elapsed else None

    def stop(self) -> None:
        """Ends `elapsed`."""
        self._stopped = time.perf_counter()

    def skip(self, item: Skipped) -> None:
        """Counts an input or frame that could not be used."""
        with self.lock:
            self.skipped += 1
            if len(self.skips) < REASONS_KEPT:
                self.skips.append(item)

    def passes(self) -> None:
        """Counts a photo that an earlier run was done with."""
        with self.lock:
            self.passed += 1
        self.activity.beat()

    def damage(self, item: Damaged) -> None:
        """Counts a frame that was decoded in part only, and used."""
        with self.lock:
            self.damaged += 1
            if len(self.damages) < REASONS_KEPT:
                self.damages.append(item)

    def add(self, stage: str, seconds: float) -> None:
        """Adds time spent in a stage."""
        with self.lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def timed(self, stage: str, clock: Callable[[], float | None] | None = None) -> Iterator[None]:
        """Adds the time that its block takes to a stage; `clock` as `Activity.at` has it."""
        start = time.perf_counter()
        number = self.activity.enter(stage, clock)
        try:
            yield
        finally:
            self.activity.leave(number)
            self.add(stage, time.perf_counter() - start)

    @property
    def slowest(self) -> str | None:
        """The stage that is busy for the largest share of the time; None before the first."""
        with self.lock:
            load = {stage: spent / self.threads.get(stage, 1) for stage, spent in self.seconds.items()}
        return max(load, key=load.__getitem__) if load else None
