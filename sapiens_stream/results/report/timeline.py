"""Figures along a clip, kept in a few hundred spans however long it is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_SPANS = 320


@dataclass
class _Series:
    total: Floats = field(default_factory=lambda: np.zeros(MOST_SPANS))
    told: Floats = field(default_factory=lambda: np.zeros(MOST_SPANS))
    most: Floats = field(default_factory=lambda: np.full(MOST_SPANS, -np.inf))

    def halve(self) -> None:
        """Each two spans become one."""
        for name, whole, empty in (("total", np.add, 0.0), ("told", np.add, 0.0), ("most", np.maximum, -np.inf)):
            values = getattr(self, name)
            fewer = np.full(MOST_SPANS, empty)
            fewer[: MOST_SPANS // 2] = whole(values[::2], values[1::2])
            setattr(self, name, fewer)


class Timeline:
    """Frames are added one after the other, each with its figures by name; twice as many go into a span as need be."""

    def __init__(self) -> None:
        self.frames = 0
        self.frames_a_span = 1
        self._series: dict[Hashable, _Series] = {}
        self._first_times: list[float | None] = []
        self._last_time: float | None = None

    def add(self, time: float | None, figures: Mapping[Hashable, float]) -> None:
        """Adds a frame; `time` is in seconds."""
        if self.frames // self.frames_a_span >= MOST_SPANS:
            self.frames_a_span *= 2
            self._first_times = self._first_times[::2]
            for series in self._series.values():
                series.halve()
        place = self.frames // self.frames_a_span
        if place == len(self._first_times):
            self._first_times.append(time)
        self._last_time = time
        self.frames += 1
        for name, value in figures.items():
            series = self._series.setdefault(name, _Series())
            series.total[place] += value
            series.told[place] += 1
            series.most[place] = max(series.most[place], value)

    @property
    def spans(self) -> int:
        """How many there are."""
        return len(self._first_times)

    def names(self) -> list[Hashable]:
        """Of all figures."""
        return list(self._series)

    def share(self, name: Hashable) -> Floats:
        """The mean in each span over all of its frames; a frame that has no such figure counts as 0."""
        return self._of(name).total[: self.spans] / self._frames_of_spans()

    def presence(self, name: Hashable) -> Floats:
        """The share of the frames of each span that have a figure."""
        return self._of(name).told[: self.spans] / self._frames_of_spans()

    def mean(self, name: Hashable) -> Floats:
        """The mean in each span over the frames that have it; NaN where none has."""
        series = self._of(name)
        with np.errstate(invalid="ignore"):
            return series.total[: self.spans] / series.told[: self.spans]

    def most(self, name: Hashable) -> Floats:
        """The largest in each span; NaN where there is none."""
        most = self._of(name).most[: self.spans]
        return np.where(np.isfinite(most), most, np.nan)

    def overall(self, name: Hashable) -> float | None:
        """The mean over all frames that have it."""
        series = self._of(name)
        return float(series.total.sum() / series.told.sum()) if series.told.any() else None

    def count(self, name: Hashable) -> int:
        """How many frames have it."""
        return int(self._of(name).told.sum())

    def place(self, frame: int) -> float:
        """Where the frame that was added as this one lies, from 0 to 1."""
        return (frame + 0.5) / max(self.frames, 1)

    def ticks(self, about: int = 6) -> list[tuple[float, str]]:
        """Places from 0 to 1 and what to write there: times, or, where there are none, numbers of frames."""
        if not self.frames:
            return []
        first, last = self._first_times[0], self._last_time
        timed = first is not None and last is not None and last > first
        begin, end = (first or 0.0, last or 0.0) if timed else (0.0, float(self.frames))
        step = _round_step((end - begin) / about, timed)
        values = np.arange(np.ceil(begin / step) * step, end + step / 1000, step)
        return [((value - begin) / (end - begin), clock(value, step) if timed else f"{value:.0f}") for value in values]

    def _frames_of_spans(self) -> Floats:
        frames = np.full(self.spans, self.frames_a_span, np.float64)
        if self.spans:
            frames[-1] = self.frames - self.frames_a_span * (self.spans - 1)
        return frames

    def _of(self, name: Hashable) -> _Series:
        return self._series.get(name) or _Series()


def clock(seconds: float, step: float = 0.01) -> str:
    """1:02:03, 2:03, or with fractions where steps are below a second."""
    whole = int(seconds)
    rest = f"{seconds - whole:.{2 if step < 0.1 else 1}f}"[1:] if step < 1 else ""
    minutes, second = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}") + rest


def _round_step(step: float, timed: bool) -> float:
    nice = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200]
    if timed and step <= nice[-1]:
        return next(each for each in nice if each >= step)
    power = 10.0 ** np.floor(np.log10(max(step, 1)))
    return float(next(each * power for each in (1, 2, 5, 10) if each * power >= step))
