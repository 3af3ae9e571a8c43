"""What the program says before it does anything: its version, and one line for what a user got wrong."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.program import Program


@pytest.mark.parametrize(
    "command",
    [(sys.executable, "-m", "sapiens_stream"), (str(Path(sys.executable).with_name("sapiens-stream")),)],
    ids=["module", "script"],
)
def test_the_version_with_the_name(command: tuple[str, ...]) -> None:
    if not Path(command[0]).exists():
        pytest.skip(f"the script {command[0]} is not installed")
    run = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"sapiens-stream {version('sapiens-stream')}\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--nonsense",), "--nonsense"),
        (("nonsense",), "nonsense"),
        (("video",), "INPUT"),
        (("video", "x.mp4", "--opacity"), "--opacity"),
        (("models", "nonsense"), "nonsense"),
        (("models", "info"), "NAME|PATH"),
        (("demo", "--nonsense"), "--nonsense"),
        (("doctor", "nonsense"), "nonsense"),
    ],
)
def test_wrong_usage_is_one_line(program: Program, arguments: tuple[str, ...], says: str) -> None:
    outcome = program(*arguments)
    assert outcome.code == 2 and outcome.stdout == ""
    assert len(outcome.stderr.splitlines()) == 1 and outcome.stderr.startswith("error: ") and says in outcome.stderr
