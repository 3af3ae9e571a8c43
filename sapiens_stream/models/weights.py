"""The weights in a checkpoint of any format, by name, without its graph."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from sapiens_stream.errors import ModelError, cause
from sapiens_stream.models.archive import MOST_MEMBERS, Archive
from sapiens_stream.models.formats import Format
from sapiens_stream.models.interface import last_line, naming
from sapiens_stream.models.legacy import read_legacy
from sapiens_stream.models.onnx_file import read_onnx
from sapiens_stream.models.pickles import Inert, TensorAt

Weights = Mapping[str, torch.Tensor]

_STATE_KEYS = ("state_dict", "model_state_dict", "model")  # by which training programs keep weights, the usual first
_NO_WEIGHTS = "is a pickle of something else than a dict of weights, which is not opened; save the state_dict alone"
# torch 2.8 and before keep the weights as an archive of their own in the archive, which torch 2.1 called JSON.
_INNER = re.compile(r"(^|/)(serialized_state_dict\.(pt|json)|data/weights/[^/]+\.pt)$")
_CONFIG = re.compile(r"/data/(weights|constants)/[^/]+_config\.json$")
_LIFTED = re.compile(r"(^|\.)_?lifted_")  # a number of the graph's, by no name of the network's
# How torch.export numbers the types of numbers.
EXPORT_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_ONNX_DTYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}
"""How TensorProto numbers those of weights."""


def read_weights(path: Path, format_: Format) -> Weights:
    """The tensors of a checkpoint, on the CPU, in the precision of the file, mapped from it where the format allows.

    No code of the file runs: of its pickles only tensors and plain containers are taken, of a graph nothing.
    Raises ModelError.
    """
    readers: dict[Format, Callable[[Path], Weights]] = {
        "torchscript": _torchscript,
        "torch-export": _exported,
        "state dict": _state_dict,
        "onnx": _onnx,
        "safetensors": _safetensors,
    }
    with naming(path):
        try:
            return readers[format_](path)
        except ModelError:
            raise
        except Exception as error:  # of any kind: each reader has its own for what is impossible
            raise ModelError(f"is a damaged {format_} file: {last_line(error)}") from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Those of the tensors in a safetensors file, by name, from its header alone. Raises ModelError."""
    with naming(path):
        try:
            with safe_open(path, "pt") as tensors:
                _require_few(tensors.keys())
                return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(f"is a damaged safetensors file, fetch it again: {cause(error)}") from error


def _safetensors(path: Path) -> Weights:
    with safe_open(path, "pt") as tensors:
        _require_few(tensors.keys())
    return load_file(path)


def _require_few(names: Sequence[str]) -> None:
    if len(names) > MOST_MEMBERS:
        raise ModelError(f"holds {len(names)} tensors; no network here has more than {MOST_MEMBERS}")


def _onnx(path: Path) -> Weights:
    """Without their numbers, which onnxruntime reads."""
    return {
        each.name: torch.empty(each.dims, dtype=_ONNX_DTYPES[each.type], device="meta")
        for each in read_onnx(path).initializers
        if each.type in _ONNX_DTYPES
    }


def _torchscript(path: Path) -> Weights:
    archive = Archive.map(path)
    record = _record(archive)
    folder = record.removesuffix("data.pkl") + "data/"
    most = len(archive.read(record))  # parts may stand in one another many times over
    tensors: dict[str, torch.Tensor] = {}
    for name, place in _attributes(archive.unpickle(record), ""):
        if len(tensors) == most:
            raise ModelError(f"holds more than {most} tensors")
        tensors[name] = archive.tensor_at(place, folder)
    return tensors


def _attributes(module: Any, prefix: str) -> Iterator[tuple[str, TensorAt]]:
    """The tensors of a module and of those within, named as in its state dict."""
    for name, value in vars(module).items():
        if isinstance(value, TensorAt):
            yield prefix + name, value
        elif isinstance(value, Inert):
            yield from _attributes(value, f"{prefix}{name}.")


def _exported(path: Path) -> Weights:
    archive = Archive.map(path)
    inner = next((name for name in archive.names if _INNER.search(name)), None)
    if inner is not None:
        return _of_archive(Archive(archive.member(inner)))
    return {name: tensor for name, tensor in exported_tensors(archive) if _is_weight(name, tensor)}


def exported_tensors(archive: Archive) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights and constants of a torch.export program that are not pickled, by the names that its graph calls them.

    Raises KeyError, ValueError, RuntimeError or TypeError where the archive is damaged.
    """
    configs = [name for name in archive.names if _CONFIG.search(name)]
    return chain.from_iterable(_payload(archive, name) for name in configs)


def _payload(archive: Archive, config: str) -> Iterator[tuple[str, torch.Tensor]]:
    folder = config.rpartition("/")[0]
    for name, entry in json.loads(archive.read(config))["config"].items():
        meta = entry["tensor_meta"]
        if meta is None or entry["use_pickle"] or meta["dtype"] not in EXPORT_DTYPES:
            continue
        size, stride = (tuple(length["as_int"] for length in meta[key]) for key in ("sizes", "strides"))
        dtype, offset = EXPORT_DTYPES[meta["dtype"]], meta["storage_offset"]["as_int"]
        yield name, archive.tensor(f"{folder}/{entry['path_name']}", dtype, offset, size, stride)


def _is_weight(name: str, tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and not _LIFTED.search(name)


def _state_dict(path: Path) -> Weights:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        return _of_archive(Archive.map(path))
    content, tensor_at = read_legacy(path)  # before torch 1.6 a checkpoint was no archive
    return _plain(content, tensor_at)


def _of_archive(archive: Archive) -> Weights:
    """The weights that torch.save wrote."""
    record = _record(archive)
    folder = record.removesuffix("data.pkl") + "data/"
    return _plain(archive.unpickle(record), lambda place: archive.tensor_at(place, folder))


def _record(archive: Archive) -> str:
    """The name of the pickle that torch.save or torch.jit.save wrote, in the archive's one folder."""
    return next(name for name in archive.names if name.partition("/")[2] == "data.pkl")


def _plain(content: Any, tensor_at: Callable[[TensorAt], torch.Tensor]) -> Weights:
    """The tensors of a dict, which may hold them under one of `_STATE_KEYS`."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in _STATE_KEYS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping):
        raise ModelError(_NO_WEIGHTS)
    return {str(name): tensor_at(value) for name, value in content.items() if isinstance(value, TensorAt)}
