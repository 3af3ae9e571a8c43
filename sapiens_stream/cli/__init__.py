"""The command line: parsing, wiring and display; no work of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from sapiens_stream.cli import exit_codes
from sapiens_stream.cli.allocator import keep_freed_memory
from sapiens_stream.cli.cluster import cluster
from sapiens_stream.cli.console import error
from sapiens_stream.cli.demo import demo
from sapiens_stream.cli.doctor import doctor
from sapiens_stream.cli.guesses import in_place_of_a_command
from sapiens_stream.cli.images import images
from sapiens_stream.cli.live import LiveCommand, live
from sapiens_stream.cli.mistakes import in_words, require_no_empty
from sapiens_stream.cli.models import models
from sapiens_stream.cli.results import results
from sapiens_stream.cli.signals import interrupted_by_signals
from sapiens_stream.cli.streams import lost_output, tolerant_streams
from sapiens_stream.cli.version import program
from sapiens_stream.cli.video import video
from sapiens_stream.errors import SapiensStreamError, UsageError, cause, out_of_memory

PROGRAM = "sapiens-stream"


class Commands(TyperGroup):
    """Those of the program. An input in the place of one is told which of them takes it."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None and (said := in_place_of_a_command(cmd_name)) is not None:
            raise UsageError(said)
        return found


app = typer.Typer(
    name=PROGRAM,
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich's tables cut option names at 80 columns, and its markup swallows [words]
)
for command in (demo, images, video, doctor):
    app.command()(command)
app.command(cls=LiveCommand)(live)
app.add_typer(results)
app.add_typer(models)
app.add_typer(cluster)
app.callback()(program)


def main() -> NoReturn:
    """Runs the program and exits with its code; a user's mistake is one line on standard error."""
    keep_freed_memory()
    with tolerant_streams():
        code = _run()
    sys.exit(code)


def _run() -> int:
    try:
        Path.cwd()  # relative names need it
    except OSError:
        error("the folder that the program was started in is gone; start it in another")
        return exit_codes.FAILED
    try:
        require_no_empty(sys.argv[1:])
        with interrupted_by_signals():
            code = app(sys.argv[1:] or ["--help"], prog_name=PROGRAM, standalone_mode=False) or exit_codes.DONE
        sys.stdout.flush()
        if code == exit_codes.DONE and (lost := lost_output()) is not None:
            error(f"standard output: {cause(lost)}")
            code = exit_codes.FAILED
    except typer.TyperException as problem:
        error(in_words(problem))
        code = exit_codes.WRONG_USAGE
    except UsageError as problem:
        error(problem.on_command_line)
        code = exit_codes.WRONG_USAGE
    except SapiensStreamError as problem:
        error(str(problem))
        code = exit_codes.FAILED
    except (ImportError, MemoryError, OSError, RuntimeError) as problem:
        # A name that no file system takes, or behind a folder that may not be looked into, may be any argument.
        name = problem.filename if isinstance(problem, OSError) else None
        if not (name or isinstance(problem, ImportError) or out_of_memory(problem)):
            raise
        error(f"{name}: {cause(problem)}" if name else cause(problem))
        code = exit_codes.FAILED
    except (KeyboardInterrupt, typer.Abort):
        code = exit_codes.INTERRUPTED
    return int(code)
