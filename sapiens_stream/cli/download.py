"""Fetches a published model for the commands: its licence shown, asked about if it must be, and progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from sapiens_stream.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from sapiens_stream.models.catalogue import Choice
    from sapiens_stream.models.detectors import DetectorFile
    from sapiens_stream.models.hub import Progress as HubProgress
    from sapiens_stream.models.published import OnDisk

PLAIN_LINE_EVERY = 10.0  # seconds, where the output is no terminal


def fetch(choice: Choice, *, force: bool = False, accept_licence: bool = False, quiet: bool = False) -> OnDisk:
    """The chosen model's file, fetched unless it is on disk. Everything it says goes to standard error.

    Raises UsageError if its licence has to be accepted and is not, and what `published.fetch` does.
    """
    from sapiens_stream.models import published

    console = Console(stderr=True, highlight=False, quiet=quiet)
    here = published.locate(choice)
    if here is None or force or here.damaged:
        _settle_licence(choice, accept_licence, console)
        if here is not None and here.damaged and not force:
            console.print(Text(f"{here.name} is cut short or damaged; fetching it again"), soft_wrap=True)
        try:
            with _shown(choice.name, console) as progress:
                waiting = partial(_say_waiting, choice.name, console)
                return published.fetch(choice, force=force, progress=progress, waiting=waiting)
        except KeyboardInterrupt:
            console.print(Text(f"stopped; fetch {choice.name} again, and it goes on from there"), soft_wrap=True)
            raise
    return here


def fetch_detector(detector: DetectorFile, *, force: bool = False, quiet: bool = False) -> Path:
    """A detector's file, fetched unless it is on disk. Raises what `detectors.pull` does."""
    from sapiens_stream.models import detectors

    console = Console(stderr=True, highlight=False, quiet=quiet)
    if detectors.find(detector) is None or force:
        licence = detectors.LICENCE
        console.print(Text(f"{detector.name}: licence {licence.name}. {licence.terms} {licence.url}"), soft_wrap=True)
    with _shown(detector.name, console) as progress:
        waiting = partial(_say_waiting, detector.name, console)
        return detectors.pull(detector, force=force, progress=progress, waiting=waiting)


def fetch_named(model: str, *, quiet: bool = False) -> None:
    """Fetches a model that is given by its name, unless it is on disk; a path or an unknown name is left alone."""
    from sapiens_stream.models import is_path
    from sapiens_stream.models.catalogue import lookup

    choice = None if is_path(model) else lookup(model)
    if choice is not None:
        fetch(choice, quiet=quiet)


def _settle_licence(choice: Choice, accepted: bool, console: Console) -> None:
    from sapiens_stream.models.licences import accept, needs_acceptance

    licence = choice.model.licence
    console.print(Text(f"{choice.name}: licence {licence.name}. {licence.terms} {licence.url}"), soft_wrap=True)
    if not needs_acceptance(licence):
        return
    if not accepted:
        if not sys.stdin.isatty():
            raise UsageError(
                f"the {licence.name} licence ({licence.url}) has to be accepted once before {choice.name} is fetched:"
                f" sapiens-stream models pull {choice.name} --accept-licence"
            )
        if not typer.confirm("Do you accept it?", err=True):
            raise UsageError(f"the {licence.name} licence was not accepted; {choice.name} is not fetched")
    accept(licence)


def _say_waiting(name: str, console: Console) -> None:
    console.print(Text(f"{name}: another program is fetching it; waiting until that has ended"), soft_wrap=True)


@contextmanager
def _shown(name: str, console: Console) -> Iterator[HubProgress]:
    """Shows how far a download has come: a bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        shown = time.monotonic()

        def line(done: int, total: int | None) -> None:
            nonlocal shown
            if time.monotonic() - shown >= PLAIN_LINE_EVERY:
                shown = time.monotonic()
                of = f" of {total / 1e6:.0f}" if total else ""
                console.print(Text(f"{name}: {done / 1e6:.0f}{of} MB"), soft_wrap=True)

        yield line
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
