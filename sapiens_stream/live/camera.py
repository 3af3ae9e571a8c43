"""One camera of a live run: a thread that takes what arrives and never waits, and the newest of it for the others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import Frame, Segmentation, Skipped
from sapiens_stream.sources import Live, LiveEvent
from sapiens_stream.threads import ThreadGroup

EVENTS_KEPT = 1000  # a camera that flaps for a week must not fill the memory
USUAL_PERIOD = 1 / 30
LONGEST_PERIOD = 0.25  # seconds; a longer pause between two frames tells nothing of the camera's rate
_JOIN_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A frame, when it had arrived and when it was decoded, by `time.monotonic()`."""

    frame: Frame
    at: float
    decoded: float


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """What the model said of a frame, and how many seconds that took."""

    result: Segmentation
    seconds: float


class Camera:
    """Reads a live source. Of what it reads one frame waits to be shown and one to be inferred: the newest wins.

    `open_source(on_event=...)` opens it; `tell` is called with its events, in the camera's thread.
    """

    def __init__(self, open_source: Callable[..., Live], tell: Callable[[LiveEvent], None] | None = None) -> None:
        self.source = open_source(on_event=self._hear)
        self.name = self.source.info.name
        self.trouble: str | None = None
        self.failure: BaseException | None = None
        self.finished = False
        self.paused = False
        self.period = USUAL_PERIOD
        """Seconds between two frames, of late."""
        self.inferred: InferenceResult | None = None
        """Of the newest frame of which the model has said something."""
        self.shown = self.carried = self.inferences = self.reconnects = 0
        self.events: deque[tuple[str, LiveEvent]] = deque(maxlen=EVENTS_KEPT)
        """With the time of day at which they came, ISO 8601."""
        self._read = self._dropped = 0
        self._to_show: LiveFrame | None = None
        self._to_infer: LiveFrame | None = None
        self._last: float | None = None
        self._lock = Lock()
        self._tell = tell
        self._on_change: Callable[[], None] = lambda: None
        self._threads = ThreadGroup(self.source.close, join_seconds=_JOIN_SECONDS)

    def start(self, on_change: Callable[[], None]) -> None:
        """Begins to read. `on_change` is called when there is a new frame, a new `trouble`, or an end."""
        self._on_change = on_change
        self._threads.start("camera", self._take_all)

    def close(self) -> None:
        """Ends reading."""
        self._threads.close()

    @property
    def problem(self) -> BaseException | None:
        """Why it ended, or that nothing came of it; None where it went well."""
        if self.failure is not None or self.received:
            return self.failure
        return InputError(f"{self.name}: no picture came" + (f": {self.events[-1][1].reason}" if self.events else ""))

    @property
    def received(self) -> int:
        """Frames that were decoded."""
        return self._read + self.source.dropped

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones."""
        return self._dropped + self.source.dropped

    def take_to_show(self) -> LiveFrame | None:
        """The newest frame that nobody has seen to; it is now the caller's to show or to drop."""
        with self._lock:
            taken, self._to_show = self._to_show, None
            return taken

    def take_to_infer(self) -> LiveFrame | None:
        """The newest frame that was not yet inferred, each once."""
        with self._lock:
            taken, self._to_infer = self._to_infer, None
            return taken

    def is_to_infer(self, frame: Frame) -> bool:
        """Whether the frame waits to be inferred."""
        waiting = self._to_infer
        return waiting is not None and waiting.frame is frame

    @property
    def has_to_show(self) -> bool:
        """Whether there is a frame that nobody has seen to."""
        return self._to_show is not None

    def count_shown(self, result: Segmentation) -> None:
        """Counts a frame that was taken and shown."""
        self.shown += 1
        self.carried += result.carried > 0

    def drop(self, count: int = 1) -> None:
        """Counts frames that were taken, but will not be shown."""
        with self._lock:
            self._dropped += count

    def deliver(self, inferred: InferenceResult) -> None:
        """Takes what the model said, unless it has already said something of a newer frame."""
        with self._lock:
            self.inferences += 1
            before = self.inferred
            if before is None or before.result.frame.index < inferred.result.frame.index:
                self.inferred = inferred

    def as_dict(self) -> dict[str, Any]:
        """For the run record, as JSON types."""
        return {
            "input": self.name,
            "received": self.received,
            "shown": self.shown,
            "dropped": self.dropped,
            "inferred": self.inferences,
            "carried": self.carried,
            "reconnects": self.reconnects,
            "error": cause(self.failure) if self.failure else None,
            "events": [{"time": at, "event": event.kind, "reason": event.reason} for at, event in list(self.events)],
        }

    def _take_all(self) -> None:
        try:
            for item in self.source.frames():
                if isinstance(item, Skipped):
                    continue
                self._put(item)
                self._on_change()
        except BaseException as error:
            self.failure = error
            self.trouble = cause(error)
        finally:
            self.finished = True
            self._on_change()

    def _put(self, frame: Frame) -> None:
        now = time.monotonic()
        received = LiveFrame(frame, now if frame.arrived is None else frame.arrived, now)
        with self._lock:
            self._read += 1
            if self._last is not None and (period := received.at - self._last) < LONGEST_PERIOD:
                self.period += max(0.1, 1 / (self._read - 1)) * (period - self.period)
            self._last = received.at
            if self.paused:
                self._dropped += 1
                return
            self._dropped += self._to_show is not None
            self._to_show = self._to_infer = received

    def _hear(self, event: LiveEvent) -> None:
        self.events.append((datetime.now(UTC).isoformat(timespec="milliseconds"), event))
        match event.kind:
            case "back":
                self.reconnects += 1
                self.trouble = None
            case "lost" | "ended":
                self.trouble = event.reason
            case "reconnecting":
                self.trouble = f"{event.reason}; trying again in {event.seconds_to_next_try:g} s"
        if self._tell is not None:
            self._tell(event)
        self._on_change()
