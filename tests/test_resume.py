"""Runs that ended anyhow and are resumed: the results are those of a run without a break, and nothing is lost."""

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest

from sapiens_stream import LabelVideo, Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import FolderTaken, OutputError
from sapiens_stream.inference.engine import Engine
from sapiens_stream.pipeline import Run
from sapiens_stream.sinks import Outputs, Sink
from sapiens_stream.sinks.files import aside
from sapiens_stream.sources import Photos, Video
from tests.media import make_video, picture
from tests.program import WAIT, finish, record_of, start, wait_for
from tests.test_results import SMALL, assert_same_files, assert_same_video, sounds

FRAMES = 40
STORES = {
    "label video": "labels,jsonl,json",
    "arrays": "classes,foreground,json",
    "both": "labels,classes",
}


class Broken(Exception):
    """What ends a run in the midst of it."""


class EndsAfter(Sink):
    """Raises at a frame; or, with a function, calls that."""

    ordered = True

    def __init__(self, index, end=None):
        self._index = index
        self._end = end

    def write(self, result):
        if result.frame.index == self._index:
            if self._end is None:
                raise Broken
            self._end()


@pytest.fixture(scope="module")
def model():
    with Segmenter("builtin", device="cpu", shape=(64, 64), warn=lambda sentence: None) as segmenter:
        yield segmenter


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=FRAMES, vfr=True, audio="aac")


@pytest.fixture
def inferred(monkeypatch):
    """The indices of the frames that were inferred."""
    indices = []
    for name in ("submit",):
        plain = getattr(Engine, name)

        def counted(self, frames, *rest, plain=plain):
            indices.extend(frame.index for frame in frames)
            return plain(self, frames, *rest)

        monkeypatch.setattr(Engine, name, counted)
    return indices


def execute(clip, out, model, outputs, *, resume=True, more=(), settings=None, **choices):
    """One start of a run."""
    with Video(clip) as source:
        sinks = [*outputs.sinks(out, "clip", source.info, model.model.classes, print), *more]
        run = Run(
            source,
            model.engine,
            sinks,
            record_path=out / "clip_run.json",
            resume=resume,
            settings={"save": ",".join(sorted(outputs.save)), "opacity": outputs.opacity, **(settings or {})},
            **choices,
        )
        run.execute()
        return run


def compare(whole, out):
    """Everything but the record, whose frames are compared."""
    assert_same_video(whole / "clip_overlay.mp4", out / "clip_overlay.mp4")
    assert sounds(whole / "clip_overlay.mp4") == sounds(out / "clip_overlay.mp4")
    files = [{path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} for root in (whole, out)]
    assert files[0] == files[1]
    for name in files[0] - {"clip_overlay.mp4", "clip_run.json"}:
        assert (whole / name).read_bytes() == (out / name).read_bytes(), name
    one, other = record_of(whole), record_of(out)
    assert other["status"] == "complete"
    assert one["frames"] | {"stored": 0} == other["frames"] | {"stored": 0}
    assert {name: each["count"] for name, each in one["files"]["endings"].items()} == {
        name: each["count"] for name, each in other["files"]["endings"].items()
    }


@pytest.fixture(scope="module")
def whole(clip, model, tmp_path_factory):
    """What runs without a break give."""
    roots = {}
    for name, save in STORES.items():
        roots[name] = tmp_path_factory.mktemp(name.replace(" ", "_"))
        run = execute(clip, roots[name], model, Outputs(save=frozenset(save.split(","))), resume=False)
        assert run.status == "complete"
    return roots


@pytest.mark.parametrize("store", STORES)
def test_a_run_that_failed_is_gone_on_with(store, whole, clip, model, inferred, tmp_path):
    outputs = Outputs(save=frozenset(STORES[store].split(",")))
    ends = (9, 10, 33, FRAMES - 1)
    starts = 0
    for end in ends:
        run = execute(clip, tmp_path, model, outputs, more=[EndsAfter(end)])
        assert isinstance(run.error, Broken)
        starts += 1
    before = len(set(inferred))
    assert len(inferred) - before < 4 * 12 * len(ends)  # what was in flight at each end, and no more
    inferred.clear()
    run = execute(clip, tmp_path, model, outputs)
    assert run.status == "complete", run.error
    assert run.statistics.stored + len(set(inferred)) == FRAMES
    assert run.statistics.stored >= FRAMES - 12
    compare(whole[store], tmp_path)
    recorded = record_of(tmp_path)["starts"]
    assert [each["status"] for each in recorded] == ["failed"] * starts + ["complete"]
    assert recorded[-1]["stored"] == run.statistics.stored


