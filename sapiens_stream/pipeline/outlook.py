"""How far a batch has come, and how long the rest of it takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any, cast

from sapiens_stream.containers.length import length_without_jumps
from sapiens_stream.containers.opening import open_file
from sapiens_stream.errors import InputError
from sapiens_stream.pipeline.batch_file import Ending, State
from sapiens_stream.settings import BATCH_SCHEMA
from sapiens_stream.sources.demux import frame_rate_of
from sapiens_stream.sources.pattern import parse_pattern
from sapiens_stream.threads import ThreadGroup


def believed_total(declared: int | None, done: int) -> int | None:
    """How many frames an input has; None where nothing tells, as where it has gone on past what its header says.

    That of a transport stream is reckoned from its clock, and is about right at best.
    """
    return declared if declared is not None and done <= declared else None


class Pace:
    """Seconds a frame takes, by those of the last minute.

    Frames that an earlier run had written pass a hundred times as fast as those that follow, and are verified before
    the first: of all together neither a rate nor a time left can be told.
    """

    _SECONDS, _STEPS = 60.0, 8  # at least so many steps, where frames take long

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()

    def come_to(self, done: int, now: float | None = None) -> None:
        """So many frames are done, `now` by `time.monotonic`."""
        now = time.monotonic() if now is None else now
        steps = self._steps
        if steps and now - steps[-1][0] < self._SECONDS / 100 and len(steps) > self._STEPS:
            return
        steps.append((now, done))
        while len(steps) > self._STEPS and now - steps[0][0] > self._SECONDS:
            steps.popleft()

    def seconds_for(self, frames: int) -> float | None:
        """That so many more take; None before the second step."""
        return frames / self.rate if self.rate else None

    @property
    def rate(self) -> float | None:
        """Frames a second; None before the second step."""
        if len(self._steps) < 2:
            return None
        (then, before), (now, done) = self._steps[0], self._steps[-1]
        return (done - before) / (now - then) if done > before and now > then else None


class Outlook:
    """Counts inputs and frames, of those that have ended and of those on their way. May be used from any thread.

    `frames_each` is how many frames an input has where that is known of all.
    """

    def __init__(self, inputs: int, *, frames_each: int | None = None) -> None:
        self.inputs = inputs
        self._each = frames_each
        self.counts: dict[State, int] = dict.fromkeys(("done", "resumed", "skipped", "failed", "interrupted"), 0)
        self.bytes = 0
        self._started = time.monotonic()
        self._moving = False
        self._frames = 0
        """Of the inputs that have ended."""
        self._segmented = 0
        """Of those, by this start."""
        self._running: dict[int, int] = {}
        self._expected: dict[int, int] = {}
        self._over: set[int] = set()
        self._pace = Pace()
        self._lock = Lock()

    def expect(self, index: int, frames: int | None) -> None:
        """An input is so long, as far as its header tells."""
        if frames:
            with self._lock:
                self._expected[index] = frames

    def start(self) -> None:
        """The first input is begun, the model being loaded; `seconds` are from here."""
        with self._lock:
            if not self._moving:
                self._started, self._moving = time.monotonic(), True

    def move(self, index: int, frames: int) -> None:
        """An input has come so far."""
        with self._lock:
            if index not in self._over:
                self._running[index] = frames
                if believed_total(self._expected.get(index), frames) is None:
                    self._expected.pop(index, None)
                self._pace.come_to(self._frames + sum(self._running.values()))

    def end(self, ending: Ending) -> None:
        """An input is over."""
        with self._lock:
            self.counts[ending.status] += 1
            self.bytes += ending.bytes
            self._frames += ending.frames
            self._segmented += ending.segmented
            self._running.pop(ending.index, None)
            self._over.add(ending.index)
            self._pace.come_to(self._frames + sum(self._running.values()))

    @property
    def ended(self) -> int:
        """Inputs that are over."""
        return sum(self.counts.values())

    @property
    def frames(self) -> int:
        """That are done."""
        with self._lock:
            return self._frames + sum(self._running.values())

    @property
    def seconds(self) -> float:
        """Since the batch began."""
        return time.monotonic() - self._started

    @property
    def frames_left(self) -> int | None:
        """Of inputs whose length is not known, as many as of the others; None where none is known."""
        with self._lock:
            if self._each is not None:
                return max(0, self.inputs - self.ended) * self._each
            if not self._expected:
                return None
            left = sum(
                max(0, frames - self._running.get(index, 0))
                for index, frames in self._expected.items()
                if index not in self._over
            )
            unknown = self.inputs - len(self._over | self._expected.keys())
            return left + round(unknown * sum(self._expected.values()) / len(self._expected))

    @property
    def rate(self) -> float | None:
        """Frames a second, in the last minute; None where nothing tells."""
        with self._lock:
            return self._pace.rate

    @property
    def seconds_left(self) -> float | None:
        """At the pace of the last minute; None where nothing tells."""
        left = self.frames_left
        with self._lock:
            return self._pace.seconds_for(left) if left is not None else None

    def summary(self) -> dict[str, Any]:
        """The whole batch, which is over, in one object of JSON types."""
        seconds, segmented = self.seconds, self._segmented
        return {
            "schema": BATCH_SCHEMA,
            "inputs": max(self.inputs, self.ended),
            **cast("dict[str, int]", self.counts),
            "frames": self.frames,
            "seconds": round(seconds, 3),
            "frames_per_second": round(segmented / seconds, 3) if segmented and seconds else None,
            "bytes": self.bytes,
        }


def look_at_lengths(inputs: Iterable[tuple[int, str]], outlook: Outlook, over: Callable[[], bool]) -> None:
    """Begins to ask files for their lengths, beside what goes on; what cannot be asked, or hangs, stays unknown."""

    def look() -> None:
        for index, name in inputs:
            if over():
                return
            try:
                if (pattern := parse_pattern(name)) is not None:
                    outlook.expect(index, len(pattern.files()))
                elif Path(name).is_file():
                    outlook.expect(index, _frames_of(Path(name)))
            except (InputError, OSError, ValueError):
                continue

    ThreadGroup(log_late=False).start("lengths", look)


def _frames_of(path: Path) -> int | None:
    with open_file(path) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            return None
        frames: int | None = stream.frames or None
        rate = frame_rate_of(stream)
        if frames is None and container.duration and rate:
            frames = round((length_without_jumps(path) or Fraction(container.duration, 1_000_000)) * rate)
        return frames
