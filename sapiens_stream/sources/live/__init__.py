"""A camera, a stream or a screen as a source: the newest frame, and again after trouble."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from sapiens_stream.containers.limits import require_max_pixels
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Frame, Skipped, SourceInfo
from sapiens_stream.settings import MAX_PIXELS, RECONNECT, Reconnect, frame_name, is_number
from sapiens_stream.sources.display_matrix import DisplayMatrix
from sapiens_stream.sources.live.address import Address, parse_address
from sapiens_stream.sources.live.connection import CONNECT_SECONDS, Connection
from sapiens_stream.sources.live.latest_frames import DecodedFrame, LatestFrames, Outcome
from sapiens_stream.sources.live.timeline import TIME_BASE, Timeline
from sapiens_stream.sources.source import Source
from sapiens_stream.threads import ThreadGroup

EventKind = Literal["lost", "reconnecting", "back", "resized", "ended"]

STALL_SECONDS = 2.5
"""How long a picture may be awaited before it is called lost, so that it is reported within three seconds."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
CLOSE_SECONDS = 1.0
"""How long closing waits for FFmpeg to come back from what it waits for; it does so by itself later on."""


@dataclass(frozen=True)
class LiveEvent:
    """What happened to a live source.

    Args:
        kind: "lost": no picture since; "reconnecting": it is opened again in `seconds_to_next_try`; "back": a picture
            came; "resized": they are of another size from now on; "ended": the stream is over, and is not opened again.
        source: the name that is safe to print.
        reason: in a line.
        seconds_to_next_try: from now; None where nothing is tried.

    >>> str(LiveEvent("reconnecting", "rtsp://10.0.0.7/stream", "the connection broke", 0.5))
    'rtsp://10.0.0.7/stream: reconnecting, in 0.5 s: the connection broke'
    """

    kind: EventKind
    source: str
    """The name that is safe to print."""
    reason: str
    seconds_to_next_try: float | None = None

    def __str__(self) -> str:
        when = "" if self.seconds_to_next_try is None else f", in {self.seconds_to_next_try:g} s"
        return f"{self.source}: {self.kind}{when}: {self.reason}"


