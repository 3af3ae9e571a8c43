"""torchvision's detectors: fetched, checked, run on what they find; and what `--people auto` chooses."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
import torchvision.models.detection as detection

from sapiens_stream import ModelError, OutputError, PersonVideo, Segmenter
from sapiens_stream.cli.output_options import telling_people
from sapiens_stream.frame import Frame, PersonBox
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.models import detectors
from sapiens_stream.models.detectors import DETECTORS, DetectorFile
from sapiens_stream.people.choice import Choice
from sapiens_stream.people.first_look import BuiltinLook, LookedAt
from sapiens_stream.people.torchvision_boxes import TorchvisionBoxes, _people
from sapiens_stream.sinks import Outputs

SAMPLES = Path(__file__).parents[1] / "samples"
NAME = "ssdlite320"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the smallest detector, random."""
    torch.manual_seed(0)
    network = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served in place of the real one, and a home for what is fetched."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(detectors, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def known_as(content: bytes, monkeypatch: pytest.MonkeyPatch) -> DetectorFile:
    """The detector under a file of that content."""
    file = f"ssdlite320-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    own = replace(DETECTORS[NAME], file=file, size=len(content))
    monkeypatch.setitem(DETECTORS, NAME, own)
    return own


def test_names_of_files_hold_their_checksums() -> None:
    assert list(DETECTORS) == ["ssdlite320", "fasterrcnn-mobile", "fasterrcnn-resnet50"]
    for each in DETECTORS.values():
        assert len(each.sha256) == 8 and int(each.sha256, 16) >= 0
        builder = getattr(detection, each.builder)
        [url] = {entry.url for entry in detection_weights(builder) if entry.url.endswith(each.file)}
        assert url == f"{detectors.ENDPOINT}/{each.file}"


def detection_weights(builder: Any) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(builder)


