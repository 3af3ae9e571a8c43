"""Checkpoint files, told apart by what is in them: their names say little, as both formats are called `.pt2`."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

from sapiens_stream.errors import ModelError, cause
from sapiens_stream.models.interface import Shape
from sapiens_stream.models.manifest import as_told
from sapiens_stream.models.model import Model
from sapiens_stream.models.weights import Format, read_weights

__all__ = ["Format", "open_checkpoint", "recognise"]

_WITH_GRAPH: tuple[Format, ...] = ("torchscript", "torch-export")
_RAW = "holds bare weights ({}) of a network that is neither Sapiens nor Sapiens2, and no graph of its own to run"
_NO_GRAPH = "holds bare weights ({}) and no graph of its own to run as it is; leave --as-is out"


def open_checkpoint(path: Path, shape: Shape | None = None, *, as_is: bool = False) -> Model:
    """Opens a checkpoint. `shape` is the (height, width) to feed it.

    The weights of Sapiens are taken out of whatever holds them and run by our own module. Of any other model, and with
    `as_is` of Sapiens too, a TorchScript file or a torch.export program runs its own graph. Sapiens2 is run by
    transformers.

    Raises ModelError, one line that names the file, for anything else and for what can not be run.
    """
    kind = recognise(path)
    if as_is and kind not in _WITH_GRAPH:
        raise ModelError(f"{path} {_NO_GRAPH.format(kind)}")
    if not as_is and (native := _open_native(path, kind, shape)):
        return native
    if kind == "torchscript":
        from sapiens_stream.models.torchscript import open_torchscript

        return as_told(path, open_torchscript(path, shape))
    if kind == "torch-export":
        from sapiens_stream.models.exported import open_exported

        return as_told(path, open_exported(path, shape))
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
    return open_sapiens(path, weights, shape) if is_sapiens(weights) else None


def recognise(path: Path) -> Format:
    """The format of a checkpoint. Reads a few bytes and the archive's table; raises ModelError if it is none.

    A folder with a config.json is how transformers keeps safetensors.
    """
    if path.is_dir() and (path / "config.json").is_file():
        return "safetensors"
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"PK"):
            with ZipFile(path) as archive:
                return _recognise_archive(path, archive.namelist())
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a checkpoint file") from None
    except BadZipFile:
        raise ModelError(
            f"{path} is cut short or damaged: it begins as an archive and has no end; fetch it again"
        ) from None
    except OSError as error:
        raise ModelError(f"{path} can not be read: {cause(error)}") from error
    if head[8:10] == b'{"':  # the length of a JSON header, then the header
        return "safetensors"
    if head.startswith(b"\x80"):  # a pickle's first opcode; never loaded
        return "state dict"
    raise ModelError(f"{path} is not a checkpoint but {_content(head)}")


def _recognise_archive(path: Path, names: list[str]) -> Format:
    inner = {name.partition("/")[2] for name in names}
    if "serialized_exported_program.json" in names or any(name.startswith("models/") for name in inner):
        return "torch-export"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "torchscript"
    if "data.pkl" in inner:
        return "state dict"
    raise ModelError(f"{path} is not a checkpoint but some other archive ({', '.join(names[:3]) or 'empty'})")


def _content(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; fetch the file itself (git lfs pull)"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page; fetch the file itself"
    try:
        head.decode("ascii")
    except UnicodeDecodeError:
        return "a file of another kind"
    return "text"
