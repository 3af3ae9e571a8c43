"""`sapiens-stream live` on real streams: what it writes, says and answers, and how it ends."""

from __future__ import annotations

import json
import signal
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sapiens_stream.sources.live.cameras import CameraDevice
from sapiens_stream.sources.live.v4l2 import CameraMode
from tests.media import make_video
from tests.program import Program, start
from tests.senders import Sender, free_port

CAMERA = "lavfi:testsrc2=size=160x96:rate=30"
HEADLESS = "--no-window"
WAIT = 60.0  # seconds; a process of its own loads torch first


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


class TestFiles:
    def test_recording_masks_json_and_record(self, program: Program, tmp_path: Path, colour_torchscript: Path) -> None:
        out = tmp_path / "out"
        arguments = ("--max-frames", 30, "--record", tmp_path / "cam.mp4", "--save", "classes,json", "-o", out)
        outcome = program("live", CAMERA, "-m", colour_torchscript, HEADLESS, *arguments)
        assert outcome.code == 0, outcome.stderr
        record = json.loads((tmp_path / "cam_run.json").read_text())
        live = record["live"]
        assert record["status"] == "complete" and record["input"].startswith("lavfi:testsrc2")
        assert set(record["steady"]["flicker"]) == {"with", "without"}
        assert live["received"] == live["shown"] + live["dropped"] and live["shown"] >= 30
        assert set(live["delay_ms"]) == {"total", "decode", "wait", "infer", "draw"}
        assert frames_of(tmp_path / "cam.mp4") == live["recorded"]["video"]["written"]
        maps = sorted((out / "cam").glob("*_seg.npy"))
        assert len(maps) == live["recorded"]["frames"]["written"]
        assert np.load(maps[0]).shape == (96, 160)
        assert record["settings"]["propagate"] is True and len(record["model"]["sha256"]) == 64
        assert "30 frames shown" in outcome.stdout or "31 frames shown" in outcome.stdout

    @pytest.mark.parametrize("folder", ["", "new"])
    def test_all_files_of_a_recording_lie_in_one_place(
        self, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_torchscript: Path, folder: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        arguments = ("--max-frames", 5, "--record", Path(folder) / "talk.mp4", "--save", "classes")
        outcome = program("live", CAMERA, "-m", colour_torchscript, HEADLESS, *arguments)
        assert outcome.code == 0, outcome.stderr
        written = {path.relative_to(tmp_path / folder).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
        assert written == {"talk.mp4", "talk", "talk_run.json"}
        assert outcome.stdout.strip().endswith(f"in {folder or tmp_path}")

    def test_nothing_is_written_unless_asked_for(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        out = tmp_path / "out"
        outcome = program("live", CAMERA, "-m", colour_torchscript, HEADLESS, "--max-frames", 3, "-o", out)
        assert outcome.code == 0 and not out.exists()

    def test_json_is_one_line_on_standard_output(self, program: Program, colour_torchscript: Path) -> None:
        arguments = ("--duration", 1, "--json", "--quiet", "--no-propagate")
        outcome = program("live", CAMERA, CAMERA, "-m", colour_torchscript, HEADLESS, *arguments)
        [record] = [json.loads(line) for line in outcome.stdout.splitlines()]
        assert record["status"] == "complete" and len(record["live"]["cameras"]) == 2
        assert record["live"]["carried"] == 0 and outcome.stderr == ""

    def test_a_file_at_its_own_speed(self, program: Program, tmp_path: Path, colour_torchscript: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=15)
        record = tmp_path / "again.mkv"
        outcome = program("live", clip, "--realtime", "-m", colour_torchscript, HEADLESS, "--record", record)
        assert outcome.code == 0, outcome.stderr
        live = json.loads((tmp_path / "again_run.json").read_text())["live"]
        assert live["received"] == 15 == live["shown"] + live["dropped"]

    @pytest.mark.parametrize("name, codec", [("cam.MP4", "libx264"), ("cam.webm", "libvpx-vp9")])
    def test_a_recording_takes_every_ending_that_its_codec_takes(
        self, program: Program, tmp_path: Path, colour_torchscript: Path, name: str, codec: str
    ) -> None:
        arguments = ("--max-frames", 5, "--record", tmp_path / name, "--codec", codec)
        outcome = program("live", CAMERA, "-m", colour_torchscript, HEADLESS, *arguments)
        assert outcome.code == 0, outcome.stderr
        assert frames_of(tmp_path / name) >= 5

    def test_ids_that_are_asked_for_are_in_all_frames_of_one_large_person(
        self, program: Program, tmp_path: Path
    ) -> None:
        photo = cv2.imread(str(Path(__file__).parents[1] / "samples" / "astronaut.jpg"))[:, :350]
        cv2.imwrite(str(tmp_path / "one.png"), cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA))
        camera = f"lavfi:movie={tmp_path / 'one.png'}:loop=0,setpts=N/10/TB,fps=10"
        arguments = ("--max-frames", 40, "--people", "auto", "--save", "people", "-o", tmp_path / "out")
        outcome = program("live", camera, HEADLESS, *arguments)
        assert outcome.code == 0, outcome.stderr
        assert any((tmp_path / "out" / "live").glob("*_people.npy"))

    def test_a_browser_can_watch(self, program: Program, colour_torchscript: Path) -> None:
        pytest.importorskip("uvicorn", reason="the extra web is not installed")
        port = free_port()
        arguments = ("--web", f"127.0.0.1:{port}", "--max-frames", 5)
        outcome = program("live", CAMERA, "-m", colour_torchscript, HEADLESS, *arguments)
        assert outcome.code == 0 and f"live at http://127.0.0.1:{port}/" in outcome.stderr


class TestTrouble:
    @pytest.mark.parametrize("others, code", [((), 1), ((CAMERA,), 3)])
    def test_a_camera_that_never_came(
        self, program: Program, colour_torchscript: Path, others: tuple[str, ...], code: int
    ) -> None:
        dead = f"tcp://user:secret@127.0.0.1:{free_port()}"
        arguments = ("--reconnect", "no", "--max-frames", 10, "--json")
        outcome = program("live", dead, *others, "-m", colour_torchscript, HEADLESS, *arguments)
        assert outcome.code == code, outcome.stderr
        record = json.loads(outcome.stdout)
        assert record["status"] == ("complete" if others else "failed")
        assert ("refused" in str(record["error"]).lower()) == (not others)
        [complaint] = [line for line in outcome.complaints if line.startswith("error:")]
        assert "127.0.0.1" in complaint and "refused" in complaint.lower()

    def test_a_camera_that_is_waited_for_in_vain(self, program: Program, colour_torchscript: Path) -> None:
        dead = f"tcp://127.0.0.1:{free_port()}"
        outcome = program("live", dead, dead, "-m", colour_torchscript, HEADLESS, "--duration", 2, "--json")
        assert outcome.code == 1 and outcome.stderr.count("no picture came") == 2
        record = json.loads(outcome.stdout)
        assert record["status"] == "failed" and record["error"].count("no picture came") == 2

    def test_passwords_are_neither_said_nor_written(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        with Sender("http") as sender:
            address = sender.url.replace("http://", "http://user:verysecret@")
            arguments = ("--max-frames", 5, "--save", "json", "-o", tmp_path, "--json")
            outcome = program("live", address, "-m", colour_torchscript, HEADLESS, *arguments)
        assert outcome.code == 0, outcome.stderr
        written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
        assert "verysecret" not in outcome.stdout + outcome.stderr + written
        assert str(sender.port) in json.loads((tmp_path / "live_run.json").read_text())["input"]


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "no SOURCE"),
        (["nowhere.mp4"], "no such live source"),
        ([CAMERA, "--reconnect", "often"], "--reconnect often"),
        ([CAMERA, "--record", "cam.txt"], "cam.txt: a video by libx264 goes into .mp4 or .mov or .mkv"),
        ([CAMERA, "--record", "cam.mp4", "--codec", "libvpx-vp9"], "goes into .webm or .mkv"),
        ([CAMERA, "--ids"], "--ids, but people are not looked for one by one: --people builtin finds them"),
        ([CAMERA, "--save", "pictures"], "can't save pictures"),
        ([CAMERA, "--codec", "h263"], "no codec 'h263'"),
        ([CAMERA, "--classes", "wings"], "no class 'wings'"),
        ([CAMERA, "--web=nowhere:x"], "no address"),
    ],
)
def test_wrong_usage(program: Program, arguments: list[str], complaint: str) -> None:
    recording = ["--record", "cam.mp4"] if "--codec" in arguments else []
    outcome = program("live", *arguments, *recording, HEADLESS)
    assert outcome.code == 2 and complaint in outcome.complaints[0] and len(outcome.complaints) == 1


