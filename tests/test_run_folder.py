"""Whose results a folder holds: the same run's, another's, one that is going on; and which files are a run's own."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sapiens_stream.errors import FolderTaken
from sapiens_stream.pipeline import known_files
from sapiens_stream.pipeline.file_list import FileList
from sapiens_stream.pipeline.fingerprint import Fingerprint
from sapiens_stream.pipeline.lock import Lock, is_held, whole_file
from sapiens_stream.pipeline.run_folder import RunFolder
from sapiens_stream.settings import RUN_SCHEMA
from sapiens_stream.sinks.files import written_aside
from tests.busy_disk import keep_open_files
from tests.media import make_photo, make_video, picture
from tests.program import Program, finish, record_of, start, wait_for

FAST = ("--preset", "ultrafast")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=6)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def run_of(count: int, stem: str = "clip", endings: tuple[str, ...] = ("_seg.npy", ".json")) -> set[str]:
    frames = {f"{stem}/{index:06d}{ending}" for index in range(count) for ending in endings}
    return frames | {f"{stem}_overlay.mp4", f"{stem}_run.json"}


class TestFileList:
    def frames(self, *indices: int, endings: tuple[str, ...] = (".json",)) -> FileList:
        files = FileList()
        for index in indices:
            files.add(f"clip/{index:06d}", [(ending, 10) for ending in endings])
        return files

    @pytest.mark.parametrize(
        ("indices", "names"),
        [
            ((0, 1, 2), [["clip/000000", "clip/000002"]]),
            ((2, 0, 1), [["clip/000000", "clip/000002"]]),
            ((0, 2, 5, 4), ["clip/000000", "clip/000002", ["clip/000004", "clip/000005"]]),
            ((999_999, 1_000_000), ["clip/999999", "clip/1000000"]),
        ],
    )
    def test_names_that_count_up_are_kept_as_ranges(self, indices: tuple[int, ...], names: list[object]) -> None:
        files = self.frames(*indices)
        assert files.as_dict()["names"] == names
        assert files.as_dict()["endings"] == {".json": {"count": len(indices), "bytes": 10 * len(indices)}}
        again = FileList.from_dict(json.loads(json.dumps(files.as_dict())))
        assert all(f"clip/{index:06d}.json" in again for index in indices)
        assert "clip/000007.json" not in again and "clip/000000.npy" not in again and "000000.json" not in again

    @pytest.mark.parametrize(
        ("record", "listed"),
        [
            (None, False),
            ({"names": "abc", "endings": 3, "single": []}, False),
            ({"names": [["../x/000000", "../x/000009"]], "endings": {".json": {}}}, False),
            ({"names": ["/etc/passwd"], "endings": {"": {}, "/../x": {}}, "single": {"../x": 1, "/x": 1}}, False),
            ({"names": [["a/000000", "a/" + "9" * 18]], "endings": {".json": {}}}, True),
            ({"names": ["a\ud800", "a/\ud800", "a\0b"], "endings": {".json": {}}, "single": {"\ud800": 1}}, False),
            ({"names": ["a/000000"], "endings": {"_\ud800": {}, "\0": {}, ".json": {"count": None}}}, True),
        ],
    )
    def test_a_forged_list_leads_nowhere(self, tmp_path: Path, record: object, listed: bool) -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "000001.json").touch()
        root = tmp_path / "root"
        root.mkdir()
        files = FileList.from_dict(record)
        assert bool(files) == listed and not list(files.existing(root))
        assert FileList.from_dict(record, counted=True).problem(root) is None
        files.remove_from(root)
        assert (tmp_path / "x" / "000001.json").exists()

    @pytest.mark.parametrize(
        ("harm", "says"),
        [
            (lambda folder: None, None),
            (lambda folder: (folder / "000001.json").unlink(), "1 of 3 files *.json are missing"),
            (lambda folder: (folder / "000001.json").write_bytes(b"123"), "the 3 files *.json have 23 bytes of 30"),
            (lambda folder: shutil.rmtree(folder), "3 of 3 files *.json are missing"),
            (lambda folder: (folder.parent / "clip.mp4").unlink(), "clip.mp4 is missing"),
            (lambda folder: (folder.parent / "clip.mp4").write_bytes(b"1"), "clip.mp4 has 1 bytes of 4"),
        ],
    )
    def test_what_is_missing_is_told(self, tmp_path: Path, harm: Callable[[Path], object], says: str | None) -> None:
        files = self.frames(0, 1, 2)
        files.add_single("clip.mp4", 4)
        (tmp_path / "clip").mkdir()
        (tmp_path / "clip.mp4").write_bytes(b"1234")
        for index in range(3):
            (tmp_path / "clip" / f"{index:06d}.json").write_bytes(bytes(10))
        harm(tmp_path / "clip")
        assert files.problem(tmp_path) == says

    def test_a_folder_that_the_disk_does_not_list_is_not_called_empty(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, listed = self.frames(0), os.scandir
        (tmp_path / "clip").mkdir()

        def broken(folder: Path) -> object:
            if folder == tmp_path / "clip":
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))
            return listed(folder)

        monkeypatch.setattr(os, "scandir", broken)
        assert files.problem(tmp_path) == f"{tmp_path / 'clip'} can't be listed: Input/output error"
        assert list(files.existing(tmp_path)) == []


class TestTheSameRun:
    @pytest.mark.parametrize("given", ["again", "copied elsewhere", "by another way", "one at a time"])
    def test_replaces_its_own_files(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path, given: str
    ) -> None:
        out = tmp_path / "out"
        arguments = ["-m", colour_torchscript, "-o", out, *FAST]
        assert program("video", clip, *arguments).code == 0
        os.utime(out / "clip" / "000003.json", (1, 1))
        if given == "copied elsewhere":
            (tmp_path / "copy").mkdir()
            clip = Path(shutil.copyfile(clip, tmp_path / "copy" / "clip.mp4"))
        elif given == "by another way":
            clip = tmp_path / "." / "nothing" / ".." / "clip.mp4"
            (tmp_path / "nothing").mkdir()
        elif given == "one at a time":
            arguments += ["--batch-size", 1, "--device", "cpu"]
        outcome = program("video", clip, *arguments)
        assert outcome.code == 0, outcome.stderr
        assert files_of(out) == run_of(6) and (out / "clip" / "000003.json").stat().st_mtime > 1

    def test_a_list_of_its_files_stands_in_the_record(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        assert program("video", clip, "-m", colour_torchscript, "-o", tmp_path / "out", *FAST).code == 0
        record = json.loads((tmp_path / "out" / "clip_run.json").read_text())
        files, fingerprint = record["files"], record["fingerprint"]
        assert files["names"] == [["clip/000000", "clip/000005"]]
        written = {path.suffix: 0 for path in (tmp_path / "out" / "clip").iterdir()}
        for path in (tmp_path / "out" / "clip").iterdir():
            written[path.suffix] += path.stat().st_size
        assert files["endings"]["_seg.npy"] == {"count": 6, "bytes": written[".npy"]}
        assert files["endings"][".json"] == {"count": 6, "bytes": written[".json"]}
        assert files["single"] == {"clip_overlay.mp4": (tmp_path / "out" / "clip_overlay.mp4").stat().st_size}
        assert fingerprint["model"] == record["model"]["sha256"] and fingerprint["settings"]["opacity"] == 0.5
        assert fingerprint["input"]["bytes"] == clip.stat().st_size and fingerprint["settings"]["shape"] == [256, 192]

    def test_photos_that_are_gone_leave_no_results(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        photos = tmp_path / "photos"
        for name in ("a", "b"):
            make_photo(photos / f"{name}.png", picture(1))
        assert program("images", colour_torchscript, "--input", photos).code == 0
        (photos / "b.png").unlink()
        make_photo(photos / "c.png", picture(2))
        outcome = program("images", colour_torchscript, "--input", photos)
        assert outcome.code == 0, outcome.stderr
        expected = {name + ending for name in "ac" for ending in (".png", ".npy", "_seg.npy", ".json")}
        assert files_of(photos / "output") == expected | {"photos_run.json", "run.jsonl"}
        lines = map(json.loads, (photos / "output" / "run.jsonl").read_text().splitlines())
        assert [line["name"] for line in lines] == ["a", "c"]

    def test_lists_that_hold_the_same_are_the_same_run(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        out = tmp_path / "out"
        for save, classes in (("labels,json", "class_3,class_5"), ("json, labels", "Class-5,3")):
            arguments = ("-m", colour_torchscript, "-o", out, "--save", save, "--classes", classes)
            outcome = program("video", clip, *arguments)
            assert outcome.code == 0, outcome.stderr


class TestAnotherRun:
    @pytest.mark.parametrize(
        ("other", "says"),
        [
            (("--opacity", 0.9), "other opacity"),
            (("--fit", "letterbox"), "other fit"),
            (("--shape", 320, 192), "other shape"),
            (("--classes", "hair"), "other classes"),
            (("--save", "json", "--no-audio"), "save"),
            ("other clip", "other input"),
            ("other model", "other model"),
        ],
    )
    def test_is_refused_and_with_overwrite_replaced(
        self,
        program: Program,
        clip: Path,
        tmp_path: Path,
        colour_torchscript: Path,
        goliath: Path,
        other: str | tuple[object, ...],
        says: str,
    ) -> None:
        out, model = tmp_path / "out", goliath
        arguments: tuple[object, ...] = ("--shape", 256, 192)
        assert program("video", clip, "-m", model, "-o", out, *arguments, *FAST).code == 0
        (out / "clip" / "notes.txt").write_text("mine")
        (out / "clip" / "000001.npy").write_bytes(b"mine too")
        before = {name: (out / name).read_bytes() for name in files_of(out)}
        if other == "other clip":
            (tmp_path / "elsewhere").mkdir()
            clip = make_video(tmp_path / "elsewhere" / "clip.mp4", frames=3)
        elif other == "other model":
            model = colour_torchscript
        else:
            arguments += other
        again = ("video", clip, "-m", model, "-o", out, *arguments, *FAST)
        outcome = program(*again)
        assert outcome.code == 2 and len(outcome.complaints) == 1, outcome.stderr
        assert all(word in outcome.complaints[0] for word in (str(out), "clip_run.json", says, "--overwrite", "-o"))
        assert {name: (out / name).read_bytes() for name in files_of(out)} == before
        outcome = program(*again, "--overwrite")
        assert outcome.code == 0, outcome.stderr
        endings = (".json",) if "json" in other else ("_seg.npy", ".json")
        expected = run_of(3 if other == "other clip" else 6, endings=endings)
        assert files_of(out) == expected | {"clip/notes.txt", "clip/000001.npy"}
        assert program(*again).code == 0

    def test_of_the_same_photos_is_refused_under_any_name(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        for folder in ("one", "two", "three"):
            make_photo(tmp_path / folder / ("b.png" if folder == "three" else "a.png"), picture(1))
        out = tmp_path / "out"
        codes = [
            program("images", colour_torchscript, "--input", tmp_path / folder, "--output_root", out).code
            for folder in ("one", "two", "three", "one")
        ]
        assert codes == [0, 2, 0, 0]
        assert {name for name in files_of(out) if name.endswith("_run.json")} == {"one_run.json", "three_run.json"}

    def test_single_photos_of_a_folder_share_it(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        for name in ("a", "b"):
            make_photo(tmp_path / "photos" / f"{name}.png", picture(1))
            outcome = program("images", colour_torchscript, "--input", tmp_path / "photos" / f"{name}.png")
            assert outcome.code == 0, outcome.stderr
        records = {name for name in files_of(tmp_path / "photos" / "output") if name.endswith("_run.json")}
        assert records == {"photos_run.json", "photos_b_run.json"}

    def test_does_not_stop_the_rest_of_a_batch(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        second = make_video(tmp_path / "second.mp4", frames=3)
        arguments = ("-m", colour_torchscript, "-o", tmp_path / "out", *FAST)
        assert program("video", clip, *arguments).code == 0
        outcome = program("video", clip, second, *arguments, "--opacity", 1)
        assert outcome.code == 3 and len(outcome.complaints) == 1
        assert run_of(3, "second") < files_of(tmp_path / "out")

    @pytest.mark.parametrize("content", [b"", b"{", b'{"schema": "sapiens-stream-run/1"}', b"[1, 2]", b"\xff\xfe"])
    def test_a_file_in_the_records_place_is_not_written_over(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path, content: bytes
    ) -> None:
        (tmp_path / "clip_run.json").write_bytes(content)
        outcome = program("video", clip, "-m", colour_torchscript, "-o", tmp_path, *FAST)
        assert outcome.code == 2 and "clip_run.json" in outcome.complaints[0]
        assert (tmp_path / "clip_run.json").read_bytes() == content

    @pytest.mark.parametrize(
        ("there", "options"),
        [
            ("mine.mp4", ("-o", "mine.mp4")),
            ("clip_overlay.mp4", ("-o", "")),
            ("clip/000003.png", ("-o", "", "--overlay", "frames")),
        ],
    )
    def test_a_file_of_nobodys_run_is_not_written_over(
        self,
        program: Program,
        clip: Path,
        tmp_path: Path,
        colour_torchscript: Path,
        there: str,
        options: tuple[str, ...],
    ) -> None:
        mine = tmp_path / "out" / there
        mine.parent.mkdir(parents=True)
        mine.write_bytes(b"mine")
        _, name, *rest = options
        command = ("video", clip, "-m", colour_torchscript, "-o", tmp_path / "out" / name, *rest, *FAST)
        outcome = program(*command)
        assert outcome.code == 2 and str(mine) in outcome.complaints[0] and "--overwrite" in outcome.complaints[0]
        assert mine.read_bytes() == b"mine" and files_of(tmp_path / "out") == {there}
        for again in (("--overwrite",), ()):
            outcome = program(*command, *again)
            assert outcome.code == 0, outcome.stderr
            assert mine.read_bytes() != b"mine"

    def test_results_among_the_inputs_are_left_out_when_the_command_is_given_again(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        """As `video *.mp4 -o .` has it, the second time."""
        command = ("-m", colour_torchscript, "-o", clip.parent, "--save", "none", *FAST)
        assert program("video", clip, *command).code == 0
        overlay = clip.with_name("clip_overlay.mp4")
        outcome = program("video", clip, overlay, *command)
        assert outcome.code == 3 and len(outcome.complaints) == 1, outcome.stderr
        assert f"{overlay}: it is the result of {clip}" in outcome.complaints[0]
        assert record_of(clip.parent)["frames"]["written"] == 6
        assert not clip.with_name("clip_overlay_overlay.mp4").exists()

    def test_a_picture_of_nobodys_run_is_not_written_over(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        photo, mine = make_photo(tmp_path / "photos" / "a.jpg", picture(1)), tmp_path / "out" / "a.png"
        mine.parent.mkdir()
        mine.write_bytes(b"mine")
        outcome = program("images", colour_torchscript, "--input", photo, "-o", tmp_path / "out")
        assert outcome.code == 2 and str(mine) in outcome.complaints[0], outcome.stderr
        assert mine.read_bytes() == b"mine" and files_of(tmp_path / "out") == {"a.png"}

    def test_files_outside_the_folder_are_safe_from_a_forged_record(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        out, victims = tmp_path / "out", tmp_path / "victims"
        victims.mkdir()
        for name in ("000000.json", "000001.json", "precious"):
            (victims / name).write_text("keep")
        out.mkdir()
        (out / "link").symlink_to(victims)
        (out / "pointer").symlink_to(victims / "precious")
        names = [["../victims/000000", "../victims/000009"], ["link/000000", "link/000009"], f"{victims}/000001"]
        single = {"../victims/precious": 4, "link/precious": 4, str(victims / "precious"): 4, "pointer": 4}
        forged = {
            "schema": "sapiens-stream-run/1",
            "files": {"names": names, "endings": {".json": {"count": 2, "bytes": 8}}, "single": single},
        }
        (out / "clip_run.json").write_text(json.dumps(forged))
        outcome = program("video", clip, "-m", colour_torchscript, "-o", out, *FAST, "--overwrite")
        assert outcome.code == 0, outcome.stderr
        assert files_of(victims) == {"000000.json", "000001.json", "precious"}
        assert not (out / "pointer").is_symlink() and (out / "link").is_symlink()

    def test_overwrite_leaves_the_input(self, program: Program, tmp_path: Path, colour_torchscript: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3)
        arguments = ("-m", colour_torchscript, "-o", tmp_path, *FAST)
        assert program("video", clip, *arguments).code == 0
        record = json.loads((tmp_path / "clip_run.json").read_text())
        record["files"]["single"]["clip.mp4"] = 1
        (tmp_path / "clip_run.json").write_text(json.dumps(record))
        assert program("video", clip, *arguments, "--opacity", 1, "--overwrite").code == 0
        assert clip.exists()


class TestNames:
    @pytest.mark.parametrize("name", ["morning_run", "Morning_Run", "morning_run_run"])
    def test_a_photo_called_like_the_record_keeps_its_results(
        self, program: Program, tmp_path: Path, colour_torchscript: Path, name: str
    ) -> None:
        photos = tmp_path / "morning"
        for each in {name, "morning_run"}:
            make_photo(photos / f"{each}.png", picture(1))
        for _ in range(2):
            outcome = program("images", colour_torchscript, "--input", photos)
            assert outcome.code == 0, outcome.stderr
        schemas = {path.name: json.loads(path.read_text())["schema"] for path in (photos / "output").glob("*.json")}
        assert schemas.pop(f"{name}.json") == "sapiens-stream/1" and schemas.pop("morning_run.json", "sapiens-stream/1")
        assert list(schemas.values()) == ["sapiens-stream-run/1"]

    def test_a_photo_that_comes_to_be_called_like_the_record(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        photos = tmp_path / "morning"
        make_photo(photos / "a.png", picture(1))
        assert program("images", colour_torchscript, "--input", photos).code == 0
        make_photo(photos / "morning_run.png", picture(1))
        assert program("images", colour_torchscript, "--input", photos).code == 0
        read = {path.name: json.loads(path.read_text())["schema"] for path in (photos / "output").glob("*.json")}
        assert read == {
            "a.json": "sapiens-stream/1",
            "morning_run.json": "sapiens-stream/1",
            "morning_run_run.json": "sapiens-stream-run/1",
        }

    @pytest.mark.parametrize("other", ["clip_run", "clip_overlay", "clip_sheet", "clip_labels", "clip_seg"])
    def test_videos_called_like_each_others_results(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path, other: str
    ) -> None:
        second = make_video(tmp_path / f"{other}.mp4", frames=3)
        out = tmp_path / "out"
        outcome = program("video", clip, second, "-m", colour_torchscript, "-o", out, *FAST)
        assert outcome.code == 0, outcome.stderr
        assert files_of(out) == run_of(6) | run_of(3, other) | {"run.jsonl"}


class TestTwoAtATime:
    def test_the_second_is_refused_and_a_killed_one_holds_nothing(
        self, program: Program, tmp_path: Path, goliath: Path
    ) -> None:
        clip = make_video(tmp_path / "long.mp4", frames=600, size=(240, 320))
        out = tmp_path / "out"
        arguments = ("-m", goliath, "-o", out, "--shape", 512, 384, *FAST)
        process = start("video", clip, *arguments)
        wait_for(lambda: (out / "long" / "000003.json").exists(), process)
        for options in ((), ("--overwrite",), ("--opacity", 1)):
            outcome = program("video", clip, *arguments, *options)
            assert outcome.code == 2 and "another run is writing" in outcome.complaints[0], outcome.stderr
        other = make_video(tmp_path / "other.mp4", frames=2)
        assert program("video", other, *arguments).code == 0
        process.kill()
        finish(process)
        assert json.loads((out / "long_run.json").read_text())["status"] == "interrupted"
        short = make_video(clip, frames=2)
        assert program("video", short, *arguments).code == 2
        outcome = program("video", short, *arguments, "--overwrite")
        assert outcome.code == 0, outcome.stderr
        assert files_of(out) == run_of(2, "long") | run_of(2, "other")


@pytest.mark.parametrize(("failure", "held"), [(errno.EAGAIN, True), (errno.EACCES, True), (errno.ENOLCK, False)])
def test_a_lock_that_was_left_where_there_are_none_is_not_held(tmp_path, monkeypatch, failure, held):
    def fails(descriptor):
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr("sapiens_stream.pipeline.lock._try_lock", fails)
    (tmp_path / ".x.lock").touch()
    assert is_held(tmp_path / ".x.lock") is held


def test_a_disk_whose_files_are_never_the_same_is_told_and_not_asked_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(Lock, "in_place", False)
    with pytest.raises(OSError, match="st_ino"):
        Lock(tmp_path / ".x.lock")
    monkeypatch.setattr(os.path, "samestat", lambda one, two: False)
    with pytest.raises(OSError, match="st_ino"), whole_file(tmp_path / "run.jsonl", os.O_RDWR | os.O_CREAT):
        pytest.fail("there is none")


@pytest.mark.skipif(os.name == "nt", reason="a file that is open cannot be replaced")
def test_a_lock_in_whose_place_another_lies_leaves_that_alone(tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".x.lock")
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(tmp_path / ".x.lock")
    assert not lock.in_place
    lock.release()
    assert (tmp_path / ".x.lock").exists()


def test_a_lock_whose_disk_is_gone_is_let_go_of(tmp_path, monkeypatch):
    lock = Lock(tmp_path / ".x.lock")
    close = os.close

    def fails(descriptor):
        close(descriptor)
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fails)
        lock.release()
    Lock(tmp_path / ".x.lock").release()


def test_a_lock_does_not_stay_where_no_open_file_can_be_removed(tmp_path, monkeypatch):
    keep_open_files(monkeypatch)
    Lock(tmp_path / ".x.lock").release()
    assert not list(tmp_path.iterdir())


class TestLinks:
    def test_what_lies_aside_is_never_followed(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        out, victim = tmp_path / "out", tmp_path / "victim"
        victim.write_text("precious")
        (out / "clip").mkdir(parents=True)
        for name in (
            ".clip_overlay.part.mp4", "..clip_overlay.part.part.mp4", ".clip_run.part.json", ".clip_run.reserve",
            "clip/.000000_seg.part.npy", "clip/.000001.part.json", "clip/000002.json", "clip_overlay.mp4",
        ):  # fmt: skip
            (out / name).symlink_to(victim)
        outcome = program("video", clip, "-m", colour_torchscript, "-o", out, *FAST, "--overwrite")
        assert outcome.code == 0, outcome.stderr
        assert victim.read_text() == "precious" and files_of(out) == run_of(6)
        assert not any(path.is_symlink() for path in out.rglob("*"))
        assert np.load(out / "clip" / "000000_seg.npy").any()

    def test_a_link_in_the_locks_place(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / ".clip_run.lock").symlink_to(tmp_path / "victim")
        outcome = program("video", clip, "-m", colour_torchscript, "-o", tmp_path / "out", *FAST)
        assert outcome.code == 1 and len(outcome.complaints) == 1 and not (tmp_path / "victim").exists()


class Told(Fingerprint):
    """A run that differs from those of other names."""

    is_of_photos = False

    def __init__(self, name: str) -> None:
        self._name = name

    def differences(self, other: object, *, in_class_maps: bool = False) -> list[str]:
        return [] if other == self._name else ["input"]


class TestAmongThousands:
    def claimed(self, folder: Path, stem: str, lists: str | None = None) -> RunFolder:
        planned = FileList()
        planned.add_single(f"{stem}_labels.mkv")
        run = RunFolder(folder / f"{stem}_run.json", planned)
        run.claim(Told(stem))
        listed = FileList()
        listed.add_single(lists or f"{stem}_labels.mkv")
        record = {"schema": RUN_SCHEMA, "fingerprint": stem, "files": listed.as_dict()}
        with written_aside(run.record_path) as file:
            file.write(json.dumps(record).encode())
        run.release()
        return run

    def test_each_record_is_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reads: list[Path] = []
        read = known_files.read_record
        monkeypatch.setattr(known_files, "read_record", lambda path: [reads.append(path), read(path)][1])
        for number in range(30):
            self.claimed(tmp_path, f"clip{number}")
        assert len(reads) == len(set(reads)) == 29

    def test_a_record_that_has_changed_is_read_again(self, tmp_path: Path) -> None:
        (tmp_path / "taken_labels.mkv").touch()
        self.claimed(tmp_path, "one")
        self.claimed(tmp_path, "two")
        self.claimed(tmp_path, "one", lists="taken_labels.mkv")
        with pytest.raises(FolderTaken, match=r"one_run\.json"):
            self.claimed(tmp_path, "taken")


def test_names_are_looked_for_one_at_a_time(tmp_path, monkeypatch):
    looked_for = []
    monkeypatch.setattr(os.path, "lexists", lambda path: not looked_for.append(path))
    files = FileList.from_dict({"names": [["clip/000000", "clip/899999"]], "endings": {"_seg.npy": {}}})
    names = iter(files.names_there(tmp_path, "_seg.npy"))
    assert [next(names), next(names)] == ["clip/000000", "clip/000001"]
    assert len(looked_for) == 2
