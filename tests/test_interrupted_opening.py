"""Ctrl-C and SIGTERM while a model is being opened, which for a large one on a slow disk takes minutes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.media import make_photo, make_video, picture
from tests.program import WAIT

if os.name != "posix":
    pytest.skip("signals as POSIX has them", allow_module_level=True)

PROGRAM = """
import ctypes, os, sys
import sapiens_stream.models.builtin as builtin
from sapiens_stream.__main__ import main
from sapiens_stream.models.onnx_session import OnnxSession

def hang(*given, **named):
    os.write(1, b"opening\\n")
    while True:
        ctypes.CDLL(None).sleep(1000)  # in C, without the interpreter's lock, as libraries read files

if sys.argv.pop(1) == "file":
    builtin.load_file = hang
else:
    OnnxSession.__init__ = hang
main()
"""
CAMERA = "lavfi:testsrc2=size=160x96:rate=30"
SECONDS = 20.0  # it takes a fraction of one, but where the machine is busy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize(
    ("hangs", "arguments"),
    [
        ("file", ("video", "clip.mp4")),
        ("session", ("video", "clip.mp4")),
        ("file", ("video", "clip.mp4", "--chunk", "0/1")),
        ("session", ("images", "--input", "photo.png")),
        ("file", ("live", CAMERA, "--no-window", "--record", "cam.mp4", "--duration", "3")),
        ("session", ("live", CAMERA, "--no-window", "--record", "cam.mp4", "--duration", "3")),
        ("file", ("models", "info", "builtin")),
        ("file", ("models", "export", "builtin", "--to", "torchscript", "-o", "model.pt")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:3]),
)
def test_an_interrupt_ends_it_at_once(
    tmp_path: Path, hangs: str, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    make_video(tmp_path / "clip.mp4", frames=3)
    make_photo(tmp_path / "photo.png", picture(1))
    before = {path.name for path in tmp_path.iterdir()}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, hangs, *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "opening\n"
        time.sleep(0.2)
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait(WAIT)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err and "Error" not in err
    assert {path.name for path in tmp_path.iterdir()} == before
