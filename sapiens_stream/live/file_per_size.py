"""An output that holds frames of one size alone, where the frames may change theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from sapiens_stream.frame import Segmentation
from sapiens_stream.sinks import Sink


class FilePerSize(Sink):
    """A file, and another one each time that the frames change their size: no player scales in the midst of a video.

    `begin` opens the sink of the first, second, ... file.
    """

    ordered: ClassVar[bool] = True

    def __init__(self, begin: Callable[[int], Sink]) -> None:
        self._begin = begin
        self._parts: list[Sink] = []
        self._size: tuple[int, int] | None = None

    def write(self, result: Segmentation) -> None:
        if result.frame.size != self._size:
            self.close()
            self._parts.append(self._begin(len(self._parts) + 1))
            self._size = result.frame.size
        self._parts[-1].write(result)

    def close(self) -> None:
        if self._parts:
            self._parts[-1].close()

    @property
    def written(self) -> list[Path]:
        return [path for part in self._parts for path in part.written]
