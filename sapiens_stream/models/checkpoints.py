"""Opens checkpoint files of every format."""

from __future__ import annotations

from pathlib import Path

from sapiens_stream.errors import ModelError
from sapiens_stream.models.formats import Format, recognise
from sapiens_stream.models.interface import Shape
from sapiens_stream.models.manifest import as_told
from sapiens_stream.models.model import Model
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.models.weights import read_weights

_WITH_GRAPH: tuple[Format, ...] = ("torchscript", "torch-export")
_RAW = "holds bare weights ({}) of a network that is neither Sapiens nor Sapiens2, and no graph of its own to run"
_NO_GRAPH = "holds bare weights ({}) and no graph of its own to run as it is; leave --as-is out"


def open_checkpoint(path: Path, options: ModelOptions) -> Model:
    """Opens a checkpoint.

    The weights of Sapiens are taken out of whatever holds them and run by our own module. Of any other model, and with
    `as_is` of Sapiens too, a TorchScript file or a torch.export program runs its own graph. Sapiens2 is run by
    transformers. Of a graph, what is more than tensor operators is refused, unless its file is trusted (`trust`).

    Raises ModelError, one line that names the file, for anything else and for what cannot be run.
    """
    kind = recognise(path)
    as_is, shape, trust = options.as_is, options.shape, options.trust
    if as_is and kind not in _WITH_GRAPH:
        raise ModelError(f"{path} {_NO_GRAPH.format(kind)}")
    if not as_is and (native := _open_native(path, kind, shape)):
        return native
    if kind == "torchscript":
        from sapiens_stream.models.torchscript import open_torchscript

        return as_told(path, open_torchscript(path, shape, trust=trust))
    if kind == "torch-export":
        from sapiens_stream.models.exported import open_exported

        return as_told(path, open_exported(path, shape, trust=trust))
    raise ModelError(f"{path} {_RAW.format(kind)}")


def _open_native(path: Path, kind: Format, shape: Shape | None) -> Model | None:
    """The model if it is one that we have the network of."""
    from sapiens_stream.models.sapiens import is_sapiens, open_sapiens, published_names
    from sapiens_stream.models.sapiens2 import is_sapiens2, open_sapiens2

    if kind == "safetensors" and (path.is_dir() or is_sapiens2(path)):
        return open_sapiens2(path, shape)
    try:
        weights = published_names(read_weights(path, kind))
    except ModelError:
        if kind in _WITH_GRAPH:
            return None  # whoever runs the graph knows better what is wrong with it
        raise
    if not is_sapiens(weights):
        return None
    try:
        return open_sapiens(path, weights, shape)
    except ModelError as error:
        if kind in _WITH_GRAPH:
            raise ModelError(f"{error}; --as-is runs the file's own graph") from error
        raise
