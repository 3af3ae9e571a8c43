"""Runs the program, in this process or in one of its own, and says what it said."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sapiens_stream.cli import main

WAIT = 180.0  # seconds; a process of its own loads torch first, on a machine that may be busy


@dataclass(frozen=True)
class Outcome:
    """The exit code and what was printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def complaints(self) -> list[str]:
        """The lines that say what went wrong."""
        return [line for line in self.stderr.splitlines() if line.startswith(("error:", "skipped ", "warning:"))]


Program = Callable[..., Outcome]


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    """Calls the program with arguments, in this process: torch is loaded once for all tests."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sapiens-stream", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        code = end.value.code
        assert isinstance(code, int)
        return Outcome(code, out, err)

    return call


def start(*arguments: object, **settings: object) -> subprocess.Popen[str]:
    """Starts the program in a process of its own."""
    command = [sys.executable, "-m", "sapiens_stream", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)  # type: ignore[call-overload,no-any-return]


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Waits for the end of a program that was started."""
    out, err = process.communicate(timeout=WAIT)
    return Outcome(process.returncode, out, err)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits until the program has come so far; AssertionError if it ends before."""
    end = time.monotonic() + WAIT
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def record_of(folder: Path, stem: str = "clip") -> dict[str, Any]:
    """The record that a run left."""
    return json.loads((folder / f"{stem}_run.json").read_text())  # type: ignore[no-any-return]
