"""What is built and installed, and what says how: the wheel, the install lines, CI's files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml

from sapiens_stream import install_line as module
from sapiens_stream.install_line import install_line, pip_install

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names in the wheel and in the sdist, as the build backend makes them of this tree."""
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("dist")
    code = (
        "import hatchling.build as b, json, sys;"
        "print(json.dumps([b.build_wheel(sys.argv[1]), b.build_sdist(sys.argv[1])]))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wheel, sdist = json.loads(out.splitlines()[-1])
    with tarfile.open(folder / sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    return {"wheel": set(zipfile.ZipFile(folder / wheel).namelist()), "sdist": names}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("wheel", "sapiens_stream/py.typed"),
        ("wheel", "sapiens_stream/models/builtin/weights.safetensors"),
        ("wheel", "sapiens_stream/models/builtin/MODEL_CARD.md"),
        ("wheel", "sapiens_stream/viewers/web/page/index.html"),
        ("wheel", "sapiens_stream/samples/people.mp4"),
        ("wheel", "sapiens_stream/sinks/frame.schema.json"),
        ("wheel", "sapiens_stream/sinks/run.schema.json"),
        ("wheel", "sapiens_stream/sinks/batch.schema.json"),
        ("wheel", "sapiens_stream/sinks/log.schema.json"),
        ("sdist", "LICENSE"),
        ("sdist", "README.md"),
        ("sdist", "pyproject.toml"),
        ("sdist", "sapiens_stream/training/train.py"),
        ("sdist", "samples/people.mp4"),
        ("sdist", "tests/test_packaging.py"),
        ("sdist", "benchmarks/cpu.py"),
    ],
)
def test_what_is_built_holds(built: dict[str, set[str]], kind: str, name: str) -> None:
    assert name in built[kind]


