"""What goes wrong around a run: terminals and memory; the real program in a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.media import frames_of, make_video
from tests.program import WAIT, finish, record_of, start, wait_for

if os.name != "posix":
    pytest.skip("shells, signals and limits as POSIX has them", allow_module_level=True)

FAST = ("--preset", "ultrafast")
QUICK = ("-m", "builtin", "--shape", "64", "64")  # a file's own graph takes seconds more to open


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=4)


class TestTerminal:
    """Standard output is for whoever reads along; the files are the results."""

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "sapiens_stream", *map(str, arguments)]

    @pytest.mark.parametrize("target", ["| true", ">&-", "2>&- >&-", ">/dev/full", ">/dev/full 2>/dev/full", "<&-"])
    @pytest.mark.parametrize("json_lines", [False, True])
    def test_closed_or_full(self, clip: Path, tmp_path: Path, target: str, json_lines: bool) -> None:
        if "full" in target and not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        second = make_video(tmp_path / "second.mp4", frames=3)
        out = tmp_path / "out"
        command = self.command("video", clip, second, *QUICK, "-o", out, *FAST)
        script = f'"$@" {target}; exit ${{PIPESTATUS[0]}}'
        line = ["bash", "-c", script, "bash", *command, *(["--json"] if json_lines else [])]
        done = subprocess.run(line, capture_output=True, text=True, timeout=WAIT)
        # What was asked for by --json is then not there; a closing line is nobody's result.
        assert done.returncode == (1 if json_lines and "full" in target else 0), done.stderr
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
        assert all(record_of(out, stem)["status"] == "complete" for stem in ("clip", "second"))
        assert not list(out.rglob(".*"))

    @pytest.mark.parametrize(
        "signals",
        [[signal.SIGHUP], [signal.SIGINT] * 12, [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]],
        ids=["SIGHUP", "twelve Ctrl-C", "several"],
    )
    def test_signals(self, tmp_path: Path, goliath: Path, signals: list[signal.Signals]) -> None:
        if signals == [signal.SIGHUP] and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            pytest.skip("SIGHUP is ignored here, as nohup has it")
        clip = make_video(tmp_path / "clip.mp4", frames=1000, size=(240, 320), audio="aac")
        out = tmp_path / "out"
        process = start("video", clip, "-m", goliath, "-o", out, "--shape", 512, 384, *FAST)
        wait_for(lambda: (out / "clip" / "000010.json").exists(), process)
        for number in signals:
            if process.poll() is None:
                process.send_signal(number)
            time.sleep(0.08)
        outcome = finish(process)
        assert outcome.code == 130 and "Traceback" not in outcome.stderr, outcome.stderr
        record = record_of(out)
        assert record["status"] == "interrupted"
        written = record["frames"]["written"]
        assert 10 < written < 1000 and frames_of(out / "clip_overlay.mp4") == written
        assert len(list((out / "clip").glob("*.json"))) == written and not list(out.rglob(".*"))

    def test_nohup_is_kept(self, clip: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        command = self.command("video", clip, *QUICK, "-o", out, *FAST)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )  # fmt: skip
        wait_for(lambda: (out / "clip_run.json").exists(), process)
        process.send_signal(signal.SIGHUP)
        assert finish(process).code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound the address space")
@pytest.mark.parametrize("spare", [64, 192, 512])
def test_too_little_memory_ends_in_an_error(tmp_path: Path, colour_torchscript: Path, spare: int) -> None:
    """`spare` MiB are left once the model is loaded and the clip is opened: some cost the encoder, some a frame."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    clip = make_video(tmp_path / "clip.mp4", frames=3, size=(2160, 3840))
    script = (
        "import resource, sys\n"
        "import sapiens_stream.pipeline.run as run\n"
        "from sapiens_stream.cli import main\n"
        "whole = run.Run.execute\n"
        "def bounded(self, *arguments, **settings):\n"
        "    used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"    resource.setrlimit(resource.RLIMIT_AS, (used + ({spare} << 20),) * 2)\n"
        "    whole(self, *arguments, **settings)\n"
        "run.Run.execute = bounded\n"
        "main()\n"
    )
    line = [sys.executable, "-c", script, "video", clip, "-m", colour_torchscript, "-o", tmp_path / "out", *FAST]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=WAIT)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "error:" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_AS) == before  # ours is as it was


def test_a_shell_that_ignores_ctrl_c_in_the_background_does_not_take_it_from_the_run(tmp_path: Path) -> None:
    """`sapiens-stream ... &` in a script starts with SIGINT ignored; `kill -INT` is meant all the same."""
    process = start(
        "live",
        "lavfi:testsrc2=size=160x96:rate=30",
        "--no-window",
        "--record",
        tmp_path / "cam.mp4",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    growing, end = tmp_path / ".cam.part.mp4", time.monotonic() + WAIT
    while not growing.exists() or not growing.stat().st_size:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    assert (tmp_path / "cam.mp4").exists()
