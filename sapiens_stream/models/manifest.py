"""What an exported file says of itself, since a graph alone tells neither its normalisation nor its classes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from sapiens_stream.errors import ModelError
from sapiens_stream.models.archive import Archive
from sapiens_stream.models.model import Model

NAME = "sapiens-stream.json"
"""Of the extra file in a TorchScript or torch.export archive."""


def manifest(model: Model) -> dict[str, str]:
    """How to feed and read the model, each value as JSON text: what ONNX takes as metadata, and an archive as one file.

    `mean` and `std` are of RGB in 0..255, `classes` are names by id, `threshold` is the logit above which a model of
    one channel sees foreground, `input` and `logits` are (height, width).
    """
    facts = {
        "model": model.name,
        "mean": model.input.mean,
        "std": model.input.std,
        "classes": model.classes.names,
        "threshold": model.threshold,
        "input": (model.input.height, model.input.width),
        "logits": model.logits_size,
    }
    return {name: json.dumps(value) for name, value in facts.items()}


def as_text(facts: dict[str, str]) -> str:
    """A manifest as one JSON object."""
    return json.dumps({name: json.loads(value) for name, value in facts.items()})


def as_told(path: Path, model: Model) -> Model:
    """The model of a TorchScript or torch.export file, normalised as the file says, if it says so.

    Raises ModelError for an impossible manifest.
    """
    archive = Archive.map(path)
    member = next((name for name in archive.names if name.endswith(f"/extra/{NAME}")), None)
    if member is None:
        return model
    try:
        told = json.loads(archive.read(member))
        mean, std = ((float(r), float(g), float(b)) for r, g, b in (told["mean"], told["std"]))
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} has a {NAME} that does not say mean and std, three numbers each") from error
    if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ModelError(f"{path} says an impossible normalisation: mean {mean}, std {std}")
    return replace(model, input=replace(model.input, mean=mean, std=std))
