"""`sapiens-stream doctor`: what this machine can do, and what a report of a bug needs."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from sapiens_stream.cli import exit_codes, options
from sapiens_stream.cli.console import one_line

if TYPE_CHECKING:
    from sapiens_stream.doctor import Ability, Device, Report, Space


def doctor(json: options.JsonAnswerOption = False) -> None:
    """Say what this machine can do, and what a bug report needs. The exit code is 1 if a device fails."""
    from sapiens_stream.doctor import examine

    report = examine()
    if json:
        print(json_format.dumps(report.as_dict()))
    else:
        for line in _lines(report):
            print(line)
    raise typer.Exit(exit_codes.FAILED if any(device.failure for device in report.devices) else exit_codes.DONE)


def _lines(report: Report) -> Iterator[str]:
    versions = report.versions
    yield f"sapiens-stream {versions['sapiens-stream']}"
    yield _row("versions", ", ".join(f"{name} {number}" for name, number in versions.items() if "lib" not in name))
    yield _row("libraries", ", ".join(f"{name} {number}" for name, number in versions.items() if "lib" in name))
    yield _row("system", report.system)
    flags = ", ".join(report.processor.flags) or report.processor.capability
    quota = report.processor.quota
    limit = "" if quota is None else f" (a quota leaves the time of {quota:g})"
    yield _row("processor", f"{report.processor.name}, {report.processor.cores} cores{limit}, {flags}")
    yield _row("memory", _space(report.memory))
    yield _row("disk", f"{_space(report.disk)}, here")
    if report.busy:
        yield _row("busy", f"others use the processor: {report.share_of_cores:.0%} of its cores are left for this one,")
        yield _row("", "so that what is measured below is too low; stop them and ask again")
    for device in report.devices:
        yield from _device(device, busy=report.busy)
    for title, abilities in (
        ("encoders", report.encoders),
        ("decoders", report.hardware_decoders),
        ("inputs", report.inputs),
    ):
        yield from _abilities(title, abilities)
    yield _row("models", ", ".join(("builtin", *report.models)))
    yield _row("cameras", ", ".join(report.cameras) or "none found")
    yield ""
    if not report.problems:
        yield "No problems found."
    for problem in report.problems:
        yield f"problem: {problem.what}"
        yield f"   cure: {problem.cure}"


def _device(device: Device, *, busy: bool) -> Iterator[str]:
    details = [device.title]
    if device.capability:
        details.append(f"compute capability {device.capability}")
    if device.driver:
        details.append(f"driver {device.driver}")
    if device.memory and device.name != "cpu":
        details.append(_space(device.memory))
    yield _row(device.name, ", ".join(details))
    if device.failure:
        yield _row("", f"does not compute: {device.failure}")
    measured = "measured while others were busy" if busy else "measured"
    if device.builtin is not None:
        yield _row("", f"builtin: {_frames(device.builtin)} of 1280x720 {measured}, decoding and writing apart")
    for rate in device.rates:
        estimates = ", ".join(f"{model} {_frames(number)}" for model, number in rate.frames_per_second.items())
        bound = "" if busy else "at best "
        yield _row("", f"{rate.precision}: {rate.tflops:.3g} TFLOP/s {measured}; {bound}{estimates} (estimate)")


def _abilities(title: str, abilities: Iterable[Ability]) -> Iterator[str]:
    able = [each.name for each in abilities if not each.problem]
    unable = [f"{each.name} ({each.problem})" for each in abilities if each.problem]
    yield _row(title, ", ".join(able) or "none work")
    if unable:
        yield _row("", f"not: {', '.join(unable)}")


def _frames(per_second: float) -> str:
    return f"{per_second:.1f} frames/s" if per_second >= 1 else f"{1 / per_second:.0f} s a frame"


def _space(space: Space | None) -> str:
    return f"{space.free / 1e9:.1f} GB free of {space.total / 1e9:.1f}" if space else "not known"


def _row(title: str, text: str) -> str:
    return f"  {title:<11}{one_line(text)}"
