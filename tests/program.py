"""Runs the program, in this process or in one of its own, and says what it said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sapiens_stream.cli import main


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
