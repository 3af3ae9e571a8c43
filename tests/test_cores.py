"""The cores that this process may use: a container may leave fewer than there are, and no threads are for more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
import torch

from sapiens_stream import ModelError, control_groups, cores, open_source
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.worker import Worker
from sapiens_stream.inference.workers import Workers
from sapiens_stream.models import open_model
from sapiens_stream.pipeline.batch import _Cores
from sapiens_stream.sinks.video.encoders import kept_to_quota
from tests.media import make_video
from tests.program import WAIT

V1 = "12:memory:/a\n4:cpu,cpuacct:{path}\n0::/unused\n"
V2 = "0::{path}\n"
MOUNT = {
    V1: "32 31 0:29 {root} {place} rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n",
    V2: "26 23 0:25 {root} {place} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
}
TASKS = Path("/proc/self/task")
FILES = {V1: "cpu.cfs_quota_us\ncpu.cfs_period_us", V2: "cpu.max"}


def group(folder: Path, version: str, said: str) -> None:
    """Writes a group's quota: what is `said` for each of the version's files, a line each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(FILES[version].split("\n"), said.split("\n"), strict=False):
        (folder / name).write_text(f"{text}\n")


def process(folder: Path, version: str, *, path: str = "/", root: str = "/", place: str = "") -> Path:
    """A /proc/self of a process in the group at `path`, of whose mount the group at `root` is the top. In it."""
    folder.mkdir(exist_ok=True)
    (folder / "cgroup").write_text(version.format(path=path))
    here = str(folder.parent / "groups").replace(" ", "\\040")
    (folder / "mountinfo").write_text("garbage\n - \n" + MOUNT[version].format(root=root, place=place or here))
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the groups, in one with a blank in its name; `self` beside it is taken for the process'."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.setattr(control_groups, "_PROCESS", folder / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    return folder / "groups"


@pytest.mark.parametrize(
    ("version", "said", "time", "usable"),
    [
        (V2, "200000 100000", 2, 2),
        (V2, "150000 100000", 1.5, 2),
        (V2, "1000 100000", 0.01, 1),
        (V2, "9900000 100000", 99, 64),
        (V2, "max 100000", None, 64),
        (V1, "200000\n100000", 2, 2),
        (V1, "50000\n100000", 0.5, 1),
        (V1, "-1\n100000", None, 64),
        (V1, "200000", None, 64),
        (V2, "", None, 64),
        (V2, "200000", None, 64),
        (V2, "200000 0", None, 64),
        (V2, "0 100000", None, 64),
        (V2, "two of\nthree", None, 64),
        (V2, f"{'9' * 5000} 100000", None, 64),
        (V2, "1 2 3", None, 64),
    ],
)
def test_the_quota_of_a_container_is_what_it_may_use(
    fake: Path, version: str, said: str, time: float | None, usable: int
) -> None:
    group(fake, version, said)
    process(fake.parent / "self", version)
    assert cores.quota() == time
    assert cores.usable_cores() == usable
    assert cores.limited_cores() == (usable if usable < 64 else None)


@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("path", "root", "groups", "time"),
    [
        ("/a/b", "/", {"a": 3, "a/b": 5}, 3),
        ("/a/b", "/", {"a": 5, "a/b": 3, "a/c": 1}, 3),
        ("/a/b", "/a", {"": 4, "b": 6}, 4),
        ("/docker/1f", "/docker/1f", {"": 2}, 2),
        ("/kubepods/1f", "/another", {"": 2, "kubepods/1f": 1}, 2),
        ("/../../b", "/", {"": 2}, 2),
        ("/" + "a/" * 1000, "/", {"": 1}, None),
        ("/a/b", "/", {}, None),
    ],
    ids=["outer", "inner", "of the mount", "a container", "another root", "above the root", "endless", "gone"],
)
def test_the_tightest_of_nested_groups_counts(
    fake: Path, version: str, path: str, root: str, groups: dict[str, int], time: float | None
) -> None:
    for name, limit in groups.items():
        group(fake / name, version, f"{limit}00000\n100000" if version == V1 else f"{limit}00000 100000")
    process(fake.parent / "self", version, path=path, root=root)
    assert cores.quota() == time


def test_without_control_groups_the_affinity_counts(fake: Path) -> None:
    assert cores.quota() is None and cores.usable_cores() == 64
    for name in ("cgroup", "mountinfo"):  # as nothing that the kernel writes
        (fake.parent / "self" / name).mkdir(parents=True)
    assert cores.quota() is None and cores.usable_cores() == 64