class Live(Source):
    """The frames of a live source, each as soon as it is decoded.

    All that arrives is decoded in a thread of its own; what nobody takes in time is dropped for the newest, and counted
    in `dropped`. Names are "STEM/000000", times begin at 0 with the first frame and go on across connections. `info`
    knows size and rate once the first frame was read.

    A file, on a server too, and a lavfi graph are played at their own speed and not opened again. A source that does
    not open at all is tried again like one that breaks, unless `await_first` is false.

    Args:
        address: what `parse_address` understands.
        reconnect: what breaks is opened again, after pauses that grow from 0.5 to 30 seconds: "forever", never ("no"),
            or at most this often in a row.
        realtime: let a file play at its own speed.
        stall_seconds: without a picture, after which the source is called lost.
        timeout: bounds how many seconds there may be no picture, at the start or later, whatever `reconnect` says.
        await_first: false: it has to open at the first try, and in 12.5 seconds if there is no `timeout`.
        max_pixels: of a picture; a source with more is refused.
        on_event: called with each LiveEvent, in the thread that reads the frames.
        warn: called with each as a sentence where there is no `on_event`.

    Raises:
        UsageError: for an impossible address or setting.
        InputError: from `frames`, where the source breaks, or cannot be opened, and is not to be opened again.

    >>> with Live("rtsp://admin:secret@10.0.0.7/stream") as camera:
    ...     for frame in camera.frames():
    ...         print(frame.name, frame.time, time.monotonic() - frame.arrived)
    """

    def __init__(
        self,
        address: str | int | Path | Address,
        *,
        reconnect: Reconnect = RECONNECT,
        realtime: bool = False,
        stall_seconds: float = STALL_SECONDS,
        timeout: float | None = None,
        await_first: bool = True,
        max_pixels: int = MAX_PIXELS,
        on_event: Callable[[LiveEvent], None] | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.address = address if isinstance(address, Address) else parse_address(address, realtime=realtime)
        self._tries_allowed = _tries(reconnect)
        given = {"stall_seconds": stall_seconds} | ({} if timeout is None else {"timeout": timeout})
        for name, seconds in given.items():
            if not is_number(seconds) or not seconds > 0:
                raise UsageError(f"{name} is {seconds!r}; more than 0 seconds are needed")
        require_max_pixels(max_pixels)
        self.info = SourceInfo(name=self.address.name, kind="live", time_base=TIME_BASE)
        self._await_first = await_first
        self._patience = math.inf if timeout is None else timeout
        self._first_patience = (
            CONNECT_SECONDS + stall_seconds if timeout is None and not await_first else self._patience
        )
        self._deadline = math.inf  # when the next picture has to be there
        self._stall_seconds = stall_seconds
        self._max_pixels = max_pixels
        self._on_event = on_event
        self._warn = warn
        self._latest = LatestFrames()
        # Late is usual here: some devices let nobody go before they have answered.
        self._threads = ThreadGroup(self._latest.close, join_seconds=CLOSE_SECONDS, log_late=False)
        self._lock = threading.Lock()
        self._timeline = Timeline()
        self._matrix = DisplayMatrix()
        self._index = 0
        self._tries = 0  # since the last frame
        self._lost = False
        self._frames: Iterator[Frame | Skipped] = self._read()

    @property
    def dropped(self) -> int:
        """Frames that arrived, but were left out for newer ones."""
        return self._latest.dropped

    def frames(self) -> Iterator[Frame | Skipped]:
        return self._frames

    def close(self) -> None:
        with self._lock:
            first = not self._latest.closed
            self._threads.cancel()
        if first:
            self._threads.join()
        self._frames = iter(())  # a generator that is kept would keep what it holds

    def _read(self) -> Iterator[Frame | Skipped]:
        ended = False  # how the outage began
        self._deadline = time.monotonic() + self._first_patience
        try:
            while (connection := self._connect()) is not None:
                before = self._index
                outcome = yield from self._received(connection)
                if outcome is None:
                    return
                if self._index > before:
                    ended = outcome.ended
                if not self._retries(outcome, connection):
                    if not ended:
                        raise InputError(f"{self.address.name}: {outcome.reason}")
                    self._tell("ended", outcome.reason)
                    return
        finally:
            self.close()

    def _connect(self) -> Connection | None:
        with self._lock:
            if self._latest.closed:
                return None
            connection = Connection(self.address, self._latest, self._stall_seconds, self._max_pixels)
            self._threads.start("live", connection.run)
        self._timeline.restart()
        return connection

    def _received(self, connection: Connection) -> Generator[Frame, None, Outcome | None]:
        """The frames of a connection; returns its outcome, or None once closed."""
        while True:
            stall = self._stall_seconds if connection.endless and not self._lost else math.inf
            limit = min(stall, max(0.0, self._deadline - time.monotonic()))
            received = self._latest.take(None if limit == math.inf else limit)
            if self._latest.closed:
                return None
            if received is None and time.monotonic() >= self._deadline:
                patience = self._patience if self._index else self._first_patience
                raise InputError(f"{self.address.name}: no picture for {patience:g} s")
            if received is None:
                self._lose(f"no picture for {self._stall_seconds:g} s")
            elif isinstance(received, Outcome):
                if received.bug is not None:
                    raise received.bug
                return received
            else:
                yield self._frame(received, connection)
                self._deadline = time.monotonic() + self._patience

    def _retries(self, outcome: Outcome, connection: Connection) -> bool:
        """Whether the source is to be opened again; if so, after a pause."""
        hopeless = (outcome.final or not self._await_first) and not self._index
        if not connection.endless or hopeless or self._tries >= self._tries_allowed:
            return False
        self._lose(outcome.reason)
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._tries, 10), LONGEST_PAUSE_SECONDS)
        self._tell("reconnecting", outcome.reason, pause)
        self._tries += 1
        self._latest.sleep(min(pause, max(0.0, self._deadline - time.monotonic())))
        return time.monotonic() < self._deadline

    def _frame(self, received: DecodedFrame, connection: Connection) -> Frame:
        decoded = received.frame
        if not self._index:
            self.info = replace(self.info, frame_rate=connection.rate, sample_aspect_ratio=connection.aspect_ratio)
        stamp = None if decoded.pts is None or decoded.time_base is None else decoded.pts * decoded.time_base
        seconds = Fraction(0) if decoded.time_base is None else (decoded.duration or 0) * decoded.time_base
        turns, mirrored = self._matrix.turns(decoded)
        frame = Frame(
            index=self._index,
            name=frame_name(self.address.stem, self._index),
            decoded=decoded,
            quarter_turns=turns,
            mirrored=mirrored,
            pts=self._timeline.pts(stamp, received.at),
            time_base=TIME_BASE,
            duration=round(seconds / TIME_BASE) or None,
            arrived=received.at,
            sample_aspect_ratio=connection.aspect_ratio,
        )
        self._index += 1
        self._tries = 0
        if self._lost:
            self._lost = False
            self._tell("back", "a picture came")
        self._measure(frame.size)
        return frame

    def _measure(self, size: tuple[int, int]) -> None:
        before = self.info.size
        self.info = replace(self.info, size=size)
        if before not in (None, size):
            self._tell("resized", f"from {before[1]}x{before[0]} to {size[1]}x{size[0]}")

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            self._tell("lost", reason)

    def _tell(self, kind: EventKind, reason: str, seconds_to_next_try: float | None = None) -> None:
        event = LiveEvent(kind, self.address.name, reason, seconds_to_next_try)
        if self._on_event is not None:
            self._on_event(event)
        elif kind != "ended":  # which the caller's loop shows
            self._warn(str(event))


def _tries(reconnect: Reconnect) -> float:
    if reconnect == "forever":
        return math.inf
    if reconnect == "no":
        return 0
    if isinstance(reconnect, int) and reconnect >= 0:
        return reconnect
    raise UsageError(f"reconnect is {reconnect!r}; there are forever, no, or how many times")