@pytest.mark.parametrize("arguments, code", [(["--list-devices"], 0), (["--help"], 0)])
def test_what_needs_no_model_is_answered_at_once(program: Program, arguments: list[str], code: int) -> None:
    outcome = program("live", *arguments)
    assert outcome.code == code and outcome.stdout


@pytest.mark.parametrize("found", [True, False])
def test_cameras_are_listed_as_json_too(program: Program, monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    camera = CameraDevice("/dev/video0", "Webcam", (CameraMode("yuyv422", (480, 640), (Fraction(30), Fraction(15))),))
    monkeypatch.setattr("sapiens_stream.sources.live.cameras.list_cameras", lambda: [camera] * found)
    told = json.loads(program("live", "--list-devices", "--json").stdout)
    mode = {"pixel_format": "yuyv422", "size": [480, 640], "rates": [30.0, 15.0]}
    assert told == [{"address": "/dev/video0", "name": "Webcam", "modes": [mode]}] * found


class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_finishes_the_files(
        self, tmp_path: Path, colour_torchscript: Path, number: signal.Signals
    ) -> None:
        process = start("live", CAMERA, "-m", colour_torchscript, HEADLESS, "--record", tmp_path / "cam.mp4")
        self.await_growth(tmp_path / ".cam.part.mp4", 20_000)
        process.send_signal(number)
        _, err = process.communicate(timeout=WAIT)
        assert process.returncode == 130 and "stopping: closing the files\n" in err and "Traceback" not in err, err
        assert frames_of(tmp_path / "cam.mp4") > 10
        record = json.loads((tmp_path / "cam_run.json").read_text())
        assert record["status"] == "interrupted"
        assert record["live"]["received"] == record["live"]["shown"] + record["live"]["dropped"]

    def test_a_killed_recording_is_playable(self, tmp_path: Path, colour_torchscript: Path) -> None:
        process = start("live", CAMERA, "-m", colour_torchscript, HEADLESS, "--record", tmp_path / "cam.mp4")
        growing = tmp_path / ".cam.part.mp4"
        self.await_growth(growing, 200_000)
        process.kill()
        process.communicate(timeout=WAIT)
        assert frames_of(growing) > 10
        assert json.loads((tmp_path / "cam_run.json").read_text())["status"] == "interrupted"

    @staticmethod
    def await_growth(path: Path, size: int) -> None:
        end = time.monotonic() + WAIT
        while not path.exists() or path.stat().st_size < size:
            assert time.monotonic() < end, f"{path} does not grow"
            time.sleep(0.05)


class TestWhoseFolder:
    def test_a_recording_is_never_written_over_unasked(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        record = tmp_path / "cam.mp4"
        arguments = ("-m", colour_torchscript, HEADLESS, "--max-frames", 3, "--record", record)
        save = ("--save", "classes", "-o", tmp_path)
        assert program("live", CAMERA, *arguments, *save).code == 0
        files = json.loads((tmp_path / "cam_run.json").read_text())["files"]
        assert files["single"] == {"cam.mp4": record.stat().st_size} and files["endings"]["_seg.npy"]["count"] >= 3
        before = record.read_bytes()
        outcome = program("live", CAMERA, *arguments)
        assert outcome.code == 2 and len(outcome.complaints) == 1, outcome.stderr
        assert "cam_run.json" in outcome.complaints[0] and "--overwrite" in outcome.complaints[0]
        assert record.read_bytes() == before
        outcome = program("live", CAMERA, *arguments, "--overwrite")
        assert outcome.code == 0, outcome.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"cam.mp4", "cam_run.json"}
