"""Some frames of a clip, small and painted, as they stand in a page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable

import cv2
import numpy as np

from sapiens_stream.classes import ClassSet
from sapiens_stream.frame import UInt8Array
from sapiens_stream.painting import Painter
from sapiens_stream.results.report.markup import Markup, element
from sapiens_stream.results.stored import StoredFrame

_AREA = 400 * 300  # pixels a picture, whatever its shape
_QUALITY = 82
_OPACITY = 0.6

Paint = Callable[[StoredFrame], UInt8Array]


def painted(classes: ClassSet) -> Paint:
    """Paints frames small: the classes over the picture, or alone where it is not there."""
    painter = Painter(classes, opacity=_OPACITY, keep_background=True)
    alone = Painter(classes, opacity=1.0)

    def paint(frame: StoredFrame) -> UInt8Array:
        class_map = small(frame.class_map, nearest=True)
        if frame.picture is None:
            return alone.paint(np.zeros((*class_map.shape, 3), np.uint8), class_map)
        return painter.paint(small(frame.picture), class_map)

    return paint


def small(array: UInt8Array, *, nearest: bool = False) -> UInt8Array:
    """A picture or class map as large as pictures are here."""
    height, width = array.shape[:2]
    scale = min((_AREA / (height * width)) ** 0.5, 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_AREA), np.uint8)


def collected(frames: Iterable[StoredFrame], wanted: Collection[int], paint: Paint) -> dict[int, UInt8Array]:
    """These frames, by their index, painted; reads no further than it has to."""
    left = set(wanted)
    found: dict[int, UInt8Array] = {}
    for frame in frames if left else ():
        if frame.index in left:
            found[frame.index] = paint(frame)
            left.discard(frame.index)
            if not left:
                break
    return found


def image(picture: UInt8Array, text: str) -> Markup:
    """A picture, (H, W, 3) RGB, in the page itself; `text` says what it shows."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    height, width = picture.shape[:2]
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return element("img", src=source, alt=text, width=width, height=height)
