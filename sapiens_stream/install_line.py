"""How to install what is missing, said so that the line works where it is read."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

NAME = "sapiens-stream"


def pip_install() -> str:
    """The command that installs packages beside this one, up to their names.

    `pip install` where the shell's pip is that of the environment this program runs in, which need not be activated.
    Else that environment's Python calls it, or, where it has no pip, as those that uv makes have none, uv does.
    """
    python = Path(sys.executable)
    found = shutil.which("pip")
    if not sys.executable or (found and Path(found).parent == python.parent):
        return "pip install"
    with suppress(OSError, ValueError):  # a working directory that is gone, or elsewhere
        python = python.relative_to(Path.cwd())
    called = _quoted(str(python))
    # Looked for on the path alone: setuptools takes `find_spec("pip")` for pip at work, and is out of order after it.
    has_pip = PathFinder.find_spec("pip") is not None
    return f"{called} -m pip install" if has_pip else f"uv pip install --python {called}"


def install_line(extra: str) -> str:
    """The command that adds an extra to this installation.

    Where the package came from a clone (`pip install .`, `pip install -e .`, or run in it uninstalled), from a wheel's
    file or from git, the line names that, as an index need not have it; else the package by its name.

    >>> install_line("web")
    "pip install 'sapiens-stream[web]'"
    """
    origin = _origin()
    if "vcs_info" in origin:
        what = f"{NAME}[{extra}] @ {_in_git(origin)}"
    elif place := _on_disk(origin):
        what = f"{'.' if place == Path.cwd() else place}[{extra}]"
    else:
        what = f"{NAME}[{extra}]"
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"{pip_install()} {editable}{_quoted(what)}"


def _origin() -> dict[str, Any]:
    """What the installer noted of where the package came from (PEP 610); nothing for one from an index."""
    try:
        found = json.loads(distribution(NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _in_git(origin: dict[str, Any]) -> str:
    source = origin["vcs_info"]
    revision = source.get("requested_revision")
    return f"{source['vcs']}+{origin['url']}{f'@{revision}' if revision else ''}"


def _on_disk(origin: dict[str, Any]) -> Path | None:
    """The folder or the wheel that the package was installed from, or the clone that it is imported from."""
    url = urlsplit(origin.get("url", ""))
    if url.scheme == "file":
        place = Path(url2pathname(url.path))
        if place.is_file() or (place / "pyproject.toml").is_file():
            return place
    clone = Path(__file__).parents[1]
    return clone if (clone / "pyproject.toml").is_file() else None


def _quoted(text: str) -> str:
    """Shells take brackets for a pattern; that of Windows knows double quotes alone."""
    return f'"{text}"' if os.name == "nt" else shlex.quote(text)