def test_the_wheel_holds_every_module_but_those_of_the_recipe(built: dict[str, set[str]]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sapiens_stream").rglob("*.py")}
    recipe = {name for name in modules if name.startswith("sapiens_stream/training/")}
    assert recipe
    in_wheel = {name for name in built["wheel"] if name.endswith(".py") and "/samples/" not in name}
    assert in_wheel == modules - recipe


def test_torch_and_torchvision_were_built_for_each_other() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


class Installed:
    """Stands for how the package got here."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self._text = None if origin is None else json.dumps(origin)

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self._text


def _clone(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return folder


@pytest.mark.parametrize(
    ("origin", "where", "line"),
    [
        (None, "out", "pip install 'sapiens-stream[web]'"),
        ({"url": "file://CLONE", "dir_info": {}}, "clone", "pip install '.[web]'"),
        ({"url": "file://CLONE", "dir_info": {"editable": True}}, "clone", "pip install -e '.[web]'"),
        ({"url": "file://CLONE", "dir_info": {"editable": True}}, "out", "pip install -e 'CLONE[web]'"),
        ({"url": "file://GONE", "dir_info": {}}, "out", "pip install 'sapiens-stream[web]'"),
        ({"url": "file://WHEEL", "archive_info": {}}, "out", "pip install 'WHEEL[web]'"),
        (
            {"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "ab", "requested_revision": "v1"}},
            "out",
            "pip install 'sapiens-stream[web] @ git+https://host/x.git@v1'",
        ),
        (
            {"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "ab"}},
            "out",
            "pip install 'sapiens-stream[web] @ git+https://host/x.git'",
        ),
    ],
    ids=["index", "clone", "editable", "editable, from elsewhere", "clone gone", "wheel", "git", "git's head"],
)
def test_the_install_line_is_that_of_this_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any] | None, where: str, line: str
) -> None:
    (tmp_path / "out").mkdir()
    places = {"CLONE": _clone(tmp_path / "clone"), "WHEEL": tmp_path / "x.whl", "GONE": tmp_path / "gone"}
    places["WHEEL"].touch()

    def placed(text: str) -> str:
        return re.sub("CLONE|WHEEL|GONE", lambda found: str(places[found[0]]), text)

    if origin is not None:
        origin = origin | {"url": placed(origin["url"])}
    monkeypatch.setattr(module, "distribution", lambda name: Installed(origin))
    monkeypatch.setattr(module, "pip_install", lambda: "pip install")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site-packages" / "sapiens_stream" / "install_line.py"))
    monkeypatch.chdir(tmp_path / where)
    assert install_line("web") == placed(line)


@pytest.mark.parametrize("where", ["clone", "."])
def test_a_clone_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    clone = _clone(tmp_path / "clone")
    monkeypatch.setattr(module, "distribution", missing)
    monkeypatch.setattr(module, "pip_install", lambda: "pip install")
    monkeypatch.setattr(module, "__file__", str(clone / "sapiens_stream" / "install_line.py"))
    monkeypatch.chdir(tmp_path / where)
    assert install_line("web") == f"pip install '{'.' if where == 'clone' else clone}[web]'"


@pytest.mark.parametrize(
    ("activated", "has_pip", "where", "line"),
    [
        (True, True, "clone", "pip install"),
        (False, True, "clone", ".venv/bin/python -m pip install"),
        (False, True, ".", "clone/.venv/bin/python -m pip install"),
        (False, True, "out", "CLONE/.venv/bin/python -m pip install"),
        (False, False, "clone", "uv pip install --python .venv/bin/python"),
    ],
    ids=["activated", "by its path", "from above", "from elsewhere", "made by uv"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths of other systems")
def test_pip_is_that_of_this_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, activated: bool, has_pip: bool, where: str, line: str
) -> None:
    (tmp_path / "out").mkdir()
    folders = tmp_path / "clone" / ".venv" / "bin", tmp_path / "usr"
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "pip").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(folders[0] / "python"))
    installed = tmp_path / "site-packages" / ("pip.py" if has_pip else "torch.py")
    installed.parent.mkdir()
    installed.touch()
    monkeypatch.setattr(sys, "path", [str(installed.parent)])
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders if activated else folders[1:])))
    monkeypatch.chdir(tmp_path / where)
    assert pip_install() == line.replace("CLONE", str(tmp_path / "clone"))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="distutils is of Python 3.11 and before")
def test_asking_for_pip_leaves_setuptools_in_order() -> None:
    # torch.compile imports it, after a line for pip was made: that of a torch without CUDA, for one.
    pytest.importorskip("setuptools")
    asked = "import os; os.environ['PATH'] = ''; from sapiens_stream.install_line import pip_install; pip_install()"
    subprocess.run([sys.executable, "-c", f"{asked}; import setuptools"], check=True)


def _yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_workflow_tests_the_pythons_that_are_declared_on_three_systems() -> None:
    jobs = _yaml(".github/workflows/tests.yml")["jobs"]
    declared = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert matrix["python"] == declared
    assert f">={declared[0]}" == PROJECT["requires-python"]
    assert [re.match(r"[a-z]+", system)[0] for system in matrix["os"]] == ["ubuntu", "macos", "windows"]  # type: ignore[index]
    assert {"lint", "lowest", "wheel"} <= jobs.keys()


def test_ci_runs_what_is_checked_before_a_commit() -> None:
    hooks = [hook["entry"] for repo in _yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    lint = (ROOT / ".ci" / "lint").read_text()
    for tool in ("ruff check", "ruff format", "mypy"):
        assert any(f"-m {tool}" in hook for hook in hooks)
        assert f"-m {tool}" in lint
    assert ".ci/lint" in (ROOT / ".ci" / "run").read_text()


def test_a_report_of_a_bug_asks_for_the_doctor() -> None:
    fields = _yaml(".github/ISSUE_TEMPLATE/bug.yml")["body"]
    [asked] = [field for field in fields if "sapiens-stream doctor --json" in field["attributes"]["label"]]
    assert asked["validations"]["required"]


def test_ci_tests_a_pair_of_releases_that_pyproject_admits() -> None:
    pinned = dict(line.split("==") for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines())
    for name in ("torch", "torchvision"):
        [lowest] = [each.removeprefix(f"{name}>=") for each in PROJECT["dependencies"] if each.startswith(f"{name}>=")]
        assert _numbers(pinned[name]) >= _numbers(lowest)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
