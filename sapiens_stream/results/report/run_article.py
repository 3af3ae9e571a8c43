"""What a report says of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from sapiens_stream.frame import UInt8Array
from sapiens_stream.results.report import charts
from sapiens_stream.results.report.charts import Layer, Mark, hex_colour
from sapiens_stream.results.report.findings import CONFIDENCE, FLICKER, Findings, Moment
from sapiens_stream.results.report.markup import Markup, element, shown
from sapiens_stream.results.report.page import (
    chart,
    facts,
    figure,
    figures,
    legend,
    note,
    per_cent,
    section,
    tiles,
)
from sapiens_stream.results.report.pictures import image
from sapiens_stream.results.report.timeline import clock
from sapiens_stream.results.stored import StoredClip

_SHOWN = 40  # skipped and damaged frames that are named
_LONGEST = 300  # characters of a setting


def run_article(
    clip: StoredClip,
    findings: Findings,
    pictures: Mapping[int, UInt8Array],
    sheet: Sequence[int],
    moments: Sequence[Moment],
    skipped: Sequence[tuple[str, str]],
) -> Markup:
    """An article of all that is known; `pictures` are frames by their index, `skipped` what could not be read again."""
    record = clip.past.record if clip.past is not None else {}
    return element(
        "article",
        element("h1", _title(clip)),
        _subtitle(clip, record),
        _tiles(findings, record),
        _contact_sheet(findings, pictures, sheet, clip.is_of_photos),
        _areas(findings),
        _presence(findings),
        _flicker(findings, pictures, moments),
        _confidence(findings),
        _left_out(record, skipped),
        _speed(record),
        _what_was_run(clip, record),
    )


def _title(clip: StoredClip) -> str:
    return PurePath(clip.past.input).name or clip.past.input if clip.past is not None else clip.path.name


def _subtitle(clip: StoredClip, record: Mapping[str, Any]) -> Markup:
    status = str(record.get("status", "no run record"))
    model = _within(record, "model").get("name")
    parts = [status, f"model {shown(model)}" if model else None, record.get("started")]
    warn = "soft" if status == "complete" else "warn"
    return element("p", " · ".join(shown(part) for part in parts if part), class_=warn)


def _tiles(findings: Findings, record: Mapping[str, Any]) -> Markup:
    timeline = findings.timeline
    found: list[tuple[str, object]] = [("frames read", f"{timeline.frames:,}")]
    if findings.sizes:
        (height, width), _ = findings.sizes.most_common(1)[0]
        found.append(("sizes" if len(findings.sizes) > 1 else "size", f"{width} × {height}"))
    found.append(("classes found", len(findings.found)))
    if findings.people:
        found.append(("people", len(findings.people)))
    if (flicker := timeline.overall(FLICKER)) is not None:
        found.append(("mean flicker", per_cent(flicker)))
    if (speed := _number(record.get("frames_per_second"))) is not None:
        found.append(("frames a second", shown(round(speed, 1))))
    frames = _within(record, "frames")
    for what in ("skipped", "damaged", "dropped"):
        if number := _number(frames.get(what)):
            found.append((what, shown(number)))
    return tiles(found)


def _contact_sheet(
    findings: Findings, pictures: Mapping[int, UInt8Array], sheet: Sequence[int], photos: bool
) -> Markup | None:
    found = [
        figure([image(pictures[index], f"frame {index}")], f"{'photo' if photos else 'frame'} {index}")
        for index in sheet
        if index in pictures
    ]
    return section("At a glance", figures(found), legend(findings.classes, findings.found)) if found else None


def _areas(findings: Findings) -> Markup | None:
    timeline, classes = findings.timeline, findings.classes
    if not findings.found:
        return section("Parts", element("p", "No class was found in any frame."))
    layers = [
        Layer(name=classes[index], colour=hex_colour(classes.colours[index]), values=timeline.share(("area", index)))
        for index in findings.found
    ]
    span = timeline.frames_a_span
    told = "Shares of the picture, one on the other; the largest at the bottom."
    return section(
        "Areas of the parts",
        chart(charts.stacked(layers, timeline, "areas of the parts along the clip")),
        note(told + (f" Each point is the mean of {span} frames." if span > 1 else "")),
    )


def _presence(findings: Findings) -> Markup | None:
    timeline, classes = findings.timeline, findings.classes
    rows = []
    for index in sorted(findings.found):
        colour = hex_colour(classes.colours[index])
        rows.append(Layer(name=classes[index], colour=colour, values=timeline.presence(("area", index))))
    for person in sorted(findings.people):
        there = timeline.presence(("person", person))
        rows.append(Layer(name=f"person {person}", colour="var(--accent)", values=there))
    if not rows:
        return None
    return section(
        "When each is there",
        chart(charts.strips(rows, timeline, "presence of each class and person along the clip")),
        note("The paler, the fewer of the frames of a span it is in."),
        long=True,
    )


def _flicker(findings: Findings, pictures: Mapping[int, UInt8Array], moments: Sequence[Moment]) -> Markup | None:
    timeline = findings.timeline
    if timeline.overall(FLICKER) is None:
        return None
    layer = Layer(name="flicker", colour="var(--accent)", values=timeline.mean(FLICKER), most=timeline.most(FLICKER))
    marks = [Mark(timeline.place(moment.place), str(number)) for number, moment in enumerate(moments, 1)]
    found = []
    for number, moment in enumerate(moments, 1):
        both = [
            image(pictures[index], f"frame {index}") for index in (moment.index - 1, moment.index) if index in pictures
        ]
        when = f"frame {moment.index}" + (f", {clock(moment.time, 0.01)}" if moment.time is not None else "")
        if both:
            found.append(figure(both, f"{number}: {when}, {per_cent(moment.value)} changed since the frame before"))
    return section(
        "Flicker",
        chart(charts.lines([layer], timeline, "flicker along the clip", marks=marks)),
        note(
            "The share of the pixels that are of a class, in a frame or the one before, whose class changed. Movement "
            "changes some too; a peak is a cut, or a class map that jumps."
        ),
        figures(found, "pairs") if found else None,
        long=True,
    )


def _confidence(findings: Findings) -> Markup | None:
    timeline = findings.timeline
    if timeline.overall(CONFIDENCE) is None:
        return None
    layer = Layer(name="confidence", colour="var(--accent)", values=timeline.mean(CONFIDENCE))
    return section(
        "Confidence",
        chart(charts.lines([layer], timeline, "confidence along the clip", limit=1.0)),
        note("The mean probability of the classes where each is the likeliest, by the run's statistics."),
    )


def _left_out(record: Mapping[str, Any], skipped: Sequence[tuple[str, str]]) -> Markup | None:
    rows: list[tuple[str, str, str]] = []
    for what in ("skipped", "damaged"):
        items = record.get(what)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict):
                rows.append((what, str(item.get("name", "")), str(item.get("reason", ""))))
    rows += [("not read again", name, reason) for name, reason in skipped]
    if not rows:
        return None
    shown_rows = [
        element("tr", element("th", what), element("td", name), element("td", reason))
        for what, name, reason in rows[:_SHOWN]
    ]
    more = note(f"and {len(rows) - _SHOWN} more") if len(rows) > _SHOWN else None
    return section("Skipped and damaged", element("table", shown_rows), more, long=True)


def _speed(record: Mapping[str, Any]) -> Markup | None:
    stages = {str(name): _number(spent) for name, spent in _within(record, "stages").items()}
    rows = [(name, spent, f"{spent:,.2f} s") for name, spent in stages.items() if spent is not None and spent >= 0]
    if not rows:
        return None
    rows.sort(key=lambda row: -row[1])
    seconds = _number(record.get("seconds"))
    took = f"The run took {seconds:,.1f} s; " if seconds is not None else ""
    return section(
        "Speed",
        chart(charts.bars(rows[:20], "time spent in each stage")),
        note(f"{took}stages run beside each other, some in several threads, whose times are added up."),
    )


def _what_was_run(clip: StoredClip, record: Mapping[str, Any]) -> Markup:
    model = _within(record, "model")
    size = model.get("input")
    chosen = ", ".join(
        f"{name}={_short(value)}" for name, value in sorted(_within(record, "settings").items()) if _is_said(value)
    )
    versions = ", ".join(f"{name} {_short(value)}" for name, value in _within(record, "versions").items())
    return section(
        "What was run",
        facts(
            [
                ("Input", clip.past.input if clip.past is not None else clip.path),
                ("Status", record.get("status")),
                ("Error", record.get("error")),
                ("Started", record.get("started")),
                ("Model", model.get("name")),
                ("Model file", model.get("file")),
                ("SHA-256", model.get("sha256")),
                ("Classes", clip.classes.title),
                ("Model input", " × ".join(map(_short, reversed(size))) if isinstance(size, list) else None),
                ("Device", " ".join(_short(record[key]) for key in ("device", "precision") if record.get(key))),
                ("Settings", chosen),
                ("Versions", versions),
                ("Class maps", clip.video or clip.path.parent),
            ]
        ),
    )


def _is_said(value: Any) -> bool:
    return value not in (None, False, "", [], {})


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _within(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        return None
    return value
