"""Ctrl-C when all is written, while the model's threads end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.media import make_photo, make_video, picture
from tests.program import WAIT

if os.name != "posix":
    pytest.skip("signals as POSIX has them", allow_module_level=True)

PROGRAM = """
import signal
import sapiens_stream.inference.workers as workers
from sapiens_stream.__main__ import main

def end(threads, plain=workers._end):
    plain(threads)
    signal.raise_signal(signal.SIGINT)

workers._end = end
main()
"""
CAMERA = "lavfi:testsrc2=size=160x96:rate=30"
SMALL = ("--shape", "64", "64", "--device", "cpu")


@pytest.mark.parametrize(
    "arguments",
    [
        ("video", "clip.mp4", "-o", "out", *SMALL),
        ("video", "clip.mp4", "-o", "out", "--chunk", "0/1", *SMALL),
        ("images", "--input", "photo.png", "-o", "out", *SMALL),
        ("live", CAMERA, "--no-window", "--record", "out/cam.mp4", "--max-frames", "3", *SMALL),
    ],
    ids=lambda arguments: arguments[0] + " --chunk" * ("--chunk" in arguments),
)
def test_an_interrupt_is_no_traceback(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    make_video(tmp_path / "clip.mp4", frames=3)
    make_photo(tmp_path / "photo.png", picture(1))
    command = [sys.executable, "-c", PROGRAM, *arguments]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT)
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert outcome.returncode == 130, outcome
    [record] = (tmp_path / "out").glob("*_run.json")
    assert '"status": "complete"' in record.read_text()
