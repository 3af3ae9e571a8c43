"""What a report says of two runs of a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sapiens_stream.frame import UInt8Array
from sapiens_stream.results.report import charts
from sapiens_stream.results.report.charts import Layer, Mark, hex_colour
from sapiens_stream.results.report.difference import CHANGED, IOU, Difference
from sapiens_stream.results.report.findings import Moment
from sapiens_stream.results.report.markup import Markup, element, shown
from sapiens_stream.results.report.page import (
    chart,
    figure,
    figures,
    legend,
    note,
    per_cent,
    section,
    swatch,
    tiles,
)
from sapiens_stream.results.report.pictures import image
from sapiens_stream.results.report.timeline import clock
from sapiens_stream.results.stored import StoredClip

_LINES = 6
"""Classes whose IoU has a curve of its own: more of them cannot be told apart."""
_LONGEST = 200  # characters of a setting


def comparison_article(
    one: StoredClip,
    two: StoredClip,
    difference: Difference,
    pictures: Mapping[int, Sequence[UInt8Array]],
    moments: Sequence[Moment],
    alone: tuple[int, int],
) -> Markup:
    """An article; `pictures` are the first's frame, the second's, and where they differ, by its index."""
    return element(
        "article",
        element("h1", f"A: {_name(one, two)} – B: {_name(two, one)}"),
        element("p", f"A is {one.path}, B is {two.path}.", class_="soft"),
        tiles(_figures(difference, alone)),
        _agreement(difference, moments),
        _moments(pictures, moments, difference),
        _classes(difference),
        _differing_settings(one, two),
    )


def _name(clip: StoredClip, other: StoredClip) -> str:
    """By what tells it from the other: its model, or where it lies."""
    model, others = (each.past.within("model").get("name") if each.past else None for each in (clip, other))
    if model and others and model != others:
        return shown(model)
    return str(clip.root) if clip.root != other.root else clip.path.name


def _figures(difference: Difference, alone: tuple[int, int]) -> list[tuple[str, object]]:
    timeline = difference.timeline
    ious = [value for index in difference.found() if (value := difference.iou(index)) is not None]
    rows: list[tuple[str, object]] = [
        ("frames compared", f"{timeline.frames:,}"),
        ("mean IoU of the classes", per_cent(float(np.mean(ious)) if ious else None)),
        ("of the foreground differs", per_cent(timeline.overall(CHANGED))),
    ]
    return rows + [(f"frames in {name} alone", count) for name, count in zip("AB", alone, strict=True) if count]


def _agreement(difference: Difference, moments: Sequence[Moment]) -> Markup:
    timeline, classes = difference.timeline, difference.classes
    if timeline.overall(IOU) is None:
        return section("Agreement", element("p", "Neither run found a class in any frame."))
    marks = [Mark(timeline.place(moment.place), str(number)) for number, moment in enumerate(moments, 1)]
    mean = Layer(name="mean IoU", colour="var(--accent)", values=timeline.mean(IOU))
    largest = difference.found()[:_LINES]
    each = [
        Layer(name=classes[index], colour=hex_colour(classes.colours[index]), values=timeline.mean((IOU, index)))
        for index in largest
    ]
    return section(
        "Agreement",
        chart(charts.lines([mean], timeline, "mean IoU along the clip", limit=1.0, marks=marks)),
        note(
            "The mean IoU of the classes in each frame; 100 % is the same class map. The marks are the pictures below."
        ),
        chart(charts.lines(each, timeline, "IoU of the largest classes along the clip", limit=1.0)),
        legend(classes, largest),
        note("The IoU of the largest classes."),
        long=True,
    )


def _moments(
    pictures: Mapping[int, Sequence[UInt8Array]], moments: Sequence[Moment], difference: Difference
) -> Markup | None:
    found = []
    for number, moment in enumerate(moments, 1):
        shows = [image(each, f"{what}, frame {moment.index}") for each, what in _named(pictures.get(moment.index, ()))]
        when = f"frame {moment.index}" + (f", {clock(moment.time, 0.01)}" if moment.time is not None else "")
        if shows:
            found.append(figure(shows, f"{number}: {when}: A, B, and the {per_cent(moment.value)} that differ"))
    if not found:
        return None
    kept = legend(difference.classes, difference.found())
    return section("Where they differ most", figures(found, "triples"), kept, long=True)


def _named(pictures: Sequence[UInt8Array]) -> list[tuple[UInt8Array, str]]:
    return list(zip(pictures, ("A", "B", "difference"), strict=False))


def _classes(difference: Difference) -> Markup | None:
    head = element(
        "tr",
        element("th", "class"),
        [element("th", text, class_="number") for text in ("IoU", "of the picture in A", "in B")],
    )
    rows = []
    for index in difference.found():
        name = [swatch(hex_colour(difference.classes.colours[index])), difference.classes[index]]
        shares = [int(counts[index]) / difference.pixels for counts in (difference.in_one, difference.in_two)]
        cells = [element("td", per_cent(value), class_="number") for value in (difference.iou(index), *shares)]
        rows.append(element("tr", element("td", name), cells))
    return section("Each class", element("table", head, rows), long=True) if rows else None


def _differing_settings(one: StoredClip, two: StoredClip) -> Markup | None:
    rows = []
    first, second = (_told(clip) for clip in (one, two))
    for name in dict.fromkeys([*first, *second]):
        a, b = first.get(name, "–"), second.get(name, "–")
        if a != b:
            rows.append(element("tr", element("th", name), element("td", a), element("td", b)))
    if not rows:
        return None
    head = element("tr", [element("th", text) for text in ("", "A", "B")])
    return section("What was run otherwise", element("table", head, rows), long=True)


def _told(clip: StoredClip) -> dict[str, str]:
    if clip.past is None:
        return {"classes": clip.classes.title}
    record = clip.past.record
    model = clip.past.within("model")
    found: dict[str, Any] = {f"model: {key}": model.get(key) for key in ("name", "sha256", "classes", "input")}
    found |= {key: record.get(key) for key in ("status", "device", "precision", "frames_per_second")}
    found |= {f"setting: {shown(key)}": value for key, value in sorted(clip.past.settings.items())}
    return {name: shown(value)[:_LONGEST] for name, value in found.items()}
