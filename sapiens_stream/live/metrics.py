"""What a live run shows of itself while it runs, and its record afterwards."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sapiens_stream.errors import cause
from sapiens_stream.frame import SourceInfo
from sapiens_stream.inference.engine import Engine
from sapiens_stream.live.camera import Camera
from sapiens_stream.live.delays import Delays
from sapiens_stream.live.inference import Inference
from sapiens_stream.pipeline.fingerprint import Fingerprint
from sapiens_stream.pipeline.record import RunRecord, Status
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.viewers.viewer import LiveFigures

FIGURES_EVERY = 0.25  # seconds: nobody reads them faster


class Metrics:
    """Sums up the cameras' counts and the delays.

    received = shown + dropped, apart from frames that are on their way: none, once the run is over.
    """

    def __init__(
        self, cameras: Sequence[Camera], engine: Engine, inference: Inference, settings: Mapping[str, Any]
    ) -> None:
        self.delays = Delays()
        self._cameras = cameras
        self._engine = engine
        self._inference = inference
        self._statistics = Statistics()
        self._busy_before = engine.timings
        self._sha256: str | None = None
        self._figures = LiveFigures(model=engine.model.name, device=str(engine.device))
        self._figured = 0.0
        names = ", ".join(camera.name for camera in cameras)
        self._record = RunRecord(source=SourceInfo(name=names, kind="live"), engine=engine, settings=settings)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of this run; no other has the same."""
        return self._record.fingerprint

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

    def hash_model(self) -> None:
        """Reads the model's file for the record; takes seconds for a large one."""
        self._sha256 = self._engine.model.sha256

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

    def as_dict(
        self,
        status: Status,
        error: BaseException | None,
        recorded: Mapping[str, Mapping[str, int]],
        files: list[Path],
        listed: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The record as it stands now, as JSON types: that of any run, and under "live" how a live one went.

        `recorded` is `Recorder.as_dict()`, `files` are the recordings, `listed` all files.
        """
        statistics, counts = self._statistics, self._counts()
        statistics.decoded, statistics.segmented, statistics.dropped = (
            counts[name] for name in ("received", "inferred", "dropped")
        )
        statistics.written = sum(recorded[kind]["written"] for kind in ("video", "frames") if kind in recorded)
        statistics.skipped = self._inference.unreadable
        busy = self._engine.timings
        statistics.seconds = {stage: busy[stage] - before for stage, before in self._busy_before.items()}
        shown = counts["shown"]
        return {
            **self._record.as_dict(
                status,
                statistics,
                outputs=files,
                error=cause(error) if error else None,
                sha256=self._sha256,
                files=listed,
            ),
            "live": {
                **counts,
                "carried_share": round(counts["carried"] / shown, 4) if shown else None,
                "shown_per_second": round(shown / self.elapsed, 3) if self.elapsed else None,
                "delay_ms": self.delays.as_dict(),
                "recorded": recorded,
                "cameras": [camera.as_dict() for camera in self._cameras],
            },
        }

    def _counts(self) -> dict[str, int]:
        return {
            "received": sum(camera.received for camera in self._cameras),
            "shown": self.shown,
            "dropped": sum(camera.dropped for camera in self._cameras),
            "inferred": sum(camera.inferences for camera in self._cameras),
            "carried": sum(camera.carried for camera in self._cameras),
        }
