"""Class maps and foreground masks as `.npy` files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from sapiens_stream.frame import Segmentation
from sapiens_stream.settings import CLASS_MAP_FILE, FOREGROUND_FILE
from sapiens_stream.sinks.label_video import bytes_of_labels, measure_labels
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

_EVERY = np.arange(256)
_HEADER = 128  # bytes of a `.npy` before its pixels


class MaskSink(Sink):
    """Writes NAME_seg.npy, (H, W) uint8 class ids, and NAME.npy, (H, W) bool, class > 0; `np.load` reads both.

    Args:
        root: the folder that names are below.
        foreground: write NAME.npy.
        classes: write NAME_seg.npy.
        only: ids of the classes that are kept, the others are background; None: all.

    >>> MaskSink(Path("out"), foreground=False, classes=True).write(result)
    """

    def __init__(self, root: Path, *, foreground: bool, classes: bool, only: tuple[int, ...] | None = None) -> None:
        self._root = root
        self._foreground = foreground
        self._classes = classes
        self.endings = (CLASS_MAP_FILE,) * classes + (FOREGROUND_FILE,) * foreground
        self._kept = None if only is None else np.where(np.isin(_EVERY, only), _EVERY, 0).astype(np.uint8)

    def write(self, result: Segmentation) -> None:
        class_map = self._map(result)
        if self._classes:
            self._save(result.frame.name, CLASS_MAP_FILE, class_map)
        if self._foreground:
            self._save(result.frame.name, FOREGROUND_FILE, class_map > 0)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return (_HEADER + size[0] * size[1]) * (self._classes + self._foreground)

    def in_one_file(self, size: tuple[int, int], first: Segmentation | None = None) -> tuple[str, int] | None:
        return "labels", bytes_of_labels(size) if first is None else measure_labels(self._map(first))

    def _map(self, result: Segmentation) -> npt.NDArray[np.uint8]:
        class_map = np.ascontiguousarray(result.class_map)
        return class_map if self._kept is None else np.asarray(cv2.LUT(class_map, self._kept), np.uint8)

    def _save(self, name: str, suffix: str, array: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> None:
        with self._new_file(self._root, name, suffix) as file:
            write_npy(file, array)


def write_npy(file: BinaryIO, array: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.bool_]) -> None:
    """Writes an array that is contiguous as `np.load` reads it."""
    # Not np.save: for a real file it writes past Python, and its error on a full disk does not name the cause.
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def class_maps(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return MaskSink(target.path, classes=True, foreground=False, only=outputs.only)


def foreground_masks(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return MaskSink(target.path, classes=False, foreground=True, only=outputs.only)
