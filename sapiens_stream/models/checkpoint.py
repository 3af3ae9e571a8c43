"""A checkpoint's file, and what can be told of it without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sapiens_stream.models.archive import Archive
from sapiens_stream.models.formats import Format, recognise
from sapiens_stream.models.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    import torch

    from sapiens_stream.models.onnx_file import OnnxFile

WITH_GRAPH: tuple[Format, ...] = ("torchscript", "torch-export", "onnx")


class Checkpoint:
    """A file, or a folder of transformers, of a known format. What is read of it is read once, when it is asked for.

    Raises ModelError for a file that is no checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.format: Format = recognise(path)

    @property
    def has_graph(self) -> bool:
        """Whether it brings a graph of its own, beside weights."""
        return self.format in WITH_GRAPH

    @property
    def is_onnx(self) -> bool:
        return self.format == "onnx"

    @cached_property
    def onnx(self) -> OnnxFile:
        """Of an ONNX file, its content. Raises ModelError."""
        from sapiens_stream.models.onnx_file import read_onnx

        return read_onnx(self.path)

    @cached_property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """By name, as the file has them; those of an ONNX file without their numbers. Raises ModelError."""
        from sapiens_stream.models.weights import read_weights  # torch takes seconds to load

        return read_weights(self.path, self.format)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Those of the weights, by name; of safetensors, the header alone is read. Raises ModelError.

        None of a folder, which is transformers' way of keeping Sapiens2: which of its files counts is for that to say.
        """
        from sapiens_stream.models.weights import read_shapes

        if self.path.is_dir():
            return {}
        if self.format == "safetensors":
            return read_shapes(self.path)
        return {name: tuple(weight.shape) for name, weight in self.weights.items()}

    @cached_property
    def manifest(self) -> Manifest | None:
        """What the file says of itself, if this program wrote it. Raises ModelError for what cannot be."""
        if self.is_onnx:
            return self.onnx.manifest
        return read_manifest(self.path, Archive.map(self.path)) if self.has_graph else None

    def is_named(self, word: str) -> bool:
        """Whether a word stands in the file's name, or in the one that its archive was given when it was saved."""
        names = [self.path.name]
        if self.format in ("torchscript", "torch-export"):
            names += [name.partition("/")[0] for name in Archive.map(self.path).names[:1]]
        return any(word in name.lower() for name in names)
