"""Executes runs for the commands: progress, Ctrl-C, the closing line, and the exit code of it all."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from sapiens_stream.cli import exit_codes
from sapiens_stream.cli.display import Display, duration, rate
from sapiens_stream.cli.ending import error
from sapiens_stream.errors import InputError, cause
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.record import as_line, rejection


class Tally:
    """What became of a command's inputs, and so its exit code."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.interrupted = False
        self._done = 0
        self._spoiled = 0

    def skip(self, item: Skipped) -> None:
        """Names and counts an input, or a frame, that could not be used."""
        self._spoiled += 1
        self.display.skipped(item)

    def damage(self, item: Damaged) -> None:
        """Names and counts a frame that could be read in part only, and was used."""
        self._spoiled += 1
        self.display.damaged(item)

    def reject(self, name: str, problem: InputError) -> None:
        """Names and counts an input that could not be opened."""
        self._spoiled += 1
        self.display.json_line(as_line(rejection(name, cause(problem))))
        error(cause(problem))

    def execute(self, run: Run, place: str) -> None:
        """Executes one run; `place` is where its results go, for the closing line.

        An input that fails is named and counted. Any other failure is raised: it would meet the next input too.
        """
        with stopped_by_signals(run, self.display), self.display.progress(run.name, run.frame_count) as progress:
            run.execute(progress.update)
        self.display.json_line(as_line(run.record()))
        if run.status == "failed":
            if not isinstance(run.error, InputError):
                assert run.error is not None
                raise run.error
            self._spoiled += 1
            error(cause(run.error))
        else:
            self._done += run.statistics.segmented > 0
            self.interrupted = run.status == "interrupted"
        if run.statistics.segmented:
            self.display.result(_closing_line(run, place))

    @property
    def exit_code(self) -> int:
        """Of the whole command."""
        if self.interrupted:
            return exit_codes.INTERRUPTED
        if not self._done:
            return exit_codes.FAILED
        return exit_codes.SOME_SKIPPED if self._spoiled else exit_codes.DONE


def _closing_line(run: Run, place: str) -> str:
    statistics = run.statistics
    done = f"{run.name}: {statistics.written} frames in {duration(statistics.elapsed)} ({rate(statistics)}"
    state = "" if run.status == "complete" else f" {run.status},"
    return f"{done}, slowest: {statistics.slowest}),{state} in {place}"


class Stoppable(Protocol):
    """What Ctrl-C ends in good order."""

    stopping: bool

    def stop(self) -> None:
        """Safe in a signal handler."""


@contextmanager
def stopped_by_signals(run: Stoppable, display: Display) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) stops the run in good order, the second at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if run.stopping:
            raise KeyboardInterrupt
        run.stop()
        display.note("stopping: finishing the frames in flight (again to stop at once)")

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
