"""What makes a run the same run again: its input, its model, and every setting that changes a result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import SourceInfo
from sapiens_stream.pipeline.inference import Inference
from sapiens_stream.sinks.outputs import Outputs

# Where and how fast a run works, not what it gives. The model's input size and precision are compared as they turned
# out to be, not as they were asked for. A setting that is not named here counts.
_NEUTRAL = frozenset(
    {"output", "output_root", "overwrite", "resume", "device", "batch_size", "num_workers", "compile", "as_is"}
    | {"contact_sheet", "shape", "precision", "fp16", "alpha_of", "ranks", "fallback"}
)
# What is made of class maps, and how, not what they are; `only` says which classes are in them.
_PRESENTATION = frozenset({field.name for field in fields(Outputs)} - {"only"} | {"recursive"})
_SAMPLES = 16
_SAMPLE_BYTES = 1 << 16
_END_BYTES = 1 << 12
"""Of each of several files: the headers of DPX and OpenEXR, in which it stands when they were made, are within."""


class Fingerprint:
    """Of a run on `source` by `engine`. Two are equal where neither input, model nor a setting that counts differs.

    A file is known by its size and a hash over samples from all of it, wherever it lies, and so are numbered pictures;
    a folder, list or glob of photos by its path, so that photos may be added; a live source is never the same again.
    """

    def __init__(self, source: SourceInfo, engine: Inference, settings: Mapping[str, Any]) -> None:
        self._model = engine.model
        self._source = source
        shape, detail, classes = engine.model.input, engine.model.photo_detail, engine.model.classes
        self.settings: dict[str, Any] = {
            **{name: self._meant(name, _plain(value)) for name, value in settings.items() if name not in _NEUTRAL},
            **({"boxes": _content_of(settings["boxes"])} if settings.get("boxes") else {}),
            **({"classes_from": [*classes.names, *classes.hex_colours]} if settings.get("classes_from") else {}),
            "shape": [shape.height, shape.width],
            "keeps_aspect": engine.model.aspect_step is not None,
            **({"photo_detail": detail} if source.kind == "photos" and detail != 1 else {}),
            "precision": str(engine.dtype).removeprefix("torch."),
        }

    @property
    def is_of_photos(self) -> bool:
        """Whether more inputs may have come since."""
        return self._source.kind == "photos"

    @cached_property
    def input(self) -> dict[str, Any]:
        """What tells the input from others, as JSON types."""
        path = self._source.path
        with suppress(OSError):  # taken away meanwhile
            if self._source.pictures:
                return content_of(self._source.pictures, self._source.name)
            if path is not None and path.is_file():
                return content_of([path], path)
        if self._source.kind == "photos":
            return {"path": _real(self._source.name)}
        if self._source.kind == "video":
            return {"name": self._source.name}
        return {"name": self._source.name, "started": datetime.now(UTC).isoformat()}

    def differences(self, recorded: Any, *, in_class_maps: bool = False) -> list[str]:
        """What differs from a fingerprint in a run record, in words; with `in_class_maps` only what changes those.

        The model's file is read if all else is equal.
        """
        if not isinstance(recorded, dict):
            return ["version"]
        settings = recorded.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        found = [] if _same_input(self.input, recorded.get("input")) else ["input"]
        passed = _PRESENTATION if in_class_maps else ()
        found += sorted(
            name
            for name in settings.keys() | self.settings.keys()
            if self._meant(name, settings.get(name)) != self.settings.get(name) and name not in passed
        )
        if not found and recorded.get("model") != self._model.sha256:
            found.append("model")
        return found

    def _meant(self, name: str, value: Any) -> Any:
        """A list by what it holds, however it was typed: classes by their ids, the words of `save` in one order."""
        if name not in ("classes", "save") or not isinstance(value, (str, list)):
            return value
        words = [str(word).strip() for word in (value.split(",") if isinstance(value, str) else value)]
        if name == "save":
            return ",".join(sorted(set(words) - {""}))
        with suppress(UsageError):  # a record's, of a model that has them
            return list(self._model.classes.ids(words)) if value else value
        return value

    def digest(self, sha256: str | None) -> str:
        """A hash over what makes the class maps: input, model, settings; not where they lie."""
        return digest_of(self.input, sha256, self.settings)

    def as_dict(self, sha256: str | None) -> dict[str, Any]:
        """For the run record, as JSON types; `sha256` is the model file's."""
        return {"input": self.input, "model": sha256, "settings": self.settings}


def digest_of(source: Mapping[str, Any], sha256: str | None, settings: Mapping[str, Any]) -> str:
    """`Fingerprint.digest` of what stands in a record."""
    what = {name: value for name, value in source.items() if name not in ("path", "modified")}
    how = {name: value for name, value in settings.items() if name not in _PRESENTATION}
    text = json.dumps({"input": what, "model": sha256, "settings": how}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _content_of(path: Any) -> str:
    """A hash over a small file, which is what it says, wherever it lies; its name where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(path)


def _same_input(ours: Mapping[str, Any], theirs: Any) -> bool:
    if not isinstance(theirs, dict):
        return False
    keys = ("bytes", "sample") if "sample" in ours else ("path", "name", "started")
    return all(ours.get(key) == theirs.get(key) for key in keys)


def content_of(files: Sequence[Path], named: str | Path) -> dict[str, Any]:
    """What tells a file, or several that are one clip, from others, as JSON types.

    The "sample" is a hash over evenly spread parts, the ends among them: a moment's work for any size. Of several files
    it is one over the names, sizes and ends of all: each may have been made anew by itself, and its head tells when.
    """
    status = [path.stat() for path in files]
    modified = datetime.fromtimestamp(max(each.st_mtime for each in status), UTC).isoformat()
    size = sum(each.st_size for each in status)
    digest = hashlib.sha256()
    if len(files) == 1:
        _add_parts(digest, files[0], _SAMPLES, _SAMPLE_BYTES)
    else:
        for path, each in zip(files, status, strict=True):
            digest.update(f"{path.name}/{each.st_size}/".encode("utf-8", "surrogatepass"))
            _add_parts(digest, path, 2, _END_BYTES)
    return {"path": _real(named), "bytes": size, "modified": modified, "sample": digest.hexdigest()}


def _add_parts(digest: hashlib._Hash, path: Path, count: int, length: int) -> None:
    with path.open("rb") as file:
        last = max(0, path.stat().st_size - length)
        for place in sorted({last * step // (count - 1) for step in range(count)}):
            file.seek(place)
            digest.update(file.read(length))


def _real(path: str | Path) -> str:
    return os.path.realpath(path)


def _plain(value: Any) -> Any:
    """As it reads when it comes back from JSON."""
    return [_plain(each) for each in value] if isinstance(value, (tuple, list)) else value
