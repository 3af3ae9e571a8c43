"""torchvision's detectors of people: which there are, where their weights lie, and fetching those."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from sapiens_stream.errors import ModelError, OutputError, UsageError, cause
from sapiens_stream.home import expanded, seen
from sapiens_stream.models.hub_library import locked
from sapiens_stream.models.licences import Licence

ENDPOINT = "https://download.pytorch.org/models"
_CHUNK = 1 << 18
_SECONDS = 60.0  # that the server may say nothing
_HEADROOM = 1.5  # times its size, that a file may be at most

LICENCE = Licence(
    name="BSD-3-Clause",
    terms="Free for any use; trained on COCO, whose photos have terms of their own.",
    url="https://github.com/pytorch/vision/blob/main/LICENSE",
)


@dataclass(frozen=True, kw_only=True)
class DetectorFile:
    """A detector, and its file of weights, whose name ends in the first 8 digits of its sha256; no more is published.

    `builder` makes the network: a function of `torchvision.models.detection`. `size` is in bytes, about.
    """

    name: str
    builder: str
    file: str
    parameters: int
    size: int

    @property
    def sha256(self) -> str:
        """How it begins."""
        return self.file.rpartition("-")[2].removesuffix(".pth")


DETECTORS = {
    each.name: each
    for each in (
        DetectorFile(
            name="ssdlite320",
            builder="ssdlite320_mobilenet_v3_large",
            file="ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
            parameters=3_440_060,
            size=14_069_000,
        ),
        DetectorFile(
            name="fasterrcnn-mobile",
            builder="fasterrcnn_mobilenet_v3_large_fpn",
            file="fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
            parameters=19_386_354,
            size=77_845_000,
        ),
        DetectorFile(
            name="fasterrcnn-resnet50",
            builder="fasterrcnn_resnet50_fpn",
            file="fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
            parameters=41_755_286,
            size=167_502_000,
        ),
    )
}
"""By the names that `--people` takes."""


def find(detector: DetectorFile) -> Path | None:
    """Where the file is, in the folder that torch itself keeps such files in; None if it is not there. No network."""
    path = _folder() / detector.file
    return path if seen(path) and path.is_file() else None


def require(name: str) -> Path:
    """The same. Raises UsageError where it is not on disk, ModelError where it is not what its name says."""
    detector = DETECTORS[name]
    path = find(detector)
    if path is None:
        raise UsageError(f"{name} is not on disk; fetch it: sapiens-stream models pull {name}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(detector.sha256):
        raise ModelError(
            f"{path} is damaged: its sha256 begins with {found[:8]}, not {detector.sha256};"
            f" fetch it again: sapiens-stream models pull {name} --force"
        )
    return path


def pull(
    detector: DetectorFile,
    *,
    force: bool = False,
    progress: Callable[[int, int | None], None] = lambda _d, _t: None,
    waiting: Callable[[], None] = lambda: None,
) -> Path:
    """Fetches the file, unless it is there, and checks it; `waiting` is called where another program fetches it.

    Raises ModelError, or OutputError where it has no place.
    """
    path = _folder() / detector.file
    if not force and find(detector) is not None:
        return require(detector.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock"), waiting):
            if path.is_file() and not force:  # another program has fetched it meanwhile
                return require(detector.name)
            _download(detector, path, progress)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {cause(error)}; choose another place with TORCH_HOME") from error
    return path


def _download(detector: DetectorFile, path: Path, progress: Callable[[int, int | None], None]) -> None:
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            digest, done = hashlib.sha256(), 0
            for chunk in _chunks(detector):
                done += len(chunk)
                if done > detector.size * _HEADROOM:
                    raise ModelError(f"{detector.file} is larger than it can be: more than {done} bytes came")
                digest.update(chunk)
                file.write(chunk)
                progress(done, detector.size)
        if not digest.hexdigest().startswith(detector.sha256):
            raise ModelError(f"{detector.file} came damaged: its sha256 is not what its name says; fetch it again")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _chunks(detector: DetectorFile) -> Iterator[bytes]:
    """The content, piece by piece; failures are the server's, not the disk's."""
    try:
        with urllib.request.urlopen(f"{ENDPOINT}/{detector.file}", timeout=_SECONDS) as response:
            while chunk := response.read(_CHUNK):
                yield chunk
    except (OSError, HTTPException) as error:  # urllib's own are of the former
        raise ModelError(f"{detector.file} cannot be fetched from {ENDPOINT} ({cause(error)}); try again") from error


def _folder() -> Path:
    """As `torch.hub.get_dir` has it, without torch, which takes seconds to load."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return expanded(home) / "hub" / "checkpoints"
