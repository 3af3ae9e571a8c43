"""Facts about models as JSON types, for `sapiens-stream models` to print either way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_stream.classes import SAPIENS
from sapiens_stream.cli.address_space import check_address_space
from sapiens_stream.home import expanded
from sapiens_stream.models import hub, is_path
from sapiens_stream.models.catalogue import (
    BUILTIN,
    BUILTIN_PARAMETERS,
    BUILTIN_WEIGHTS,
    Choice,
    Published,
    lookup,
    unknown_model,
)
from sapiens_stream.models.detectors import DETECTORS, LICENCE, DetectorFile, find
from sapiens_stream.models.licences import APACHE, Licence, needs_acceptance
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.models.published import locate, on_disk, require

if TYPE_CHECKING:
    from sapiens_stream.models.inspection import Inspection


def published_entry(model: Published) -> dict[str, Any]:
    """A model of the hub. `parameters` are a count, `tflop` the cost of a frame, sizes in bytes, None if not known."""
    return {
        "name": model.name,
        "classes": len(model.classes),
        "parameters": model.parameters,
        "tflop": model.tflop,
        "licence": _licence(model.licence),
        "files": [file_entry(model, file.variant) for file in model.files],
    }


def builtin_entry() -> dict[str, Any]:
    """The built-in model, described as those of the hub are."""
    size = BUILTIN_WEIGHTS.stat().st_size
    return {
        "name": BUILTIN,
        "classes": len(SAPIENS),
        "parameters": BUILTIN_PARAMETERS,
        "tflop": None,
        "licence": _licence(APACHE),
        "files": [
            {"variant": "safetensors", "size": size, "path": str(BUILTIN_WEIGHTS), "fetched": size, "damaged": False}
        ],
    }


def detector_entry(detector: DetectorFile) -> dict[str, Any]:
    """A detector of people; `sha256` is how the file's begins, which is all that is published of it."""
    path = find(detector)
    return {
        "name": detector.name,
        "parameters": detector.parameters,
        "licence": _licence(LICENCE),
        "file": detector.file,
        "sha256": detector.sha256,
        "size": path.stat().st_size if path is not None else detector.size,
        "path": str(path) if path is not None else None,
    }


def file_entry(model: Published, variant: str) -> dict[str, Any]:
    """`size` is the file's own where it is on disk, `fetched` the bytes of it that are."""
    [file] = (each for each in model.files if each.variant == variant)
    entry = {"variant": variant, "repository": file.repository, "file": file.file}
    for here in on_disk(model):
        if here.file == file:
            size = here.path.stat().st_size
            return entry | {"size": size, "path": str(here.path), "fetched": size, "damaged": here.damaged}
    return entry | {"size": file.size, "path": None, "fetched": hub.fetched(file), "damaged": False}


def _licence(licence: Licence) -> dict[str, Any]:
    return {
        "name": licence.name,
        "terms": licence.terms,
        "url": licence.url,
        "to_be_accepted": needs_acceptance(licence),
    }


def facts_of(name_or_path: str, sha256: bool, opening: ModelOptions) -> dict[str, Any]:
    """What a model, a detector or a file is; of one that is not on disk, what its publisher says.

    `sha256` has the whole file read. Raises UsageError for an unknown name, ModelError for no checkpoint.
    """
    if name_or_path in DETECTORS and not is_path(name_or_path):
        return _of_detector(DETECTORS[name_or_path], sha256)
    check_address_space()
    from sapiens_stream.models.inspection import inspect_checkpoint  # torch takes seconds to load

    if is_path(name_or_path):
        inspection = inspect_checkpoint(expanded(name_or_path), options=opening)
        return _inspected(inspection, sha256) | _of_family(inspection)
    if name_or_path == BUILTIN:
        return {**builtin_entry(), **_inspected(inspect_checkpoint(BUILTIN_WEIGHTS, BUILTIN, opening), sha256)}
    choice = lookup(name_or_path)
    if choice is None:
        raise unknown_model(name_or_path)
    return _published(choice, sha256, opening)


def _of_detector(detector: DetectorFile, sha256: bool) -> dict[str, Any]:
    """`detector_entry`; with `sha256` the whole of its file's, and what it should be, as far as that is known."""
    entry = detector_entry(detector)
    if not sha256 or entry["path"] is None:
        return entry
    found = hub.sha256(Path(entry["path"]))
    expected = found if found.startswith(detector.sha256) else f"{detector.sha256}..."
    return entry | {"sha256": found, "sha256_of_the_hub": expected}


def _published(choice: Choice, sha256: bool, opening: ModelOptions) -> dict[str, Any]:
    from sapiens_stream.models.inspection import inspect_checkpoint

    entry = published_entry(choice.model)
    if locate(choice) is None:
        return entry | {"name": choice.name}
    here = require(choice)  # says how to repair a damaged one
    return entry | {"name": here.name} | _inspected(inspect_checkpoint(here.path, here.name, opening), sha256)


def _inspected(inspection: Inspection, sha256: bool) -> dict[str, Any]:
    model = inspection.model
    facts: dict[str, Any] = {
        "path": str(inspection.path),
        "format": inspection.format,
        "size": inspection.size,
        "parameters": inspection.parameters,
        "precision": inspection.precision,
        "classes": len(model.classes) if model else None,
        "class_names": list(model.classes.names) if model else None,
        "input": [model.input.height, model.input.width] if model else None,
        "run_by": model.kind if model else None,
        "family": inspection.family.name if inspection.family else None,
        "assumed": model.assumed if model else None,
        "problem": inspection.problem,
    }
    if sha256:
        facts |= {"sha256": hub.sha256(inspection.path), "sha256_of_the_hub": hub.checksum(inspection.path)}
    return facts


def _of_family(inspection: Inspection) -> dict[str, Any]:
    """What a file is under and costs as one of its family, where it is known to be."""
    family = inspection.family
    if family is None or family.licence is None or inspection.model is None or inspection.model.assumed:
        return {}
    return {"licence": _licence(family.licence), "tflop": family.tflop(inspection.parameters)}
