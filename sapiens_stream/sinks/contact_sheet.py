"""A contact sheet: some frames of a source beside their overlays, with the names of the colours, as one PNG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sapiens_stream.colouring import Colouring, write_on
from sapiens_stream.frame import Segmentation, UInt8Array
from sapiens_stream.painting import Painter
from sapiens_stream.sinks.files import written_aside
from sapiens_stream.sinks.png import encode_png
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

PICTURES = 8
CELL_AREA = 240 * 320  # pixels a picture, whatever its shape
MARGIN = 8
LINE = 22  # pixels a line of the legend
PAPER = 245
INK = (40, 40, 40)


class ContactSheet(Sink):
    """Keeps PICTURES frames, evenly spread over `frame_count`, small, and writes the sheet when it is closed."""

    ordered = True

    def __init__(
        self, path: Path, painter: Painter, frame_count: int | None, colouring: Colouring | None = None
    ) -> None:
        self._path = path
        self._painter = painter
        self._colouring = colouring or Colouring()
        self._every = max((frame_count or 250) // PICTURES, 1)
        self._cells: list[UInt8Array] = []
        self._found: set[int] = set()
        self._count = 0
        self._classes = painter.classes
        self._done: list[Path] = []

    @property
    def planned(self) -> list[Path]:
        return [self._path]

    @property
    def written(self) -> list[Path]:
        return self._done

    def write(self, result: Segmentation) -> None:
        self._count += 1
        if result.frame.index % self._every != self._every // 2 or len(self._cells) == PICTURES:
            return
        height, width = result.frame.size
        scale = min((CELL_AREA / (height * width)) ** 0.5, 1.0)
        small = (max(round(width * scale), 1), max(round(height * scale), 1))
        if self._cells:  # a source may change its size; the sheet's cells do not
            small = (self._cells[0].shape[1] // 2, self._cells[0].shape[0])
        picture = cv2.resize(result.frame.rgb, small, interpolation=cv2.INTER_AREA)
        classes = cv2.resize(self._colouring.seen(result).class_map, small, interpolation=cv2.INTER_NEAREST)
        overlay = self._painter.paint(np.asarray(picture, np.uint8), np.asarray(classes, np.uint8))
        write_on(overlay, self._colouring.marks(result, (small[1], small[0])))
        self._cells.append(np.hstack([picture, overlay]))
        painted = self._colouring.painted
        labels = (int(label) for label in np.flatnonzero(np.bincount(classes.ravel())))
        self._found.update(label for label in labels if painted is None or label in painted)

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return 0  # one picture a source

    def close(self) -> None:
        if not self._cells:
            return
        if not self._stays(self._path, self._count):
            sheet = np.vstack([self._grid(), self._legend()])
            with written_aside(self._path) as file:
                file.write(encode_png(sheet))
        self._done = [self._path]
        self._cells = []

    @property
    def _columns(self) -> int:
        """As many as make the sheet about square."""
        height, width = self._cells[0].shape[:2]
        return math.ceil(math.sqrt(len(self._cells) * height / width))

    def _grid(self) -> UInt8Array:
        height, width = self._cells[0].shape[:2]
        columns = self._columns
        rows = -(-len(self._cells) // columns)
        grid = np.full((rows * (height + MARGIN) + MARGIN, columns * (width + MARGIN) + MARGIN, 3), PAPER, np.uint8)
        for place, cell in enumerate(self._cells):
            row, column = divmod(place, columns)
            top, left = MARGIN + row * (height + MARGIN), MARGIN + column * (width + MARGIN)
            grid[top : top + height, left : left + width] = cell
        return grid

    def _legend(self) -> UInt8Array:
        """The found classes with their colours, as many in a line as fit."""
        width = self._columns * (self._cells[0].shape[1] + MARGIN) + MARGIN
        column = 170
        in_line = max(width // column, 1)
        found = sorted(self._found - {0})
        lines = -(-len(found) // in_line)
        legend = np.full((lines * LINE + MARGIN, width, 3), PAPER, np.uint8)
        for place, label in enumerate(found):
            row, at = divmod(place, in_line)
            top, left = row * LINE, MARGIN + at * column
            legend[top + 3 : top + LINE - 5, left : left + 16] = self._classes.palette[label]
            name = self._classes.names[label]
            cv2.putText(legend, name, (left + 22, top + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
        return legend


def contact_sheet(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return ContactSheet(target.path, target.painter, target.source.frame_count, target.colouring)
