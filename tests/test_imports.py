"""Importing the package changes nothing of the process that imports it."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sapiens_stream
from tests.media import make_photo, make_video, picture
from tests.program import WAIT

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(sapiens_stream.__path__, "sapiens_stream.")
    if module.name != "sapiens_stream.__main__"
)
# What the libraries do on import is theirs: those that our modules import are there before.
PROBE = """
import importlib, json, os, signal, sys, threading, warnings

def state():
    return {
        "environment": dict(os.environ),
        "av": av.logging.get_level(),
        "OpenCV": cv2.utils.logging.getLogLevel(),
        "OpenCV's threads": cv2.getNumThreads(),
        "torch's threads": torch.get_num_threads(),
        "signals": {str(n): str(signal.getsignal(n)) for n in sorted(signal.valid_signals())},
        "threads": threading.active_count(),
        "warnings": len(warnings.filters),
        "folder": os.getcwd(),
        "files": sorted(os.listdir(".")),
        "hooks": [str(sys.excepthook), str(threading.excepthook)],
        "recursion": sys.getrecursionlimit(),
    }

def libraries(names):
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass

import av, av.logging, cv2, numpy, torch
libraries(LIBRARIES)
av.logging.set_level(av.logging.INFO)  # as a program may have it
before = state()
missing = []
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").startswith("sapiens_stream"):
            raise
        missing.append(name)
after = state()
print(json.dumps({"changed": {key: [before[key], after[key]] for key in before if before[key] != after[key]},
                  "missing": missing}))
"""
LIBRARIES = [
    "typer", "rich.console", "rich.progress", "orjson", "torchvision", "torch.export", "torch._dynamo",
    "safetensors.torch", "uvicorn", "starlette", "moderngl", "isal",
]  # fmt: skip


def probe(code: str, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=WAIT, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_importing_every_module_changes_nothing(tmp_path: Path) -> None:
    code = PROBE.replace("LIBRARIES", repr(LIBRARIES), 1)
    found = json.loads(probe(code, json.dumps(MODULES), folder=tmp_path))
    assert found["changed"] == {}
    assert not [name for name in found["missing"] if ".training." not in name]


@pytest.mark.parametrize("kind", ["video", "photo"])
def test_opening_silences_ffmpeg_once_whose_callback_can_deadlock(kind: str, tmp_path: Path) -> None:
    path = make_photo(tmp_path / "a.jpg", picture(1)) if kind == "photo" else make_video(tmp_path / "a.mp4", frames=2)
    code = (
        "import sys, av.logging\n"
        "from sapiens_stream import open_source\n"
        "av.logging.set_level(av.logging.INFO)\n"
        "for _ in range(2):\n"
        "    with open_source(sys.argv[1]) as source:\n"
        "        list(source.frames())\n"
        "    print(av.logging.get_level())\n"
        "    av.logging.set_level(av.logging.ERROR)  # the program's own wish, from now on\n"
    )
    assert probe(code, str(path), folder=tmp_path) == "16"
    assert probe(code.replace("range(2)", "range(1)"), str(path), folder=tmp_path) == "None"
