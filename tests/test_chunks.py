"""One long video over several processes: what is joined of its chunks is what one run leaves, to the byte."""

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from sapiens_stream import LabelVideo
from sapiens_stream.people import paste
from tests.media import make_video
from tests.program import record_of
from tests.test_results import assert_same_files

SAMPLES = Path(__file__).parents[1] / "samples"
FAST = ("--shape", 64, 64, "--quiet", "--device", "cpu")
OPEN = {"x264-params": "open-gop=1:keyint=25:min-keyint=25:bframes=3:scenecut=0"}
CLIPS = {
    "VFR with sound": ("clip.mp4", {"vfr": True, "audio": "aac", "options": OPEN}, ("--save", "labels,json,jsonl")),
    "joined recordings": ("clip.ts", {"options": OPEN, "joined": True}, ("--save", "labels", "--overlay", "none")),
    "odd size, files": ("clip.mkv", {"codec": "ffv1", "size": (97, 161)}, ("--save", "classes", "--overlay", "none")),
    "steady": ("clip.mp4", {"options": OPEN}, ("--save", "labels", "--overlay", "none", "--steady", 2)),
    "few are inferred": ("clip.ts", {"options": OPEN}, ("--save", "labels,jsonl", "--overlay", "none", "--every", 7)),
    "few, VFR": (
        "clip.mp4",
        {"vfr": True, "options": OPEN},
        ("--save", "labels,jsonl", "--overlay", "none", "--every", 3, "--steady", 1),
    ),
}


def is_result(path):
    """Whether a file is more than the log of a command."""
    return path.is_file() and path.name != "run.jsonl"


@pytest.mark.parametrize(("name", "how", "options"), CLIPS.values(), ids=CLIPS.keys())
def test_joined_chunks_are_what_one_run_leaves(name, how, options, program, tmp_path):
    how = dict(how)
    joined = how.pop("joined", False)
    path = make_video(tmp_path / name, frames=80, **how)
    if joined:
        path.write_bytes(path.read_bytes() * 2)
    command = ("video", path, *FAST, *options)
    chunks, whole = tmp_path / "chunks", tmp_path / "whole"
    for number in (2, 1, 3):  # in any order, counted from 1 here
        outcome = program(*command, "-o", chunks, "--chunk", f"{number}/3")
        assert outcome.code == 0, outcome
    assert program("results", "join", chunks).code == 0
    assert program(*command, "-o", whole).code == 0
    files = sorted(each.relative_to(whole) for each in whole.rglob("*") if is_result(each))
    assert files == sorted(each.relative_to(chunks) for each in chunks.rglob("*") if is_result(each))
    assert_same_files(whole, chunks, *{f"*{each.suffix}" for each in files} - {"*.json", "*.mp4"})
    for each in files:
        if not each.name.endswith("_run.json"):
            assert (whole / each).read_bytes() == (chunks / each).read_bytes(), each
    records = [record_of(folder) for folder in (whole, chunks)]
    assert records[0]["fingerprint"] == records[1]["fingerprint"]
    assert [record["status"] for record in records] == ["complete"] * 2
    again = program(*command, "-o", chunks, "--resume", "--json")
    assert again.code == 0 and json.loads(again.stdout) == records[1]


