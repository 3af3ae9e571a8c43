"""What an exported file says of itself, since a graph alone tells neither its normalisation nor its classes."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from sapiens_stream.classes import FOREGROUND, MAX_CLASSES, OF_BODIES, ClassSet, numbered
from sapiens_stream.errors import ModelError
from sapiens_stream.models.archive import Archive
from sapiens_stream.models.normalisation import Normalisation

if TYPE_CHECKING:
    from sapiens_stream.models.model import Model

NAME = "sapiens-stream.json"
"""Of the extra file in a TorchScript or torch.export archive."""
MOST_BYTES = 1 << 20
MOST_DETAIL = 16


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is read back of it. `size` and `logits_size` are (height, width); `aspect_step` and `photo_detail` are a
    Model's."""

    normalisation: Normalisation
    classes: ClassSet | None = None
    threshold: float = 0.0
    size: tuple[int, int] | None = None
    logits_size: tuple[int, int] | None = None
    aspect_step: int | None = None
    photo_detail: float = 1.0


def manifest(model: Model) -> dict[str, str]:
    """How to feed and read the model, each value as JSON text: what ONNX takes as metadata, and an archive as one file.

    `mean` and `std` are of RGB in 0..255, `classes` are names by id, `title` what they are as a set,
    `colours` their RGB, `threshold` is the logit
    above which a model of one channel sees foreground, `input` and `logits` are (height, width). Where the graph takes
    any size, `aspect_step` is what each side of an input is a multiple of, as pictures keep their aspect, and
    `photo_detail` how many times as many pixels a photo may have.
    """
    facts = {
        "model": model.name,
        "mean": model.input.mean,
        "std": model.input.std,
        "classes": model.classes.names,
        "title": model.classes.title,
        "colours": model.classes.colours,
        "threshold": model.threshold,
        "input": (model.input.height, model.input.width),
        "logits": model.logits_size,
        "aspect_step": model.aspect_step,
        "photo_detail": model.photo_detail,
    }
    return {name: json.dumps(value) for name, value in facts.items()}


def as_text(facts: dict[str, str]) -> str:
    """A manifest as one JSON object."""
    return json.dumps({name: json.loads(value) for name, value in facts.items()})


def read_manifest(path: Path, archive: Archive) -> Manifest | None:
    """What a TorchScript or torch.export file says of itself. Raises ModelError for what cannot be."""
    member = next((name for name in archive.names if name.endswith(f"/extra/{NAME}")), None)
    if member is None:
        return None
    try:
        data = archive.read(member)
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path} is cut short or damaged: {error}; fetch it again") from error
    if len(data) > MOST_BYTES:
        raise ModelError(f"{path} has a {NAME} of {len(data)} bytes, which says more than a model needs")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} has a {NAME} that is no JSON") from error
    return _manifest(path, told)


def manifest_of(path: Path, told: Mapping[str, str]) -> Manifest:
    """What the metadata of an ONNX file says, each value as JSON text. Raises ModelError for what cannot be."""
    if sum(map(len, told.values())) > MOST_BYTES:
        raise ModelError(f"{path} has metadata of more than {MOST_BYTES >> 20} MB, which says more than a model needs")
    facts = {}
    for name in _READERS.keys() | {"mean", "std", "title", "colours"}:
        if name in told:
            try:
                facts[name] = json.loads(told[name])
            except (ValueError, RecursionError) as error:
                raise ModelError(f"{path} says a {name} that is no JSON") from error
    return _manifest(path, facts)


def _manifest(path: Path, told: Any) -> Manifest:
    try:
        mean, std = ((float(r), float(g), float(b)) for r, g, b in (told["mean"], told["std"]))
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise ModelError(f"{path} has a {NAME} that does not say mean and std, three numbers each") from error
    if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ModelError(f"{path} says an impossible normalisation: mean {mean}, std {std}")
    facts: dict[str, Any] = {}
    for name, (place, read) in _READERS.items():
        if told.get(name) is not None:
            try:
                facts[place] = read(told[name], told)
            except (ValueError, TypeError, OverflowError) as error:
                raise ModelError(f"{path} says {name} that cannot be: {str(told[name])[:80]}") from error
    return Manifest(normalisation=Normalisation(mean, std), **facts)


def _classes(names: Any, told: Mapping[str, Any]) -> ClassSet:
    if not isinstance(names, list) or not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(names)
    if not all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= 100 for name in names):
        raise ValueError(names)
    if told.get("colours") is None:
        known = (each for each in (*OF_BODIES, FOREGROUND) if list(each.names) == names)
        return next(known, ClassSet("named classes", tuple(names), numbered(len(names)).colours))
    colours = tuple((r, g, b) for r, g, b in told["colours"])
    if not all(type(part) is int and 0 <= part <= 255 for each in colours for part in each):
        raise ValueError(colours)
    title = str(told.get("title") or "named classes")
    if not title.isprintable() or len(title) > 100:
        raise ValueError(title)
    return ClassSet(title, tuple(names), colours)


def _lengths(value: Any, _told: Mapping[str, Any]) -> tuple[int, int]:
    height, width = value
    if type(height) is not int or type(width) is not int or not 0 < height < 1 << 20 or not 0 < width < 1 << 20:
        raise ValueError(value)
    return height, width


def _number(value: Any, _told: Mapping[str, Any]) -> float:
    if not math.isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def _step(value: Any, _told: Mapping[str, Any]) -> int:
    if type(value) is not int or not 0 < value <= 1024:
        raise ValueError(value)
    return value


def _detail(value: Any, _told: Mapping[str, Any]) -> float:
    if not 1 <= float(value) <= MOST_DETAIL:
        raise ValueError(value)
    return float(value)


_READERS: dict[str, tuple[str, Callable[[Any, Mapping[str, Any]], Any]]] = {
    "classes": ("classes", _classes),
    "threshold": ("threshold", _number),
    "input": ("size", _lengths),
    "logits": ("logits_size", _lengths),
    "aspect_step": ("aspect_step", _step),
    "photo_detail": ("photo_detail", _detail),
}
