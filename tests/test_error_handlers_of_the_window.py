"""Every error that the preview window handles, forced once: what is said of it, and that the run goes on.

No display is needed: the window's process is a script that behaves as a case says.
"""

from __future__ import annotations

import errno
import gc
import io
import json
import logging
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from sapiens_stream import DeviceError
from sapiens_stream.classes import SAPIENS
from sapiens_stream.viewers import window as window_module
from sapiens_stream.viewers.viewer import CameraView, Command, LiveFigures, Screen
from sapiens_stream.viewers.window import Window, process
from sapiens_stream.viewers.window.shared_frames import SLOTS
from tests.display import eventually

SCREEN = Screen(views=[CameraView(camera="0", trouble="refused")], figures=LiveFigures(model="", device=""))
TRACEBACK = "Traceback (most recent call last):\n  File ...\nRuntimeError: no font\n"
QT = "qt.qpa.xcb: could not connect to display :4711\nqt.qpa.plugin: Could not load\n"
WAITS = "sys.stdin.read()"
HANGS = "time.sleep(600)"

Opener = Callable[[str], Window]


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch) -> Opener:
    """Opens a window whose process runs the given script."""
    real = subprocess.Popen

    def open_with(script: str) -> Window:
        command = [sys.executable, "-c", f"import os, sys, time\n{script}"]
        monkeypatch.setattr(subprocess, "Popen", lambda _, **settings: real(command, **settings))
        return Window("title", SAPIENS)

    monkeypatch.setattr(window_module, "_no_display", lambda: "")
    return open_with


def says(*lines: str, then: str = WAITS) -> str:
    return "".join(f"print({line!r}, flush=True)\n" for line in lines) + then


@pytest.mark.parametrize(
    ("script", "why"),
    [
        pytest.param(says("failed no  screen"), "no  screen", id="it says why"),
        pytest.param(f"sys.stderr.write({TRACEBACK!r}); sys.exit(1)", "RuntimeError: no font", id="it raises"),
        pytest.param(f"sys.stderr.write({QT!r}); os.abort()", QT.splitlines()[0], id="Qt gives up"),
        pytest.param("sys.exit(7)", "its process ended with 7", id="it says nothing"),
        pytest.param("sys.stdout.buffer.write(b'failed caf\\xe9\\n')", "caf\N{REPLACEMENT CHARACTER}", id="no UTF-8"),
    ],
)
def test_a_window_that_does_not_open_says_why_in_one_line(opener: Opener, script: str, why: str) -> None:
    if "failed" in script:
        script = script.replace(WAITS, "")
    with pytest.raises(DeviceError) as refusal:
        opener(script)
    assert str(refusal.value) == f"no window can be opened: {why}; --web shows the pictures in a browser"


def test_a_process_that_hangs_is_killed(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "_OPENS_WITHIN", 0.05)
    monkeypatch.setattr(window_module, "_CLOSES_WITHIN", 0.05)
    with pytest.raises(DeviceError, match="none came up within 0 seconds"):
        opener(HANGS)
    assert not [thread for thread in threading.enumerate() if thread.name == "preview window"]


