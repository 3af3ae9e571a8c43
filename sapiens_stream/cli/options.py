"""The options that commands share, each declared once: name, allowed values, help."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sapiens_stream.settings import MOST_STEADY
from sapiens_stream.sinks import registry

RegionFormat = Literal["polygons", "rle", "none"]
PictureFormat = Literal["png", "jpg", "bmp"]

if TYPE_CHECKING:
    OverlayWord = str
else:
    OverlayWord = Literal[*registry.words("overlay"), registry.NONE]

MODEL_HELP = "builtin, a name of `models list` (sapiens-1b), or a checkpoint's path."

ModelOption = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help=MODEL_HELP)]
PullOption = Annotated[bool, typer.Option("--pull", help="Fetch the model if it is not on disk.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")]
OpacityOption = Annotated[float, typer.Option("--opacity", min=0.0, max=1.0, help="Of the classes' colours.")]
BackgroundOption = Annotated[
    bool, typer.Option("--keep-background", help="Leave the background as it is; it is dimmed by default.")
]
SteadyOption = Annotated[
    int,
    typer.Option(
        "--steady",
        metavar="N",
        min=0,
        max=MOST_STEADY,
        help="Class maps that flicker less: the N frames before and after each have a say in it.",
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAME,...",
        help="Only these classes, by name or id, are painted and written.",
        show_default="all",
    ),
]
RegionsOption = Annotated[
    RegionFormat, typer.Option("--regions", help="How the JSON tells where a class is: polygons, COCO RLE, or not.")
]
TitleOption = Annotated[str, typer.Option("--title", help="Written into each JSON.")]
SaveFormatOption = Annotated[PictureFormat, typer.Option("--save-format", "--save_format", help="Of overlay pictures.")]
OverlayOption = Annotated[
    OverlayWord, typer.Option("--overlay", help=f"The painted frames: {registry.described('overlay')}, or none.")
]
SaveOption = Annotated[
    str,
    typer.Option("--save", metavar="WHAT,...", help=f"What else to write: {registry.described('save')}; or none."),
]
ContactSheetOption = Annotated[
    bool, typer.Option("--contact-sheet", help=f"Write {registry.described('contact_sheet')}.")
]
MaxPixelsOption = Annotated[
    int,
    typer.Option("--max-pixels", min=1, metavar="N", help="Pictures with more pixels are skipped, undecoded."),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Skip pictures that are damaged, rather than use what can be decoded of them.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the results of another run; its own files alone are removed.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON a run on standard output, and nothing else there.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only what went wrong.")]


def for_record(arguments: Mapping[str, Any], *, leave_out: Collection[str]) -> dict[str, Any]:
    """A command's arguments as JSON types, for the run record. Of a value that is several, each by its own name."""
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        flat |= asdict(value) if is_dataclass(value) and not isinstance(value, type) else {name: value}
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in flat.items() if name not in leave_out
    }
