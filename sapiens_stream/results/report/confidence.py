"""How sure the model was, frame by frame, from the statistics that the run kept beside its class maps."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_LONGEST_LINE = 1 << 14  # characters
_COLUMNS = ("frame", "pixels", "confidence")


class Confidences:
    """Means over a frame's pixels, read along with the frames. Anybody may have edited the file: what is no row of
    statistics is passed over.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        self._rows: Iterator[tuple[int, float, float]] = iter(())
        self._next: tuple[int, float, float] | None = None
        if path is not None and path.is_file() and not path.is_symlink():
            self._file = path.open(encoding="utf-8", errors="replace", newline="")
            self._rows = _rows(self._file)
            self._next = next(self._rows, None)

    def of(self, index: int) -> float | None:
        """That of a frame, 0 to 1; None where it is not known. Frames are asked for in order."""
        pixels = weighed = 0.0
        while self._next is not None and self._next[0] <= index:
            frame, count, confidence = self._next
            if frame == index:
                pixels += count
                weighed += count * confidence
            self._next = next(self._rows, None)
        return weighed / pixels if pixels else None

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def _rows(file: TextIO) -> Iterator[tuple[int, float, float]]:
    """Frame, pixels and confidence of each row that has them."""
    head = next(csv.reader(io.StringIO(file.readline(_LONGEST_LINE))), [])
    if not set(_COLUMNS) <= set(head):
        return
    places = [head.index(column) for column in _COLUMNS]
    while line := file.readline(_LONGEST_LINE):
        try:
            row = next(csv.reader(io.StringIO(line)), [])
            frame, pixels, confidence = (float(row[place]) for place in places)
        except (ValueError, IndexError, csv.Error):
            continue
        if math.isfinite(frame) and 0 < pixels < math.inf and 0 <= confidence <= 1:
            yield int(frame), pixels, confidence
