"""What the user sees: progress and messages on standard error, results on standard output."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from sapiens_stream.cli.console import one_line
from sapiens_stream.cli.streams import casually
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline import Statistics
from sapiens_stream.pipeline.outlook import Pace, believed_total

PLAIN_LINE_EVERY = 10.0  # seconds, where the output is no terminal


class ProgressLine(Protocol):
    """Shows how far a run has come."""

    def update(self, statistics: Statistics) -> None:
        """Called after each result."""


class _NoProgress:
    def update(self, statistics: Statistics) -> None:
        pass


class _BarProgress:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._pace = Pace()

    def update(self, statistics: Statistics) -> None:
        done = statistics.segmented + statistics.passed
        self._pace.come_to(done)
        forget_passed_total(self._progress, self._task, done)
        self._progress.update(
            self._task,
            completed=done,
            rate=rate(self._pace.rate),
            slowest=statistics.slowest or "",
        )


class _PlainProgress:
    def __init__(self, console: Console, name: str, total: int | None) -> None:
        self._console = console
        self._name = name
        self._total = total
        self._pace = Pace()
        self._shown = time.monotonic()

    def update(self, statistics: Statistics) -> None:
        done = statistics.segmented + statistics.passed
        self._pace.come_to(done)
        if time.monotonic() - self._shown < PLAIN_LINE_EVERY:
            return
        self._shown = time.monotonic()
        total = believed_total(self._total, done)
        of = f"/{total}" if total else ""
        seconds = self._pace.seconds_for(total - done) if total else None
        left = f", {duration(seconds)} left" if seconds is not None else ""
        line = f"{self._name}: {done}{of} frames, {rate(self._pace.rate)}{left}{slowest_of(statistics)}"
        self._console.print(Text(one_line(line)), soft_wrap=True)


def forget_passed_total(progress: Progress, task: TaskID, done: int) -> None:
    """Has a bar tell no total, and no time left, once more is done than it had."""
    for each in progress.tasks:
        if each.id == task and each.total is not None:
            each.total = believed_total(round(each.total), done)


def slowest_of(statistics: Statistics) -> str:
    """The stage that takes longest, as the end of a list; nothing where none was timed."""
    return f", slowest: {statistics.slowest}" if statistics.slowest else ""


class Display:
    """Messages and progress. `quiet` leaves only what went wrong; `json` keeps standard output for JSON alone."""

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self._quiet = quiet
        self._json = json
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def progress(self, name: str, total: int | None) -> Iterator[ProgressLine]:
        """Shows the progress of a run of `total` frames (None: unknown) while its block runs."""
        if self._quiet:
            yield _NoProgress()
        elif not self._console.is_terminal:
            yield self._plain(name, total)
        else:
            with Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("slowest: {task.fields[slowest]}", style="dim"),
                console=self._console,
                transient=True,
            ) as progress:
                yield _BarProgress(progress, progress.add_task(one_line(name), total=total, rate="", slowest=""))

    def _plain(self, name: str, total: int | None) -> ProgressLine:
        return _PlainProgress(self._console, name, total)

    def note(self, text: str) -> None:
        """A line worth knowing, on standard error."""
        if not self._quiet:
            self._console.print(Text(one_line(text)), soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line that is shown in any case."""
        self._console.print(Text(one_line(f"warning: {text}"), style="yellow"), soft_wrap=True)

    def skipped(self, item: Skipped) -> None:
        """Names an input that could not be used."""
        self._console.print(Text(one_line(f"skipped {item.name}: {item.reason}"), style="yellow"), soft_wrap=True)

    def damaged(self, item: Damaged) -> None:
        """Names an input that is used though it could be read in part only."""
        self._console.print(Text(one_line(f"damaged {item.name}: {item.reason}"), style="yellow"), soft_wrap=True)

    def result(self, text: str) -> None:
        """A line of the outcome, on standard output."""
        if not (self._quiet or self._json):
            with casually():
                print(one_line(text), flush=True)

    def json_line(self, line: str) -> None:
        """One line of JSON on standard output, if JSON was asked for."""
        if self._json:
            print(line, flush=True)


def rate(per_second: float | None) -> str:
    """Frames a second, or seconds a frame below one."""
    if not per_second:
        return "- frames/s"
    return f"{per_second:.1f} frames/s" if per_second >= 1 else f"{1 / per_second:.1f} s/frame"


def counted(number: int, thing: str) -> str:
    """1 frame, 2 frames."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