def test_a_detector_is_fetched_and_used(
    served: Path, weights: Path, program: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = known_as(weights.read_bytes(), monkeypatch)
    outcome = program("video", SAMPLES / "clip.mp4", "--people", NAME)
    assert outcome.code == 2
    assert outcome.complaints == [f"error: {NAME} is not on disk; fetch it: sapiens-stream models pull {NAME}"]
    (served / own.file).write_bytes(weights.read_bytes())
    outcome = program("models", "pull", NAME)
    assert outcome.code == 0 and "is on disk" in outcome.stdout and "licence BSD-3-Clause" in outcome.stderr
    assert program("models", "pull", NAME).code == 0
    [entry] = [each for each in json.loads(program("models", "list", "--json").stdout)["detectors"] if each["path"]]
    assert entry["name"] == NAME and entry["sha256"] == own.sha256 and entry["licence"]["name"] == "BSD-3-Clause"
    assert NAME in program("models", "list").stdout
    with Segmenter("builtin", device="cpu", shape=(96, 96), people=NAME, warn=lambda sentence: None) as model:
        assert model(SAMPLES / "astronaut.jpg").people is not None


def test_what_comes_is_checked(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = known_as(b"as it should be", monkeypatch)
    with pytest.raises(ModelError, match="cannot be fetched from"):
        detectors.pull(own)
    (served / own.file).write_bytes(b"something else!")
    with pytest.raises(ModelError, match="came damaged"):
        detectors.pull(own)
    (served / own.file).write_bytes(b"x" * 10_000)
    with pytest.raises(ModelError, match="larger than it can be"):
        detectors.pull(own)
    (served / own.file).write_bytes(b"as it should be")
    path = detectors.pull(own)
    assert [each.name for each in path.parent.glob("*") if each.suffix != ".lock"] == [own.file]
    path.write_bytes(b"rotten")
    with pytest.raises(ModelError, match=r"is damaged: its sha256 begins with .*--force"):
        detectors.require(NAME)
    assert detectors.pull(own, force=True).read_bytes() == b"as it should be"


def test_two_at_once_fetch_it_once(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, whose file it would otherwise begin anew."""
    own = known_as(bytes(range(256)) * 4096, monkeypatch)
    (served / own.file).write_bytes(bytes(range(256)) * 4096)
    asked, second = [], ThreadPoolExecutor(1)
    later: list[Future[Path]] = []

    def first(_done: int, _total: int | None) -> None:
        if not later:
            later.append(second.submit(detectors.pull, own, progress=lambda done, _total: asked.append(done)))
            time.sleep(0.5)  # in which the second would have fetched it all

    path = detectors.pull(own, progress=first)
    assert later[0].result() == path and detectors.require(NAME) == path
    assert not asked


def test_a_place_that_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=f"{DETECTORS[NAME].file} cannot be written: Not a directory; .*TORCH_HOME"):
        detectors.pull(DETECTORS[NAME])


def test_info_knows_them(served: Path, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = known_as(b"as it should be", monkeypatch)
    absent = program("models", "info", NAME)
    assert absent.code == 0 and "models pull ssdlite320" in absent.stdout and "3.44 M" in absent.stdout
    (served / own.file).write_bytes(b"as it should be")
    path = detectors.pull(own)
    told = json.loads(program("models", "info", NAME, "--json", "--sha256").stdout)
    assert (told["path"], told["sha256"]) == (str(path), hashlib.sha256(b"as it should be").hexdigest())
    path.write_bytes(b"rotten")
    assert f"NOT the hub's, {own.sha256}...; fetch it again" in program("models", "info", NAME, "--sha256").stdout


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


WRONG = {"another network": {"weight": torch.zeros(3)}, "code": {"weight": Evil()}}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_weights_are_not_trusted(
    content: Any, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "w.pth")
    own = known_as((tmp_path / "w.pth").read_bytes(), monkeypatch)
    (served / own.file).write_bytes((tmp_path / "w.pth").read_bytes())
    detectors.pull(own)
    with pytest.raises(ModelError, match=own.file.replace(".", r"\.")):
        TorchvisionBoxes(NAME, torch.device("cpu"))
    assert "run" not in capfd.readouterr().out


def test_people_alone_count_who_are_sure() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 20], [5, 5, 50, 90], [1, 1, 9, 9], [3, 3, 3, 30]])
    found = _people(
        {"boxes": boxes, "labels": torch.tensor([1, 1, 3, 1]), "scores": torch.tensor([0.9, 0.8, 0.99, 0.9])}
    )
    assert found == [PersonBox(5, 5, 45, 85, 0.8), PersonBox(0, 0, 10, 20, 0.9)]
    unsure = {"boxes": boxes, "labels": torch.ones(4, dtype=torch.int64), "scores": torch.full((4,), 0.4)}
    assert _people(unsure) == []


def test_pixels_that_are_no_squares_are_shown_as_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that is stored half as wide: the detector sees it whole, and boxes are where they are stored."""
    seen: list[tuple[int, ...]] = []

    def network(pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        seen.extend(tuple(each.shape) for each in pictures)
        box = torch.tensor([[40.0, 10, 100, 90]])
        return [{"boxes": box, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}]

    detector = TorchvisionBoxes.__new__(TorchvisionBoxes)
    monkeypatch.setattr(detector, "_device", torch.device("cpu"), raising=False)
    monkeypatch.setattr(detector, "_network", network, raising=False)
    narrow = Frame(index=0, name="a", decoded=np.zeros((100, 80, 3), np.uint8), sample_aspect_ratio=Fraction(2))
    batch = SimpleNamespace(frames=[narrow])
    assert detector.find(batch, None) == [[PersonBox(20, 10, 30, 80, 0.9)]]  # type: ignore[arg-type]
    assert seen == [(3, 100, 160)]


def test_the_first_look_shows_a_picture_as_wide_as_it_is_meant() -> None:
    look = BuiltinLook(torch.device("cpu"), LookedAt())
    narrow = Frame(index=0, name="a", decoded=np.zeros((720, 640, 3), np.uint8), sample_aspect_ratio=Fraction(2))
    wide = Frame(index=0, name="a", decoded=np.zeros((720, 1280, 3), np.uint8))
    [(_, _, found), (_, _, wanted)] = [look.whole(frame) for frame in (narrow, wide)]
    assert (found.height, found.width) == (wanted.height, wanted.width)


LARGE, SMALL = PersonBox(10, 5, 60, 80), PersonBox(10, 5, 15, 30)
SPECK, FAR, UNSURE = PersonBox(80, 5, 4, 3, 0.45), PersonBox(80, 5, 2, 5, 0.7), PersonBox(80, 5, 5, 10, 0.45)
CLIPS = {
    "one, large": ([[LARGE]] * 5, "off"),
    "one, small": ([[SMALL]] * 5, "builtin"),
    "two": ([[LARGE, LARGE]] * 5, "builtin"),
    "large, and now and then another": ([[LARGE], [LARGE, SMALL], [LARGE], [LARGE], [LARGE, SMALL]], "off"),
    "large, and specks of the map": ([[LARGE, SPECK, SPECK]] * 5, "off"),
    "large, and somebody far away": ([[LARGE, FAR]] * 5, "builtin"),
    "large, and perhaps somebody": ([[LARGE, UNSURE]] * 5, "builtin"),
    "nobody": ([[]] * 5, "builtin"),
    "too short to tell": ([[LARGE]] * 4, None),
}


@pytest.mark.parametrize(("people", "chosen"), CLIPS.values(), ids=CLIPS.keys())
def test_auto_looks_where_people_are_several_or_small(people: list[list[PersonBox]], chosen: str | None) -> None:
    said: list[str] = []
    choice = Choice(said.append)
    frames = [
        Frame(index=index, name=f"clip/{index}", decoded=np.zeros((100, 90, 3), np.uint8), pts=index)
        for index in range(6)
    ]
    for frame, found in zip(frames, people, strict=False):
        assert not choice.is_off(frame)
        choice.see(frame, found)
    assert choice.chosen == chosen and choice.is_off(frames[5]) == (chosen == "off")
    assert len(said) == (chosen is not None)
    assert not choice.is_off(replace(frames[0], name="other/0")) and not choice.is_off(replace(frames[5], pts=None))


def test_auto_says_what_it_chose(program: Any, tmp_path: Path) -> None:
    from tests.test_person_maps import sample

    clip = sample(tmp_path / "street.mkv", frames=6)
    outcome = program("video", clip, "-o", tmp_path / "out", "--people", "auto", "--overlay", "none", "--save", "json")
    assert outcome.code == 0
    assert "street: several people, or small ones in its first 5 frames" in outcome.stdout + outcome.stderr
    assert json.loads((tmp_path / "out" / "street_run.json").read_text())["people"] == "builtin"


def test_ids_that_are_asked_for_are_in_all_frames_of_one_large_person(program: Any, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    photo = cv2.imread("samples/astronaut.jpg")[:, :350]  # without the model of a rocket
    photo = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("ffv1", rate=25, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 256, 256, "bgr0"
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(photo, format="bgr24")))
        container.mux(stream.encode(None))
    alone = ("video", clip, "--people", "auto", "--overlay", "none")
    outcome = program(*alone, "--save", "json", "-o", tmp_path / "off")
    assert "one large person" in outcome.stderr
    outcome = program(*alone, "--save", "people", "-o", tmp_path / "ids")
    assert outcome.code == 0, outcome
    with PersonVideo(tmp_path / "ids" / "clip_people.mkv") as people:
        assert len(people) == 8 and all(each.any() for each in people)
    asked = (
        ({"save": frozenset({"people"})}, "builtin"),
        ({"save": frozenset({"cryptomatte"})}, "builtin"),
        ({"color_by": "person"}, "builtin"),
        ({"ids": True}, "builtin"),
        ({"save": frozenset({"json", "statistics"})}, "auto"),
    )
    for choices, expected in asked:
        assert telling_people(InferenceOptions(people="auto"), Outputs(**choices)).people == expected
