"""What a report says of a clip's class maps, gathered in one pass; nothing grows with the clip."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sapiens_stream.classes import ClassSet
from sapiens_stream.results.report.confidence import Confidences
from sapiens_stream.results.report.timeline import Timeline
from sapiens_stream.results.stored import StoredFrame
from sapiens_stream.sinks.statistics import Measured

MOMENTS = 6
MOST_PEOPLE = 40
"""That have a strip of their own."""
_KEPT = 60  # candidates for moments: the worst lie close to each other
_APART = 1 / 40  # of the clip, that moments are at least


@dataclass(frozen=True, order=True)
class Moment:
    """A frame that stands out, `value` saying how much; `place` is its place among all that were read."""

    value: float
    place: int
    index: int
    name: str
    time: float | None


@dataclass
class Moments:
    """The frames with the largest values, of which `chosen` are apart from each other."""

    kept: list[Moment] = field(default_factory=list)

    def add(self, moment: Moment) -> None:
        """Keeps it if it is among the largest."""
        if moment.value <= 0 or (len(self.kept) == _KEPT and moment <= self.kept[0]):
            return
        near = next((each for each in self.kept if abs(each.place - moment.place) <= 2), None)
        if near is not None:
            if near.value >= moment.value:
                return
            self.kept.remove(near)
        insort(self.kept, moment)
        del self.kept[:-_KEPT]

    def chosen(self, frames: int) -> list[Moment]:
        """The largest, in the clip's order."""
        found: list[Moment] = []
        for moment in reversed(self.kept):
            if all(abs(moment.place - each.place) >= frames * _APART for each in found):
                found.append(moment)
        return sorted(found[:MOMENTS], key=lambda each: each.place)


FLICKER, CONFIDENCE = "flicker", "confidence"


@dataclass
class Findings:
    """Along the clip: areas by ("area", class), presence by ("person", id), FLICKER, and CONFIDENCE."""

    classes: ClassSet
    timeline: Timeline = field(default_factory=Timeline)
    moments: Moments = field(default_factory=Moments)
    people: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    @property
    def found(self) -> list[int]:
        """The classes that are there at all, the largest first."""
        areas = {index: float(self.timeline.share(("area", index)).sum()) for index in range(1, len(self.classes))}
        return sorted((index for index, area in areas.items() if area), key=lambda index: -areas[index])


def gather(
    frames: Iterable[StoredFrame], classes: ClassSet, *, moving: bool, confidences: Confidences | None = None
) -> Findings:
    """Reads a clip through. `moving` says that its frames follow each other, so that flicker can be told."""
    findings = Findings(classes)
    before: Measured | None = None
    for place, frame in enumerate(frames):
        now = Measured(
            index=frame.index,
            name=frame.name,
            time=None if frame.time is None else float(frame.time),
            class_map=frame.class_map,
            classes=classes,
            person_map=frame.person_map,
        )
        sure = confidences.of(frame.index) if confidences is not None else None
        _add(findings, now, before, place, {} if sure is None else {CONFIDENCE: sure})
        before = now if moving else None
    return findings


def _add(findings: Findings, now: Measured, before: Measured | None, place: int, figures: dict[object, float]) -> None:
    for (person, class_id), pixels in now.pixels.items():
        key = ("area", class_id)
        figures[key] = figures.get(key, 0.0) + pixels / now.class_map.size
        if person and (person in findings.people or len(findings.people) < MOST_PEOPLE):
            figures["person", person] = 1.0
    findings.people.update(person for kind, person in _pairs(figures) if kind == "person")
    findings.sizes[now.class_map.shape] += 1
    if len(findings.sizes) > MOST_PEOPLE:
        findings.sizes.popitem()
    if before is not None and before.class_map.shape == now.class_map.shape:
        changed, anybody = _changed(before, now)
        if anybody:
            figures[FLICKER] = changed / anybody
            findings.moments.add(Moment(changed / anybody, place, now.index, now.name, now.time))
    findings.timeline.add(now.time, figures)


def _pairs(figures: dict[object, float]) -> list[tuple[str, int]]:
    return [key for key in figures if isinstance(key, tuple)]


def _changed(before: Measured, now: Measured) -> tuple[int, int]:
    """Pixels that are of a class in either frame, and those of them that changed it."""
    changed = int(np.count_nonzero(before.class_map != now.class_map))
    return changed, int(np.count_nonzero(before.class_map | now.class_map))
