"""Executes runs for the commands: progress, Ctrl-C, the closing line, and the exit code of it all."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from sapiens_stream.cli import exit_codes
from sapiens_stream.cli.console import error
from sapiens_stream.cli.display import Display, counted, duration, rate, slowest_of
from sapiens_stream.cli.signals import ending_signals
from sapiens_stream.errors import FolderTaken, cause
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline import Run
from sapiens_stream.pipeline.earlier_run import spoiled_before
from sapiens_stream.pipeline.failures import belongs_to_input
from sapiens_stream.pipeline.record import as_line, rejection

IMPATIENCE = 2.0  # seconds


class Runner:
    """Executes the runs of a command, one after the other; what became of its inputs makes its exit code."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.interrupted = False
        self._done = 0
        self._spoiled = 0
        self._failed = exit_codes.FAILED
        """The code if nothing at all was done."""

    def skip(self, item: Skipped) -> None:
        """Names and counts an input, or a frame, that could not be used."""
        self._spoiled += 1
        self.display.skipped(item)

    def damage(self, item: Damaged) -> None:
        """Names and counts a frame that could be read in part only, and was used."""
        self._spoiled += 1
        self.display.damaged(item)

    def reject(self, name: str, problem: BaseException) -> None:
        """Names and counts an input that could not be opened, or whose results cannot be written at all."""
        self.display.json_line(as_line(rejection(name, cause(problem))))
        self._fail(name, problem)

    def execute(self, run: Run, place: str) -> None:
        """Executes one run; `place` is where its results go, for the closing line.

        An input that fails is named and counted. A failure that would meet the next input too is raised.
        """
        with stopped_by_signals(run, self.display), self.display.progress(run.name, run.frame_count) as progress:
            run.execute(progress.update)
        self.display.json_line(as_line(run.record()))
        if run.status == "failed":
            assert run.error is not None
            if not belongs_to_input(run.error):
                raise run.error
            self._fail(run.name, run.error)
        else:
            self._done += run.passed_over or run.statistics.written + run.statistics.passed > 0
            self.interrupted = run.status == "interrupted"
        self._close(run, place)

    def _close(self, run: Run, place: str) -> None:
        """Says what came of a run. One that was done already has spoiled as many frames as it had then."""
        if run.passed_over:
            spoiled = spoiled_before(run.record())
            self._spoiled += spoiled
            but = f", but for {spoiled} skipped or damaged" if spoiled else ""
            self.display.result(f"{run.name}: done already{but}, in {place}")
        elif run.statistics.segmented + run.statistics.passed:
            self.display.result(closing_line(run, place))

    def _fail(self, name: str, problem: BaseException) -> None:
        self._spoiled += 1
        if isinstance(problem, FolderTaken):
            self._failed = exit_codes.WRONG_USAGE
        what = cause(problem)
        error(what if name in what else f"{name}: {what}")

    @property
    def exit_code(self) -> int:
        """Of the whole command."""
        if self.interrupted:
            return exit_codes.INTERRUPTED
        if not self._done:
            return self._failed
        return exit_codes.SOME_SKIPPED if self._spoiled else exit_codes.DONE


def closing_line(run: Run, place: str) -> str:
    """What came of a run, in short."""
    statistics = run.statistics
    frames = counted(statistics.written + statistics.passed, "frame")
    if stored := statistics.stored + statistics.passed:
        frames += f", {stored} of them stored before,"
    done = f"{run.name}: {frames} in {duration(statistics.elapsed)} ({rate(statistics.rate)}"
    state = "" if run.status == "complete" else f" {run.status},"
    return f"{done}{slowest_of(statistics)}),{state} in {place}"


class Stoppable(Protocol):
    """What Ctrl-C ends in good order."""

    stopping: bool

    def stop(self) -> None:
        """Finishes what is in flight. Safe in a signal handler."""

    def abandon(self) -> None:
        """Drops what is in flight; files are closed all the same. Safe in a signal handler."""


@contextmanager
def stopped_by_signals(
    run: Stoppable, display: Display, *, first_one: str = "finishing the frames in flight (again to drop them)"
) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM, or SIGHUP of a closed terminal stops the run in good order, a later one at once.

    Either way files are closed and the record is kept; nothing but a kill prevents that. More of them within
    `IMPATIENCE` seconds count as one: a key that bounces, a terminal that sends several signals. `first_one` tells the
    user what the first does.
    """
    first = 0.0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not run.stopping:
            first = time.monotonic()
            run.stop()
            display.note(f"stopping: {first_one}")
        elif time.monotonic() - first > IMPATIENCE:
            first = float("inf")
            run.abandon()

    signals = ending_signals()
    before = [signal.signal(number, on_signal) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, signal.SIG_IGN if first else handler)  # of a process that is about to end
