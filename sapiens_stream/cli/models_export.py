"""`sapiens-stream models export`: a model as a file that runs elsewhere."""

from __future__ import annotations

import json as json_format
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sapiens_stream.cli import guesses, options
from sapiens_stream.cli.address_space import check_address_space
from sapiens_stream.cli.console import one_line
from sapiens_stream.cli.inference_options import NAMING, Precision, takes_opening
from sapiens_stream.errors import UsageError
from sapiens_stream.home import expanded
from sapiens_stream.models import is_path
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.threads import apart


@takes_opening("shape", "trust", *NAMING)
def export(
    model: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A name of `models list`, or a checkpoint.")],
    to: Annotated[Literal["torchscript", "torch-export", "onnx"], typer.Option("--to", help="The format to write.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    precision: Annotated[
        Precision, typer.Option("--precision", help="Of weights and pixels; auto is fp32, or the graph's own.")
    ] = "auto",
    *,
    opening: ModelOptions,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="The only batch size that it takes.", show_default="any"),
    ] = None,
    pull: options.PullOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write a model as TorchScript, torch.export or ONNX.

    For programs of your own. The graph takes RGB pixels, (N, 3, height, width), which the caller has normalised, and
    returns logits. How to normalise, and the names of the classes, stand in the file: as metadata of ONNX, as the extra
    file sapiens-stream.json in the others. All run here as well, with -m FILE, in the
    precision that they have.
    """
    guesses.check_model(model)
    _check_place(output, model)
    check_address_space()

    import torch

    from sapiens_stream.cli.download import fetch_named
    from sapiens_stream.inference.device import PRECISION_NAMES, resolve_precision
    from sapiens_stream.models import open_model
    from sapiens_stream.models.export import export_model

    if pull:
        fetch_named(model, quiet=quiet)
    opened = apart(partial(open_model, model, opening))
    dtype = resolve_precision(precision, torch.device("cpu"), opened)
    export_model(opened, to, output, dtype=dtype, batch=batch)
    spec = opened.input
    written: dict[str, Any] = {
        "path": str(output),
        "format": to,
        "size": output.stat().st_size,
        "model": opened.name,
        "precision": PRECISION_NAMES[dtype],
        "pixels": [batch, 3, spec.height, spec.width],
        "logits": [batch, len(opened.classes), *opened.logits_size],
        "mean": spec.mean,
        "std": spec.std,
    }
    if json:
        print(json_format.dumps(written))
    elif not quiet:
        print(one_line(_line(written)))


def _check_place(output: Path, model: str) -> None:
    """Raises UsageError for a folder, and for the model's own file, which the export would take the place of."""
    if output.is_dir():
        raise UsageError(f"-o {output} is a folder; give the file to write")
    own = os.path.realpath(expanded(model))
    if is_path(model) and output.exists() and Path(os.path.realpath(output)).is_relative_to(own):
        raise UsageError(f"-o {output} is the model itself; give another file")


def _line(written: dict[str, Any]) -> str:
    pixels, logits, mean, std = (
        ", ".join("N" if each is None else f"{each:g}" for each in written[name])
        for name in ("pixels", "logits", "mean", "std")
    )
    return (
        f"{written['path']}: {written['model']} as {written['format']} in {written['precision']},"
        f" {written['size'] / 1e6:.1f} MB; pixels ({pixels}), RGB 0..255 less {mean} over {std}, to logits ({logits})"
    )
