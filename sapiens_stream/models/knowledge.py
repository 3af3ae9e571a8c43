"""What a network's channels mean and how pictures are normalised for it: said by the user, its file, its family."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sapiens_stream.classes import FOREGROUND, ClassSet, numbered
from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models.class_files import KNOWN_SETS, read_classes
from sapiens_stream.models.families.family import Family
from sapiens_stream.models.families.sapiens import SAPIENS_NORMALISATION
from sapiens_stream.models.manifest import Manifest
from sapiens_stream.models.model import InputSpec, Model, Network, Runnable
from sapiens_stream.models.normalisation import Normalisation
from sapiens_stream.models.options import ModelOptions


def known(
    name: str, network: Network, family: Family | None, manifest: Manifest | None, options: ModelOptions
) -> Model:
    """The model of a network. What the user says goes before what its file says, and that before its family.

    Of a network that is of no family that knows its classes they are numbered, and its normalisation is assumed to be
    Sapiens'; `Model.assumed` then says so. Raises UsageError where the user, ModelError where the file names another
    number of classes than there are.
    """
    classes, threshold = _classes(name, network, family, manifest, options)
    normalisation = _normalisation(family, manifest, options)
    sure = normalisation or SAPIENS_NORMALISATION
    height, width = network.size
    shared: dict[str, Any] = {each.name: getattr(network, each.name) for each in fields(Runnable)}
    return Model(
        **shared,
        name=name,
        classes=classes or _anonymous(network.channels),
        input=InputSpec(height=height, width=width, mean=sure.mean, std=sure.std),
        threshold=threshold,
        assumed=_assumed(name, network.channels, classes is None, normalisation is None),
    )


def _classes(
    name: str, network: Network, family: Family | None, manifest: Manifest | None, options: ModelOptions
) -> tuple[ClassSet | None, float]:
    """The classes, and the logit above which one channel is foreground."""
    count = max(2, network.channels)
    threshold = 0.0
    classes = None
    if family is not None and family.channels == network.channels:
        classes, threshold = family.classes, family.threshold
    if manifest is not None and manifest.classes is not None:
        if len(manifest.classes) != count:
            raise ModelError(f"{name} says {len(manifest.classes)} classes and has {network.channels}")
        classes, threshold = manifest.classes, manifest.threshold
    if options.classes_from is not None:
        classes = read_classes(options.classes_from)
        if len(classes) != count:
            of = "foreground and background" if network.channels == 1 else f"{network.channels} classes"
            raise UsageError(f"{options.classes_from} has {len(classes)} classes; {name} tells {of} apart")
    return classes, threshold if network.channels == 1 else 0.0


def _normalisation(family: Family | None, manifest: Manifest | None, options: ModelOptions) -> Normalisation | None:
    known = manifest.normalisation if manifest is not None else family.normalisation if family is not None else None
    if options.mean is None and options.std is None:
        return known
    rest = known or SAPIENS_NORMALISATION
    return Normalisation(options.mean or rest.mean, options.std or rest.std)


def _anonymous(channels: int) -> ClassSet:
    return FOREGROUND if channels == 1 else numbered(channels)


def _assumed(name: str, channels: int, classes: bool, normalisation: bool) -> str | None:
    """What nobody has said of a network, in a sentence."""
    unknown = []
    if classes and channels == 1:
        unknown.append("its one channel, which is taken for foreground from a probability of 0.5 on")
    elif classes:
        unknown.append(
            f"its {channels} classes, which are numbered (--classes-from FILE, {' or '.join(KNOWN_SETS)} names them)"
        )
    if normalisation:
        unknown.append("its normalisation, which is assumed to be Sapiens' (--mean and --std say another)")
    return f"{name}: no model family here knows {', nor '.join(unknown)}" if unknown else None
