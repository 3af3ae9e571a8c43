"""Where the program is put: containers, clusters, services, whose users and processes lack what a desktop's have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sapiens_stream.inference.compilation import keep_compiled
from sapiens_stream.models.detectors import DETECTORS, find
from tests.program import Program


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is a number alone, without an entry in the system's list, as `docker run --user` has them."""
    pwd = pytest.importorskip("pwd", reason="users have no numbers here")

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "TORCH_HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_has_the_models_that_are_in_the_package(program: Program) -> None:
    outcome = program("models", "list")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert find(DETECTORS["ssdlite320"]) is None


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_keeps_what_is_compiled_in_the_temporary_folder(tmp_path: Path) -> None:
    assert keep_compiled() == "the temporary folder"
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ and not list(tmp_path.iterdir())
