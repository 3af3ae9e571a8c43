"""How much class maps flicker: the share of foreground that changes its class from frame to frame, along the flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sapiens_stream.people.probabilities import Way

_SURE = 0.99


@dataclass
class Flicker:
    """Counted at the logits' own resolution, where the flow between two frames leads there and back."""

    places: int = 0
    """That are foreground in one of the two frames."""
    changed: int = 0

    @property
    def share(self) -> float | None:
        """Of the foreground that changed; None if there was none."""
        return round(self.changed / self.places, 4) if self.places else None

    def count(self, places: int, changed: int) -> None:
        """Adds what `compared` gave for two frames."""
        self.places += places
        self.changed += changed


class Flickers:
    """Of a clip, or of a camera's: of what the model says by itself, and of the class maps that are handed on."""

    def __init__(self) -> None:
        self.without, self.handed_on = Flicker(), Flicker()

    def copy(self) -> Flickers:
        """Another, which counts on by itself."""
        found = Flickers()
        found.add(self)
        return found

    def add(self, other: Flickers) -> None:
        """Counts what another has counted, too."""
        self.without.count(other.without.places, other.without.changed)
        self.handed_on.count(other.handed_on.places, other.handed_on.changed)

    def count(self, both: Sequence[tuple[Tensor, Tensor]]) -> None:
        """What `compared` gave of both, or nothing."""
        for flicker, (places, changed) in zip((self.without, self.handed_on), both, strict=False):
            flicker.count(int(places), int(changed))

    def record(self) -> dict[str, Any]:
        """For the run record: the share of the foreground that changes its class from frame to frame."""
        return {"steady": {"flicker": {"without": self.without.share, "with": self.handed_on.share}}}


def compared(now: Tensor, before: Tensor, way: Way) -> list[tuple[Tensor, Tensor]]:
    """How many foreground places of two frames the flow connects, and how many change their class.

    `now` and `before` are the winners of each, (1, N, h, w), for N ways to have come by them.
    """
    came = way(before, "nearest")
    foreground = (way.sure > _SURE) & ((now > 0) | (came > 0))
    changed = foreground & (now != came)
    return [(foreground[:, each].sum(), changed[:, each].sum()) for each in range(now.shape[1])]