def test_a_system_without_affinity_has_its_cores(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


@pytest.fixture
def one_core(fake: Path) -> Path:
    """The process has a quota of one core of 64; its /proc/self."""
    group(fake, V2, "100000 100000")
    return process(fake.parent / "self", V2)


@pytest.fixture
def four_threads() -> Iterator[None]:
    """Torch has been told to compute with four."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_a_small_model_takes_no_more_frames_at_once(one_core: Path, four_threads: None) -> None:
    engine = Engine(open_model("builtin"), InferenceOptions(device="cpu"), warn=print)
    assert len(engine.devices) == 1
    assert torch.get_num_threads() == 4  # that of the process is its owner's
    engine.close()


@pytest.mark.parametrize("count", [1, 2])
def test_a_model_computes_with_no_more_threads(one_core: Path, four_threads: None, count: int) -> None:
    found: list[int] = []

    def make(device: torch.device) -> Worker:
        found.append(torch.get_num_threads())
        raise ModelError("enough was seen")

    with pytest.raises(ModelError, match="enough"):
        Workers(make, instead=tuple, warn=print).add([torch.device("cpu")] * count)
    assert set(found) == {1}


def test_a_decoder_has_no_more_threads(one_core: Path, tmp_path: Path) -> None:
    with open_source(make_video(tmp_path / "a.mp4", frames=2)) as source:
        assert source._demuxer.stream.codec_context.thread_count == 1


def test_cores_that_a_quota_takes_are_not_idle(one_core: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(0.0, 0.0), (10.0, 9.0)])
    now = [0.0, 0.0]
    monkeypatch.setattr("sapiens_stream.pipeline.batch.time.monotonic", lambda: now[0])
    monkeypatch.setattr("sapiens_stream.pipeline.batch.time.process_time", lambda: now[1])
    now[:] = next(times)
    watched = _Cores()
    now[:] = next(times)
    assert not watched.are_idle()


@pytest.mark.parametrize(
    ("codec", "options", "kept"),
    [
        ("libx264", {"crf": "23"}, {"crf": "23", "threads": "1"}),
        ("libx265", {"x265-params": "log-level=error"}, {"x265-params": "log-level=error:pools=1", "threads": "1"}),
        ("libsvtav1", {}, {"svtav1-params": "lp=1", "threads": "1"}),
        ("prores_ks", {}, {"threads": "1"}),
    ],
)
def test_an_encoder_is_told_of_the_quota(
    one_core: Path, codec: str, options: dict[str, str], kept: dict[str, str]
) -> None:
    assert kept_to_quota(codec, options) == kept
    (one_core / "cgroup").unlink()
    assert kept_to_quota(codec, options) == options


@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
def test_an_encoder_that_is_told_of_one_core_starts_no_thread_for_others(one_core: Path, codec: str) -> None:
    if not TASKS.is_dir():
        pytest.skip("the system does not tell its threads")
    started = []
    for told in ("1", "16"):
        context = av.CodecContext.create(codec, "w")
        context.width, context.height, context.pix_fmt = 1280, 720, "yuv420p"
        context.framerate = context.time_base = 25
        base = {"x265-params": "log-level=error"} if codec == "libx265" else {}
        context.options = kept_to_quota(codec, base) if told == "1" else {**base, "threads": told}
        before = len([*TASKS.iterdir()])
        context.open()
        list(context.encode(av.VideoFrame(1280, 720, "yuv420p")))
        started.append(len([*TASKS.iterdir()]) - before)
        list(context.encode(None))
        del context
    assert started[0] <= 2 < started[1]


PROGRAM = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
from sapiens_stream import control_groups
from sapiens_stream.__main__ import main

control_groups._PROCESS = Path(sys.argv[1])
os.sched_getaffinity = lambda process: set(range(64))

def run():
    import cv2, torch
    print(json.dumps([torch.get_num_threads(), cv2.getNumThreads(), os.environ[VARIABLE]]), flush=True)
    os._exit(0)

VARIABLE = "TORCHINDUCTOR_COMPILE_THREADS"
sys.modules["sapiens_stream.cli"] = SimpleNamespace(main=run)  # which would load libraries of its own
main()
"""


@pytest.mark.parametrize("own", [{}, {"TORCHINDUCTOR_COMPILE_THREADS": "3"}], ids=["by itself", "the user's wish"])
def test_the_program_tells_its_libraries(one_core: Path, own: dict[str, str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in cores._VARIABLES}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, one_core], capture_output=True, text=True, timeout=WAIT, env=clean | own
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [1, 1, own.get("TORCHINDUCTOR_COMPILE_THREADS", "1")]
