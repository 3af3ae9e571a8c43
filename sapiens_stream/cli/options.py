"""The options that commands share, each declared once: name, allowed values, help."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sapiens_stream.errors import UsageError
from sapiens_stream.settings import MOST_EVERY, MOST_FRAMES, MOST_STEADY

MODEL_HELP = "builtin, a name of `models list` (sapiens-1b), or a checkpoint's path."

ModelOption = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help=MODEL_HELP)]
PullOption = Annotated[bool, typer.Option("--pull", help="Fetch the model if it is not on disk.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")]
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
EveryOption = Annotated[
    int,
    typer.Option(
        "--every",
        metavar="N",
        min=1,
        max=MOST_EVERY,
        help="Infer each Nth frame, and where the picture changes; the others take their maps from both sides.",
    ),
]
StartNumberOption = Annotated[
    int | None,
    typer.Option(
        "--start-number",
        min=0,
        max=MOST_FRAMES - 1,
        metavar="N",
        help="Of a numbered sequence.",
        show_default="0; of numbered pictures their own",
    ),
]
FpsOption = Annotated[
    str | None,
    typer.Option(
        "--fps",
        metavar="RATE",
        help="Frames a second of numbered pictures.",
        show_default="what the first tells, or 24",
    ),
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
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with what the same run has left, however it ended; nothing is inferred twice."
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Share I of N of the inputs: each of N processes, on any machines, takes another, as an array of Slurm.",
        show_default="all",
    ),
]
ChunkOption = Annotated[
    str | None,
    typer.Option(
        "--chunk",
        metavar="I/N",
        help="The class maps of chunk I of N of one long video; `results join` makes its results of all of them.",
        show_default="all",
    ),
]
StallOption = Annotated[
    float,
    typer.Option(
        "--stall-timeout",
        metavar="SECONDS",
        min=0,
        help="Give up an input of which nothing moves for so long, and go on with the next; 0: never. A slow model is"
        " waited for as long as it computes.",
    ),
]
LogOption = Annotated[
    Path | None,
    typer.Option(
        "--log", metavar="FILE", help="Append what happens, as lines of JSON, for schedulers.", show_default="none"
    ),
]


def _jobs(value: str | int) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if not str(value).isdecimal() or int(value) < 1:
        raise typer.BadParameter(f"{value!r}; it is 1 or more, or auto")
    return int(value)


JobsOption = Annotated[
    Any,
    typer.Option(
        "--jobs",
        metavar="N|auto",
        parser=_jobs,
        help="Inputs side by side, with one model; auto: more while cores are idle. For small ones.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON a run on standard output, and nothing else there.")
]
JsonAnswerOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")
]
"""Of commands that answer, and run nothing."""
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only what went wrong.")]


OF_THE_BATCH = ("shard", "chunk", "jobs", "stall_timeout", "log", "json", "quiet")
"""Arguments that have no say in what a run writes."""


def check_resume(resume: bool, overwrite: bool) -> None:
    """Raises UsageError for both of them."""
    if resume and overwrite:
        raise UsageError("--resume keeps what is there and --overwrite removes it; give one of them")


def for_record(arguments: Mapping[str, Any], *, leave_out: Collection[str]) -> dict[str, Any]:
    """A command's arguments as JSON types, for the run record. Of a value that is several, each by its own name."""
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        if is_dataclass(value) and not isinstance(value, type):
            flat |= asdict(value)
        else:
            flat |= value if isinstance(value, Mapping) else {name: value}
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in flat.items() if name not in leave_out
    }
