"""Where each camera's picture goes, and how it is painted there."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sapiens_stream.painting import Painter
from sapiens_stream.viewers.lettering import fitted, line_height, text_width, wrapped, write
from sapiens_stream.viewers.theme import AMBER, DIM, GAP, INK, PANEL, Rect, UInt8Array, fill, shade
from sapiens_stream.viewers.window.shared_frames import SharedView

_WIDE = 4 / 3  # width to height of a camera that has not shown a picture yet


def shape_of(picture: SharedView, beside: bool) -> float:
    """Width to height of what is shown of a camera."""
    shape = _WIDE if picture.rgb is None else picture.rgb.shape[1] / picture.rgb.shape[0]
    return 2 * shape if beside else shape


def grid(area: Rect, shapes: Sequence[float]) -> list[Rect]:
    """A box for each picture, in rows, of the columns that show the most of the pictures; `shapes` as `shape_of`."""
    count = len(shapes)

    def shown(columns: int) -> float:
        width, height = area.width / columns, area.height / -(-count // columns)
        return sum(min(width, height * shape) ** 2 / shape for shape in shapes)

    columns = max(range(1, count + 1), key=shown, default=1)
    rows = -(-count // columns)
    boxes = []
    for place in range(count):
        row, column = divmod(place, columns)
        left, right = column * area.width // columns, (column + 1) * area.width // columns
        top, bottom = row * area.height // rows, (row + 1) * area.height // rows
        gap = 1 if count > 1 else 0
        boxes.append(Rect(area.x + left, area.y + top, right - left, bottom - top).inset(gap))
    return boxes


def draw_tile(
    canvas: UInt8Array, box: Rect, picture: SharedView, painter: Painter, *, beside: bool, named: bool, size: int
) -> Rect:
    """Paints a camera's picture as large as fits, and its marks; returns where. A stale one is grey."""
    if picture.rgb is None or picture.class_map is None:
        fill(canvas, box, PANEL)
        place = box
    else:
        place = _inscribed(box, shape_of(picture, beside))
        place.of(canvas)[:] = _painted(picture.rgb, picture.class_map, painter, place, beside)
        if picture.trouble is not None:
            part = place.of(canvas)
            grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
            part[:] = cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=0.55), cv2.COLOR_GRAY2RGB)
    if named:
        _tag(canvas, place, picture.camera, size)
    if picture.trouble is not None:
        _notice(canvas, place, "no picture" if picture.rgb is None else "stale", picture.trouble, size)
    elif picture.rgb is None:
        _notice(canvas, place, "", f"waiting for {picture.camera}", size)
    return place


def _inscribed(box: Rect, shape: float) -> Rect:
    width = max(min(box.width, round(box.height * shape)), 1)
    height = max(min(box.height, round(box.width / shape)), 1)
    return Rect(box.x + (box.width - width) // 2, box.y + (box.height - height) // 2, width, height)


def _painted(rgb: UInt8Array, class_map: UInt8Array, painter: Painter, place: Rect, beside: bool) -> UInt8Array:
    """The overlay, or [picture | overlay], in the size of `place`; painted in the smaller of the two sizes."""
    width = max(place.width // 2, 1) if beside else place.width
    target = (width, place.height)
    shrinks = width < rgb.shape[1]
    if shrinks:
        halves = 2 * width < rgb.shape[1]  # below that, linear shows no less and takes a third of the time
        rgb = _resized(rgb, target, cv2.INTER_AREA if halves else cv2.INTER_LINEAR)
        class_map = _resized(class_map, target, cv2.INTER_NEAREST)
    overlay = painter.paint(rgb, class_map)
    if not beside:
        return overlay if shrinks else _resized(overlay, target, cv2.INTER_LINEAR)
    both = np.zeros((place.height, place.width, 3), np.uint8)
    both[:, :width] = _resized(rgb, target, cv2.INTER_LINEAR)
    both[:, -width:] = _resized(overlay, target, cv2.INTER_LINEAR)
    return both


def _resized(array: UInt8Array, size: tuple[int, int], how: int) -> UInt8Array:
    if array.shape[1::-1] == size:
        return array
    return np.asarray(cv2.resize(array, size, interpolation=how), np.uint8)


def _tag(canvas: UInt8Array, place: Rect, text: str, size: int) -> None:
    """A camera's name in the upper left corner."""
    text = fitted(text, size, place.width - 4 * GAP)
    box = Rect(place.x, place.y, text_width(text, size) + 2 * GAP, line_height(size) + 2)
    shade(canvas, box)
    write(canvas, text, box.x + GAP, box.y + 1, size, INK)


def _notice(canvas: UInt8Array, place: Rect, title: str, text: str, size: int) -> None:
    """A line or some in the middle of the picture."""
    width = place.width - 6 * GAP
    lines = [(fitted(title, size, width), AMBER, True)] if title else []
    lines += [(line, INK if title else DIM, False) for line in wrapped(text, size, width, 3)]
    step = line_height(size)
    widths = [text_width(line, size, bold=bold) for line, _, bold in lines]
    box_width, box_height = max(widths, default=0) + 4 * GAP, len(lines) * step + 2 * GAP
    x, y = place.x + (place.width - box_width) // 2, place.y + (place.height - box_height) // 2
    shade(canvas, Rect(x, y, box_width, box_height))
    for row, ((line, ink, bold), line_width) in enumerate(zip(lines, widths, strict=True)):
        left = place.x + (place.width - line_width) // 2
        write(canvas, line, left, y + GAP + row * step, size, ink, bold=bold)
