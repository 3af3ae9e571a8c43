"""`sapiens-stream results report`: a page on a run, or on two of the same clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sapiens_stream.cli import exit_codes, options
from sapiens_stream.cli.console import error
from sapiens_stream.cli.results_source import counting, naming, source_of
from sapiens_stream.errors import InputError, SapiensStreamError

if TYPE_CHECKING:
    from sapiens_stream.cli.display import Display
    from sapiens_stream.frame import Skipped
    from sapiens_stream.results.report.markup import Markup


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Results of runs, or a label video.")],
    other: Annotated[
        Path | None, typer.Argument(metavar="DIR|FILE", help="Those of the same clip to compare with.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The page.", show_default="DIR/report.html")
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="FILE", help="The source, if it lies elsewhere now; may be repeated."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is no such page.")] = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write a page that shows a run, or how two runs differ.

    Pictures, areas, presence, flicker, speed. Takes what runs wrote with --save labels or classes. The page needs no
    network. No model is loaded.
    """
    from sapiens_stream.cli.display import Display
    from sapiens_stream.results.report.report import FILE, write_page

    display = Display(quiet=quiet)
    state = _State(display)
    root = folder if folder.is_dir() else folder.parent
    path = output or root / FILE
    if path.is_dir():
        path = path / FILE
    given = input_ or []
    if other is None:
        articles, title = state.runs(folder, given), f"{folder.name or folder.resolve().name}: results"
    else:
        articles, title = state.pairs(folder, other, given), f"{folder} and {other}"
    first = next(articles, None)
    if first is None:
        raise typer.Exit(exit_codes.FAILED)
    write_page(path, title, _chained(first, articles), overwrite=overwrite)
    display.result(f"{folder}: {path}")
    raise typer.Exit(exit_codes.SOME_SKIPPED if state.spoiled else exit_codes.DONE)


def _chained(first: Markup, others: Iterator[Markup]) -> Iterator[Markup]:
    yield first
    yield from others


class _State:
    """Goes through the clips of a report, and remembers whether anything was left out."""

    def __init__(self, display: Display) -> None:
        self.spoiled = False
        self._display = display

    def runs(self, folder: Path, given: list[str]) -> Iterator[Markup]:
        """An article a run."""
        from sapiens_stream.results.report.report import report_on
        from sapiens_stream.results.stored import stored_clips

        for clip in stored_clips(folder, self._unusable):
            try:
                opened = source_of(clip, given, wanted=True, warn=self._note)
                with opened as source, counting(self._display, clip) as tell:
                    yield report_on(clip, source, self._skip, tell)
            except InputError as problem:
                self._fail(naming(clip, problem))

    def pairs(self, folder: Path, other: Path, given: list[str]) -> Iterator[Markup]:
        """An article for each two runs of a clip."""
        from sapiens_stream.results.report.comparison import compare, paired

        pairs, alone = paired(folder, other, self._unusable)
        for clip in alone:
            self._fail(f"{clip.path}: the other results have no run of {clip.stem}")
        for one, two in pairs:
            try:
                opened = source_of(one, given, wanted=True, warn=self._note)
                with opened as source, counting(self._display, one) as tell:
                    yield compare(one, two, source, self._skip, tell)
            except InputError as problem:
                self._fail(naming(one, problem))

    def _note(self, problem: SapiensStreamError) -> None:
        self._display.note(f"pictures show class maps alone: {problem}")

    def _skip(self, item: Skipped) -> None:
        self.spoiled = True
        self._display.skipped(item)

    def _unusable(self, path: Path, problem: InputError) -> None:
        self._fail(str(problem))

    def _fail(self, text: str) -> None:
        self.spoiled = True
        error(text)
