"""What a checkpoint file is, for a user who wants to know before a long run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sapiens_stream.errors import SapiensStreamError
from sapiens_stream.models import open_model
from sapiens_stream.models.checkpoint import Checkpoint
from sapiens_stream.models.families import family_of
from sapiens_stream.models.families.family import Family
from sapiens_stream.models.formats import Format, weights_file
from sapiens_stream.models.model import Model
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.models.weights import read_weights


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """`size` is in bytes, `precision` that of most of the weights, as torch names it.

    `model` is None where the file cannot be opened here; `problem` then says why.
    """

    path: Path
    format: Format
    size: int
    parameters: int
    precision: str | None
    family: Family | None
    model: Model | None
    problem: str | None


def inspect_checkpoint(path: Path, name: str | None = None, options: ModelOptions | None = None) -> Inspection:
    """Looks into a checkpoint, which is opened by its `name` if it has one. Nothing is computed.

    Raises ModelError for a file that is none, or damaged.
    """
    checkpoint = Checkpoint(path)
    format_ = checkpoint.format
    file = weights_file(path)
    counts: Counter[str] = Counter()
    for label, weight in read_weights(file, format_).items():
        if weight.is_floating_point() and ".running_" not in label:  # a normalisation's statistics
            counts[str(weight.dtype).removeprefix("torch.")] += weight.numel()
    family = model = problem = None
    try:
        family = family_of(checkpoint)
        model = open_model(name or path, options)
    except SapiensStreamError as error:
        problem = str(error)
    return Inspection(
        path=file,
        format=format_,
        size=file.stat().st_size,
        parameters=counts.total(),
        precision=max(counts, key=counts.__getitem__, default=None),
        family=family,
        model=model,
        problem=problem,
    )
