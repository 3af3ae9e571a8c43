"""What is shown of a live run, and what every viewer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads av, which the window's process must not
    from sapiens_stream.frame import Segmentation


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """The latest picture of one camera.

    `camera` is safe to print (no credentials); all text is `encodable`, as Qt falls over anything else. `latest` is
    None until the first picture is there. Its class map was inferred from this very picture where `carried` is 0;
    otherwise it was carried along from that many frames before. `trouble` says in a line why no newer picture comes
    (the picture is then stale), None while all is well.
    """

    camera: str
    latest: Segmentation | None = None
    carried: int = 0
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True)
class LiveFigures:
    """What a live run shows of itself; counts from its start, over all cameras. Delays are milliseconds.

    A delay is from a frame's arrival to its display; its parts are "decode", "wait", "infer" and "draw".
    received = shown + dropped, apart from frames that are on their way.
    """

    model: str
    device: str
    received: int = 0
    shown: int = 0
    dropped: int = 0
    inferred: int = 0
    carried: int = 0
    """Of those shown, with a class map that was carried along."""
    shown_per_second: float = 0.0
    inferred_per_second: float = 0.0
    delay_median: float | None = None
    delay_p95: float | None = None
    parts_median: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Everything a viewer shows at one moment."""

    views: Sequence[CameraView]
    figures: LiveFigures
    recording: bool = False
    paused: bool = False


class Command(Enum):
    """What a viewer's user asks of the run; everything else (opacity, legend, ...) is the viewer's own affair."""

    QUIT = auto()
    LOST = auto()
    """The viewer failed, and nobody asked for anything: what is written, or shown elsewhere, goes on."""
    PAUSE = auto()
    """Or go on."""
    SNAPSHOT = auto()
    RECORD = auto()
    """Start or stop."""


class Viewer(ABC):
    """Shows screens. It never holds the run up: `show` hands over and returns; a late screen is dropped."""

    @abstractmethod
    def show(self, screen: Screen) -> None:
        """Shows this screen in place of the one before."""

    @abstractmethod
    def commands(self) -> list[Command]:
        """What was asked since the last call; QUIT or LOST once the viewer is gone."""

    @abstractmethod
    def close(self) -> None:
        """Takes the viewer away; called once, also after a failure."""
