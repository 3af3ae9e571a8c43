"""What the doctor finds on this machine, and what it makes of others."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from sapiens_stream import control_groups
from sapiens_stream.cli.doctor import _lines as lines_of
from sapiens_stream.doctor import Ability, Device, Report, Space, examine, machine
from sapiens_stream.doctor.timing import fastest, share_of_cores
from sapiens_stream.doctor.video import encoders, hardware_decoders
from sapiens_stream.inference.device import available_devices
from tests.conftest import HAS_CUDA

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(scope="module")
def report() -> Report:
    return examine()


@pytest.fixture
def healthy(report: Report) -> Report:
    """This machine's report with room enough, so that a test adds the one problem that it is about."""
    roomy = Space(total=64 * GIB, free=64 * GIB)
    return replace(
        report,
        nvidia_driver=None,
        devices=tuple(replace(device, memory=roomy, failure=None) for device in report.devices),
        encoders=(Ability(name="libx264"), Ability(name="libx265")),
        inputs=(Ability(name="v4l2"), Ability(name="rtsp")),
        damaged_models=(),
    )


def test_the_report_describes_this_machine(report: Report) -> None:
    assert report.versions["torch"] == torch.__version__
    assert report.versions["torchvision"] == torchvision.__version__.partition("+")[0]
    assert report.torchvision_failure is None
    assert [device.name for device in report.devices] == available_devices()
    assert 1 <= report.processor.cores <= (os.cpu_count() or 1)
    for space in (report.memory, report.disk):
        assert space is None or 0 < space.free <= space.total


def test_every_device_has_measured_rates_and_estimates_from_them(report: Report) -> None:
    for device in report.devices:
        assert device.failure is None
        assert {rate.precision for rate in device.rates} >= set(device.precisions) >= {"fp32"}
        assert device.builtin is not None and device.builtin > 0
        for rate in device.rates:
            assert 0 < rate.tflops < 10_000
            assert rate.frames_per_second["sapiens-1b"] == pytest.approx(rate.tflops / 11.26)


def test_encoders_are_those_that_really_encode(report: Report) -> None:
    works = {ability.name: ability.works for ability in report.encoders}
    assert works["libx264"] and works["ffv1"]
    assert works["h264_nvenc"] <= HAS_CUDA
    assert works["h264_videotoolbox"] <= (platform.system() == "Darwin")


def test_the_report_is_json(report: Report) -> None:
    read: dict[str, Any] = json.loads(json.dumps(report.as_dict()))
    assert read["devices"][-1]["rates"][0]["estimated_frames_per_second"].keys() >= {"sapiens-0.3b", "sapiens-1b"}
    assert read["processor"]["cores"] == report.processor.cores
    assert read["problems"] == [{"what": each.what, "cure": each.cure} for each in report.problems]


@pytest.mark.parametrize(("share", "busy"), [(1.0, False), (0.9, False), (0.6, True), (0.05, True)])
def test_a_busy_machine_is_said_to_be_busy(healthy: Report, share: float, busy: bool) -> None:
    """What is measured then is no upper bound, and nothing says that it is."""
    report = replace(healthy, share_of_cores=share)
    lines = list(lines_of(report))
    measured = [line for line in lines if "TFLOP/s" in line or "builtin: " in line]
    assert len(measured) > 1 and all(("while others were busy" in line) is busy for line in measured)
    assert [line for line in lines if "at best" in line] == ([] if busy else measured[1:])
    assert any(f"{share:.0%} of its cores" in line for line in lines) is busy
    assert report.busy is report.as_dict()["busy"] is busy


@pytest.mark.parametrize(
    ("quota", "said"), [(None, " 64 cores, "), (1.5, " 2 cores (a quota leaves the time of 1.5), ")]
)
def test_the_quota_of_a_container_is_told(healthy: Report, quota: float | None, said: str) -> None:
    cores = 64 if quota is None else 2
    report = replace(healthy, processor=replace(healthy.processor, cores=cores, quota=quota))
    [line] = [line for line in lines_of(report) if line.startswith("  processor")]
    assert said in line
    assert report.as_dict()["processor"]["quota"] == quota


@pytest.mark.parametrize("wanted", [4, 16])
def test_the_share_of_cores_falls_where_more_is_wanted_than_there_is(
    monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    """As where others want them: `wanted` times as many as this machine has are asked for."""
    there = os.cpu_count() or 1
    monkeypatch.setattr("sapiens_stream.doctor.timing.usable_cores", lambda: wanted * there)
    assert 0 < share_of_cores() <= 1.1 / wanted


@pytest.mark.parametrize(
    ("seconds", "expected", "runs"),
    [
        ([0.2, 0.1, 0.1, 0.1], 0.1, 4),
        ([0.5, 0.1, 0.3, 0.105, 0.4, 0.2, 0.108], 0.1, 6),
        ([0.1, 0.3, 0.9, 2.0], 0.1, 4),
        ([4.0], 4.0, 1),
    ],
    ids=["three agree", "disturbed", "none agree", "one is slow enough"],
)
def test_the_fastest_run_counts_once_three_agree(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], expected: float, runs: int
) -> None:
    clock = [0.0]
    left = iter(seconds)

    def run() -> None:
        clock[0] += next(left)

    monkeypatch.setattr("sapiens_stream.doctor.timing.time.perf_counter", lambda: clock[0])
    assert fastest(run) == pytest.approx(expected)
    assert len(seconds) - len(list(left)) == runs


