"""The run record: what was run, with what, on what, and how it went, as JSON for whoever asks a year later."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from sapiens_stream.frame import SourceInfo
from sapiens_stream.pipeline.fingerprint import Fingerprint
from sapiens_stream.pipeline.inference import Inference, device_events
from sapiens_stream.pipeline.run_folder import as_text
from sapiens_stream.pipeline.statistics import Statistics
from sapiens_stream.settings import RUN_SCHEMA

PACKAGES = ("sapiens-stream", "torch", "torchvision", "onnxruntime", "numpy", "opencv-python", "av")

STARTS_KEPT = 1000

Status = Literal["complete", "interrupted", "failed"]


def versions() -> dict[str, str]:
    """The versions that decide a result: Python's and those of PACKAGES, "?" where one is unknown."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "?"
    return found


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What does not change during a run; `as_dict` adds how far it has come."""

    source: SourceInfo
    engine: Inference
    settings: Mapping[str, Any]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What another run has to share to be the same run again."""
        return Fingerprint(self.source, self.engine, self.settings)

    def as_dict(
        self,
        status: Status,
        statistics: Statistics,
        *,
        outputs: Sequence[Path] = (),
        error: str | None = None,
        sha256: str | None = None,
        files: Mapping[str, Any] | None = None,
        starts: Sequence[Mapping[str, Any]] = (),
        reached: int = 0,
    ) -> dict[str, Any]:
        """The record as JSON types; `sha256` is the model file's, `files` the list of what was written.

        `starts` are those before this one, and `reached` is how many frames they had written: files that end there stay
        where this one ends sooner. Of the frames "stored" are those that they had segmented.

        Seconds are rounded to milliseconds. "devices" is there where one of them was lost.
        """
        model = self.engine.model
        seconds = statistics.elapsed
        events = [each.as_dict() for each in device_events(self.engine) if each.time >= self.started]
        return {
            "schema": RUN_SCHEMA,
            "status": status,
            "error": error,
            "input": self.source.name,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "starts": [*starts, self._start(status, statistics)],
            "frames_per_second": round(statistics.rate or 0.0, 3) if seconds else None,
            "frames": {
                "expected": self.source.frame_count,
                "decoded": statistics.decoded + statistics.passed,
                "segmented": statistics.segmented + statistics.passed,
                "written": max(statistics.written + statistics.passed, 0 if status == "complete" else reached),
                "stored": statistics.stored + statistics.passed,
                "dropped": statistics.dropped,
                "skipped": statistics.skipped,
                "damaged": statistics.damaged,
            },
            "skipped": [{"name": item.name, "reason": item.reason} for item in statistics.skips],
            "damaged": [{"name": item.name, "reason": item.reason} for item in statistics.damages],
            "stages": {stage: round(spent, 3) for stage, spent in sorted(statistics.seconds.items())},
            "slowest": statistics.slowest,
            "outputs": [str(path) for path in outputs],
            "model": {
                "name": model.name,
                "kind": model.kind,
                "file": str(model.path) if model.path else None,
                "sha256": sha256,
                "classes": model.classes.title,
                "class_names": list(model.classes.names),
                "class_colours": list(model.classes.hex_colours),
                "input": [model.input.height, model.input.width],
                "keeps_aspect": model.aspect_step is not None,
            },
            "device": str(self.engine.device),
            **({"devices": events} if events else {}),
            "precision": str(self.engine.dtype).removeprefix("torch."),
            "batch_size": self.engine.batch_size,
            "settings": dict(self.settings),
            "fingerprint": self.fingerprint.as_dict(sha256),
            "files": files,
            "versions": versions(),
        }

    def _start(self, status: Status, statistics: Statistics) -> dict[str, Any]:
        return {
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(statistics.elapsed, 3),
            "status": status,
            "stored": statistics.stored + statistics.passed,
            "segmented": statistics.segmented_now,
        }


def earlier_starts(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those in a record, the last ones if they are many."""
    starts = record.get("starts")
    return [each for each in starts if isinstance(each, dict)][-STARTS_KEPT:] if isinstance(starts, list) else []


def rejection(name: str, error: str) -> dict[str, Any]:
    """The record of an input that could not be opened at all."""
    return {"schema": RUN_SCHEMA, "status": "failed", "error": error, "input": name}


def as_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON."""
    return as_text(record)
