"""The options of commands that say what is written and how, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sapiens_stream import settings
from sapiens_stream.cli import options
from sapiens_stream.cli.grouped import grouped
from sapiens_stream.errors import UsageError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.sinks import registry

if TYPE_CHECKING:
    from sapiens_stream.classes import ClassSet
    from sapiens_stream.sinks import Outputs

    OverlayWord = str
else:
    OverlayWord = Literal[*registry.words("overlay"), registry.NONE]

Choices = dict[str, Any]
"""What was chosen, by the option's name, as it was typed: for the record, and for `outputs_of`."""


def _save(*, spanning: bool = True) -> Any:
    told = registry.described("save", spanning=spanning)
    return Annotated[str, typer.Option("--save", metavar="WHAT,...", help=f"What else to write: {told}; or none.")]


def _matte(*, spanning: bool = True) -> Any:
    told = registry.described("matte", spanning=spanning)
    what = f"The picture with --classes opaque, all else clear: {told}; or none."
    return Annotated[str, typer.Option("--matte", metavar="KIND", help=what)]


_BY_WORDS = {"save": _save, "matte": _matte}
"""Those whose help lists words, of which photos have fewer."""

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "overlay": (
        Annotated[
            OverlayWord,
            typer.Option("--overlay", help=f"The painted frames: {registry.described('overlay')}, or none."),
        ],
        settings.OVERLAY,
    ),
    "save": (_save(), settings.SAVE),
    "opacity": (
        Annotated[float, typer.Option("--opacity", min=0.0, max=1.0, help="Of the classes' colours.")],
        settings.OPACITY,
    ),
    "keep_background": (
        Annotated[
            bool, typer.Option("--keep-background", help="Leave the background as it is; it is dimmed by default.")
        ],
        False,
    ),
    "color_by": (
        Annotated[
            settings.ColourBy,
            typer.Option("--color-by", "--colour-by", help="What the colours tell apart; person: with --people."),
        ],
        settings.COLOUR_BY,
    ),
    "ids": (Annotated[bool, typer.Option("--ids", help="Write people's ids beside their heads.")], False),
    "classes": (
        Annotated[
            str | None,
            typer.Option(
                "--classes",
                metavar="NAME,...",
                help="Only these classes, by name or id, are painted and written.",
                show_default="all",
            ),
        ],
        None,
    ),
    "regions": (
        Annotated[
            settings.Regions,
            typer.Option("--regions", help="How the JSON tells where a class is: polygons, COCO RLE, or not."),
        ],
        settings.REGIONS,
    ),
    "title": (Annotated[str, typer.Option("--title", help="Written into each JSON.")], settings.TITLE),
    "save_format": (
        Annotated[settings.PictureFormat, typer.Option("--save-format", "--save_format", help="Of overlay pictures.")],
        settings.PICTURE_FORMAT,
    ),
    "side_by_side": (
        Annotated[bool, typer.Option("--side-by-side", help="Pictures are [photo | overlay].")],
        False,
    ),
    "codec": (
        Annotated[str, typer.Option("--codec", help="FFmpeg's name of the encoder: libx265, h264_nvenc, ...")],
        settings.CODEC,
    ),
    "crf": (
        Annotated[
            int | None,
            typer.Option(
                "--crf", min=0, max=63, help="Quality, lower is better.", show_default="the codec's; libx264: 23"
            ),
        ],
        None,
    ),
    "preset": (
        Annotated[str, typer.Option("--preset", help="Of the encoder: ultrafast to veryslow.")],
        settings.PRESET,
    ),
    "audio": (
        Annotated[settings.Audio, typer.Option("--audio", help="Which sounds of the source to keep.")],
        settings.AUDIO,
    ),
    "no_audio": (Annotated[bool, typer.Option("--no-audio", help="The same as --audio none.")], False),
    "contact_sheet": (
        Annotated[bool, typer.Option("--contact-sheet", help=f"Write {registry.described('contact_sheet')}.")],
        False,
    ),
    "matte": (_matte(), settings.MATTE),
    "matte_only": (
        Annotated[bool, typer.Option("--matte-only", help="The matte alone, as grey, without the picture.")],
        False,
    ),
    "premultiplied": (
        Annotated[
            bool,
            typer.Option("--premultiplied", help="Colours of a matte multiplied by its alpha; straight by default."),
        ],
        False,
    ),
    "edge": (
        Annotated[
            settings.Edge,
            typer.Option(
                "--edge",
                help="Of a matte: hard as the class map, soft as the model's probability, or that refined along the "
                "picture's edges.",
            ),
        ],
        settings.EDGE,
    ),
    "start_number": (
        options.StartNumberOption,
        None,
    ),
}

