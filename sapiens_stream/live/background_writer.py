"""Files that are written beside a live run: what they cannot keep up with is left out, never waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread

from sapiens_stream.frame import Segmentation
from sapiens_stream.live.background import step_back
from sapiens_stream.pipeline.channel import Cancelled, Channel
from sapiens_stream.sinks import Sink

QUEUED_RESULTS = 8  # what an encoder may fall behind for a moment; a 4K frame holds some 50 MB


class BackgroundWriter:
    """Hands results to sinks in a thread of its own. When they fall behind, the oldest that wait are dropped.

    `on_failure` is called, from that thread, with what a sink failed with; nothing more is written then.
    """

    def __init__(self, sinks: Sequence[Sink], on_failure: Callable[[BaseException], None]) -> None:
        self.written = 0
        self.failed = False
        self._sinks = sinks
        self._on_failure = on_failure
        self._channel: Channel[Segmentation] = Channel(QUEUED_RESULTS, newest_wins=True)
        self._lost = 0
        self._thread = Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Results that were not written."""
        return self._channel.dropped + self._lost

    def offer(self, result: Segmentation) -> None:
        """Queues a result; returns at once."""
        try:
            self._channel.put(result)
        except Cancelled:
            self._lost += 1

    def end(self) -> None:
        """Takes no more; what waits is written and the files are closed in the thread."""
        self._channel.close()

    def join(self) -> None:
        """Waits until the files are closed; call it after `end`."""
        self._thread.join()

    @property
    def files(self) -> list[str]:
        """The files that span many frames, once closed."""
        return [str(path) for sink in self._sinks for path in sink.written]

    def _work(self) -> None:
        step_back()
        try:
            for result in self._channel:
                for sink in self._sinks:
                    sink.write(result)
                self.written += 1
        except BaseException as error:
            self._lost += 1 + len(self._channel)
            self._channel.cancel()
            self.failed = True
            self._on_failure(error)
        for sink in self._sinks:
            try:
                sink.close()
            except BaseException as error:
                self._on_failure(error)
