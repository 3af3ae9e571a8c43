"""`sapiens-stream results export`: class maps in the formats of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sapiens_stream.cli import exit_codes, options
from sapiens_stream.cli.console import error
from sapiens_stream.cli.results_source import counting, naming, source_of
from sapiens_stream.errors import InputError, OutputError, UsageError
from sapiens_stream.results.export import registry

if TYPE_CHECKING:
    from sapiens_stream.cli.display import Display
    from sapiens_stream.results.mapping import ClassMapping
    from sapiens_stream.results.stored import StoredClip

    FormatWord = str
else:
    FormatWord = Literal[*registry.words()]


def export(
    what: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Results of runs, or a label video.")],
    to: Annotated[FormatWord, typer.Option("--to", help=f"The format: {registry.described()}.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder for the files.", show_default="DIR")
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--mapping",
            metavar="NAME|FILE",
            help="Classes of another data set: lip, cihp, atr, pascal, or a file.",
            show_default="the model's",
        ),
    ] = None,
    regions: Annotated[
        Literal["rle", "polygons"] | None,
        typer.Option(
            "--regions", help=f"How an instance is told, of {registry.taking('regions')}.", show_default="rle"
        ),
    ] = None,
    layout: Annotated[
        Literal["plain", "lip", "cihp"] | None,
        typer.Option(
            "--layout", help=f"The folders, of {registry.taking('layout')}: those of LIP or CIHP.", show_default="plain"
        ),
    ] = None,
    images: Annotated[
        Literal["jpg", "png"] | None,
        typer.Option("--images", help="Write the pictures too, upright; takes the run's source.", show_default="none"),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="FILE", help="The source, if it lies elsewhere now; may be repeated."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace such an export that is there.")] = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write class maps in other formats, for labelling and training.

    Takes what a run wrote with --save labels or classes. No model is loaded.
    """
    from sapiens_stream.cli.display import Display, counted
    from sapiens_stream.results.export.export import export
    from sapiens_stream.results.export.target import Choices
    from sapiens_stream.results.stored import stored_clips

    display = Display(quiet=quiet)
    kind = registry.named(to)
    for name, value in {"regions": regions, "layout": layout, "images": images}.items():
        if value is not None and name not in kind.takes:
            raise UsageError(f"--{name} is for --to {registry.taking(name).replace(', ', '|')}; {to} takes none")
    spoiled = done = False

    def on_skip(item: object) -> None:
        nonlocal spoiled
        spoiled = True
        display.skipped(item)  # type: ignore[arg-type]

    def on_failure(path: Path, problem: InputError) -> None:
        nonlocal spoiled
        spoiled = True
        error(str(problem))

    for clip in stored_clips(what, on_failure):
        try:
            mapped = _mapping_of(mapping, clip, display)
            with (
                source_of(clip, input_ or [], wanted=images is not None) as opened,
                counting(display, clip) as tell,
            ):
                outcome = export(
                    clip,
                    kind,
                    output or clip.root,
                    choices=Choices(regions=regions or "rle", layout=layout or "plain", images=images),
                    mapping=mapped,
                    source=opened,
                    overwrite=overwrite,
                    on_skip=on_skip,
                    on_frame=tell,
                )
        except UsageError:
            raise
        except (InputError, OutputError) as problem:
            spoiled = True
            error(naming(clip, problem))
            continue
        done = True
        display.result(f"{clip.path}: {counted(outcome.frames, 'frame')} in {outcome.place}")
    if not done:
        raise typer.Exit(exit_codes.FAILED)
    raise typer.Exit(exit_codes.SOME_SKIPPED if spoiled else exit_codes.DONE)


def _mapping_of(name: str | None, clip: StoredClip, display: Display) -> ClassMapping | None:
    if name is None:
        return None
    from sapiens_stream.results.mapping import read_mapping

    mapping = read_mapping(name, clip.classes)
    if mapping.left_out:
        display.note(f"{clip.path}: background, as {name} has no class for them: {', '.join(mapping.left_out)}")
    return mapping
