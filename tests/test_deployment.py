"""Where the program is put: containers, clusters, services, whose users lack what a desktop's have."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sapiens_stream.errors import OutputError
from sapiens_stream.inference.compilation import keep_compiled
from sapiens_stream.models.detectors import DETECTORS, find, pull
from sapiens_stream.models.hub_library import hub_library
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


@pytest.fixture
def shut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may look neither into the folder that the program is started in nor into HOME: `sudo -u` in /root."""

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *given: Any, **options: Any) -> Any:
            place = Path("/") if isinstance(path, int) else Path(os.fsdecode(path))
            if not place.is_absolute() or place.is_relative_to(tmp_path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
            return call(path, *given, **options)

        return refuse

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(hub_library().constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("stat", "mkdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


@pytest.mark.usefixtures("shut_out")
@pytest.mark.parametrize("command", ["models list", "models info builtin", "video gone.mp4 -m builtin"])
def test_a_user_who_may_not_look_into_the_folders_around_can_name_models(program: Program, command: str) -> None:
    assert "Permission denied" not in program(*command.split()).stderr


@pytest.mark.usefixtures("shut_out")
def test_a_cache_of_anothers_is_named_with_the_way_to_choose_ones_own() -> None:
    with pytest.raises(OutputError, match="Permission denied; choose another place with TORCH_HOME"):
        pull(DETECTORS["ssdlite320"])