DEFAULTS = {name: default for name, (_, default) in _OPTIONS.items()}
"""What is taken where an option is not given; some commands have another `save`."""

MATTES_OF_PHOTOS = ("matte", "matte_only", "premultiplied", "edge")
MATTES = (*MATTES_OF_PHOTOS, "start_number")
"""The options of mattes."""

OF_VIDEOS = (
    *("overlay", "save", "opacity", "keep_background", "color_by", "ids", "classes", "regions", "title", "save_format"),
    *("codec", "crf", "preset", "audio", "no_audio", "contact_sheet"),
    *MATTES,
)
"""Those of commands that take videos: by them a run of one is the same run for the other."""


def takes_outputs(
    *names: str, spanning: bool = True, **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Has a command's argument `choices` built of the options of these names; `defaults` are its own.

    Without `spanning` their help leaves out what spans a clip, for a command that takes photos.
    """
    options = {name: _OPTIONS[name][0] for name in names}
    if not spanning:
        options |= {name: declare(spanning=False) for name, declare in _BY_WORDS.items() if name in options}
    return grouped("choices", _choices, options, **{name: _OPTIONS[name][1] for name in names} | defaults)


def outputs_of(choices: Choices, **others: Any) -> Outputs:
    """The outputs that were chosen. Raises UsageError for what there is not."""
    from sapiens_stream.sinks import Outputs

    values = {name: value for name, value in choices.items() if name != "classes"} | others
    if isinstance(values.get("save"), str):
        values["save"] = registry.parse_save(values["save"])
    return Outputs(**values)


def needing(inference: InferenceOptions, outputs: Outputs, choices: Choices) -> InferenceOptions:
    """The options of a model whose results hold what is written of them."""
    needs = outputs.needs
    if "alpha_of" in needs and choices["classes"]:
        needs["alpha_of"] = choices["classes"].split(",")
    return replace(telling_people(inference, outputs), **needs)


def telling_people(inference: InferenceOptions, outputs: Outputs) -> InferenceOptions:
    """The options with which all frames tell who is who where that is asked for, not the first alone, as "auto" may."""
    return replace(inference, people="builtin") if inference.people == "auto" and outputs.tells_people else inference


def classes_of(choices: Mapping[str, Any], classes: ClassSet) -> tuple[int, ...] | None:
    """The ids of the classes that were chosen; None: all. Raises UsageError for an unknown one."""
    return classes.ids(choices["classes"].split(",")) if choices["classes"] else None


def require_people(choices: Mapping[str, Any], inference: InferenceOptions) -> None:
    """Raises UsageError where what is chosen is about people one by one, and nothing says how to find them."""
    asked = ""
    if registry.PEOPLE in registry.parse_save(choices["save"]):
        asked = f"--save {registry.PEOPLE}"
    elif choices["color_by"] == "person":
        asked = "--color-by person"
    elif choices["ids"]:
        asked = "--ids"
    if asked and not inference.looks_for_people:
        raise UsageError(f"{asked}, but {registry.NOBODY_LOOKED_FOR}")


def _choices(**values: Any) -> Choices:
    if values.pop("no_audio", False):
        values["audio"] = "none"
    return values
