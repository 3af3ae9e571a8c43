"""`sapiens-stream results`: what can be made of written results, without a model."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sapiens_stream import settings
from sapiens_stream.cli import options
from sapiens_stream.cli.results_render import render
from sapiens_stream.errors import InputError

if TYPE_CHECKING:
    from sapiens_stream.cli.display import Display
    from sapiens_stream.results.past_run import PastRun

results = typer.Typer(name="results", help="Work on written results, without a model.", rich_markup_mode=None)
results.command("render")(render)

_COLUMNS = ("input", "state", "frames", "skipped", "frames/s", "space", "record")
_NUMBERS = ("frames", "skipped", "frames/s", "space")
_WIDE = 200  # columns, where no terminal sets a limit


@results.callback(invoke_without_command=True)
def show_commands(context: typer.Context) -> None:
    """Work on written results, without a model."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@results.command("export")
def export(
    what: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Results of runs, or a label video.")],
    to: Annotated[
        Literal["npy", "png"],
        typer.Option("--to", help="npy: class ids; png: the same, shown in the classes' colours."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder for the files.", show_default="DIR")
    ] = None,
    quiet: options.QuietOption = False,
) -> None:
    """Write class maps as files, one a frame."""
    from sapiens_stream.cli.display import Display
    from sapiens_stream.results.export import export_files, export_video
    from sapiens_stream.results.past_run import past_runs

    display = Display(quiet=quiet)
    root = output or (what if what.is_dir() else what.parent)
    videos = {what: _stem(what)} if what.is_file() else {}
    others: list[PastRun] = []
    if not videos:
        videos = {path: _stem(path) for path in sorted(what.glob(f"*{settings.LABEL_VIDEO_FILE}"))}
        for past in past_runs(what) if not videos or list(what.glob(f"*{settings.RUN_FILE}")) else ():
            if (path := past.label_video()) is not None:
                videos[path] = past.stem
            elif to == "png" and settings.CLASS_MAP_FILE in past.files.endings:
                others.append(past)
    if not videos and not others:
        wanted = "label video" if to == "npy" else "class maps"
        raise InputError(f"{what} holds no {wanted} to export; --save labels writes one")
    for path, stem in videos.items():
        with _progress(display, path) as tell:
            count = export_video(path, stem, root, to, tell)
        display.result(f"{path}: {count} class maps in {root / stem}")
    for past in others:
        with _progress(display, past.path) as tell:
            count = export_files(past, root, tell)
        display.result(f"{past.path}: {count} class maps in {root}")


@results.command("status")
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that runs wrote to.")],
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a run.")] = False,
) -> None:
    """Tell how the runs of a folder stand.

    complete, partial (it can be gone on with: --resume), failed, or running.
    """
    from sapiens_stream.results.status import statuses

    found = statuses(folder)
    if json:
        for each in found:
            print(json_format.dumps(each.as_dict()))
        return

    from rich.console import Console
    from rich.table import Table

    from sapiens_stream.cli.one_line import one_line
    from sapiens_stream.pipeline.space import byte_size

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for title in _COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", overflow="fold")
    for each in found:
        table.add_row(
            one_line(each.input),
            each.state,
            f"{each.written} of {each.expected}" if each.expected is not None else str(each.written),
            str(each.skipped),
            f"{each.frames_per_second:.1f}" if each.frames_per_second is not None else "-",
            byte_size(each.bytes),
            one_line(each.record.name),
        )
    console.print(table)
    for each in found:
        if each.error:
            print(one_line(f"{each.input}: {each.error}"))


def _stem(path: Path) -> str:
    return path.name.removesuffix(settings.LABEL_VIDEO_FILE).removesuffix(path.suffix)


@contextmanager
def _progress(display: Display, path: Path) -> Iterator[Callable[[int], None]]:
    """Shows how many frames are done."""
    from sapiens_stream.pipeline import Statistics

    statistics = Statistics()
    with display.progress(str(path), None) as shown:

        def tell(done: int) -> None:
            statistics.segmented = done
            shown.update(statistics)

        yield tell
