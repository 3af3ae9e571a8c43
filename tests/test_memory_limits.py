"""A shell that bounds memory, `ulimit -v`: one line and exit 1, wherever the program is when it meets the bound."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sapiens_stream.cli import address_space
from tests.media import make_video
from tests.program import WAIT, Program

TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ..."

NO_LIBRARY = "libxcb.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=2)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound the address space")
@pytest.mark.parametrize(
    ("megabytes", "says"),
    [
        pytest.param(200, "error: out of memory: ", id="av"),
        pytest.param(350, "error: out of memory: ", id="OpenCV"),
        pytest.param(700, "error: out of memory: this shell's limit of 0.7 GB (ulimit -v) is too low", id="torch"),
    ],
)
def test_too_little_for_the_libraries_is_one_line(megabytes: int, says: str, clip: Path, tmp_path: Path) -> None:
    command = f'ulimit -v {megabytes * 1000}; exec "$0" -m sapiens_stream video "$@"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, clip, "-o", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(says) and not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not bound the address space")
class TestTrial:
    """Torch is loaded in another process first, where there is a limit."""

    def test_a_limit_that_suffices_is_no_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import resource

        monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 50, 1 << 50))
        monkeypatch.setattr(address_space, "_TRIAL", "import sys; assert int(sys.argv[1]) > 1 << 49")
        address_space.check_address_space()

    @pytest.mark.parametrize("problem", [OSError(errno.ENOMEM, "x"), subprocess.TimeoutExpired("x", 1)])
    def test_that_cannot_be_made_is_left_out(self, problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        import resource

        def refuse(*_: Any, **__: Any) -> Any:
            raise problem

        monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
        monkeypatch.setattr(subprocess, "run", refuse)
        address_space.check_address_space()


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError(TORCH), "out of memory"),
        (RuntimeError("can't start new thread"), "no thread can be started: memory, or the number of processes"),
        (RuntimeError("std::bad_alloc"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError("libtorch.so: failed to map segment from shared object"), "out of memory"),
        (ImportError("a.so: failed to map segment from shared object"), "out of memory: a.so: failed to map"),
        (ImportError("libGL.so.1: cannot open shared object file"), "libGL.so.1: cannot open shared object file"),
        (ImportError(NO_LIBRARY, name="cv2"), "cv2 needs libxcb.so.1, which this system lacks (Debian"),
        (ImportError(NO_LIBRARY, name="other"), "other needs libxcb.so.1, which this system lacks"),
    ],
    ids=lambda each: f"{type(each).__name__} {each}"[:40] if isinstance(each, Exception) else "",
)
def test_while_the_model_loads_it_is_one_line(
    problem: Exception, says: str, clip: Path, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise problem

    monkeypatch.setattr("sapiens_stream.api.Segmenter.__init__", refuse)
    outcome = program("video", clip, "-o", tmp_path / "out")
    assert outcome.code == 1 and len(outcome.complaints) == 1
    assert outcome.complaints[0].startswith(f"error: {says}")
