"""What a live run shows of itself while it runs, and its record afterwards."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sapiens_stream.inference.engine import Engine
from sapiens_stream.live.camera import Camera
from sapiens_stream.live.delays import Delays
from sapiens_stream.live.inference import Inference
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.text import encodable
from sapiens_stream.viewers.viewer import LiveFigures

FIGURES_EVERY = 0.25  # seconds: nobody reads them faster


class Metrics:
    """Sums up the cameras' counts and the delays.

    received = shown + dropped, apart from frames that are on their way: none, once the run is over.
    """

    def __init__(self, cameras: Sequence[Camera], engine: Engine, inference: Inference) -> None:
        self.delays = Delays()
        self._cameras = cameras
        self._engine = engine
        self._inference = inference
        self._statistics = Statistics()
        self._busy_before = engine.timings
        self._figures = LiveFigures(model=encodable(engine.model.name), device=str(engine.device))
        self._figured = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds from the start to now, or to the end."""
        return self._statistics.elapsed

    @property
    def shown(self) -> int:
        """Frames of all cameras that were shown."""
        return sum(camera.shown for camera in self._cameras)

    def stop(self) -> None:
        """Ends `elapsed`."""
        self._statistics.stop()

    def figures(self) -> LiveFigures:
        """The counts as they are now; rates and delays as they were a moment ago."""
        now = time.monotonic()
        if now - self._figured > FIGURES_EVERY:
            self._figured = now
            self._figures = replace(
                self._figures,
                shown_per_second=self.delays.per_second(now),
                inferred_per_second=self._inference.per_second(now),
                delay_median=self.delays.recent(0.5),
                delay_p95=self.delays.recent(0.95),
                parts_median=self.delays.recent_parts(),
            )
        return replace(self._figures, **self._counts())  # type: ignore[arg-type]

    def statistics(self, recorded: Mapping[str, Mapping[str, int]]) -> Statistics:
        """The counts that any run's record has. `recorded` is `Recorder.as_dict()`."""
        statistics, counts = self._statistics, self._counts()
        statistics.decoded, statistics.segmented, statistics.dropped = (
            counts[name] for name in ("received", "inferred", "dropped")
        )
        written = [recorded[kind]["written"] for kind in ("video", "frames") if kind in recorded]
        statistics.written = max(written, default=0)  # the same frames, in a video and in files of their own
        statistics.skipped = self._inference.unreadable
        busy = self._engine.timings
        statistics.seconds = {stage: busy[stage] - before for stage, before in self._busy_before.items()}
        return statistics

    def as_dict(self, recorded: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
        """How it went, for the record of a live run, as JSON types."""
        counts = self._counts()
        shown = counts["shown"]
        return {
            **counts,
            "carried_share": round(counts["carried"] / shown, 4) if shown else None,
            "shown_per_second": round(shown / self.elapsed, 3) if self.elapsed else None,
            "delay_ms": self.delays.as_dict(),
            "recorded": recorded,
            "cameras": [camera.as_dict() for camera in self._cameras],
        }

    def _counts(self) -> dict[str, int]:
        return {
            "received": sum(camera.received for camera in self._cameras),
            "shown": self.shown,
            "dropped": sum(camera.dropped for camera in self._cameras),
            "inferred": sum(camera.inferences for camera in self._cameras),
            "carried": sum(camera.carried for camera in self._cameras),
        }
