"""Sapiens (v1), and its model that tells foreground from background: bare weights, or in a graph."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sapiens_stream.classes import FOREGROUND, SAPIENS
from sapiens_stream.errors import ModelError
from sapiens_stream.models.families.family import Family, HubFile, Published
from sapiens_stream.models.families.graph import open_graph
from sapiens_stream.models.licences import CC_BY_NC
from sapiens_stream.models.normalisation import Normalisation
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.models.sapiens2.sizes import is_sapiens2

if TYPE_CHECKING:
    from sapiens_stream.models.checkpoint import Checkpoint
    from sapiens_stream.models.model import Network

SAPIENS_NORMALISATION = Normalisation((123.5, 116.5, 103.5), (58.5, 57.0, 57.5))
FOREGROUND_CHANNELS = 1

# What torch's savers write into an archive: the name that the file had when it was saved, which renaming it leaves.
_DATA_SET = "goliath"
"""Meta's name for the data set of the 28 classes, which stands in the name of each of its files."""
_FOREGROUND = "seg_foreground"


def _published(size: str, trained: str, parameters: int, tflop: float) -> Published:
    # TorchScript first: any torch can also run it as it is. The bfloat16 file's weights, though half the size, are
    # rounded, and its graph is tied to the torch that saved it.
    stem = f"sapiens_{size}_goliath_best_goliath_{trained}"
    repository = f"facebook/sapiens-seg-{size}"
    full = 4 * parameters
    return Published(
        name=f"sapiens-{size}",
        classes=SAPIENS,
        parameters=parameters,
        tflop=tflop,
        licence=CC_BY_NC,
        files=(
            HubFile(
                variant="torchscript",
                repository=f"{repository}-torchscript",
                file=f"{stem}_torchscript.pt2",
                size=full,
            ),
            HubFile(variant="pth", repository=repository, file=f"{stem}.pth", size=full),
            HubFile(
                variant="bfloat16",
                repository=f"{repository}-bfloat16",
                file=f"{stem}_bfloat16.pt2",
                size=full // 2,
            ),
        ),
    )


_FOREGROUND_1B = Published(
    name="sapiens-foreground-1b",
    classes=FOREGROUND,
    parameters=1_178_684_929,
    tflop=11.26,
    licence=CC_BY_NC,
    files=(
        HubFile(
            variant="torchscript",
            repository="facebook/sapiens-seg-foreground-1b-torchscript",
            file="sapiens_1b_seg_foreground_epoch_8_torchscript.pt2",
            size=4 * 1_178_684_929,
        ),
    ),
)


def _channels(checkpoint: Checkpoint) -> int | None:
    """Of the head, where the weights go by Sapiens' names; None where they do not."""
    from sapiens_stream.models.sapiens.config import CLASSIFIER, is_sapiens, published_names

    try:
        shapes = published_names(checkpoint.shapes)
    except ModelError:
        if checkpoint.has_graph:
            return None  # whoever runs the graph knows better what is wrong with it
        raise
    if not is_sapiens(shapes) or is_sapiens2(shapes):  # whose files have some names in common
        return None
    return next(iter(shapes.get(CLASSIFIER, ())), 0)


def _has_weights(checkpoint: Checkpoint) -> bool:
    return not checkpoint.is_onnx and _channels(checkpoint) not in (None, FOREGROUND_CHANNELS)


def _has_foreground_weights(checkpoint: Checkpoint) -> bool:
    return not checkpoint.is_onnx and _channels(checkpoint) == FOREGROUND_CHANNELS


def _is_graph(checkpoint: Checkpoint) -> bool:
    if not checkpoint.has_graph:
        return False
    return _channels(checkpoint) not in (None, FOREGROUND_CHANNELS) or checkpoint.is_named(_DATA_SET)


def _is_foreground_graph(checkpoint: Checkpoint) -> bool:
    if not checkpoint.has_graph:
        return False
    return _channels(checkpoint) == FOREGROUND_CHANNELS or checkpoint.is_named(_FOREGROUND)


def _has_interface(channels: int, network: Network) -> bool:
    """Whether it has so many channels, and logits of half its input's size each way, as every published one has."""
    halves = (network.size[0] // 2, network.size[1] // 2)
    return network.channels == channels and network.logits_size == halves


def _open(checkpoint: Checkpoint, options: ModelOptions) -> Network:
    from sapiens_stream.models.sapiens import open_sapiens  # torch takes seconds to load

    try:
        return open_sapiens(checkpoint.path, checkpoint.weights, options.shape)
    except ModelError as error:
        if checkpoint.has_graph:
            raise ModelError(f"{error}; --as-is runs the file's own graph") from error
        raise


SAPIENS_FAMILY = Family(
    name="sapiens",
    run_by="this program's Sapiens network",
    recognise=_has_weights,
    open=_open,
    classes=SAPIENS,
    normalisation=SAPIENS_NORMALISATION,
    licence=CC_BY_NC,
    published=(
        _published("0.3b", "mIoU_7673_epoch_194", 339_495_196, 4.73),
        _published("0.6b", "mIoU_7777_epoch_178", 670_993_436, 7.38),
        _published("1b", "mIoU_7994_epoch_151", 1_178_705_692, 11.26),
    ),
)
FOREGROUND_FAMILY = replace(
    SAPIENS_FAMILY,
    name="sapiens-foreground",
    recognise=_has_foreground_weights,
    classes=FOREGROUND,
    probability=0.3,
    published=(_FOREGROUND_1B,),
)
GRAPH_FAMILY = replace(
    SAPIENS_FAMILY,
    name="sapiens-graph",
    run_by="its own {format} graph",
    recognise=_is_graph,
    open=open_graph,
    own_graph=True,
    fits=partial(_has_interface, len(SAPIENS)),
)
FOREGROUND_GRAPH_FAMILY = replace(
    FOREGROUND_FAMILY,
    name="sapiens-foreground-graph",
    run_by="its own {format} graph",
    recognise=_is_foreground_graph,
    open=open_graph,
    own_graph=True,
    fits=partial(_has_interface, FOREGROUND_CHANNELS),
)
