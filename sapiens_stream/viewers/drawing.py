"""A whole screen of the preview as one picture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sapiens_stream.classes import ClassSet
from sapiens_stream.painting import Painter
from sapiens_stream.viewers.controls import KEYS, Look
from sapiens_stream.viewers.legend import Legend
from sapiens_stream.viewers.lettering import line_height, text_width, write
from sapiens_stream.viewers.theme import (
    AMBER,
    DIM,
    GAP,
    GROUND,
    INK,
    PANEL,
    RED,
    Rect,
    UInt8Array,
    fill,
    shade,
    text_size,
)
from sapiens_stream.viewers.tiles import draw_tile, grid, shape_of
from sapiens_stream.viewers.viewer import LiveFigures
from sapiens_stream.viewers.window.shared_frames import SharedScreen

_FIGURES_EVERY = 0.25  # seconds: faster than that nobody reads
_PANEL_LETTERS = "Right Upper Clothing 99.9 %"
_FIRST_SIZE = (1280, 800)  # that a window opens with at most


class Drawing:
    """Draws what has come from the run in the way the viewer wants it.

    `keep_background` and `only` (class ids; None: all) are the run's, as for its video; a viewer's own choice of one
    class takes precedence over `only`.

    `now` is in seconds by any clock that goes on.
    """

    def __init__(
        self, classes: ClassSet, *, keep_background: bool = False, only: tuple[int, ...] | None = None
    ) -> None:
        self.legend = Legend(classes)
        self._painter = lru_cache(8)(
            lambda opacity, alone: Painter(
                classes, opacity=opacity, keep_background=keep_background, only=only if alone is None else (alone,)
            )
        )
        self._figures = LiveFigures(model="", device="")
        self._figures_at = float("-inf")

    def draw(self, screen: SharedScreen, look: Look, size: tuple[int, int], now: float, word: str = "") -> UInt8Array:
        """(height, width, 3) uint8 RGB of `size` (width, height); `word` is a short message to the viewer."""
        width, height = size
        canvas = np.empty((height, width, 3), np.uint8)
        fill(canvas, Rect(0, 0, width, height), GROUND)
        letters = text_size(height)
        area, panel, bar = _layout(size, look.legend)
        self.legend.count(screen.views, now)
        painter = self._painter(look.opacity, look.only)
        boxes = grid(area, [shape_of(picture, look.beside) for picture in screen.views])
        named = len(boxes) > 1
        for box, picture in zip(boxes, screen.views, strict=True):
            draw_tile(canvas, box, picture, painter, beside=look.beside, named=named, size=letters)
        if now - self._figures_at >= _FIGURES_EVERY:
            self._figures, self._figures_at = screen.figures, now
        if panel.width:
            self._draw_panel(canvas, panel, letters, look.only)
        _draw_bar(canvas, bar, self._figures, letters)
        _draw_marks(canvas, area, screen, letters)
        if word:
            _draw_word(canvas, area, word, letters)
        if look.help:
            _draw_help(canvas, area, letters)
        return canvas

    def _draw_panel(self, canvas: UInt8Array, panel: Rect, letters: int, only: int | None) -> None:
        fill(canvas, panel, PANEL)
        inner = panel.inset(2 * GAP)
        parts = self._figures.parts_median
        step = line_height(letters)
        foot = (len(parts) + 2) * step if parts and inner.height > 14 * step else 0
        self.legend.draw(canvas, inner._replace(height=inner.height - foot), letters, only)
        if not foot:
            return
        y = inner.y + inner.height - foot + step
        write(canvas, "delay, median", inner.x, y, letters, DIM)
        for row, (name, milliseconds) in enumerate(parts, 1):
            value = f"{milliseconds:.1f} ms"
            write(canvas, name, inner.x, y + row * step, letters, INK)
            right = inner.x + inner.width - text_width(value, letters)
            write(canvas, value, right, y + row * step, letters, DIM)


def first_size(screen: SharedScreen, look: Look) -> tuple[int, int]:
    """(width, height) for a window that shows the pictures in their own size, or as much of it as is usual."""
    pictures = [picture for picture in screen.views if picture.rgb is not None]
    if not pictures:
        return 960, 600
    height, width = next(picture.rgb.shape[:2] for picture in pictures if picture.rgb is not None)
    columns = round(len(screen.views) ** 0.5 + 0.4)
    rows = -(-len(screen.views) // columns)
    width, height = columns * width, rows * height
    area, _, _ = _layout(_FIRST_SIZE, look.legend)
    scale = min(area.width / width, area.height / height, 1.0)
    width, height = max(round(width * scale), 320), max(round(height * scale), 240)
    letters = text_size(height + _bar_height(text_size(height)))
    return width + (_panel_width(letters) if look.legend else 0), height + _bar_height(letters)


def _layout(size: tuple[int, int], legend: bool) -> tuple[Rect, Rect, Rect]:
    """Where pictures, legend (of no width without one) and figures go."""
    width, height = size
    letters = text_size(height)
    bar = min(_bar_height(letters), height)
    panel = _panel_width(letters) if legend else 0
    if panel > width // 2:  # the picture matters more
        panel = 0
    area = Rect(0, 0, width - panel, height - bar)
    return area, Rect(width - panel, 0, panel, height - bar), Rect(0, height - bar, width, bar)


def _panel_width(letters: int) -> int:
    return text_width(_PANEL_LETTERS, letters) + 6 * GAP


def _bar_height(letters: int) -> int:
    return line_height(letters) + GAP


def _items(figures: LiveFigures) -> list[tuple[str, str]]:
    """(value, what it is), the most important first."""
    items = [(f"{figures.shown_per_second:.1f}", "frames/s")]
    if figures.delay_median is not None:
        items.append((f"{figures.delay_median:.0f} ms", "delay"))
    if figures.delay_p95 is not None:
        items.append((f"{figures.delay_p95:.0f} ms", "p95"))
    items.append((f"{figures.dropped}", "dropped"))
    if figures.carried:
        items.append((f"{figures.carried / max(figures.shown, 1):.0%}", "carried"))
        items.append((f"{figures.inferred_per_second:.1f}", "inferred/s"))
    items.append((figures.model, figures.device))
    return items


def _draw_bar(canvas: UInt8Array, bar: Rect, figures: LiveFigures, letters: int) -> None:
    fill(canvas, bar, PANEL)
    x, y = bar.x + 2 * GAP, bar.y + GAP // 2
    hint = text_width("h  help", letters)
    end = bar.x + bar.width - hint - 2 * GAP
    write(canvas, "h", end, y, letters, INK)
    write(canvas, "help", end + hint - text_width("help", letters), y, letters, DIM)
    for value, unit in _items(figures):
        wide = text_width(value, letters) + GAP + text_width(unit, letters)
        if x + wide + 2 * GAP > end:
            break
        write(canvas, value, x, y, letters, INK)
        write(canvas, unit, x + text_width(value, letters) + GAP, y, letters, DIM)
        x += wide + 3 * GAP


def _draw_marks(canvas: UInt8Array, area: Rect, screen: SharedScreen, letters: int) -> None:
    """REC and PAUSED, in the upper right corner."""
    right = area.x + area.width - GAP
    for on, text, colour in ((screen.recording, "REC", RED), (screen.paused, "PAUSED", AMBER)):
        if not on:
            continue
        width = text_width(text, letters, bold=True) + letters + 3 * GAP
        box = Rect(right - width, area.y + GAP, width, line_height(letters) + 4)
        shade(canvas, box)
        mark = Rect(box.x + GAP, box.y + (box.height - letters) // 2, letters, letters)
        fill(canvas, mark, colour)
        if text == "PAUSED":  # two bars rather than a block
            third = letters // 3
            fill(canvas, Rect(mark.x + third, mark.y, letters - 2 * third, letters), GROUND)
        write(canvas, text, mark.x + letters + GAP, box.y + 2, letters, colour, bold=True)
        right = box.x - GAP


def _draw_word(canvas: UInt8Array, area: Rect, word: str, letters: int) -> None:
    width = text_width(word, letters) + 4 * GAP
    height = line_height(letters) + 2 * GAP
    box = Rect(area.x + (area.width - width) // 2, area.y + area.height - height - 2 * GAP, width, height)
    shade(canvas, box)
    write(canvas, word, box.x + 2 * GAP, box.y + GAP, letters, INK)


def _draw_help(canvas: UInt8Array, area: Rect, letters: int) -> None:
    step = line_height(letters)
    left = max(text_width(key, letters, bold=True) for key, _ in KEYS)
    width = left + max(text_width(what, letters) for _, what in KEYS) + 7 * GAP
    height = len(KEYS) * step + 4 * GAP
    box = Rect(area.x + (area.width - width) // 2, area.y + (area.height - height) // 2, width, height)
    shade(canvas, box, 0.88)
    for row, (key, what) in enumerate(KEYS):
        y = box.y + 2 * GAP + row * step
        write(canvas, key, box.x + 2 * GAP, y, letters, AMBER, bold=True)
        write(canvas, what, box.x + left + 5 * GAP, y, letters, INK)
