"""`sapiens-stream results`: what can be made of written results, without a model."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_stream.cli import exit_codes
from sapiens_stream.cli.console import error
from sapiens_stream.cli.results_export import export
from sapiens_stream.cli.results_join import join
from sapiens_stream.cli.results_render import render
from sapiens_stream.cli.results_report import report
from sapiens_stream.errors import InputError

if TYPE_CHECKING:
    from sapiens_stream.results.status import RunStatus, Total

results = typer.Typer(name="results", help="Work on written results, without a model.", rich_markup_mode=None)
results.command("render")(render)
results.command("join")(join)
results.command("export")(export)
results.command("report")(report)

_COLUMNS = ("input", "state", "frames", "skipped", "damaged", "frames/s", "space", "record")
_NUMBERS = ("frames", "skipped", "damaged", "frames/s", "space")
_WIDE = 200  # columns, where no terminal sets a limit


@results.callback(invoke_without_command=True)
def show_commands(context: typer.Context) -> None:
    """Work on written results, without a model."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@results.command("status")
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that runs wrote to.")],
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a run.")] = False,
) -> None:
    """Tell how the runs of a folder stand.

    complete, partial (--resume continues it), failed, running, or left: a shard's that has not begun.
    """
    from sapiens_stream.results.status import statuses

    damaged: list[Path] = []

    def on_failure(path: Path, problem: InputError) -> None:
        damaged.append(path)
        error(str(problem))

    found = statuses(folder, on_failure)
    if json:
        for each in found:
            print(json_format.dumps(each.as_dict()))
    else:
        _show(found)
    raise typer.Exit(exit_codes.SOME_SKIPPED if damaged else exit_codes.DONE)


def _show(found: Sequence[RunStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    from sapiens_stream.cli.console import one_line
    from sapiens_stream.pipeline.space import byte_size
    from sapiens_stream.results.status import total

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for title in _COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", overflow="fold")
    for each in found:
        table.add_row(
            _as_printed(each.input),
            each.state,
            f"{each.written} of {each.expected}" if each.expected is not None else str(each.written),
            str(each.skipped),
            str(each.damaged),
            f"{each.frames_per_second:.1f}" if each.frames_per_second is not None else "-",
            byte_size(each.bytes),
            _as_printed(each.record.name) if each.record is not None else "-",
        )
    console.print(table)
    for each in found:
        if each.error:
            print(one_line(f"{each.input}: {each.error}"))
    if len(found) > 1:
        print(_summary(total(found)))


def _as_printed(name: str) -> str:
    """With the escapes that standard output makes of bytes that are no text: columns are as wide as those."""
    from sapiens_stream.cli.console import one_line
    from sapiens_stream.text import encodable

    return encodable(one_line(name))


def _summary(all_of_it: Total) -> str:
    """How all runs stand together, in a line."""
    from sapiens_stream.cli.display import counted, duration

    parts = [", ".join(f"{count} {state}" for state, count in all_of_it.states.items())]
    if all_of_it.frames:
        parts.append(f"{counted(all_of_it.frames, 'frame')} to go")
        if all_of_it.frames_per_second and all_of_it.seconds_left is not None:
            parts.append(f"{duration(all_of_it.seconds_left)} at {all_of_it.frames_per_second:.1f} frames/s")
    return "; ".join(parts)
