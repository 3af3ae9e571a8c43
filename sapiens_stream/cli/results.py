"""`sapiens-stream results`: what can be made of written results, without a model."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_stream.cli.results_export import export
from sapiens_stream.cli.results_join import join
from sapiens_stream.cli.results_render import render
from sapiens_stream.cli.results_report import report

if TYPE_CHECKING:
    from sapiens_stream.results.status import Total

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
    from sapiens_stream.results.status import statuses, total

    found = statuses(folder)
    if json:
        for each in found:
            print(json_format.dumps(each.as_dict()))
        return

    from rich.console import Console
    from rich.table import Table

    from sapiens_stream.cli.console import one_line
    from sapiens_stream.pipeline.space import byte_size

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
