"""Programs that hold the package and have settings of their own: results are the same, and the settings stay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sapiens_stream import Frame, Segmenter, UsageError, segment
from sapiens_stream.models.model import Model
from sapiens_stream.pipeline.inference import ModelFacts
from sapiens_stream.sources import Video

CLIP = Path(__file__).parents[1] / "samples" / "people.mp4"


def class_maps() -> list[bytes]:
    """Of the first frames, made small, with a closer look at people."""
    with Video(CLIP) as video:
        frames = [cv2.resize(frame.rgb, (320, 180)) for frame in islice(video.frames(), 3) if isinstance(frame, Frame)]
    return [result.class_map.tobytes() for result in segment(frames, device="cpu", people="builtin")]


@pytest.fixture(scope="module")
def expected() -> list[bytes]:
    return class_maps()


@pytest.fixture(params=["float16", "another device"])
def torch_defaults(request: pytest.FixtureRequest, expected: list[bytes]) -> Iterator[None]:
    """What a program set for its own tensors; "meta" stands for the GPU that a machine need not have."""
    if request.param == "float16":
        torch.set_default_dtype(torch.float16)
    else:
        torch.set_default_device("meta")
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.usefixtures("torch_defaults")
def test_defaults_for_the_tensors_of_others_change_nothing(expected: list[bytes]) -> None:
    assert class_maps() == expected


@pytest.mark.parametrize(
    "decoded",
    [np.zeros((40, 30, 3), np.float32), np.zeros((40, 30), np.uint8), [[0]]],
    ids=["float", "grey", "list"],
)
def test_a_frame_that_a_source_of_ones_own_makes_is_rgb_or_refused(decoded: Any) -> None:
    with pytest.raises(UsageError, match=r"\(H, W, 3\) uint8 RGB"):
        Frame(index=0, name="mine", decoded=decoded)


TYPED = """
from contextlib import closing
from pathlib import Path
import numpy as np
from sapiens_stream import Result, Run, Segmenter, Sink, open_source, segment

paths: list[Path] = sorted(Path("photos").glob("*.jpg"))
with Segmenter() as model:
    one: Result = model(paths[0])
    batch: list[Result] = model(paths)
    first, second = model([np.zeros((4, 4, 3), np.uint8), "samples/astronaut.jpg"])
    areas = [label.pixels for label in first.labels + second.labels]
    with closing(segment(paths, model=model)) as results:
        streamed: list[Result] = list(results)
    sinks: list[Sink] = []
    with open_source("clip.mp4") as source:
        Run(source, model.engine, sinks).execute(check=True)
"""
STRICT = {"mypy": ["--strict", "--no-error-summary"], "pyright": []}


@pytest.mark.slow
@pytest.mark.parametrize("checker", STRICT)
def test_a_strictly_typed_program_has_nothing_to_work_around(checker: str, tmp_path: Path) -> None:
    pytest.importorskip(checker, reason=f"{checker} is not installed")
    program = tmp_path / "program.py"
    program.write_text("# pyright: strict\n" + TYPED)
    command = [sys.executable, "-m", checker, *STRICT[checker], str(program)]
    done = subprocess.run(command, cwd=CLIP.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_a_run_asks_of_a_model_are_properties_to_every_type_checker() -> None:
    """To Pyright a cached one is none, so that to it a run does not take a Segmenter's engine."""
    asked = [name for name, what in vars(ModelFacts).items() if isinstance(what, property)]
    assert "sha256" in asked
    assert [name for name in asked if isinstance(getattr(Model, name, None), cached_property)] == []


LATE = """
import threading
from pathlib import Path
import numpy as np
from sapiens_stream import Outputs, Run, Segmenter, open_source, segment

SAMPLES = Path(sys.argv[1])
model = Segmenter("builtin", device="cpu")

def work():
    threading.main_thread().join()
    photos = [SAMPLES / "sheet.jpg"] * 9
    print(model(SAMPLES / "astronaut.jpg").class_map.shape, len(list(segment(photos, model=model))))
    print(len(list(segment([np.zeros((90, 60, 3), np.uint8)] * 4, model=model, every=2, steady=1))))
    with open_source(SAMPLES / "astronaut.jpg") as source:
        sinks = Outputs().sinks(Path("out"), "photo", source.info, model.model.classes, print)
        Run(source, model.engine, sinks).execute(check=True)
    print(sorted(path.name for path in Path("out").iterdir()))

threading.Thread(target=work).start()
"""


def test_a_thread_that_outlives_the_main_one_goes_on(tmp_path: Path) -> None:
    """Python's own pools take nothing more from then on."""
    program = [sys.executable, "-c", f"import sys\n{LATE}", str(CLIP.parent)]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    shapes, count, files = done.stdout.splitlines() or done.stderr.splitlines()[-3:]
    assert (shapes, count) == ("(512, 512) 9", "4")
    assert "photo_overlay.mp4" in files and done.stderr == ""


def test_a_model_takes_none_of_the_programs_random_numbers() -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    with Segmenter("builtin", device="cpu", people="builtin") as model:
        model(np.zeros((90, 60, 3), np.uint8))
    assert torch.equal(torch.rand(4), expected)
