"""`sapiens-stream cluster`: a list of videos on many machines."""

from __future__ import annotations

import typer

from sapiens_stream.cli.cluster_plan import plan
from sapiens_stream.cli.cluster_run import run

cluster = typer.Typer(name="cluster", help="A list of videos on many machines.", rich_markup_mode=None)
cluster.command("run")(run)
cluster.command("plan")(plan)


@cluster.callback(invoke_without_command=True)
def show_commands(context: typer.Context) -> None:
    """A list of videos on many machines."""
    if context.invoked_subcommand is None:
        print(context.get_help())
