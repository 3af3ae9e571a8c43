"""The weights in a checkpoint of any format, by name, without its graph."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sapiens_stream.errors import ModelError
from sapiens_stream.models.archive import Archive, Inert
from sapiens_stream.models.formats import Format
from sapiens_stream.models.interface import last_line, naming, quiet_torch

Weights = Mapping[str, torch.Tensor]

_STATE_KEY = "state_dict"
_NO_WEIGHTS = "is a pickle of something else than a dict of weights, which is not opened; save the state_dict alone"
# torch 2.8 and before keep the weights as an archive of their own in the archive, which torch 2.1 called JSON.
_INNER = re.compile(r"(^|/)(serialized_state_dict\.(pt|json)|data/weights/[^/]+\.pt)$")
_CONFIG = re.compile(r"/data/(weights|constants)/[^/]+_config\.json$")
_LIFTED = re.compile(r"(^|\.)_?lifted_")  # a number of the graph's, by no name of the network's
# How torch.export numbers precisions.
_EXPORT_DTYPES = {6: torch.float16, 7: torch.float32, 8: torch.float64, 13: torch.bfloat16}
_DAMAGE = (
    *(pickle.UnpicklingError, BadZipFile, OSError, EOFError, ValueError, TypeError, RuntimeError, RecursionError),
    *(LookupError, StopIteration, AttributeError, SafetensorError),
)


def read_weights(path: Path, format_: Format) -> Weights:
    """The tensors of a checkpoint, on the CPU, in the precision of the file, mapped from it where the format allows.

    No code of the file runs: of its pickles only tensors and plain containers are taken, of a graph nothing.
    Raises ModelError.
    """
    readers: dict[Format, Callable[[Path], Weights]] = {
        "torchscript": _torchscript,
        "torch-export": _exported,
        "state dict": _state_dict,
        "safetensors": load_file,
    }
    with naming(path):
        try:
            return readers[format_](path)
        except _DAMAGE as error:
            raise ModelError(f"is a damaged {format_} file: {last_line(error)}") from error


def _torchscript(path: Path) -> Weights:
    return dict(_attributes(_unpickled(Archive.map(path)), ""))


def _attributes(module: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a module and of those within, named as in its state dict."""
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value
        elif isinstance(value, Inert):
            yield from _attributes(value, f"{prefix}{name}.")


def _exported(path: Path) -> Weights:
    archive = Archive.map(path)
    inner = next((name for name in archive.names if _INNER.search(name)), None)
    if inner is not None:
        return _plain(_unpickled(Archive(archive.member(inner))))
    configs = [name for name in archive.names if _CONFIG.search(name)]
    return dict(chain.from_iterable(_payload(archive, name) for name in configs))


def _payload(archive: Archive, config: str) -> Iterator[tuple[str, torch.Tensor]]:
    folder = config.rpartition("/")[0]
    for name, entry in json.loads(archive.read(config))["config"].items():
        meta = entry["tensor_meta"]
        if meta is None or entry["use_pickle"] or meta["dtype"] not in _EXPORT_DTYPES or _LIFTED.search(name):
            continue
        size, stride = ([length["as_int"] for length in meta[key]] for key in ("sizes", "strides"))
        dtype, offset = _EXPORT_DTYPES[meta["dtype"]], meta["storage_offset"]["as_int"]
        yield name, archive.tensor(f"{folder}/{entry['path_name']}", dtype, offset, size, stride)


def _state_dict(path: Path) -> Weights:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        return _plain(_unpickled(Archive.map(path)))
    try:
        with quiet_torch():  # before torch 1.6 a checkpoint was no archive
            return _plain(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:  # whose message says how to load it nevertheless
        raise ModelError(_NO_WEIGHTS) from error


def _unpickled(archive: Archive) -> Any:
    """What torch.save or torch.jit.save wrote: the pickle in the archive's one folder."""
    return archive.unpickle(next(name for name in archive.names if name.partition("/")[2] == "data.pkl"))


def _plain(content: Any) -> Weights:
    """The tensors of a dict, which may hold them under `state_dict`."""
    if isinstance(content, Mapping) and isinstance(content.get(_STATE_KEY), Mapping):
        content = content[_STATE_KEY]
    if not isinstance(content, Mapping):
        raise ModelError(_NO_WEIGHTS)
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
