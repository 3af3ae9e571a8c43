"""The programs in samples/, each run as its reader would."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from sapiens_stream import OutputError
from sapiens_stream.classes import SAPIENS
from tests.media import make_video
from tests.program import WAIT
from tests.schemas import mistakes

SAMPLES = Path(__file__).parents[1] / "samples"
PHOTO = SAMPLES / "astronaut.jpg"


def load(name: str) -> ModuleType:
    """A sample as a module; what it does as a program it does not do."""
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebook_runs_and_is_stored_without_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.read(SAMPLES / "segment.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    resources = {"metadata": {"path": str(SAMPLES)}}
    nbclient.NotebookClient(notebook, timeout=int(WAIT), kernel_name="python3", resources=resources).execute()
    shown = {cell.id: cell.outputs for cell in code}
    assert "image/png" in shown["result"][0].data
    assert "Face_Neck" in shown["labels"][0].text
    assert "image/png" in shown["hair"][0].data
    assert shown["areas"][0].text.startswith("100 frames, ")


@pytest.mark.parametrize(
    ("program", "arguments", "complaint"),
    [
        ("custom_sink", [], "usage: python samples/custom_sink.py VIDEO TABLE"),
        ("custom_sink", ["none.mp4", "areas.csv"], "error: none.mp4: No such file or directory"),
        ("own_model", [], "usage: python samples/own_model.py SOURCE"),
        ("own_model", ["none.mp4"], "error: none.mp4: No such file or directory"),
    ],
)
def test_a_mistake_is_a_line(tmp_path: Path, program: str, arguments: list[str], complaint: str) -> None:
    command = [sys.executable, SAMPLES / f"{program}.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(SAMPLES.parent)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WAIT)
    assert (ended.returncode, ended.stderr) == (1, f"{complaint}\n")
    assert list(tmp_path.iterdir()) == []


class TestFramesIntoAModelOfYourOwn:
    def test_people_of_a_clip_become_vectors(self, capsys: pytest.CaptureFixture[str]) -> None:
        load("own_model").main(str(SAMPLES / "clip.mp4"), most=3)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["0.00", "0.04", "0.08"]
        assert all(len(line.split()) == 2 + 12 for line in lines)

    def test_the_background_is_cut_away(self) -> None:
        from sapiens_stream import Segmenter

        own_model = load("own_model")
        with Segmenter("builtin") as model:
            crop = own_model.cut_out(model(PHOTO))
            nobody = own_model.cut_out(model(np.full((64, 64, 3), 128, np.uint8)))
        assert crop.shape == (*own_model.SIZE, 3) and crop.dtype == np.uint8
        assert 0.1 < (crop.sum(axis=2) == 0).mean() < 0.9
        assert nobody is None or nobody.shape == crop.shape


class TestASinkOfYourOwn:
    def test_a_row_a_frame_says_what_each_class_covers(self, tmp_path: Path) -> None:
        table = tmp_path / "areas.csv"
        make_video(tmp_path / "clip.mp4", frames=5)
        load("custom_sink").main(str(tmp_path / "clip.mp4"), str(table))
        header, *rows = csv.reader(table.read_text().splitlines())
        assert header == ["frame", "time", *SAPIENS.names[1:]]
        assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
        assert all(0 <= sum(map(float, row[2:])) <= 1 for row in rows)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["areas.csv", "clip.mp4"]

    def test_a_table_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"gone/areas\.csv can't be written"):
            load("custom_sink").Areas(tmp_path / "gone" / "areas.csv", SAPIENS.names)


@pytest.fixture(scope="module")
def endpoint() -> ModuleType:
    return load("endpoint")


@pytest.fixture(scope="module")
def client(endpoint: ModuleType) -> Iterator[Any]:
    from fastapi.testclient import TestClient

    with TestClient(endpoint.app, base_url=f"http://{endpoint.HOST}") as client:
        yield client


class TestAnEndpoint:
    def test_it_listens_to_this_machine_alone(self, endpoint: ModuleType, client: Any) -> None:
        assert endpoint.HOST == "127.0.0.1"
        answer = client.post("/segment", content=PHOTO.read_bytes(), headers={"host": "elsewhere.example"})
        assert answer.status_code == 400

    @pytest.mark.parametrize("ending", [".jpg", ".png"])
    def test_a_photo_gets_its_parts(self, client: Any, ending: str) -> None:
        photo = cv2.imread(str(PHOTO))
        answer = client.post("/segment", content=cv2.imencode(ending, photo)[1].tobytes())
        assert answer.status_code == 200
        found = answer.json()
        assert mistakes(found) == []
        assert (found["width"], found["height"]) == (512, 512)
        assert "Face_Neck" in {label["name"] for label in found["labels"]}

    def test_a_photo_gets_its_overlay(self, client: Any) -> None:
        answer = client.post("/overlay", content=PHOTO.read_bytes())
        assert answer.headers["content-type"] == "image/png"
        assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).shape == (512, 512, 3)

    @pytest.mark.parametrize("photo", [b"", b"no photo", b"\xff\xd8\xff\xe0" + bytes(100)])
    def test_what_is_no_photo_is_said_to_be_none(self, client: Any, photo: bytes) -> None:
        answer = client.post("/segment", content=photo)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("not a photo that can be read: ")
        assert "/tmp" not in answer.text

    def test_a_body_that_is_too_large_is_given_up_on_the_way(self, client: Any, endpoint: ModuleType) -> None:
        chunks = iter([bytes(1 << 20)] * (endpoint.MOST_BYTES // (1 << 20) + 8))  # no length is announced
        assert client.post("/segment", content=chunks).status_code == 413
        assert client.post("/segment", content=bytes(endpoint.MOST_BYTES + 1)).status_code == 413

    def test_a_picture_of_too_many_pixels_is_not_decoded(self, client: Any, endpoint: ModuleType) -> None:
        side = int(endpoint.MOST_PIXELS**0.5) + 100
        png = cv2.imencode(".png", np.zeros((side, side), np.uint8))[1].tobytes()
        answer = client.post("/segment", content=png)
        assert answer.status_code == 422
        assert "pixels" in json.loads(answer.text)["detail"]

    def test_an_upload_that_does_not_come_is_given_up(
        self, client: Any, endpoint: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(request: Any) -> bytes:
            import asyncio

            await asyncio.Event().wait()
            return b""

        monkeypatch.setattr(endpoint, "_body", never)
        monkeypatch.setattr(endpoint, "MOST_SECONDS", 0.05)
        assert client.post("/segment", content=b"x").status_code == 408


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_slurm_signals_the_process_that_the_batch_script_becomes(tmp_path: Path) -> None:
    script = SAMPLES / "slurm.sh"
    assert "#SBATCH --signal=B:TERM@" in script.read_text()  # without B: job steps alone, of which there are none
    program = tmp_path / "sapiens-stream"
    program.write_text("#!/bin/sh\necho $$\n")
    program.chmod(0o755)
    (tmp_path / "videos.txt").write_text("a.mp4\n")
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_ARRAY_TASK_COUNT": "1",
    }
    command = ["bash", str(script), str(tmp_path / "videos.txt"), "out"]
    batch = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert batch.communicate(timeout=WAIT)[0] == f"{batch.pid}\n"
