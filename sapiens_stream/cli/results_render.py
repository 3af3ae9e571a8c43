"""`sapiens-stream results render`: other results from the class maps of an earlier run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sapiens_stream import settings
from sapiens_stream.cli import options
from sapiens_stream.cli.output_options import OverlayWord
from sapiens_stream.cli.without_effect import places_of, without_effect
from sapiens_stream.errors import InputError, OutputError, UsageError
from sapiens_stream.sinks import registry

RENDERED = "rendered"
_COLOUR = re.compile(r"#?([0-9a-fA-F]{6})\Z")
_AS_IT_WAS = "as in the run"


def render(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Results of runs, with class maps.")],
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="FILE", help="The source, if it lies elsewhere now; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.", show_default=f"DIR/{RENDERED}"),
    ] = None,
    overlay: Annotated[
        OverlayWord | None, typer.Option("--overlay", help="The painted frames.", show_default=_AS_IT_WAS)
    ] = None,
    save: Annotated[
        str,
        typer.Option("--save", metavar="WHAT,...", help=f"What else to write: {registry.described('save')}; or none."),
    ] = "json",
    opacity: Annotated[
        float | None,
        typer.Option("--opacity", min=0.0, max=1.0, help="Of the classes' colours.", show_default=_AS_IT_WAS),
    ] = None,
    keep_background: Annotated[
        bool | None,
        typer.Option(
            "--keep-background/--dim-background", help="Leave the background as it is.", show_default=_AS_IT_WAS
        ),
    ] = None,
    color_by: Annotated[
        settings.ColourBy | None,
        typer.Option("--color-by", "--colour-by", help="What the colours tell apart.", show_default=_AS_IT_WAS),
    ] = None,
    ids: Annotated[
        bool | None,
        typer.Option("--ids/--no-ids", help="Write people's ids beside their heads.", show_default=_AS_IT_WAS),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="NAME,...", help="Only these classes.", show_default=_AS_IT_WAS),
    ] = None,
    colours: Annotated[
        str | None,
        typer.Option(
            "--colours",
            "--colors",
            metavar="NAME=#RRGGBB,...",
            help="Of classes, by name or id.",
            show_default="the model's",
        ),
    ] = None,
    regions: Annotated[
        settings.Regions | None,
        typer.Option("--regions", help="How the JSON tells where a class is.", show_default=_AS_IT_WAS),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", help="Written into each JSON.", show_default=_AS_IT_WAS)
    ] = None,
    save_format: Annotated[
        settings.PictureFormat | None,
        typer.Option("--save-format", "--save_format", help="Of overlay pictures.", show_default=_AS_IT_WAS),
    ] = None,
    side_by_side: Annotated[
        bool | None,
        typer.Option("--side-by-side/--overlay-only", help="[picture | overlay].", show_default=_AS_IT_WAS),
    ] = None,
    codec: Annotated[str | None, typer.Option("--codec", help="The encoder.", show_default=_AS_IT_WAS)] = None,
    crf: Annotated[
        int | None, typer.Option("--crf", min=0, max=63, help="Quality, lower is better.", show_default=_AS_IT_WAS)
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Of the encoder.", show_default=_AS_IT_WAS)] = None,
    audio: Annotated[
        settings.Audio | None,
        typer.Option("--audio", help="Which sounds of the source to keep.", show_default=_AS_IT_WAS),
    ] = None,
    contact_sheet: Annotated[bool, typer.Option("--contact-sheet", help="Some frames at a glance, as a PNG.")] = False,
    matte: Annotated[
        str, typer.Option("--matte", metavar="KIND", help=f"A matte: {registry.described('matte')}; or none.")
    ] = settings.MATTE,
    matte_only: Annotated[bool, typer.Option("--matte-only", help="The matte alone, without the picture.")] = False,
    premultiplied: Annotated[
        bool, typer.Option("--premultiplied", help="Colours of a matte multiplied by its alpha.")
    ] = False,
    edge: Annotated[
        settings.Edge,
        typer.Option("--edge", help="Of a matte: hard, or refined along the picture's edges; class maps hold no soft."),
    ] = settings.EDGE,
    start_number: options.StartNumberOption = None,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Paint and encode results again from their class maps.

    Takes what a run wrote with --save labels or classes, and the run's source. No model is loaded.
    """
    given = {
        name: value
        for name, value in locals().items()
        if name not in ("folder", "input_", "output", "classes", "colours", "overwrite", "json", "quiet")
        and value is not None
    }
    # Here, so that --help and a wrong option answer at once.
    from sapiens_stream.cli.display import Display
    from sapiens_stream.cli.runner import Runner
    from sapiens_stream.results.past_run import past_runs
    from sapiens_stream.results.render import open_source_of, recorded_outputs, render
    from sapiens_stream.sinks.registry import parse_save

    display = Display(quiet=quiet, json=json)
    runner = Runner(display)
    palette = parse_colours(colours)
    changes: dict[str, Any] = {**given, "save": parse_save(save)}
    root = output or folder / RENDERED
    for past in past_runs(folder, lambda path, error: runner.reject(str(path), error)):
        outputs = recorded_outputs(past, changes)
        for told in without_effect(given, places_of(outputs)):
            display.warn(f"{past.path}: {told}")
        try:
            source = open_source_of(past, input_ or [])
        except InputError as error:
            runner.reject(str(past.path), error)
            continue
        with source:
            try:
                run = render(
                    past,
                    source,
                    outputs,
                    root,
                    only=classes,
                    colours=palette,
                    overwrite=overwrite,
                    changes={**given, **_told(classes=classes, colours=colours)},
                    on_skip=runner.skip,
                    on_damage=runner.damage,
                    warn=display.warn,
                    note=display.note,
                )
            except (InputError, OutputError) as error:
                runner.reject(str(past.path), error)
                continue
            runner.execute(run, str(root))
        if runner.interrupted:
            break
    raise typer.Exit(runner.exit_code)


def parse_colours(text: str | None) -> dict[str | int, tuple[int, int, int]]:
    """ "hair=#ff0000,2=00ff00" as RGB by class. Raises UsageError for anything else."""
    colours: dict[str | int, tuple[int, int, int]] = {}
    for each in filter(None, (part.strip() for part in (text or "").split(","))):
        name, _, colour = each.partition("=")
        if not name.strip() or (match := _COLOUR.match(colour.strip())) is None:
            raise UsageError(f"--colours {each!r}: it is a class and a colour, as in hair=#ff0000")
        red, green, blue = bytes.fromhex(match[1])
        colours[name.strip()] = (red, green, blue)
    return colours


def _told(**options: str | None) -> Mapping[str, str]:
    return {name: value for name, value in options.items() if value is not None}
