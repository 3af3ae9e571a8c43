"""Results made again from class maps: as the first run made them, or otherwise, and never with a model."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from sapiens_stream import LabelVideo
from sapiens_stream.classes import SAPIENS2
from tests.media import make_video, picture
from tests.program import WAIT, record_of

SMALL = ("--shape", 96, 96, "--quiet")
BOTH = ("--save", "labels,jsonl,classes,foreground,json")


def decoded(path):
    """Times and pictures of a video."""
    with av.open(path) as container:
        return [(frame.time, frame.to_ndarray(format="yuv420p")) for frame in container.decode(video=0)]


def sounds(path):
    with av.open(path) as container:
        tracks = container.streams.audio[:1]
        return [(packet.pts, bytes(packet)) for packet in container.demux(tracks) if packet.size] if tracks else []


def assert_same_video(one, other):
    for (time, image), (other_time, other_image) in zip(decoded(one), decoded(other), strict=True):
        assert time == other_time
        np.testing.assert_array_equal(image, other_image)


def assert_same_files(one, other, *patterns):
    for pattern in patterns:
        names = sorted(path.relative_to(one) for path in one.rglob(pattern) if "rendered" not in path.parts)
        assert names
        for name in names:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=20, vfr=True, audio="aac")


@pytest.fixture
def done(program, clip, tmp_path):
    """A run on the clip, with whatever options."""

    def run(*options, source=clip):
        outcome = program("video", source, "-o", tmp_path / "out", *SMALL, *options)
        assert outcome.code == 0, outcome
        return tmp_path / "out"

    return run


RUNS = {
    "as it is": (),
    "opacity, background kept": ("--opacity", 0.8, "--keep-background", "--title", "t"),
    "some classes, COCO's regions": ("--classes", "hair,face_neck,torso", "--regions", "rle"),
    "another codec, no sound": ("--codec", "ffv1", "--no-audio"),
    "pictures": ("--overlay", "frames", "--save-format", "bmp"),
}


@pytest.mark.parametrize("store", ["labels", "classes"])
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_results_are_made_again_as_they_were(options, store, done, program, tmp_path):
    save = f"{store},json,foreground,jsonl"
    out = done(*options, "--save", save)
    outcome = program("results", "render", out, "--save", save)
    assert outcome.code == 0, outcome
    again = out / "rendered"
    assert record_of(again)["status"] == "complete"
    if "frames" in options:
        assert_same_files(out, again, "*.bmp")
    else:
        [first] = out.glob("clip_overlay.*")
        assert_same_video(first, again / first.name)
        assert "--no-audio" in options or sounds(first) == sounds(again / first.name)
    assert_same_files(out, again, "clip/*.json", "clip/*.npy", "clip.jsonl")
    if store == "labels":
        with LabelVideo(out / "clip_labels.mkv") as one, LabelVideo(again / "clip_labels.mkv") as other:
            assert list(one.times) == list(other.times)
            np.testing.assert_array_equal(np.stack(list(one)), np.stack(list(other)))


def test_what_is_asked_for_is_otherwise(done, program, clip):
    out = done("--save", "labels")
    outcome = program(
        *("results", "render", out, "--overlay", "frames", "--opacity", 1, "--save", "json"),
        *("--classes", "hair", "--colours", "hair=#010203,background=040506", "--title", "new"),
    )
    assert outcome.code == 0, outcome
    with LabelVideo(out / "clip_labels.mkv") as video:
        hair = video.classes.ids(["hair"])[0]
        for index, class_map in enumerate(video):
            rendered = cv2.imread(str(out / f"rendered/clip/{index:06d}.png"))[..., ::-1]
            expected = np.where((class_map == hair)[..., None], (1, 2, 3), (4, 5, 6))
            np.testing.assert_array_equal(rendered, expected)
            record = json.loads((out / f"rendered/clip/{index:06d}.json").read_bytes())
            assert record["title"] == "new" and {label["name"] for label in record["labels"]} <= {"Hair"}


def test_no_model_is_loaded(done):
    out = done("--save", "labels")
    script = (
        "import sys\n"
        "from sapiens_stream.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'torch', 'onnxruntime', 'transformers'} & set(sys.modules)))\n"
    )
    for command in (("render", out), ("status", out), ("export", out, "--to", "npy")):
        arguments = [sys.executable, "-c", script, "results", *map(str, command)]
        finished = subprocess.run(arguments, capture_output=True, text=True, timeout=WAIT)
        assert finished.returncode == 0, finished
        assert finished.stdout.splitlines()[-1] == "[]"


def test_the_source_is_found_where_it_lies_now(done, program, clip, tmp_path):
    source = shutil.copy(clip, tmp_path / "moved.mp4")
    out = done(*BOTH, source=source)
    source.rename(tmp_path / "elsewhere.mp4")
    outcome = program("results", "render", out)
    assert outcome.code == 1
    assert "which is not there; say with --input where it is" in outcome.stderr
    outcome = program("results", "render", out, "--input", tmp_path / "elsewhere.mp4")
    assert outcome.code == 0, outcome
    assert_same_video(out / "moved_overlay.mp4", out / "rendered/moved_overlay.mp4")
    assert_same_files(out, out / "rendered", "moved/*.json")


def test_a_picture_beside_the_overlay_is_of_painted_frames(done, program):
    out = done("--save", "labels")
    outcome = program("results", "render", out, "--side-by-side")
    assert (
        outcome.code == 0
        and "clip_run.json: --side-by-side is of --overlay frames, which is not asked for" in outcome.stderr
    )
    outcome = program("results", "render", out, "--side-by-side", "--overlay", "frames", "-o", out / "frames")
    assert outcome.code == 0 and "--side-by-side" not in outcome.stderr


def test_another_clip_is_refused(done, program, clip, tmp_path):
    out = done("--save", "labels")
    other = make_video(tmp_path / "clip.mp4", frames=20)
    outcome = program("results", "render", out, "--input", other)
    assert outcome.code == 1
    assert f"clip_run.json was not made of {other}" in outcome.stderr
    assert not (out / "rendered").exists()


WRONG = {
    "no folder": (["results", "render", "nowhere"], 1, "nowhere is no folder with results"),
    "no record": (["results", "status", "."], 1, "holds no run record"),
    "a colour": (["results", "render", ".", "--colours", "hair=red"], 2, "as in hair=#ff0000"),
    "an output": (["results", "render", ".", "--save", "nothing"], 2, "can't save nothing"),
    "no label video": (["results", "export", ".", "--to", "npy"], 1, "holds no"),
}


@pytest.mark.parametrize("arguments, code, words", WRONG.values(), ids=WRONG.keys())
def test_mistakes_are_told_in_a_line(arguments, code, words, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = program(*arguments)
    assert (outcome.code, len(outcome.complaints)) == (code, 1)
    assert words in outcome.stderr


def test_class_maps_have_to_be_there(done, program):
    out = done("--save", "json")
    outcome = program("results", "render", out)
    assert outcome.code == 1
    assert "wrote no class maps (--save labels or classes)" in outcome.stderr


def test_what_is_stored_of_a_part_is_made_of_that_part(done, program):
    out = done("--save", "classes")
    for index in range(12, 20):
        (out / f"clip/{index:06d}_seg.npy").unlink()
    outcome = program("results", "render", out)
    assert outcome.code == 3
    assert "no class maps from frame 12 on" in outcome.stderr
    assert len(decoded(out / "rendered/clip_overlay.mp4")) == 12
    assert record_of(out / "rendered")["frames"]["written"] == 12


@pytest.fixture
def growing(tmp_path):
    """A recording of 24 frames whose pictures become larger in its midst."""
    parts = [make_video(tmp_path / f"{width}.ts", frames=12, size=(96, width)) for width in (128, 160)]
    whole = tmp_path / "clip.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    return whole


def test_class_maps_in_files_are_taken_where_a_label_video_has_another_size(done, growing, program, tmp_path):
    out = done("--save", "labels,classes", source=growing)
    outcome = program("results", "render", out, "--save", "classes", "--quiet")
    assert outcome.code == 0, outcome
    assert_same_files(out, out / "rendered", "*_seg.npy")
    pictures = ("--images", "png", "-o", tmp_path / "coco", "--quiet")
    assert program("results", "export", out, "--to", "coco", *pictures).code == 0
    assert len(list((tmp_path / "coco").rglob("*.png"))) == 24


def test_where_a_label_video_alone_ends_to_fit_is_said_with_the_cause(done, growing, program, tmp_path):
    out = done("--save", "labels", source=growing)
    rendered = program("results", "render", out)
    exported = program("results", "export", out, "--to", "coco", "--images", "png", "-o", tmp_path / "coco")
    for outcome in (rendered, exported):
        assert outcome.code == 3
        assert "no class maps from frame 12 on (there its pictures become 160x96;" in outcome.stderr


def test_that_a_run_was_interrupted_is_said_where_its_class_maps_end(done, program):
    out = done("--save", "classes")
    for index in range(12, 20):
        (out / f"clip/{index:06d}_seg.npy").unlink()
    record = out / "clip_run.json"
    record.write_text(record.read_text().replace('"status": "complete"', '"status": "interrupted"'))
    outcome = program("results", "render", out)
    assert outcome.code == 3 and "no class maps from frame 12 on (the run is interrupted);" in outcome.stderr


def test_photos_are_made_again(program, tmp_path):
    folder = tmp_path / "photos"
    for number in range(4):
        path = folder / ("sub" if number % 2 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(number, (60 + number, 80)))
    out = tmp_path / "out"
    outcome = program("images", "--input", folder, "-o", out, "--recursive", "--shape", 96, 96, "--opacity", 0.7)
    assert outcome.code == 0, outcome
    (out / "sub/3_seg.npy").write_bytes(b"no array")
    outcome = program("results", "render", out, "--save", "json,foreground")
    assert outcome.code == 3
    assert "skipped sub/3" in outcome.stderr
    for name in ("0", "sub/1", "2"):
        for ending in (".png", ".npy"):
            assert (out / f"{name}{ending}").read_bytes() == (out / f"rendered/{name}{ending}").read_bytes()
    assert not (out / "rendered/sub/3.png").exists()


@pytest.mark.parametrize("store", ["labels", "classes"])
def test_class_maps_become_pictures_and_arrays(store, done, program, tmp_path):
    out = done("--save", f"{store},json")
    target = tmp_path / "files"
    for kind in ("png", "npy") if store == "labels" else ("png",):
        outcome = program("results", "export", out, "--to", kind, "-o", target)
        assert outcome.code == 0, outcome
    for index in range(20):
        name = f"clip/{index:06d}_seg"
        stored = np.load((target if store == "labels" else out) / f"{name}.npy")
        with Image.open(target / f"{name}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), stored)
            np.testing.assert_array_equal(np.array(image.convert("RGB")), SAPIENS2.palette[stored])
    if store == "labels":
        with LabelVideo(out / "clip_labels.mkv") as video:
            np.testing.assert_array_equal(np.load(target / "clip/000007_seg.npy"), video[7])


def test_a_folder_s_runs_are_gathered(done, program, clip, tmp_path):
    out = done("--save", "labels")
    other = make_video(tmp_path / "other.mp4", frames=7)
    assert program("video", other, "-o", out, *SMALL, "--save", "classes").code == 0
    record = record_of(out, "other")
    record["status"], record["frames"]["written"], record["error"] = "failed", 3, "the disk is full"
    (out / "other_run.json").write_text(json.dumps(record))
    outcome = program("results", "status", out)
    assert outcome.code == 0
    lines = {line.split()[0]: line for line in outcome.stdout.splitlines()}
    assert "complete" in lines[str(clip)] and "20 of 20" in lines[str(clip)]
    assert f"{other}: the disk is full" in outcome.stdout
    found = [json.loads(line) for line in program("results", "status", out, "--json").stdout.splitlines()]
    assert [(each["state"], each["frames"]["written"]) for each in found] == [("complete", 20), ("failed", 3)]
    sizes = [(out / name).stat().st_size for name in ("clip_overlay.mp4", "clip_labels.mkv")]
    assert found[0]["bytes"] == sum(sizes)


def test_a_run_at_its_end_was_of_as_many_frames_as_it_wrote(done, growing, program):
    """A header tells of fewer, or of more; and what was skipped is missing."""
    out = done("--save", "classes", "--overlay", "none", source=growing)
    assert record_of(out)["frames"]["expected"] != 24
    assert "24 of 24" in program("results", "status", out).stdout
    record = out / "clip_run.json"
    told = json.loads(record.read_text())
    for state, skipped, shown in (
        ("complete", 0, "24 of 24"),
        ("complete", 1, "24 of 30"),
        ("interrupted", 0, "24 of 30"),
    ):
        told["frames"] |= {"expected": 30, "skipped": skipped}
        record.write_text(json.dumps({**told, "status": state}))
        assert shown in program("results", "status", out).stdout


def test_a_name_that_is_no_text_keeps_its_row_in_line(done, program, tmp_path):
    out = done("--save", "labels")
    record = record_of(out, "clip")
    (out / "clip_run.json").write_text(json.dumps({**record, "input": "b\udcffad.mp4"}))
    titles, row = program("results", "status", out).stdout.splitlines()
    assert row.startswith("b\\udcffad.mp4 ") and row.index("complete") == titles.index("state")


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def never_ending_head(path):
    path.write_bytes(path.read_bytes().replace(b", }", b",  "))


DAMAGE = {
    "an unknown class": lambda path: np.save(path, np.full(np.load(path).shape, 200, np.uint8)),
    "gone": Path.unlink,
    "cut short": lambda path: os.truncate(path, 500),
    "a head that never ends": never_ending_head,
    "a pipe": a_pipe,
}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
@pytest.mark.parametrize("what", DAMAGE)
def test_a_class_map_that_is_damaged_or_gone_is_told_of_and_the_others_used(what, done, program, tmp_path):
    out = done("--save", "classes,json")
    DAMAGE[what](out / "clip/000003_seg.npy")
    outcome = program("results", "export", out, "--to", "coco", "-o", tmp_path / "coco", "--quiet")
    assert outcome.code == 3, outcome
    assert outcome.complaints
    [table] = (tmp_path / "coco").rglob("*.json")
    assert len(json.loads(table.read_text())["images"]) == 19
    assert program("results", "report", out, "--quiet").code == 3
    rendered = program("results", "render", out, "-o", tmp_path / "rendered", "--quiet")
    assert rendered.code == 3
    assert "no class maps from frame 3 on" in rendered.stderr


def test_a_label_video_that_was_cut_short_is_told_of(done, program, tmp_path):
    out = done("--save", "labels")
    path = out / "clip_labels.mkv"
    os.truncate(path, path.stat().st_size - 100)
    outcome = program("results", "export", out, "--to", "png", "-o", tmp_path / "png", "--quiet")
    left = len(list((tmp_path / "png").rglob("*.png")))
    assert outcome.code == 3
    assert 0 < left < 20
    assert outcome.complaints == [f"skipped clip_run.json: {20 - left} of its class maps are gone"]


@pytest.mark.parametrize("store", ["labels", "classes"])
def test_names_that_a_forged_record_claims_without_end_cost_nothing(store, done, program, tmp_path):
    out = done("--save", store, "--overlay", "none")
    record = record_of(out, "clip")
    without_end = ["clip/000000", "clip/999999999999999999"], ["a/0", "a/" + "9" * 18], "clip/" + "8" * 5000
    record["files"]["names"] = [*without_end, *record["files"]["names"]]
    (out / "clip_run.json").write_text(json.dumps(record))
    outcome = program("results", "export", out, "--to", "png", "-o", tmp_path / "png")
    assert outcome.code == 0, outcome
    assert len(list((tmp_path / "png").rglob("*.png"))) == 20


COMMANDS = {
    "render": ("render", "-o", "made"),
    "export": ("export", "--to", "png", "-o", "made"),
    "report": ("report", "-o", "made/report.html"),
    "status": ("status",),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damaged", ["a_labels.mkv", "a_run.json"])
def test_of_several_clips_one_that_is_damaged_is_named_and_the_others_used(
    damaged, command, clip, program, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    clips = [shutil.copy(clip, tmp_path / f"{name}.mp4") for name in "ab"]
    assert program("video", *clips, "-o", "out", *SMALL, "--overlay", "none", "--save", "labels").code == 0
    (tmp_path / "out" / damaged).write_bytes(b"nothing of the kind")
    word, *options = COMMANDS[command]
    outcome = program("results", word, "out", *options)
    if damaged == "a_labels.mkv" and word == "status":
        assert outcome.code == 0
    else:
        assert outcome.code == 3, outcome
        assert len(outcome.complaints) == 1 and damaged in outcome.complaints[0]
    assert "b.mp4" in outcome.stdout if word == "status" else any((tmp_path / "made").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
@pytest.mark.parametrize("what", [a_pipe, lambda path: path.write_text("{")], ids=["a pipe", "cut short"])
def test_a_record_that_is_damaged_is_named(what, done, program):
    out = done("--save", "labels")
    what(out / "clip_run.json")
    for command in ("status", "render"):
        outcome = program("results", command, out)
        assert outcome.code == 1
        assert "clip_run.json is damaged, or no run record" in outcome.stderr