@pytest.fixture
def two_threads():
    """The built-in model has a worker for each, and which of them a frame goes to is chance."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("people", "frames", "every", "options"),
    [
        ("all are seen at a first look", 10, 5, ()),
        ("all, their maps held still", 13, 5, ("--steady", 2)),
        ("all, a frame of three inferred", 15, 5, ("--every", 3, "--steady", 1)),
        ("looked for in parts of the picture, now and then", 22, 18, ()),
        ("in parts, a frame of four inferred", 22, 18, ("--every", 4)),
    ],
)
def test_people_are_named_as_in_one_run(people, frames, every, options, two_threads, program, tmp_path, monkeypatch):
    """They are followed over the seam; there is a key frame, and so a seam, each second."""
    monkeypatch.setattr(paste, "_MOST_CELLS", 1 << 16)  # a million take half a second a frame
    if people.startswith("all"):
        path = scaled(SAMPLES / "people.mp4", tmp_path / "people.mp4", width=320, frames=frames, every=every)
    else:
        path = one_who_moves(tmp_path / "people.mp4", frames=frames, every=every)
    command = ("video", path, "--quiet", "--device", "cpu", "--shape", 160, 256, "--people", "builtin")
    command = (*command, "--save", "labels,jsonl,people", *options)
    chunks, whole = tmp_path / "chunks", tmp_path / "whole"
    for number in range(2):
        assert program(*command, "-o", chunks, "--color-by", "person", "--chunk", f"{number}/2").code == 0
    assert len(list(chunks.glob("*chunk*_labels.mkv"))) == 2
    assert program("results", "join", chunks).code == 0
    assert program(*command, "-o", whole, "--color-by", "person").code == 0
    found = [json.loads(line)["people"] for line in (whole / "people.jsonl").read_text().splitlines()]
    assert len(found) == frames and 1 in {person["id"] for each in found[every:] for person in each}
    assert_same_files(whole, chunks, "*.mkv", "*.jsonl", "*.mp4")
    assert not list(chunks.glob("*chunk*"))


def test_what_is_told_beside_class_maps_is_checked(program, tmp_path):
    path = make_video(tmp_path / "clip.mp4", frames=40, options={"g": "10"})
    command = ("video", path, *FAST, "--every", 2, "--save", "labels", "--overlay", "none", "-o", tmp_path)
    for number in range(2):
        assert program(*command, "--chunk", f"{number}/2").code == 0
    facts = tmp_path / "clip_chunk_1_of_2_frames.jsonl"
    facts.write_bytes(facts.read_bytes().replace(b'"carried":', b'"carried":-'))
    outcome = program("results", "join", tmp_path)
    assert outcome.code == 1 and facts.name in outcome.stderr


def scaled(clip, path, *, width, frames, every):
    """The first frames of a clip, smaller."""
    with av.open(clip) as source:
        shown = source.streams.video[0]
        size = width, shown.height * width // shown.width // 2 * 2
        pictures = (frame.reformat(*size) for frame in islice(source.decode(shown), frames))
        return encoded(pictures, path, size, every)


def one_who_moves(path, *, frames, every):
    """A person, 170 pixels high, before a wall."""
    person = cv2.resize(cv2.imread(str(SAMPLES / "astronaut.jpg")), (170, 170), interpolation=cv2.INTER_AREA)
    size = width, height = 640, 360

    def picture(index):
        wall = np.tile(np.linspace(60, 130, width).astype(np.uint8)[None, :, None], (height, 1, 3))
        x, y = 100 + 7 * index, 120 + index
        wall[y : y + 170, x : x + 170] = person
        return av.VideoFrame.from_ndarray(wall, format="bgr24")

    return encoded(map(picture, range(frames)), path, size, every)


def encoded(pictures, path, size, every):
    """At such a rate that there is a key frame each second."""
    options = {"g": str(every), "keyint_min": str(every), "sc_threshold": "0"}
    with av.open(path, "w") as target:
        stream = target.add_stream("libx264", every, options=options, width=size[0], height=size[1], pix_fmt="yuv420p")
        for index, frame in enumerate(pictures):
            frame.pts, frame.time_base = index, Fraction(1, every)
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=80, options={"g": "25"})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where the first test that asks leaves its chunks for the others."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def chunks(clip, made, program, tmp_path):
    for number in range(3) if not any(made.iterdir()) else ():
        assert program("video", clip, *FAST, "-o", made, "--chunk", f"{number}/3").code == 0
    return shutil.copytree(made, tmp_path / "out")


def test_what_is_missing_damaged_or_of_another_run_is_named(clip, chunks, program, tmp_path):
    second = chunks / "clip_chunk_1_of_3_run.json"
    labels = chunks / "clip_chunk_1_of_3_labels.mkv"
    record, video = second.read_bytes(), labels.read_bytes()

    def refused(*why):
        outcome = program("results", "join", chunks)
        assert outcome.code == 1 and len(outcome.complaints) == 1
        assert all(each in outcome.stderr for each in why), outcome.stderr
        assert not (chunks / "clip_run.json").exists()

    second.unlink()
    refused("none of the number 1")
    second.write_bytes(record.replace(b'"status": "complete"', b'"status": "interrupted"', 1))
    refused("run this chunk again")
    second.write_bytes(record.replace(b'"precision": "float32"', b'"precision": "bfloat16"'))
    refused("is of another run")
    told = json.loads(record)
    second.write_text(json.dumps({**told, "chunk": {**told["chunk"], "first": "9/25"}}))
    refused("does not begin where")
    second.write_bytes(record)
    labels.write_bytes(video[: len(video) // 2] + b"\0" * 16 + video[len(video) // 2 + 16 :])
    refused("damaged")
    labels.unlink()
    assert program("video", clip, *FAST, "-o", chunks, "--chunk", "1/3").code == 0
    assert program("results", "join", chunks, "--keep-chunks").code == 0
    assert labels.read_bytes() == video
    with LabelVideo(chunks / "clip_chunk_0_of_3_labels.mkv") as part:
        assert len(part) < 80


@pytest.mark.parametrize(("setting", "value"), [("save", [[]]), ("codec", 3), ("title", {})])
def test_a_setting_that_cannot_be_is_named(setting, value, chunks, program):
    first = chunks / "clip_chunk_0_of_3_run.json"
    told = json.loads(first.read_bytes())
    first.write_text(json.dumps({**told, "settings": {**told["settings"], setting: value}}))
    outcome = program("results", "join", chunks)
    assert outcome.code == 1 and len(outcome.complaints) == 1
    assert f"{first.name} says {setting} " in outcome.stderr and "which cannot be" in outcome.stderr


def test_a_number_of_chunks_that_nobody_can_count_is_told_at_once(chunks, program):
    for path in chunks.glob("*_run.json"):
        told = json.loads(path.read_bytes())
        if told["chunk"]["number"] == 1:
            path.write_text(json.dumps({**told, "chunk": {**told["chunk"], "count": 10**12}}))
        else:
            path.unlink()
    outcome = program("results", "join", chunks)
    assert outcome.code == 1 and len(outcome.complaints) == 1
    assert "of its 1000000000000 chunks there is none of the number 0, 2, 3," in outcome.stderr


def test_a_chunk_that_is_done_is_passed_over(clip, chunks, program):
    before = {path: path.stat().st_mtime_ns for path in chunks.iterdir()}
    outcome = program("video", clip, *FAST[:2], 64, "--device", "cpu", "-o", chunks, "--chunk", "0/3")
    assert outcome.code == 0 and "done already" in outcome.stdout
    assert {path: path.stat().st_mtime_ns for path in chunks.iterdir()} == before


def test_chunks_are_joined_before_they_are_rendered(chunks, program):
    outcome = program("results", "render", chunks)
    assert outcome.code != 0 and f"`results join {chunks}`" in outcome.stderr, outcome
    assert not (chunks / "rendered").exists()


def test_there_may_be_fewer_chunks_than_tasks(clip, program, tmp_path):
    outcome = program("video", clip, "--device", "cpu", "-o", tmp_path / "out", "--chunk", "7/9")
    assert outcome.code == 0 and "nothing to do" in outcome.stdout and not (tmp_path / "out").exists()


DYING = """
import os
from sapiens_stream.cli import main
from sapiens_stream.sinks.masks import MaskSink
plain = MaskSink.write
def write(self, result):
    plain(self, result)
    if result.frame.index == 40:
        os._exit(9)
