"""Class maps, and maps of people, that an earlier run has written, found again for the frames of its source."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sapiens_stream import settings
from sapiens_stream.containers.map_video import MapVideo
from sapiens_stream.containers.npy import NpyHead, read_npy_head
from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.frame import Frame, SourceInfo
from sapiens_stream.sinks.files import path_below
from sapiens_stream.sinks.video.writer import Clock

_LARGEST_HEADER = 1 << 12  # bytes of a .npy before its array

Id = TypeVar("Id", np.uint8, np.uint16)


class Store(ABC, Generic[Id]):
    """Gives the map of a frame, if it is there and whole. Frames are asked for in order, each once."""

    @abstractmethod
    def find(self, frame: Frame) -> npt.NDArray[Id] | None:
        """(H, W) of the frame's size: uint8 class ids, or uint16 ids of people; None where there is none."""

    def close(self) -> None:
        """Closes what is open; may be called again."""


class VideoStore(Store[Id]):
    """A label video or person video of the same source. What comes after its first damaged frame is not trusted."""

    def __init__(self, video: MapVideo[Id], source: SourceInfo) -> None:
        self._video: MapVideo[Id] = video
        self._source = source
        self._clock: Clock | None = None
        self._place = 0
        self._count = len(video)

    def find(self, frame: Frame) -> npt.NDArray[Id] | None:
        if self._clock is None:
            self._clock = Clock(frame, self._source)
        time = self._clock.place(frame) * self._clock.time_base - self._clock.shift
        place, self._place = self._place, self._place + 1
        if place >= self._count:
            self.close()
            return None
        try:
            if self._video.times[place] == time:
                found = self._video[place]
                return found if found.shape == frame.size else None
        except InputError:
            pass
        self._count = place
        return None

    def close(self) -> None:
        self._video.close()


class MapFiles(Store[Id]):
    """NAME + `ending` of each frame, `.npy` of `dtype`, below a folder. Of the names in `outdated` none is taken."""

    def __init__(self, root: Path, ending: str, dtype: type[Id], outdated: Container[str] = ()) -> None:
        self._root = root
        self._ending = ending
        self._dtype: type[Id] = dtype
        self._outdated = outdated

    def find(self, frame: Frame) -> npt.NDArray[Id] | None:
        if frame.name in self._outdated:
            return None
        with suppress(OutputError):
            return read_map(path_below(self._root, frame.name, self._ending), frame.size, self._dtype)
        return None


def class_map_files(root: Path, outdated: Container[str] = ()) -> MapFiles[np.uint8]:
    """NAME_seg.npy of each frame."""
    return MapFiles(root, settings.CLASS_MAP_FILE, np.uint8, outdated)


class FirstOf(Store[Id]):
    """Several stores: what the first of them has."""

    def __init__(self, stores: Sequence[Store[Id]]) -> None:
        self._stores: Sequence[Store[Id]] = stores

    def find(self, frame: Frame) -> npt.NDArray[Id] | None:
        found = [store.find(frame) for store in self._stores[:-1]]
        for each in found:
            if each is not None:
                return each
        return self._stores[-1].find(frame) if self._stores else None

    def close(self) -> None:
        for store in self._stores:
            store.close()


def video_then_files(video: MapVideo[Id] | None, files: MapFiles[Id] | None, source: SourceInfo) -> Store[Id]:
    """Those of a video, then those in files: where a clip changes its size, the latter alone have maps of both."""
    stores: list[Store[Id]] = []
    if video is not None:
        stores.append(VideoStore(video, source))
    if files is not None:
        stores.append(files)
    return FirstOf(stores)


def read_map(path: Path, size: tuple[int, int], dtype: type[Id]) -> npt.NDArray[Id] | None:
    """A `.npy` of a type in a size, (height, width); None where it is not there, not whole, or anything else."""
    bytes_of_map = size[0] * size[1] * np.dtype(dtype).itemsize
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            if not bytes_of_map < length <= bytes_of_map + _LARGEST_HEADER:
                return None
            head = read_npy_head(file)
            if head != NpyHead(np.dtype(dtype), size, by_columns=False) or length - file.tell() != bytes_of_map:
                return None
            return np.fromfile(file, dtype, size[0] * size[1]).reshape(size)
    except (OSError, ValueError):
        return None
