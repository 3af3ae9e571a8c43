"""Overlay pictures, one a frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import cv2
import numpy as np

from sapiens_stream.colouring import Colouring, write_on
from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.frame import Segmentation
from sapiens_stream.painting import Painter
from sapiens_stream.settings import PICTURE_FORMAT, PictureFormat
from sapiens_stream.sinks.png import encode_png
from sapiens_stream.sinks.sink import Sink

if TYPE_CHECKING:
    from sapiens_stream.sinks.outputs import Outputs
    from sapiens_stream.sinks.registry import Target

# For the estimate before a run: measured on photos.
_BYTES_PER_PIXEL = {"png": 1.5, "jpg": 0.3, "bmp": 3.0}
_HEADROOM = 1.3  # later frames may show more


class PictureSink(Sink):
    """Writes the overlay as NAME.png (or .jpg, .bmp).

    Args:
        root: the folder that names are below.
        painter: paints the classes.
        colouring: what the colours tell, classes or people.
        save_format: "png", "jpg" or "bmp".
        side_by_side: put the picture itself to its left.

    Raises:
        UsageError: for another `save_format`.

    >>> PictureSink(Path("out"), Painter(SAPIENS), save_format="jpg").write(result)
    """

    def __init__(
        self,
        root: Path,
        painter: Painter,
        *,
        save_format: PictureFormat = PICTURE_FORMAT,
        side_by_side: bool = False,
        colouring: Colouring | None = None,
    ) -> None:
        if save_format not in get_args(PictureFormat):
            raise UsageError(f"can't save pictures as {save_format!r}; there are {', '.join(get_args(PictureFormat))}")
        self._root = root
        self._painter = painter
        self._colouring = colouring or Colouring()
        self._format = save_format
        self.endings = (f".{save_format}",)
        self._side_by_side = side_by_side

    def write(self, result: Segmentation) -> None:
        data = self._encode(result)
        with self._new_file(self._root, result.frame.name, self.endings[0]) as file:
            file.write(data)

    def measure(self, result: Segmentation) -> int:
        return int(len(self._encode(result)) * _HEADROOM)

    def _encode(self, result: Segmentation) -> bytes | memoryview:
        picture = self._painter.paint(result.frame.rgb, self._colouring.seen(result).class_map)
        write_on(picture, self._colouring.marks(result))
        if self._side_by_side:
            picture = np.hstack([result.frame.rgb, picture])
        if self._format == "png":
            return encode_png(picture)
        try:
            _, data = cv2.imencode(f".{self._format}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            height, width = picture.shape[:2]
            path = self._root / f"{result.frame.name}.{self._format}"
            raise OutputError(f"{path} can't be written: no {self._format} of {width}x{height} pixels") from error
        return data.data

    def bytes_per_frame(self, size: tuple[int, int]) -> int:
        return int(size[0] * size[1] * _BYTES_PER_PIXEL[self._format] * (1 + self._side_by_side))


def overlay_pictures(outputs: Outputs, target: Target) -> Sink:
    """For the table of outputs."""
    return PictureSink(
        target.path,
        target.painter,
        save_format=outputs.save_format,
        side_by_side=outputs.side_by_side,
        colouring=target.colouring,
    )
