"""The options of commands that say how a model is opened and run, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sapiens_stream.cli.grouped import grouped
from sapiens_stream.inference.options import Fallback, Fit, InferenceOptions, People
from sapiens_stream.models.options import ModelOptions

Precision = Literal["auto", "fp32", "fp16", "bf16"]
Command = Callable[[Callable[..., None]], Callable[..., None]]


def _batch_size(value: str | int) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if not str(value).isdecimal() or int(value) < 1:
        raise typer.BadParameter(f"{value!r}; it is 1 or more, or auto")
    return int(value)


def _batch_size_option(default: int | None) -> Any:
    return typer.Option(
        "--batch-size",
        "--batch_size",
        metavar="N|auto",
        parser=_batch_size,
        help="Frames at a time; auto tries which is fastest.",
        show_default="1 on the CPU, 8 elsewhere" if default is None else True,
    )


_NORMALISED = "Of the pixels that the model takes, in 0..255, for networks of your own."
NAMING = ("classes_from", "mean", "std")
"""Options that say of a model what its file does not."""
_OPTIONS: dict[str, Any] = {
    "device": Annotated[
        str,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda[:N],...|mps",
            help="Where the model runs; cuda:0,cuda:1 or cuda:all share the frames.",
        ),
    ],
    "precision": Annotated[
        Precision, typer.Option("--precision", help="Of the model; auto is fp16 or bf16 on CUDA, fp32 on the CPU.")
    ],
    "batch_size": None,
    "compile": Annotated[
        bool, typer.Option("--compile", help="Have torch compile the network; takes minutes once, and is kept.")
    ],
    "shape": Annotated[
        tuple[int, int] | None,
        typer.Option(
            "--shape", metavar="HEIGHT WIDTH", help="The model's input size.", show_default="the checkpoint's own"
        ),
    ],
    "detail": Annotated[
        float | None,
        typer.Option(
            "--detail",
            metavar="TIMES",
            help="As many times the pixels that builtin is made for, 0.25 to 4: hands and faces gain, "
            "and it takes as many times as long.",
            show_default="1; 2 of photos",
        ),
    ],
    "as_is": Annotated[
        bool, typer.Option("--as-is", help="Run the graph in a Sapiens checkpoint's file, not our own module.")
    ],
    "trust": Annotated[
        bool, typer.Option("--trust", help="Run a file's graph whatever operators it holds: it may do anything.")
    ],
    "classes_from": Annotated[
        str | None,
        typer.Option(
            "--classes-from",
            metavar="FILE|sapiens|sapiens2",
            help="What the model's classes are called: a name a line, or JSON.",
            show_default="as the model says",
        ),
    ],
    "mean": Annotated[
        tuple[float, float, float] | None,
        typer.Option("--mean", metavar="R G B", help=_NORMALISED, show_default="as the model says"),
    ],
    "std": Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            "--std", metavar="R G B", help="The same: (pixel - mean) / std.", show_default="as the model says"
        ),
    ],
    "fit": Annotated[
        Fit,
        typer.Option(
            "--fit",
            help="How a picture meets the model's shape: stretched as the original does, "
            "letterboxed (aspect kept, padded), or its centre cropped.",
        ),
    ],
    "people": Annotated[
        People,
        typer.Option(
            "--people",
            help="Have the model look again, from nearer, at each person who is small in the picture; "
            "builtin finds them with the built-in model, in parts of large pictures; the others are torchvision's "
            "detectors (models pull); auto: builtin, unless a clip begins with one large person and no ids are asked "
            "for.",
        ),
    ],
    "boxes": Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            metavar="FILE",
            help="The same with your own boxes: COCO's JSON, or a frame a line.",
            show_default="none",
        ),
    ],
    "fallback": Annotated[
        Fallback,
        typer.Option("--fallback", help="cpu: go on there, slowly, where all devices are lost."),
    ],
}


def takes_inference(*, leave_out: Sequence[str] = (), batch_size: int | None = None) -> Command:
    """Has a command's argument `inference` built of its options, but for those that it leaves out."""
    options = {name: option for name, option in _OPTIONS.items() if name not in leave_out}
    if "batch_size" in options:
        options["batch_size"] = Annotated[Any, _batch_size_option(batch_size)]
    return grouped("inference", InferenceOptions, options, **_defaults(InferenceOptions, batch_size=batch_size))


def takes_opening(*names: str) -> Command:
    """Has a command's argument `opening`, which is of ModelOptions, built of the options of these names."""
    return grouped("opening", ModelOptions, {name: _OPTIONS[name] for name in names}, **_defaults(ModelOptions))


def _defaults(options: type[ModelOptions], **others: Any) -> dict[str, Any]:
    return {each.name: each.default for each in fields(options)} | others