@pytest.mark.parametrize("fails", ["memory", "map", "file", "process"])
def test_a_system_that_has_no_room_for_it_is_one_line(
    fails: str, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    where = {
        "memory": (window_module.SharedSlots, "create"),
        "map": (mmap, "mmap"),
        "file": (window_module.tempfile, "TemporaryFile"),
        "process": (Window, "_start"),
    }
    held = open_files()
    monkeypatch.setattr(*where[fails], refuse)
    with pytest.raises(DeviceError, match="no window can be opened: out of memory; --web"):
        opener(WAITS)
    assert open_files() <= held


def open_files() -> int:
    gc.collect()  # what tests before left open would be closed meanwhile
    here = Path("/proc/self/fd")
    return len(list(here.iterdir())) if here.exists() else 0


def test_screens_that_the_window_never_takes_are_dropped(opener: Opener) -> None:
    window = opener(says("ready"))
    for _ in range(3 * SLOTS):
        window.show(SCREEN)
    assert window.commands() == []
    window.close()


def test_a_window_that_fails_later_is_one_warning_and_lost(opener: Opener, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        window = opener(says("ready", then=f"sys.stdin.readline()\nsys.stderr.write({TRACEBACK!r})\nsys.exit(1)"))
        window.show(SCREEN)
        assert eventually(lambda: Command.LOST in window.commands())
        for _ in range(SLOTS):
            window.show(SCREEN)  # into a pipe that nobody reads
        window.close()
    assert [record.getMessage() for record in caplog.records] == ["the preview window failed: RuntimeError: no font"]


def test_a_window_that_falls_silent_and_does_not_end_is_lost(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    window = opener(says("ready", then="os.close(1)\ntime.sleep(600)"))
    assert eventually(lambda: Command.LOST in window.commands())
    window.close()
    assert [record.getMessage() for record in caplog.records] == [
        "the preview window failed: its process ended with -9"
    ]


def test_a_message_that_was_cut_short_is_left_out(opener: Opener) -> None:
    window = opener(says("ready", "free", "free x", "free 99", "command NOTHING", "command PAUSE"))
    assert eventually(lambda: Command.PAUSE in window.commands())
    window.close()


def test_a_window_that_crashes_is_told_one_that_is_closed_is_not(
    opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    window = opener(says("ready", then="sys.stdin.readline()\nos.kill(os.getpid(), 11)"))
    window.show(SCREEN)
    assert eventually(lambda: Command.LOST in window.commands())
    window.close()
    opener(says("ready", then="sys.stdin.read()\nos.kill(os.getpid(), 9)")).close()
    assert [record.getMessage() for record in caplog.records] == [
        "the preview window failed: its process ended with -11"
    ]


class TestItsProcess:
    @pytest.fixture
    def opencv_error(self) -> cv2.error:
        with pytest.raises(cv2.error) as refusal:
            cv2.resize(np.zeros((0, 0), np.uint8), (1, 1))
        return refusal.value

    def test_a_display_that_opencv_refuses_is_told(
        self,
        opencv_error: cv2.error,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        def refuse(*_: Any) -> None:
            raise opencv_error

        classes = [SAPIENS.title, SAPIENS.names, SAPIENS.colours]
        settings = {"title": "t", "painting": {"opacity": 0.5}, "memory": "0", "classes": classes}
        monkeypatch.setattr(sys, "argv", ["process", json.dumps(settings)])
        monkeypatch.setattr(process.SharedSlots, "attach", lambda _: None)
        monkeypatch.setattr(process.signal, "signal", lambda *_: None)
        monkeypatch.setattr(cv2, "namedWindow", refuse)
        process.main()
        out, _ = capfd.readouterr()
        assert out.startswith("failed ") and out.count("\n") == 1 and "ssize.empty()" in out

    def test_a_window_that_is_gone_asks_to_quit(self, opencv_error: cv2.error, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> float:
            raise opencv_error

        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "waitKeyEx", lambda _: -1)
        monkeypatch.setattr(cv2, "getWindowProperty", refuse)
        assert process.PreviewWindow("t", SAPIENS, opacity=0.5).keys() is Command.QUIT

    def test_a_run_that_is_gone_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Gone(io.StringIO):
            def flush(self) -> None:
                raise BrokenPipeError

        ended: list[int] = []
        monkeypatch.setattr(process, "os", SimpleNamespace(_exit=ended.append))
        monkeypatch.setattr(sys, "stdout", Gone())
        process.tell("ready")
        assert ended == [0]

    def test_the_end_of_its_input_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ended: list[int] = []
        monkeypatch.setattr(process, "os", SimpleNamespace(_exit=ended.append))
        monkeypatch.setattr(sys, "stdin", io.StringIO("show 0\n"))
        process.NewestSlot().listen()
        assert ended == [0]
