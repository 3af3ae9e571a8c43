"""How the runs of a folder stand: by their records, by what lies there, and by what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sapiens_stream.pipeline.batch_file import read_batch
from sapiens_stream.pipeline.input_list import Asked, read_input_lists
from sapiens_stream.pipeline.lock import is_held
from sapiens_stream.pipeline.run_folder import lock_of
from sapiens_stream.results.past_run import OnFailure, PastRun, past_runs, raised, readable_runs
from sapiens_stream.settings import BATCH_FILE, RUN_FILE

STATES = ("complete", "running", "partial", "failed", "left")


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run in short. `state` is one of STATES: "partial" is interrupted or killed.

    Of what is "left" there is no record yet; it stands in a list of what several processes were asked for.
    """

    record: Path | None
    input: str
    state: str
    written: int
    expected: int | None
    """By the header; of a run that came to its end, and skipped nothing, what it wrote."""
    skipped: int
    damaged: int
    frames_per_second: float | None
    bytes: int
    """What its files take now."""
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "record": str(self.record) if self.record is not None else None,
            "input": self.input,
            "state": self.state,
            "frames": {
                "expected": self.expected,
                "written": self.written,
                "skipped": self.skipped,
                "damaged": self.damaged,
            },
            "frames_per_second": self.frames_per_second,
            "bytes": self.bytes,
            "error": self.error,
        }


@dataclass(frozen=True, kw_only=True)
class Total:
    """Of all runs of a folder.

    `states` counts them; `frames` are those that are left, about; None where none can be told. `frames_per_second` are
    those of the runs that go on now, together; where none does, of one run as they were before.
    """

    states: dict[str, int]
    frames: int | None
    frames_per_second: float | None

    @property
    def seconds_left(self) -> float | None:
        """If all goes on so; None where that is not known."""
        if self.frames is None or not self.frames_per_second:
            return None
        return self.frames / self.frames_per_second

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        left = self.seconds_left
        return {
            "states": self.states,
            "frames_left": self.frames,
            "frames_per_second": None if self.frames_per_second is None else round(self.frames_per_second, 3),
            "seconds_left": None if left is None else round(left),
        }


def statuses(folder: Path, on_failure: OnFailure = raised) -> list[RunStatus]:
    """Of all runs whose records lie in a folder, and of what is left; a record that is damaged is told of.

    Raises InputError where there is nothing.
    """
    asked = read_input_lists(folder) if folder.is_dir() else {}
    refused = _refused(folder)
    runs = readable_runs(folder, on_failure) if asked or refused else past_runs(folder, on_failure)
    names = {past.stem for past in runs} | {past.path.name.removesuffix(RUN_FILE) for past in runs}
    for below in sorted({PurePosixPath(name).parent for name in asked} - {PurePosixPath()}):
        if not below.is_absolute() and ".." not in below.parts and (folder / below).is_dir():
            found = readable_runs(folder / below, on_failure)
            names |= {str(below / past.stem) for past in found}
            runs += found
    without = [each for name, each in refused.items() if name not in names]
    left = [_left(each) for name, each in sorted(asked.items()) if name not in names and name not in refused]
    return [*map(_status, runs), *without, *left]


def total(found: Sequence[RunStatus]) -> Total:
    """Of these runs together; those that do not tell their length are taken for as long as the others."""
    ahead = [each for each in found if each.state not in ("complete", "failed")]
    known = [max(0, each.expected - each.written) for each in ahead if each.expected is not None]
    frames = round(sum(known) * len(ahead) / len(known)) if known else None if ahead else 0
    now = [each.frames_per_second or 0.0 for each in found if each.state == "running"]
    before = [each.frames_per_second for each in found if each.frames_per_second]
    return Total(
        states={state: count for state in STATES if (count := sum(each.state == state for each in found))},
        frames=frames,
        frames_per_second=sum(now) if now else sum(before) / len(before) if before else None,
    )


def _refused(folder: Path) -> dict[str, RunStatus]:
    """By name, the inputs of batches that came to nothing and have no record, such as files that are no videos."""
    return {
        str(line.get("name")): RunStatus(
            record=None,
            input=str(line["input"]),
            state="failed",
            written=0,
            expected=None,
            skipped=0,
            damaged=0,
            frames_per_second=None,
            bytes=0,
            error=str(line.get("reason")),
        )
        for line in read_batch(folder / BATCH_FILE)
        if line.get("record") is None and line.get("status") in ("failed", "skipped")
    }


def _left(asked: Asked) -> RunStatus:
    return RunStatus(
        record=None,
        input=asked.input,
        state="left",
        written=0,
        expected=asked.frames,
        skipped=0,
        damaged=0,
        frames_per_second=None,
        bytes=0,
        error=None,
    )


def _status(past: PastRun) -> RunStatus:
    frames = past.within("frames")
    state, error = _state(past), past.record.get("error")
    written, expected = _number(frames.get("written")) or 0, _number(frames.get("expected"))
    skipped = _number(frames.get("skipped")) or 0
    if expected is not None and (written > expected or (state == "complete" and not skipped)):
        expected = written
    return RunStatus(
        record=past.path,
        input=past.input,
        state=state,
        written=written,
        expected=expected,
        skipped=skipped,
        damaged=_number(frames.get("damaged")) or 0,
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
