"""Opens checkpoint files of every family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sapiens_stream.errors import ModelError, UsageError
from sapiens_stream.models.checkpoint import Checkpoint
from sapiens_stream.models.families import family_of
from sapiens_stream.models.families.family import Family
from sapiens_stream.models.knowledge import known
from sapiens_stream.models.model import Model, Network
from sapiens_stream.models.options import ModelOptions

_RAW = "holds bare weights ({}) of a network that is neither Sapiens nor Sapiens2, and no graph of its own to run"
_NO_GRAPH = "holds bare weights ({}) and no graph of its own to run as it is; leave --as-is out"


def open_checkpoint(
    path: Path, options: ModelOptions, *, name: str | None = None, publisher: Family | None = None
) -> Model:
    """Opens a checkpoint of the family that recognises it; see `FAMILIES`.

    The weights of Sapiens are taken out of whatever holds them and run by our own module. Of any other model, and with
    `as_is` of Sapiens too, the graph in the file is run. Of a graph, what is more than tensor operators is refused,
    unless its file is trusted (`trust`). `name` is the model's, its file's unless given; `publisher` the family whose
    authors published the file, where that is known: what they say holds for a graph that nothing tells from others.

    Raises ModelError, one line that names the file, for anything else and for what cannot be run.
    """
    checkpoint = Checkpoint(path)
    if options.as_is and not checkpoint.has_graph:
        raise ModelError(f"{path} {_NO_GRAPH.format(checkpoint.format)}")
    family = family_of(checkpoint, as_is=options.as_is)
    if family is None:
        raise ModelError(f"{path} {_RAW.format(checkpoint.format)}")
    network = family.open(checkpoint, options)
    if options.detail is not None:
        network = _with_detail(path, network, options.detail)
    if family.classes is None or not family.fits(network):
        family = publisher if publisher is not None and publisher.channels == network.channels else None
    return known(name or (path.name if path.is_dir() else path.stem), network, family, checkpoint.manifest, options)


def _with_detail(path: Path, network: Network, detail: float) -> Network:
    if network.aspect_step is None:
        raise UsageError(f"{path.stem} takes one size of picture, whose detail cannot be chosen; leave it out")
    size, logits_size = (
        (round(height * detail**0.5), round(width * detail**0.5))
        for height, width in (network.size, network.logits_size)
    )
    return replace(network, size=size, logits_size=logits_size, photo_detail=1.0)