@pytest.mark.parametrize("store", STORES)
def test_a_run_that_is_complete_is_not_run_again(store, whole, clip, model, inferred, tmp_path):
    out = shutil.copytree(whole[store], tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run = execute(clip, out, model, Outputs(save=frozenset(STORES[store].split(","))))
    assert (run.status, run.passed_over, inferred) == ("complete", True, [])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("store", ["label video", "arrays"])
def test_other_pictures_are_made_of_what_is_stored(store, whole, clip, model, inferred, tmp_path):
    out = shutil.copytree(whole[store], tmp_path / "out")
    outputs = Outputs(save=frozenset(STORES[store].split(",")), opacity=0.9)
    run = execute(clip, out, model, outputs)
    assert (run.status, run.statistics.stored, inferred) == ("complete", FRAMES, [])
    expected = tmp_path / "expected"
    execute(clip, expected, model, outputs, resume=False)
    compare(expected, out)


def damage_labels(out):
    path = out / "clip_labels.mkv"
    data = bytearray(path.read_bytes())
    with LabelVideo(path) as video:
        block = next(block for _, block in video._index.blocks(25))
    data[block.at + block.size // 2] ^= 1
    path.write_bytes(data)


def cut_labels(out):
    path = out / "clip_labels.mkv"
    path.replace(out / ".clip_labels.part.mkv")
    os.truncate(out / ".clip_labels.part.mkv", (out / ".clip_labels.part.mkv").stat().st_size * 2 // 3)


def damage_arrays(out):
    (out / "clip/000003_seg.npy").write_bytes(b"")
    os.truncate(out / "clip/000007_seg.npy", 500)
    (out / "clip/000011_seg.npy").unlink()
    np.save(out / "clip/000012_seg.npy", np.zeros((3, 3), np.uint8))
    of_no_class = out / "clip/000009_seg.npy"
    np.save(of_no_class, np.full_like(np.load(of_no_class), 255))
    (out / "clip/.000013_seg.part.npy").write_bytes(b"half")
    of_no_end = out / "clip/000005_seg.npy"
    of_no_end.write_bytes(of_no_end.read_bytes().replace(b", }", b",  "))


def lose_all(out):
    for path in out.rglob("*"):
        if path.is_file() and path.name != "clip_run.json":
            path.unlink()


DAMAGES = {
    "a damaged packet": ("label video", damage_labels, 25),
    "cut in mid-packet": ("label video", cut_labels, None),
    "arrays of all sorts": ("arrays", damage_arrays, FRAMES - 6),
    "nothing left": ("arrays", lose_all, 0),
}


@pytest.mark.parametrize("store, spoil, stored", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_inferred_again(store, spoil, stored, whole, clip, model, inferred, tmp_path):
    out = shutil.copytree(whole[store], tmp_path / "out")
    spoil(out)
    run = execute(clip, out, model, Outputs(save=frozenset(STORES[store].split(","))))
    assert run.status == "complete", run.error
    assert len(inferred) > 0 and (stored is None or run.statistics.stored == stored)
    compare(whole[store], out)


def test_without_the_option_a_part_of_a_run_is_named(whole, clip, model, tmp_path):
    outputs = Outputs(save=frozenset({"labels"}))
    execute(clip, tmp_path, model, outputs, more=[EndsAfter(20)])
    notes = []
    run = execute(clip, tmp_path, model, outputs, resume=False, note=notes.append)
    assert run.status == "complete"
    assert "--resume continues it" in notes[0] and f"{tmp_path} holds a part of this run" in notes[0]


class TestAnotherRun:
    def test_another_clip_of_the_same_name(self, clip, model, tmp_path):
        out = tmp_path / "out"
        execute(clip, out, model, Outputs(save=frozenset({"labels"})), more=[EndsAfter(20)])
        before = sorted(path.name for path in out.iterdir())
        longer = make_video(tmp_path / "clip.mp4", frames=FRAMES + 5, vfr=True, audio="aac")
        run = execute(longer, out, model, Outputs(save=frozenset({"labels"})))
        assert isinstance(run.error, FolderTaken)
        assert "other input" in str(run.error) and "--resume continues the same run alone" in str(run.error)
        assert sorted(path.name for path in out.iterdir()) == before

    @pytest.mark.parametrize("settings", [{"classes": "hair"}, {"fit": "crop"}])
    def test_other_settings_of_class_maps(self, settings, clip, model, tmp_path):
        execute(clip, tmp_path, model, Outputs(save=frozenset({"labels"})), more=[EndsAfter(20)])
        run = execute(clip, tmp_path, model, Outputs(save=frozenset({"labels"})), settings=settings)
        assert isinstance(run.error, FolderTaken) and f"other {next(iter(settings))}" in str(run.error)

    def test_another_model(self, clip, model, colour_torchscript, tmp_path):
        execute(clip, tmp_path, model, Outputs(save=frozenset({"labels"})), more=[EndsAfter(20)])
        with Segmenter(colour_torchscript, device="cpu") as other:
            run = execute(clip, tmp_path, other, Outputs(save=frozenset({"labels"})))
        assert isinstance(run.error, FolderTaken)

    def test_both_options_are_one_too_many(self, program, clip, tmp_path):
        outcome = program("video", clip, "-o", tmp_path, "--resume", "--overwrite")
        assert outcome.code == 2
        assert "--resume keeps what is there and --overwrite removes it" in outcome.stderr


def test_a_full_disk_is_gone_on_from(clip, model, small_disk, monkeypatch, tmp_path):
    out, filler = small_disk / "out", small_disk / "filler"
    outputs = Outputs(overlay="none", save=frozenset({"labels"}))
    full, submit = Event(), Engine.submit

    def fill():
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        full.set()

    def submit_later(self, frames, *rest):
        if any(frame.index >= 20 for frame in frames):  # what is left to write does not fit
            full.wait(60)
        return submit(self, frames, *rest)

    monkeypatch.setattr(Engine, "submit", submit_later)
    run = execute(clip, out, model, outputs, more=[EndsAfter(15, fill)])
    assert isinstance(run.error, OutputError) and "No space left" in str(run.error)
    filler.unlink()
    run = execute(clip, out, model, outputs)
    assert run.status == "complete", run.error
    assert run.statistics.stored > 0
    expected = tmp_path / "expected"
    execute(clip, expected, model, outputs)
    assert (out / "clip_labels.mkv").read_bytes() == (expected / "clip_labels.mkv").read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in expected.iterdir()}


# --- Photos ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for number in range(8):
        path = folder / ("sub" if number % 2 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(number, (60 + number, 80))[..., ::-1])
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:100])
    return folder


def images(program, photos, out, *options):
    return program("images", "--input", photos, "-o", out, "--recursive", "--shape", 64, 64, "-q", *options)


def assert_same_photos(one, other):
    found = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (one, other)]
    names = [{name for name in each if name.name not in ("run.jsonl", "photos_run.json")} for each in found]
    assert names[0] == names[1] and len(found[0]) == len(found[1]) == len(names[0]) + 2
    for name in names[0]:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_photos_that_are_done_are_passed_over(program, photos, inferred, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert images(program, photos, whole).code == 3
    shutil.copytree(whole, out)
    (out / "2_seg.npy").unlink()
    os.truncate(out / "sub/3.png", 50)
    (out / "6.json").write_bytes(b"{")
    inferred.clear()
    untouched = (out / "0.png").stat().st_mtime_ns
    outcome = images(program, photos, out, "--resume")
    assert outcome.code == 3, outcome
    assert len(inferred) == 1  # the one whose class map is lost; of the others it is there
    assert_same_photos(whole, out)
    assert (out / "0.png").stat().st_mtime_ns == untouched
    frames = [record_of(root, "photos")["frames"] for root in (whole, out)]
    assert frames[1]["stored"] == 6 and frames[0] | {"stored": 0} == frames[1] | {"stored": 0}
    assert len(record_of(out, "photos")["starts"]) == 2


def test_ctrl_c_ends_the_look_at_photos_that_are_done(photos, model, tmp_path, monkeypatch):
    looked, runs, out = [], [], tmp_path / "out"

    def run_of(resume):
        source = Photos(photos, recursive=True)
        outputs = Outputs(save=frozenset({"classes"}), overlay="none")
        sinks = outputs.sinks(out, "photos", source.info, SAPIENS, print)
        runs.append(Run(source, model.engine, sinks, record_path=out / "photos_run.json", resume=resume))
        runs[-1].execute(check=True)
        return runs[-1]

    def stops(path):
        looked.append(path)
        runs[-1].stop()
        return True

    done = run_of(resume=False).record()
    monkeypatch.setattr("sapiens_stream.pipeline.earlier_run.is_whole", stops)
    assert run_of(resume=True).status == "interrupted"
    assert len(looked) == 1
    monkeypatch.undo()
    rest = run_of(resume=True)
    assert (rest.status, rest.statistics.passed) == ("complete", done["frames"]["written"])


def test_how_far_the_look_at_photos_that_are_done_is_told(program, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr("sapiens_stream.pipeline.earlier_run._TELL_EVERY", 0)
    command = ("images", "--input", photos, "-o", out, "--recursive", "--shape", 64, 64)
    assert "looked at" not in program(*command).stderr
    assert "photos: 7 of 8 photos looked at, whether they are done" in program(*command, "--resume").stderr


@pytest.mark.parametrize("options", [(), ("--shard", "1/2")], ids=["alone", "beside another shard"])
def test_photos_that_start_over_are_told_of(options, program, photos, tmp_path):
    out = tmp_path / "out"
    command = ("images", "--input", photos, "-o", out, "--recursive", "--shape", 64, 64)
    assert program(*command, *(("--shard", "2/2") if options else ())).code in (0, 3)
    [path] = out.glob("*_run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "interrupted"}))  # or is still at it
    outcome = program(*command, *options)
    assert outcome.code in (0, 3)
    assert ("holds a part of this run" in outcome.stderr) is not bool(options)


def test_a_photo_that_changed_or_came_is_done(program, photos, inferred, tmp_path):
    out = tmp_path / "out"
    images(program, photos, out)
    time.sleep(0.02)
    cv2.imwrite(str(photos / "2.png"), picture(99, (62, 80)))
    cv2.imwrite(str(photos / "00.png"), picture(77, (62, 80)))
    inferred.clear()
    outcome = images(program, photos, out, "--resume")
    assert outcome.code == 3
    assert len(inferred) == 2
    whole = tmp_path / "whole"
    images(program, photos, whole)
    assert_same_photos(whole, out)


def test_photos_painted_otherwise_are_made_of_what_is_stored(program, photos, inferred, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    images(program, photos, whole, "--opacity", 0.8)
    images(program, photos, out)
    inferred.clear()
    assert images(program, photos, out, "--resume", "--opacity", 0.8).code == 3
    assert inferred == []
    assert_same_photos(whole, out)


# --- kill -9 --------------------------------------------------------------------------------------------------------

KILLS = int(os.environ.get("SAPIENS_STREAM_KILLS", "3"))


def sizes(folder):
    """What lies in a folder, but for the record."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(OSError):
            if "run" not in path.name and path.is_file():
                found[path] = path.stat().st_size
    return found


def kill_at_random(rng, folder, *command):
    """Kills the program some time after it has begun to write; again and again. Returns how often it was in time."""
    killed = 0
    for _ in range(KILLS):
        before = sizes(folder)
        process = start(*command)
        end = time.monotonic() + WAIT
        while process.poll() is None and sizes(folder) == before:
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.4))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate()
    return killed


@pytest.mark.parametrize("save", ["labels,jsonl", "classes,json"])
def test_a_killed_video_is_gone_on_with(save, program, tmp_path):
    clip = make_video(tmp_path / "clip.mp4", frames=150, vfr=True, audio="aac")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert program("video", clip, "-o", whole, *SMALL, "--save", save).code == 0
    command = ("video", clip, "-o", out, *SMALL, "--save", save, "--resume")
    assert kill_at_random(random.Random(7), out, *command) > 0
    outcome = finish(start(*command))
    assert outcome.code == 0, outcome
    compare(whole, out)
    assert len(record_of(out)["starts"]) > 1


def test_killed_photos_are_gone_on_with(program, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        cv2.imwrite(str(folder / f"{number}.jpg"), picture(number, (120, 160)))
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert images(program, folder, whole).code == 0
    command = ("images", "--input", folder, "-o", out, "--recursive", "--shape", 64, 64, "-q", "--resume")
    assert kill_at_random(random.Random(8), out, *command) > 0
    outcome = finish(start(*command))
    assert outcome.code == 0, outcome
    assert_same_photos(whole, out)
    assert record_of(out, "photos")["frames"]["written"] == 60


@pytest.mark.parametrize("end", ["failed", "killed"])
def test_a_start_that_ends_sooner_leaves_what_an_earlier_one_has_made(end, whole, clip, model, tmp_path):
    """Its overlay, lines and figures reach farther, and took long to make."""
    outputs = Outputs(save=frozenset({"labels", "jsonl", "statistics", "parquet"}), contact_sheet=True)
    kept = ["clip_overlay.mp4", "clip.jsonl", "clip_statistics.csv", "clip_statistics.parquet", "clip_sheet.png"]
    assert isinstance(execute(clip, tmp_path, model, outputs, more=[EndsAfter(30)]).error, Broken)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in kept) == sorted(kept)
    if end == "killed":  # what it had made lies aside, but for what cannot be read without its end
        kept = kept[:3]
        for name in kept:
            (tmp_path / name).rename(aside(tmp_path / name))
    there = {name: content(tmp_path / name, aside(tmp_path / name)) for name in kept}
    written = record_of(tmp_path)["frames"]["written"]
    assert written >= 30
    for sooner in (5, 20):
        run = execute(clip, tmp_path, model, outputs, more=[EndsAfter(sooner)])
        assert isinstance(run.error, Broken) and set(kept) <= {path.name for path in run.outputs}
        assert {name: content(tmp_path / name) for name in kept} == there
        assert record_of(tmp_path)["frames"]["written"] == written
        assert not list(tmp_path.glob(".*.part*"))
    assert len(LabelVideo(tmp_path / "clip_labels.mkv")) >= 29
    assert execute(clip, tmp_path, model, outputs).status == "complete"
    assert_same_video(whole["label video"] / "clip_overlay.mp4", tmp_path / "clip_overlay.mp4")
    assert content(tmp_path / "clip.jsonl") == content(whole["label video"] / "clip.jsonl")


def test_a_start_that_comes_farther_replaces_what_an_earlier_one_has_made(clip, model, tmp_path):
    outputs = Outputs(save=frozenset({"labels", "jsonl"}))
    lengths = []
    for end in (3, 36):
        assert isinstance(execute(clip, tmp_path, model, outputs, more=[EndsAfter(end)]).error, Broken)
        lengths.append([(tmp_path / name).stat().st_size for name in ("clip_overlay.mp4", "clip.jsonl")])
    assert all(before < after for before, after in zip(*lengths, strict=True))


def content(*places):
    return next(path.read_bytes() for path in places if path.exists())


def test_people_are_found_in_all_frames_again(clip, tmp_path):
    """A class map does not tell who is where, nor does one frame how the boxes of the next have grown."""
    outputs = Outputs(overlay="none", save=frozenset({"labels", "json"}))
    with Segmenter("builtin", device="cpu", shape=(64, 64), people="builtin", warn=lambda sentence: None) as model:
        assert execute(clip, tmp_path / "whole", model, outputs).status == "complete"
        assert execute(clip, tmp_path / "out", model, outputs, more=[EndsAfter(20)]).status == "failed"
        notes = []
        assert execute(clip, tmp_path / "out", model, outputs, note=notes.append).status == "complete"
    assert any("inferred again, as frames depend on those before them" in note for note in notes)
    assert "people" in json.loads((tmp_path / "out" / "clip" / "000003.json").read_text())
    assert_same_files(tmp_path / "whole", tmp_path / "out", "clip/*.json")


def test_a_run_that_infers_all_frames_again_says_why(clip, tmp_path):
    outputs = Outputs(overlay="none", save=frozenset({"labels", "statistics"}))
    notes = []
    with Segmenter("builtin", device="cpu", shape=(64, 64), warn=lambda sentence: None, **outputs.needs) as model:
        assert execute(clip, tmp_path, model, outputs, more=[EndsAfter(20)], note=notes.append).status == "failed"
        assert not any("inferred again" in note for note in notes)
        written = record_of(tmp_path)["frames"]["written"]
        assert execute(clip, tmp_path, model, outputs, note=notes.append).status == "complete"
    told = f"all {written} frames that are there are inferred again, as class maps hold no probabilities"
    assert sum(told in note for note in notes) == 1


def test_an_interrupted_run_is_gone_on_with(program, tmp_path):
    clip = make_video(tmp_path / "clip.mp4", frames=150)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert program("video", clip, "-o", whole, *SMALL, "--save", "labels,json").code == 0
    command = ("video", clip, "-o", out, *SMALL, "--save", "labels,json", "--resume")
    process = start(*command)
    wait_for(lambda: len(list(out.glob("clip/*.json"))) > 5, process)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    record = json.loads(Path(out / "clip_run.json").read_text())
    assert record["status"] == "interrupted" and 0 < record["frames"]["written"] < 150
    assert finish(start(*command)).code == 0
    compare(whole, out)
    assert_same_files(whole, out, "clip/*.json")