MaskSink.write = write
main()
"""


def test_a_join_that_was_killed_is_done_again(chunks, program):
    killed = subprocess.run([sys.executable, "-c", DYING, "results", "join", str(chunks)], capture_output=True)
    assert killed.returncode == 9 and list(chunks.rglob("*_seg.npy")), killed
    outcome = program("results", "join", chunks)
    assert outcome.code == 0 and record_of(chunks)["status"] == "complete", outcome
    assert len(list(chunks.rglob("*_seg.npy"))) == 80 and not list(chunks.glob("*chunk*"))


def test_a_join_that_is_done_is_passed_over(chunks, program):
    assert program("results", "join", chunks).code == 0
    before = {path: path.stat().st_mtime_ns for path in chunks.rglob("*")}
    again = program("results", "join", chunks)
    assert again.code == 0 and "nothing is left to join" in again.stdout, again
    assert {path: path.stat().st_mtime_ns for path in chunks.rglob("*")} == before


def test_what_was_interrupted_is_no_join(clip, program, tmp_path):
    assert program("video", clip, *FAST, "-o", tmp_path).code == 0
    record = tmp_path / "clip_run.json"
    record.write_text(record.read_text().replace('"status": "complete"', '"status": "interrupted"'))
    outcome = program("results", "join", tmp_path)
    assert outcome.code == 1 and "holds no chunks" in outcome.stderr


def test_another_run_s_results_are_not_replaced(clip, chunks, program):
    command = ("video", clip, *FAST, "-o", chunks, "--save", "labels", "--overlay", "none", "--steady", 1)
    assert program(*command).code == 0
    outcome = program("results", "join", chunks)
    assert outcome.code == 2 and "another run" in outcome.stderr
    assert program("results", "join", chunks, "--overwrite").code == 0


def test_the_video_may_lie_elsewhere_when_it_is_joined(clip, chunks, program, tmp_path):
    moved = shutil.copy(clip, tmp_path / "moved.mp4")
    outcome = program("results", "join", chunks, "--input", moved)
    assert outcome.code == 0 and (chunks / "clip_overlay.mp4").is_file() and (chunks / "clip/000000.json").is_file()


WRONG = {
    "two videos": (["clip.mp4", "other.mp4", "--chunk", "0/2"], "2 inputs"),
    "standard input": (["-", "--chunk", "0/2"], "standard input"),
    "a shard too": (["clip.mp4", "--chunk", "0/2", "--shard", "0/2"], "one of them"),
    "an overlay's name": (["clip.mp4", "--chunk", "0/2", "-o", "x.mp4"], "into a folder"),
    "no chunk": (["clip.mp4", "--chunk", "a"], "--chunk 'a'"),
    "boxes": (["clip.mp4", "--chunk", "0/2", "--boxes", "clip.mp4"], "--boxes goes by the numbers of frames"),
    "people of unknown number": (["clip.mp4", "--chunk", "0/2", "--people", "auto"], "say builtin, or off"),
    "people by some classes": (["clip.mp4", "--chunk", "0/2", "--people", "builtin", "--classes", "hair"], "whole"),
    "probabilities": (["clip.mp4", "--chunk", "0/2", "--save", "statistics"], "takes the video whole"),
}


@pytest.mark.parametrize(("arguments", "why"), WRONG.values(), ids=WRONG.keys())
def test_what_has_no_chunks_is_refused(arguments, why, clip, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "clip.mp4")
    outcome = program("video", *arguments)
    assert outcome.code == 2 and why in outcome.stderr


def test_a_folder_without_chunks_says_so(program, tmp_path):
    outcome = program("results", "join", tmp_path)
    assert outcome.code == 1 and len(outcome.complaints) == 1
