"""How a live run went, for its user and for the shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sapiens_stream.cli import exit_codes
from sapiens_stream.cli.console import error
from sapiens_stream.cli.display import counted, duration
from sapiens_stream.cli.live_display import LiveDisplay
from sapiens_stream.errors import InputError, cause
from sapiens_stream.live import Camera, LiveRun, Recorder
from sapiens_stream.pipeline.record import as_line


def conclude(run: LiveRun, cameras: Sequence[Camera], recorder: Recorder, display: LiveDisplay) -> int:
    """Says how it went, and the exit code of that."""
    display.json_line(as_line(run.record()))
    if run.error is not None and not run.lost_all_cameras:
        raise run.error
    problems = [problem for camera in cameras if (problem := camera.problem) is not None]
    for problem in problems:
        if not isinstance(problem, InputError):
            raise problem
        error(cause(problem))
    metrics = run.metrics
    figures = metrics.figures()
    if figures.shown:
        per_second = figures.shown / metrics.elapsed
        delays = metrics.delays.as_dict()["total"]
        place = f", in {_places(recorder)}" if run.wrote else ""
        display.result(
            f"{counted(figures.shown, 'frame')} shown in {duration(metrics.elapsed)} ({per_second:.1f} frames/s, delay "
            f"{delays['median']:.0f} ms, 95 % below {delays['p95']:.0f}), dropped {figures.dropped} of "
            f"{figures.received}, carried {100 * figures.carried / figures.shown:.0f} %{place}"
        )
    if run.status == "interrupted":
        return exit_codes.INTERRUPTED
    if run.lost_all_cameras:
        return exit_codes.FAILED
    return exit_codes.SOME_SKIPPED if problems else exit_codes.DONE


def _places(recorder: Recorder) -> str:
    return " and ".join(str(folder if folder != Path() else Path.cwd()) for folder in recorder.folders)
