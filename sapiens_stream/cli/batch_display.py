"""How a batch goes: a bar for all of it and one for each input on its way, and what came of it at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from sapiens_stream.cli.console import one_line
from sapiens_stream.cli.display import (
    PLAIN_LINE_EVERY,
    Display,
    ProgressLine,
    counted,
    duration,
    forget_passed_total,
    rate,
)
from sapiens_stream.frame import Damaged, Skipped
from sapiens_stream.pipeline import Statistics
from sapiens_stream.pipeline.event_log import EventLog
from sapiens_stream.pipeline.outlook import Outlook, Pace, believed_total
from sapiens_stream.pipeline.space import byte_size

_STATES = ("done", "resumed", "skipped", "failed", "interrupted")
_REFRESH = 0.2  # seconds between two changes of the overall bar


class BatchProgress(Protocol):
    """Shows how far the inputs have come; told from their threads."""

    def begin(self, index: int, name: str, total: int | None) -> None:
        """An input of `total` frames (None: unknown) is begun."""

    def move(self, index: int, statistics: Statistics) -> None:
        """It has another result."""

    def end(self, index: int) -> None:
        """It is over."""


class BatchDisplay(Display):
    """Messages, which the `log` gets too, and progress over several inputs."""

    def __init__(self, *, quiet: bool = False, json: bool = False, log: EventLog | None = None) -> None:
        super().__init__(quiet=quiet, json=json)
        self._log = log

    @property
    def quiet(self) -> bool:
        """Whether no progress is shown."""
        return self._quiet

    @contextmanager
    def batch(self, outlook: Outlook, *, over_all: bool) -> Iterator[BatchProgress]:
        """Shows progress while its block runs: of each input, and `over_all`."""
        if self._quiet:
            yield _Nothing()
        elif not self._console.is_terminal:
            yield _Lines(self, outlook, over_all)
        else:
            columns = [
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[left]}", style="cyan"),
                TextColumn("{task.fields[slowest]}", style="dim"),
            ]
            with Progress(*columns, console=self._console, transient=True) as progress:
                yield _Bars(progress, outlook, over_all)

    def warn(self, text: str) -> None:
        self._tell_log(text)
        super().warn(text)

    def skipped(self, item: Skipped) -> None:
        self._tell_log(f"skipped {item.name}: {item.reason}")
        super().skipped(item)

    def damaged(self, item: Damaged) -> None:
        self._tell_log(f"damaged {item.name}: {item.reason}")
        super().damaged(item)

    def summary(self, summary: Mapping[str, Any], text: str) -> None:
        """What came of a batch: `text` is the summary as JSON, which goes to standard error with `json`.

        Standard output then has a line a run, and nothing else.
        """
        if self._json:
            self.note(text)
        elif self._console.is_terminal and not self._quiet and (out := Console(highlight=False)).is_terminal:
            out.print(_table(summary))
        else:
            self.result(_line(summary))

    def line_of(self, name: str, total: int | None) -> ProgressLine:
        """Plain lines about one input."""
        return self._plain(name, total)

    def _tell_log(self, text: str) -> None:
        if self._log is not None:
            self._log.write("warning", text=text)


class _Nothing:
    def begin(self, index: int, name: str, total: int | None) -> None:
        pass

    def move(self, index: int, statistics: Statistics) -> None:
        pass

    def end(self, index: int) -> None:
        pass


class _Lines:
    def __init__(self, display: BatchDisplay, outlook: Outlook, over_all: bool) -> None:
        self._over_all = over_all
        self._display = display
        self._outlook = outlook
        self._lines: dict[int, ProgressLine] = {}
        self._shown = time.monotonic()
        self._lock = Lock()

    def begin(self, index: int, name: str, total: int | None) -> None:
        with self._lock:
            self._lines[index] = self._display.line_of(name, total)

    def move(self, index: int, statistics: Statistics) -> None:
        with self._lock:
            if (line := self._lines.get(index)) is not None:
                line.update(statistics)
            if self._over_all and time.monotonic() - self._shown >= PLAIN_LINE_EVERY:
                self._shown = time.monotonic()
                self._display.note(_over_all(self._outlook))

    def end(self, index: int) -> None:
        with self._lock:
            self._lines.pop(index, None)


class _Bars:
    def __init__(self, progress: Progress, outlook: Outlook, over_all: bool) -> None:
        self._progress = progress
        self._outlook = outlook
        self._tasks: dict[int, tuple[TaskID, int | None, Pace]] = {}
        self._shown = 0.0
        self._lock = Lock()
        self._whole = progress.add_task("", total=None, rate="", left="", slowest="") if over_all else None
        self._show_whole()

    def begin(self, index: int, name: str, total: int | None) -> None:
        with self._lock:
            task = self._progress.add_task(one_line(name), total=total, rate="", left="", slowest="")
            self._tasks[index] = task, total, Pace()

    def move(self, index: int, statistics: Statistics) -> None:
        with self._lock:
            if index not in self._tasks:
                return
            task, total, pace = self._tasks[index]
            done = statistics.segmented + statistics.passed
            total = believed_total(total, done)
            pace.come_to(done)
            left = pace.seconds_for(total - done) if total else None
            forget_passed_total(self._progress, task, done)
            self._progress.update(
                task,
                completed=done,
                rate=rate(pace.rate),
                left=f"{duration(left)} left" if left is not None else "",
                slowest=f"slowest: {statistics.slowest}" if statistics.slowest else "",
            )
            if time.monotonic() - self._shown >= _REFRESH:
                self._show_whole()

    def end(self, index: int) -> None:
        with self._lock:
            if index in self._tasks:
                self._progress.remove_task(self._tasks.pop(index)[0])
            self._show_whole()

    def _show_whole(self) -> None:
        if self._whole is None:
            return
        self._shown = time.monotonic()
        outlook = self._outlook
        left, seconds, frames = outlook.frames_left, outlook.seconds_left, outlook.frames
        self._progress.update(
            self._whole,
            description=f"{outlook.ended} of {outlook.inputs} inputs",
            completed=frames,
            total=frames + left if left is not None else None,
            rate=rate(outlook.rate) if frames else "",
            left=f"{duration(seconds)} left" if seconds is not None else "",
        )


def _over_all(outlook: Outlook) -> str:
    frames, left, seconds = outlook.frames, outlook.frames_left, outlook.seconds_left
    of = f"/{frames + left}" if left is not None else ""
    text = f"{outlook.ended} of {outlook.inputs} inputs, {frames}{of} frames"
    return text + (f", {duration(seconds)} left" if seconds is not None else "")


def _line(summary: Mapping[str, Any]) -> str:
    states = ", ".join(f"{summary[state]} {state}" for state in _STATES if summary[state] or state == "done")
    return (
        f"{counted(summary['inputs'], 'input')}: {states}; {counted(summary['frames'], 'frame')}"
        f" in {duration(summary['seconds'])}"
        f" ({_rate(summary)}), {byte_size(summary['bytes'])}"
    )


def _table(summary: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    cells = {
        "inputs": str(summary["inputs"]),
        **{state: str(summary[state]) for state in _STATES if summary[state] or state != "interrupted"},
        "frames": str(summary["frames"]),
        "frames/s": _rate(summary).removesuffix(" frames/s"),
        "time": duration(summary["seconds"]),
        "space": byte_size(summary["bytes"]),
    }
    for title in cells:
        table.add_column(title, justify="right")
    table.add_row(*(Text(cell) for cell in cells.values()))
    return table


def _rate(summary: Mapping[str, Any]) -> str:
    per_second = summary["frames_per_second"]
    return f"{per_second:.1f} frames/s" if per_second is not None else "- frames/s"
