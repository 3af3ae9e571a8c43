"""`sapiens-stream demo`: the built-in model on the shipped sample, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sapiens_stream.cli import options
from sapiens_stream.cli.inference_options import NAMING, takes_inference
from sapiens_stream.cli.video import video
from sapiens_stream.errors import InputError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.settings import CONTACT_SHEET_FILE, MODEL, OVERLAY_FILE, RUN_FILE

SAMPLE = "people.mp4"
NEXT = """
Next:
  sapiens-stream video YOUR.mp4                         the same for your own video
  sapiens-stream images builtin --input YOUR_PHOTOS     a folder of photos
  sapiens-stream video YOUR.mp4 -m sapiens-1b --pull    with Meta's Sapiens, far better (4.7 GB)
  sapiens-stream doctor                                 what this machine can do"""


def sample(name: str) -> Path:
    """The path of a shipped sample, in an installed package or a checkout. Raises InputError if it is in neither."""
    package = Path(__file__).parents[1]
    for folder in (package / "samples", package.parent / "samples"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the sample {name} is missing from this installation; install the package again")


@takes_inference(
    leave_out=["precision", "batch_size", "compile", "shape", "detail", "as_is", "trust", "fit", "people", "boxes"]
)
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")] = Path(
        "sapiens-stream-demo"
    ),
    model: options.ModelOption = MODEL,
    *,
    inference: InferenceOptions,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Segment the sample clip with the built-in model; no download."""
    told = {name: getattr(inference, name) for name in ("device", *NAMING)}
    try:
        video([str(sample(SAMPLE))], model, output, **told, contact_sheet=True, json=json, quiet=quiet)
    except typer.Exit as done:
        if done.exit_code == 0 and not (json or quiet):
            _say_where(output)
        raise


def _say_where(folder: Path) -> None:
    stem = Path(SAMPLE).stem
    for name, what in (
        (f"{stem}{OVERLAY_FILE}.mp4", "the clip with the parts painted over it, and its sound"),
        (f"{stem}{CONTACT_SHEET_FILE}", "some of its frames at a glance"),
        (f"{stem}/", "for each frame its class map (.npy) and its parts (.json)"),
        (f"{stem}{RUN_FILE}", "what was run, and how fast"),
    ):
        print(f"  {folder / name!s:<40} {what}")
    print(NEXT)
