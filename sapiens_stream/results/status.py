"""How the runs of a folder stand: by their records, and by what lies there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_stream.pipeline.lock import is_held
from sapiens_stream.pipeline.run_folder import lock_of
from sapiens_stream.results.past_run import PastRun, past_runs


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run in short. `state` is "complete", "partial" (interrupted or killed), "failed" or "running"."""

    record: Path
    input: str
    state: str
    written: int
    expected: int | None
    skipped: int
    frames_per_second: float | None
    bytes: int
    """What its files take now."""
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "record": str(self.record),
            "input": self.input,
            "state": self.state,
            "frames": {"expected": self.expected, "written": self.written, "skipped": self.skipped},
            "frames_per_second": self.frames_per_second,
            "bytes": self.bytes,
            "error": self.error,
        }


def statuses(folder: Path) -> list[RunStatus]:
    """Of all runs whose records lie in a folder. Raises InputError where there are none."""
    return [_status(past) for past in past_runs(folder)]


def _status(past: PastRun) -> RunStatus:
    frames = past.within("frames")
    error = past.record.get("error")
    return RunStatus(
        record=past.path,
        input=past.input,
        state=_state(past),
        written=_number(frames.get("written")) or 0,
        expected=_number(frames.get("expected")),
        skipped=_number(frames.get("skipped")) or 0,
        frames_per_second=_real(past.record.get("frames_per_second")),
        bytes=past.files.bytes_in(past.root),
        error=error if isinstance(error, str) else None,
    )


def _state(past: PastRun) -> str:
    if is_held(lock_of(past.path)):
        return "running"
    status = past.record.get("status")
    return {"complete": "complete", "failed": "failed"}.get(str(status), "partial")


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
