"""How long frames take from their arrival to their display, over the last seconds and over a whole run."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

WINDOW_SECONDS = 5.0


@dataclass(frozen=True)
class Delay:
    """What a frame's delay is made of, seconds; the parts add up to it.

    `infer` is what its class map took: the model, or carrying one along.
    """

    decode: float
    wait: float
    infer: float
    draw: float

    @property
    def total(self) -> float:
        return self.decode + self.wait + self.infer + self.draw


PARTS = tuple(field.name for field in fields(Delay))


class Histogram:
    """Quantiles of any number of values in bounded memory, each to within one part in a hundred."""

    _STEP = math.log(1.02)
    _SMALLEST = 1e-5  # seconds: what is below counts as that

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._total = 0

    def add(self, value: float) -> None:
        """Counts a value."""
        self._counts[round(math.log(max(value, self._SMALLEST)) / self._STEP)] += 1
        self._total += 1

    def quantile(self, share: float) -> float | None:
        """The value that this share of all values does not exceed; None where there are none."""
        left = share * self._total
        for place in sorted(self._counts):
            left -= self._counts[place]
            if left <= 0:
                return math.exp(place * self._STEP)
        return None


class Delays:
    """Delays of frames, as they are shown."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Delay]] = deque()
        self._all = {name: Histogram() for name in ("total", *PARTS)}

    def add(self, at: float, delay: Delay) -> None:
        """Counts a frame that was shown at `at`, by `time.monotonic()`."""
        self._recent.append((at, delay))
        self._forget(at)
        self._all["total"].add(delay.total)
        for name, part in zip(PARTS, astuple(delay), strict=True):
            self._all[name].add(part)

    def per_second(self, now: float) -> float:
        """Frames shown a second, lately."""
        self._forget(now)
        return per_second([at for at, _ in self._recent], now)

    def recent(self, share: float) -> float | None:
        """A quantile of the delays of late, milliseconds; None where there are none."""
        return _quantile((delay.total for _, delay in self._recent), share)

    def recent_parts(self) -> tuple[tuple[str, float], ...]:
        """The median of each part of late, milliseconds."""
        parts = zip(PARTS, zip(*(astuple(delay) for _, delay in self._recent), strict=True), strict=False)
        return tuple((name, _quantile(values, 0.5) or 0.0) for name, values in parts)

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """Median and 95th percentile over the whole run, milliseconds, of the delay ("total") and its parts."""
        return {
            name: {label: _milliseconds(each.quantile(share)) for label, share in (("median", 0.5), ("p95", 0.95))}
            for name, each in self._all.items()
        }

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - WINDOW_SECONDS:
            self._recent.popleft()


def per_second(times: Iterable[float], now: float) -> float:
    """How often something happens, by the times at which it did in the last `WINDOW_SECONDS`, in order."""
    lately = [each for each in times if each >= now - WINDOW_SECONDS]
    if len(lately) < 2:
        return 0.0
    return (len(lately) - 1) / max(lately[-1] - lately[0], now - lately[-1], 1e-3)


def _quantile(values: Iterable[float], share: float) -> float | None:
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 2)
