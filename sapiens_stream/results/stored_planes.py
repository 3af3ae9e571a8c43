"""Planes of ids in files of their own, whatever lies there: class maps, and maps of people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sapiens_stream import settings
from sapiens_stream.containers.label_video import PersonVideo
from sapiens_stream.containers.npy import read_npy_head
from sapiens_stream.errors import InputError, OutputError
from sapiens_stream.frame import IdArray, UInt8Array
from sapiens_stream.settings import MAX_PIXELS
from sapiens_stream.sinks.files import path_below


class PersonMaps:
    """Whose each pixel of a frame is. This one knows of nobody."""

    def of(self, index: int, name: str, size: tuple[int, int]) -> IdArray | None:
        """(H, W) uint16 of a frame of a size, (height, width); None where there is none.

        Raises InputError for one that is damaged.
        """
        return None

    def close(self) -> None:
        """Closes what is open."""


class PersonMapVideo(PersonMaps):
    """A person video of the same frames. Raises InputError where it is none."""

    def __init__(self, path: Path) -> None:
        self._video = PersonVideo(path)

    def of(self, index: int, name: str, size: tuple[int, int]) -> IdArray | None:
        found = self._video[index] if index < len(self._video) else None
        return found if found is not None and found.shape == size else None

    def close(self) -> None:
        self._video.close()


class PersonMapFiles(PersonMaps):
    """NAME_people.npy of each frame."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, index: int, name: str, size: tuple[int, int]) -> IdArray | None:
        path = path_below(self._root, name, settings.PERSON_MAP_FILE)
        if not path.is_file():
            return None
        found = np.asarray(_read_plane(path, np.dtype(np.uint16), "map of people"), np.uint16)
        return found if found.shape == size else None


def read_class_map(path: Path) -> UInt8Array:
    """A `.npy` of (H, W) uint8. Raises InputError, which names it, for anything else."""
    return np.asarray(_read_plane(path, np.dtype(np.uint8), "class map"), np.uint8)


def _read_plane(path: Path, wanted: np.dtype[np.unsignedinteger], what: str) -> npt.NDArray[np.unsignedinteger]:
    try:
        with path.open("rb") as file:
            head = read_npy_head(file)
            shape, fits = head.shape, head.dtype == wanted and not head.by_columns
            if len(shape) != 2 or not fits or not 0 < shape[0] * shape[1] <= MAX_PIXELS:
                raise InputError(f"{path}: it is no {what}, but {head.dtype} of {shape}")
            return np.fromfile(file, wanted, shape[0] * shape[1]).reshape(shape)
    except (OSError, ValueError, OutputError) as error:
        raise InputError(f"{path}: it is no {what}: {error}") from None
