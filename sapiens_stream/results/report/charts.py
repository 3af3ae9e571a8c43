"""Charts as SVG of our own: areas, lines, strips and bars, in the colours of the page and of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sapiens_stream.results.report.markup import Markup, element
from sapiens_stream.results.report.timeline import Floats, Timeline

WIDTH = 960.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 128.0, 12.0, 10.0, 24.0
_ROW = 18.0
_INNER = WIDTH - _LEFT - _RIGHT


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A curve: `colour` is CSS's; `most` is drawn behind it, paler."""

    name: str
    colour: str
    values: Floats
    most: Floats | None = None


@dataclass(frozen=True)
class Mark:
    """A moment that is pointed out: its place from 0 to 1, and what stands there."""

    place: float
    text: str


def hex_colour(colour: tuple[int, int, int]) -> str:
    """As CSS has it."""
    return f"#{bytes(colour).hex()}"


def stacked(layers: Sequence[Layer], timeline: Timeline, label: str, height: float = 220) -> Markup:
    """Areas on each other, the first at the bottom; values are shares of 1."""
    base = np.zeros(timeline.spans)
    tops = []
    for layer in layers:
        tops.append((layer, base, base + layer.values))
        base = base + layer.values
    limit = _nice_limit(float(base.max(initial=0)))
    shapes = [
        element("polygon", element("title", layer.name), points=_around(low, high, limit, height), fill=layer.colour)
        for layer, low, high in tops
    ]
    return _chart(shapes, timeline, limit, height, label)


def lines(
    layers: Sequence[Layer],
    timeline: Timeline,
    label: str,
    *,
    limit: float | None = None,
    marks: Sequence[Mark] = (),
    height: float = 150,
) -> Markup:
    """Curves; where a value is not known there is none."""
    largest = max((float(np.nanmax(_drawn(each), initial=0)) for each in layers), default=0)
    limit = limit or _nice_limit(largest)
    shapes: list[Markup] = []
    for layer in layers:
        if layer.most is not None:
            shapes += _curves(layer.most, limit, height, layer.colour, "behind")
        shapes += _curves(layer.values, limit, height, layer.colour, "curve", layer.name)
    for mark in marks:
        x = _LEFT + mark.place * _INNER
        shapes.append(element("line", x1=x, x2=x, y1=_TOP, y2=_TOP + height, class_="mark"))
        shapes.append(element("circle", cx=x, cy=_TOP + 8, r=8, class_="mark-spot"))
        shapes.append(element("text", mark.text, x=x, y=_TOP + 12, class_="mark-text"))
    return _chart(shapes, timeline, limit, height, label)


def strips(layers: Sequence[Layer], timeline: Timeline, label: str) -> Markup:
    """A row each, dense where it is often there; values are shares of 1."""
    shapes: list[Markup] = []
    for number, layer in enumerate(layers):
        top = number * _ROW
        shapes.append(element("text", layer.name, x=_LEFT - 8, y=top + _ROW - 5, class_="row"))
        shapes.append(element("rect", x=_LEFT, y=top + 3, width=_INNER, height=_ROW - 6, class_="empty"))
        steps = np.round(layer.values * 4) / 4
        steps = np.where((steps == 0) & (layer.values > 0), 0.25, steps)
        edges = np.flatnonzero(np.diff(steps)) + 1
        for begin, end in zip([0, *edges], [*edges, len(steps)], strict=True):
            if len(steps) and steps[begin] > 0:
                shapes.append(
                    element(
                        "rect",
                        x=_LEFT + begin / len(steps) * _INNER,
                        y=top + 3,
                        width=(end - begin) / len(steps) * _INNER,
                        height=_ROW - 6,
                        fill=layer.colour,
                        fill_opacity=float(steps[begin]),
                    )
                )
    height = len(layers) * _ROW
    return _svg([*shapes, *_axis(timeline, height)], height + _BOTTOM, label)


def bars(rows: Sequence[tuple[str, float, str]], label: str) -> Markup:
    """A bar a row: its name, its length, and what stands behind it."""
    largest = max((length for _, length, _ in rows), default=0) or 1
    shapes: list[Markup] = []
    for number, (name, length, text) in enumerate(rows):
        top, width = number * _ROW, length / largest * (_INNER - 150)
        shapes.append(element("text", name, x=_LEFT - 8, y=top + _ROW - 5, class_="row"))
        shapes.append(element("rect", x=_LEFT, y=top + 3, width=max(width, 1.0), height=_ROW - 6, class_="bar"))
        shapes.append(element("text", text, x=_LEFT + width + 8, y=top + _ROW - 5, class_="value"))
    return _svg(shapes, len(rows) * _ROW + 4, label)


def _chart(shapes: Sequence[Markup], timeline: Timeline, limit: float, height: float, label: str) -> Markup:
    grid: list[Markup] = []
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = _TOP + height * (1 - part)
        grid.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        grid.append(element("text", f"{limit * part * 100:g} %", x=_LEFT - 8, y=y + 4, class_="row"))
    return _svg([*grid, *shapes, *_axis(timeline, _TOP + height)], _TOP + height + _BOTTOM, label)


def _axis(timeline: Timeline, y: float) -> list[Markup]:
    found = []
    for place, text in timeline.ticks():
        x = _LEFT + place * _INNER
        found.append(element("line", x1=x, x2=x, y1=y, y2=y + 5, class_="tick"))
        anchor = "end" if place > 0.97 else "middle"
        found.append(element("text", text, x=x, y=y + 18, class_="time", text_anchor=anchor))
    return found


def _svg(shapes: Sequence[Markup], height: float, label: str) -> Markup:
    return element("svg", shapes, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=label)


def _x(count: int) -> Floats:
    return _LEFT + (np.arange(count) + 0.5) / max(count, 1) * _INNER


def _points(x: Floats, y: Floats) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _around(low: Floats, high: Floats, limit: float, height: float) -> str:
    """A band from the first span's beginning to the last one's end."""
    x = np.concatenate([[_LEFT], _x(len(low)), [_LEFT + _INNER]])
    edges = [np.concatenate([each[:1], each, each[-1:]]) for each in (low, high)]
    bottom, top = (_TOP + height * (1 - each / limit) for each in edges)
    return f"{_points(x, bottom)} {_points(x[::-1], top[::-1])}"


def _curves(
    values: Floats, limit: float, height: float, colour: str, kind: str, name: str | None = None
) -> list[Markup]:
    known = np.isfinite(values)
    x, y = _x(len(values)), _TOP + height * (1 - np.clip(np.nan_to_num(values) / limit, 0, 1))
    edges = np.flatnonzero(np.diff(known.astype(np.int8))) + 1
    pieces = np.split(np.arange(len(values)), edges)
    title = element("title", name) if name else None
    found = []
    for piece in pieces:
        if len(piece) == 1 and known[piece[0]]:
            found.append(element("circle", title, cx=float(x[piece[0]]), cy=float(y[piece[0]]), r=2, fill=colour))
        elif len(piece) and known[piece[0]]:
            found.append(element("polyline", title, points=_points(x[piece], y[piece]), stroke=colour, class_=kind))
    return found


def _drawn(layer: Layer) -> Floats:
    return layer.values if layer.most is None else np.concatenate([layer.values, layer.most])


def _nice_limit(largest: float) -> float:
    for limit in (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8):
        if largest <= limit:
            return limit
    return max(1.0, largest)
