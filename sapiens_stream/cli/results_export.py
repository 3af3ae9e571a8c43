"""`sapiens-stream results export`: class maps in the formats of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sapiens_stream.cli import exit_codes, options
from sapiens_stream.cli.console import error
from sapiens_stream.errors import InputError, OutputError, SapiensStreamError, UsageError, cause
from sapiens_stream.results.export import registry

if TYPE_CHECKING:
    from sapiens_stream.cli.display import Display
    from sapiens_stream.results.mapping import ClassMapping
    from sapiens_stream.results.stored import StoredClip
    from sapiens_stream.sources import Source

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
        typer.Option("--regions", help="How coco tells where an instance is.", show_default="rle"),
    ] = None,
    layout: Annotated[
        Literal["plain", "lip", "cihp"] | None,
        typer.Option("--layout", help="The folders of palette: those of LIP or CIHP.", show_default="plain"),
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
    from sapiens_stream.cli.display import Display
    from sapiens_stream.results.export.export import export
    from sapiens_stream.results.export.target import Choices
    from sapiens_stream.results.stored import stored_clips

    display = Display(quiet=quiet)
    kind = registry.named(to)
    _require_meant(to, regions=regions, layout=layout, images=images)
    spoiled = done = False

    def on_skip(item: object) -> None:
        nonlocal spoiled
        spoiled = True
        display.skipped(item)  # type: ignore[arg-type]

    for clip in stored_clips(what):
        try:
            mapped = _mapping_of(mapping, clip, display)
            with (
                _source_of(clip, input_ or [], required=images is not None) as opened,
                _progress(display, clip) as tell,
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
            error(_naming(clip, problem))
            continue
        done = True
        display.result(f"{clip.path}: {outcome.frames} frames in {outcome.place}")
    if not done:
        raise typer.Exit(exit_codes.FAILED)
    raise typer.Exit(exit_codes.SOME_SKIPPED if spoiled else exit_codes.DONE)


def _require_meant(to: str, *, regions: str | None, layout: str | None, images: str | None) -> None:
    """Raises UsageError for an option that the format takes no notice of."""
    if regions is not None and to != "coco":
        raise UsageError(f"--regions is for --to coco; {to} has a way of its own")
    if layout is not None and to != "palette":
        raise UsageError(f"--layout is for --to palette; {to} has folders of its own")
    if images is not None and registry.named(to).loose:
        raise UsageError(f"--images is for data sets; --to {to} writes class maps alone")


def _mapping_of(name: str | None, clip: StoredClip, display: Display) -> ClassMapping | None:
    if name is None:
        return None
    from sapiens_stream.results.mapping import read_mapping

    mapping = read_mapping(name, clip.classes)
    if mapping.left_out:
        display.note(f"{clip.path}: background, as {name} has no class for them: {', '.join(mapping.left_out)}")
    return mapping


@contextmanager
def _source_of(clip: StoredClip, given: list[str], *, required: bool) -> Iterator[Source | None]:
    """The source of a clip, where it is needed, or where photos can be told the names of."""
    from sapiens_stream.results.render import open_source_of
    from sapiens_stream.sources import Video

    opened: Source | None = None
    try:
        if clip.past is None and required:
            if not given:
                raise InputError(f"{clip.path}: say with --input what it was made of")
            opened = Video(Path(given[0]))
        elif clip.past is not None and (required or clip.is_of_photos):
            opened = open_source_of(clip.past, given)
    except InputError:
        if required:
            raise
    with opened if opened is not None else nullcontext() as source:
        yield source


@contextmanager
def _progress(display: Display, clip: StoredClip) -> Iterator[Callable[[int], None]]:
    """Shows how many frames are done."""
    from sapiens_stream.pipeline import Statistics

    statistics = Statistics()
    with display.progress(str(clip.path), clip.count) as shown:

        def tell(done: int) -> None:
            statistics.segmented = done
            shown.update(statistics)

        yield tell


def _naming(clip: StoredClip, problem: SapiensStreamError) -> str:
    what = cause(problem)
    return what if str(clip.path) in what else f"{clip.path}: {what}"
