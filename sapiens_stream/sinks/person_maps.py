"""Whose each pixel is: maps of ids, as `.npy` files and as a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sapiens_stream.containers.map_video import PEOPLE
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import IdArray, Segmentation
from sapiens_stream.settings import PERSON_MAP_FILE
from sapiens_stream.sinks.label_video import LabelVideoSink
from sapiens_stream.sinks.masks import write_npy
from sapiens_stream.sinks.registry import NOBODY_LOOKED_FOR
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target


def person_map_of(result: Segmentation, only: tuple[int, ...] | None = None) -> IdArray:
    """(H, W) uint16: the id of whom each pixel belongs to, 0 for nobody, and for classes outside `only`.

    Raises UsageError where people were not looked for.
    """
    if result.person_map is None:
        if result.boxes is None and result.class_map.any():
            raise UsageError(f"{result.frame.name}: {NOBODY_LOOKED_FOR}")
        return np.zeros(result.class_map.shape, np.uint16)  # of a camera's pictures before its first class map
    if only is None:
        return np.ascontiguousarray(result.person_map)
    return np.where(np.isin(result.class_map, only), result.person_map, np.uint16(0))


class PersonMapSink(Sink):
    """Writes NAME_people.npy, (H, W) uint16, as `person_map_of` has it; `np.load` reads it."""

    endings = (PERSON_MAP_FILE,)

    def __init__(self, root: Path, *, only: tuple[int, ...] | None = None) -> None:
        self._root = root
        self._only = only

    def write(self, result: Segmentation) -> None:
        person_map = person_map_of(result, self._only)
        with self._new_file(self._root, result.frame.name, PERSON_MAP_FILE) as file:
            write_npy(file, person_map)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return 2 * size[0] * size[1]


class PersonVideoSink(LabelVideoSink):
    """Writes the same to `path` (.mkv) as a video, as a label video is one, but in 16-bit grey: ids may pass 255."""

    _pixels: ClassVar[str] = "gray16le"
    _content: ClassVar[str] = PEOPLE

    def _plane(self, result: Segmentation) -> IdArray:
        return person_map_of(result, self._only)


def person_maps(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return PersonMapSink(target.path, only=outputs.only)


def person_video(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return PersonVideoSink(target.path, target.source, only=outputs.only, warn=target.warn)
