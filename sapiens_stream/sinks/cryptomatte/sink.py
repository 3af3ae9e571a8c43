"""Cryptomatte as numbered OpenEXR files, or one for each photo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Segmentation, SourceInfo
from sapiens_stream.install_line import install_line
from sapiens_stream.settings import CRYPTOMATTE_FILE
from sapiens_stream.sinks.cryptomatte.coverage import RANKS, Coverage, coverage_of, nearest_person
from sapiens_stream.sinks.cryptomatte.names import attributes_of, id_of
from sapiens_stream.sinks.numbered import Numbered
from sapiens_stream.sinks.openexr import encode_exr, require_openexr
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

PARTS = "CryptoParts"
PEOPLE = "CryptoPeople"
"""The layers: what a part is, and whose."""
_EXTENSION = ".exr"

Channels = dict[str, npt.NDArray[np.float32]]


class CryptomatteSink(Sink):
    """Writes CLIP_cryptomatte/CLIP_cryptomatte.000000.exr, ..., of photos NAME_cryptomatte.exr, below `root`.

    In each are the layers `PARTS` and, where people are told apart, `PEOPLE`, whose names are "person_1/Hair". A layer
    has the channels NAME00.R (an id), .G (how much of the pixel it covers), .B and .A (the next), up to NAME02, always.
    The manifest holds all classes, and all that the frame shows of its people. Classes outside `only` are left out.
    """

    def __init__(
        self,
        root: Path,
        source: SourceInfo,
        *,
        numbered: Numbered | None = None,
        only: tuple[int, ...] | None = None,
    ) -> None:
        require_openexr("cryptomatte")
        try:
            import mmh3  # noqa: F401
        except ImportError as error:
            raise UsageError(f"cryptomatte needs the package mmh3: {install_line('exr')} ({error})") from error
        self._root = root
        self._source = source
        self._only = only
        self.numbered = numbered
        self.endings = (CRYPTOMATTE_FILE,)

    def write(self, result: Segmentation) -> None:
        data = self._encode(result)
        with self._file_of(self._root, result, CRYPTOMATTE_FILE) as file:
            file.write(data)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return int(size[0] * size[1] * 2.0)

    def measure(self, result: Segmentation) -> int:
        return int(len(self._encode(result)) * 1.3)

    def _encode(self, result: Segmentation) -> bytes:
        coverage = coverage_of(result, self._only)
        names = result.classes.names
        shown = range(1, len(names)) if self._only is None else [each for each in self._only if each]
        ids = np.zeros(len(names), np.float32)
        ids[list(shown)] = [id_of(names[each]) for each in shown]
        channels = _channels(PARTS, ids[coverage.classes], coverage.shares)
        attributes = attributes_of(PARTS, [names[each] for each in shown])
        if result.people is not None and result.person_map is not None:
            more, told = _people(result, coverage)
            channels |= more
            attributes |= told
        return encode_exr(channels, attributes, pixel_aspect=result.frame.pixel_aspect)


def _people(result: Segmentation, coverage: Coverage) -> tuple[Channels, Mapping[str, str]]:
    assert result.person_map is not None
    owners = nearest_person(result.person_map)
    classes = len(result.classes)
    x, y, width, height = cv2.boundingRect(coverage.classes[0])
    box = (slice(None), slice(y, y + height), slice(x, x + width))
    covered = coverage.classes[box]
    # A number for each pair of a person and a class: those that are there are few.
    pairs = owners[None][box].astype(np.int32) * classes + covered
    pairs[(covered == 0) | (owners[None][box] == 0)] = 0
    there = np.zeros((int(owners.max()) + 1) * classes, bool)
    there[pairs] = True
    names = {
        pair: f"person_{pair // classes}/{result.classes.names[pair % classes]}"
        for pair in map(int, np.flatnonzero(there))
        if pair
    }
    ids = np.zeros(len(there), np.float32)
    ids[list(names)] = [id_of(name) for name in names.values()]
    found, shares = (np.zeros(coverage.shares.shape, np.float32) for _ in range(2))
    found[box] = ids[pairs]
    shares[box] = np.where(found[box] != 0, coverage.shares[box], np.float32(0))
    return _channels(PEOPLE, found, shares), attributes_of(PEOPLE, names.values())


def _channels(layer: str, ids: npt.NDArray[np.float32], shares: npt.NDArray[np.float32]) -> Channels:
    channels: Channels = {}
    for rank in range(RANKS):
        first, second = ("R", "G") if rank % 2 == 0 else ("B", "A")
        channels[f"{layer}{rank // 2:02d}.{first}"] = ids[rank]
        channels[f"{layer}{rank // 2:02d}.{second}"] = shares[rank]
    return channels


def cryptomatte(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    numbered = None
    if target.source.kind != "photos":
        numbered = Numbered(CRYPTOMATTE_FILE.removesuffix(_EXTENSION), _EXTENSION, outputs.start_number)
    return CryptomatteSink(target.path, target.source, numbered=numbered, only=outputs.only)