def test_trying_the_codecs_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    encoders()
    hardware_decoders()
    assert capfd.readouterr() == ("", "")


def _cuda(**changes: Any) -> Device:
    fields: dict[str, Any] = {"memory": None, "precisions": ("fp32",), "rates": (), "capability": "5.0"}
    return Device(name="cuda:0", title="GPU", **fields | changes)


def _on_the_cpu(report: Report) -> tuple[Device, ...]:
    return tuple(device for device in report.devices if device.name == "cpu")


@pytest.mark.parametrize(
    ("change", "what", "cure"),
    [
        (
            lambda r: {"versions": r.versions | {"torch": "2.1.0"}},
            "torch 2.1.0 is older than 2.",
            " --upgrade 'torch>=2.",
        ),
        (
            lambda r: {"torchvision_failure": "operator torchvision::nms does not exist"},
            "does not load beside torch 2.",
            "from one index: ",
        ),
        (
            lambda r: {
                "nvidia_driver": "550.1",
                "versions": r.versions | {"cuda": "none"},
                "devices": _on_the_cpu(r),
            },
            "driver (550.1) is here, but torch",
            "pytorch.org",
        ),
        (
            lambda r: {
                "nvidia_driver": "470.2",
                "versions": r.versions | {"cuda": "13.0"},
                "devices": _on_the_cpu(r),
            },
            "CUDA 13.0 does not see a GPU with driver 470.2",
            "update the NVIDIA driver",
        ),
        (
            lambda r: {"devices": (_cuda(failure="no kernel image"),)},
            "does not compute: no kernel image",
            "capability 5.0",
        ),
        (
            lambda r: {"devices": (_cuda(memory=Space(total=6 * GIB, free=5 * GIB)),)},
            "5.4 GB of free memory of cuda:0 are too few for sapiens-1b",
            "smaller model",
        ),
        (
            lambda r: {"encoders": (Ability(name="libx264", problem="not built"), Ability(name="ffv1"))},
            "libx264 of overlay videos is missing; those that work are: ffv1",
            "--codec",
        ),
        (lambda r: {"damaged_models": ("sapiens-1b",)}, "sapiens-1b is cut short", "models pull sapiens-1b --force"),
        (lambda r: {"inputs": (Ability(name="v4l2", problem="x"), Ability(name="rtsp"))}, "no camera input", "av"),
    ],
    ids=[
        "old torch",
        "a torchvision of another torch",
        "torch without CUDA",
        "old driver",
        "old GPU",
        "little memory",
        "no libx264",
        "damaged model",
        "no cameras",
    ],
)
def test_a_problem_is_named_with_its_cure(healthy: Report, change: Any, what: str, cure: str) -> None:
    assert healthy.problems == ()
    [problem] = replace(healthy, **change(healthy)).problems
    assert what in problem.what
    assert cure in problem.cure


@pytest.mark.parametrize("version", [1, 2])
def test_memory_is_what_the_groups_of_a_job_leave(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch system limits the job, and not the step in it; files that were read are dropped where room is needed."""
    whole = machine.memory()
    if not Path("/proc/meminfo").exists() or whole is None or whole.free < 2 * GIB:
        pytest.skip("this system does not tell of its memory as Linux does, or has little")
    groups, mount = tmp_path / "groups", {1: "cgroup cgroup rw,memory", 2: "cgroup2 cgroup2 rw"}[version]
    step = groups / "job" / "step"
    step.mkdir(parents=True)
    limit, used, stat = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "cache 1\ntotal_inactive_file"),
        2: ("memory.max", "memory.current", "anon 1\ninactive_file"),
    }[version]
    for folder, most, taken in ((step, {1: str(1 << 63), 2: "max"}[version], MIB), (step.parent, str(GIB), 900 * MIB)):
        (folder / limit).write_text(f"{most}\n")
        (folder / used).write_text(f"{taken}\n")
    (step.parent / "memory.stat").write_text(f"{stat} {600 * MIB}\nlast\n")
    (tmp_path / "cgroup").write_text({1: "5:memory:/job/step\n0::/\n", 2: "0::/job/step\n"}[version])
    (tmp_path / "mountinfo").write_text(f"30 23 0:26 / {groups} rw - {mount}\n")
    monkeypatch.setattr(control_groups, "_PROCESS", tmp_path)
    found = machine.memory()
    assert found == Space(total=GIB, free=724 * MIB)
