"""What goes wrong around a run: names, disks, folders, terminals; with the real program, mostly in a child process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sapiens_stream.sinks.video.overlay import OverlayVideo
from tests.media import frames_of, make_photo, make_video, picture
from tests.program import Program, finish, record_of, start, wait_for

FAST = ("--preset", "ultrafast")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=4)


class TestOneBadInput:
    @pytest.mark.parametrize(
        ("kind", "says"),
        [
            ("name of 250 bytes", "File name too long"),
            ("16500 pixels wide", "libx264 holds up to 16384 pixels a side, this is 16500x32; --codec libx265"),
            ("16400 pixels high", "16384"),
            ("a folder in the overlay's place", "Is a directory"),
            ("a file in the frames' place", "can't be written"),
            ("links in a circle", "symbolic links"),
        ],
    )
    def test_never_costs_the_others(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path, kind: str, says: str
    ) -> None:
        out = tmp_path / "out"
        bad = tmp_path / "bad.mkv"
        match kind:
            case "name of 250 bytes":
                bad = make_video(tmp_path / ("b" * 246 + ".mkv"), frames=3)
            case "16500 pixels wide":
                make_video(bad, codec="ffv1", size=(32, 16500), frames=2)
            case "16400 pixels high":
                make_video(bad, codec="ffv1", size=(16400, 64), frames=2)
            case "a folder in the overlay's place":
                make_video(bad, frames=3)
                (out / "bad_overlay.mp4").mkdir(parents=True)
            case "a file in the frames' place":
                make_video(bad, frames=3)
                out.mkdir()
                (out / "bad").touch()
            case "links in a circle":
                bad.symlink_to(bad)
        outcome = program("video", bad, clip, "-m", colour_torchscript, "-o", out, *FAST)
        assert outcome.code == 3 and len(outcome.complaints) == 1, outcome.stderr
        assert says in outcome.complaints[0] and bad.stem in outcome.complaints[0]
        assert record_of(out)["status"] == "complete" and frames_of(out / "clip_overlay.mp4") == 4
        alone = program("video", bad, "-m", colour_torchscript, "-o", out, *FAST)
        assert alone.code == 1 and len(alone.complaints) == 1
        again = program(
            "video", bad, clip, "-m", colour_torchscript, "-o", out, *FAST, "--save", "json,labels", "--resume"
        )
        assert again.code == 3 and len(again.complaints) == 1 and says in again.complaints[0], again.stderr

    @pytest.mark.parametrize("kind", ["name of 255 bytes", "a folder in its place", "links in a circle"])
    def test_photo_never_costs_the_others(
        self, program: Program, tmp_path: Path, colour_torchscript: Path, kind: str
    ) -> None:
        photos = tmp_path / "photos"
        good = [make_photo(photos / f"{name}.png", picture(1)) for name in ("a", "z")]
        bad = photos / "m.png"
        match kind:
            case "name of 255 bytes":
                bad = make_photo(photos / ("m" * 251 + ".png"), picture(2))
            case "a folder in its place":
                make_photo(bad, picture(2))
                (photos / "output" / "m_seg.npy").mkdir(parents=True)
            case "links in a circle":
                bad.symlink_to(bad)
        outcome = program("images", colour_torchscript, "--input", photos)
        assert outcome.code == 3 and len(outcome.complaints) == 1 and bad.stem in outcome.complaints[0], outcome.stderr
        there = {path.name for path in (photos / "output").iterdir() if not path.is_dir()}
        endings = (".png", ".npy", "_seg.npy", ".json")
        assert there == {each.stem + ending for each in good for ending in endings} | {"photos_run.json", "run.jsonl"}
        record = record_of(photos / "output", "photos")
        assert record["frames"]["written"] == 2 and record["frames"]["skipped"] == 1
        again = program("images", colour_torchscript, "--input", photos, "--resume")
        assert again.code == 3 and again.complaints == outcome.complaints, again.stderr

    def test_a_photo_of_250_bytes_has_its_results(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        stem = "p" * 246
        make_photo(tmp_path / "photos" / f"{stem}.png", picture(1))
        assert program("images", colour_torchscript, "--input", tmp_path / "photos").code == 0
        assert (tmp_path / "photos" / "output" / f"{stem}_seg.npy").exists()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
class TestNamesThatAreNoText:
    NAME = os.fsdecode(b"caf\xe9 \xff")

    def test_survive_in_results_record_and_json(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        clip = shutil.copyfile(make_video(tmp_path / "x.mp4", frames=3), tmp_path / f"{self.NAME}.mp4")
        out = tmp_path / "out"
        outcome = program("video", clip, "-m", colour_torchscript, "-o", out, *FAST, "--json")
        assert outcome.code == 0, outcome.stderr
        assert json.loads(outcome.stdout)["input"] == str(clip)
        assert record_of(out, self.NAME)["input"] == str(clip)
        assert json.loads((out / self.NAME / "000000.json").read_text())["name"] == f"{self.NAME}/000000"
        assert frames_of(out / f"{self.NAME}_overlay.mp4") == 3
        assert program("video", clip, "-m", colour_torchscript, "-o", out, *FAST).code == 0
        photos = tmp_path / self.NAME
        make_photo(tmp_path / "p.png", picture(1))
        photos.mkdir()
        (tmp_path / "p.png").rename(photos / f"{self.NAME}.png")
        assert program("images", colour_torchscript, "--input", photos).code == 0
        assert json.loads((photos / "output" / f"{self.NAME}.json").read_text())["name"] == self.NAME


class TestFolderThatGoes:
    @pytest.mark.parametrize("arguments", [(), ("--save", "none"), ("--overlay", "none")])
    def test_nothing_is_claimed_that_is_not_there(self, tmp_path: Path, goliath: Path, arguments: tuple[str]) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=600, size=(240, 320))
        out = tmp_path / "out"
        process = start("video", clip, clip, "-m", goliath, "-o", out, "--shape", 512, 384, *FAST, *arguments)
        wait_for(lambda: (out / "clip_run.json").exists(), process)
        gone = out.rename(tmp_path / "gone")  # at once: while files come, a folder cannot always be emptied
        shutil.rmtree(gone, ignore_errors=True)
        outcome = finish(process)
        assert outcome.code == 1 and "deleted or replaced" in outcome.stderr, outcome.stderr
        assert "Traceback" not in outcome.stderr and "600 frames in" not in outcome.stdout

    def test_a_folder_that_went_with_its_overlay_ends_the_batch(
        self,
        program: Program,
        clip: Path,
        tmp_path: Path,
        colour_torchscript: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = tmp_path / "out"
        close = OverlayVideo.close

        def goes(self: OverlayVideo) -> None:
            if out.exists() and not (tmp_path / "gone").exists():
                out.rename(tmp_path / "gone")
            close(self)

        monkeypatch.setattr(OverlayVideo, "close", goes)
        other = shutil.copyfile(clip, tmp_path / "other.mp4")
        outcome = program("video", clip, other, "-m", colour_torchscript, "-o", out, *FAST, "--save", "none")
        assert outcome.code == 1 and len(outcome.complaints) == 1, outcome.stderr
        assert "deleted or replaced" in outcome.complaints[0]
        assert not (out / "other_overlay.mp4").exists()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory with the given options."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")

    def mount(options: str) -> Path:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode:
            pytest.skip("no small disk can be mounted here")
        return disk

    yield mount
    subprocess.run(["umount", "-l", disk], capture_output=True)


class TestDisk:
    def test_that_fills_at_once_leaves_a_record_that_says_why(
        self, program: Program, mounted: Callable[[str], Path], tmp_path: Path, colour_torchscript: Path
    ) -> None:
        disk = mounted("size=256k")
        photos = tmp_path / "photos"
        for index in range(3):
            make_photo(photos / f"{index}.png", picture(index, (600, 800)))
        outcome = program("images", colour_torchscript, "--input", photos, "--output_root", disk)
        assert outcome.code == 1 and "No space left" in outcome.complaints[-1], outcome.stderr
        record = record_of(disk, "photos")
        assert record["status"] == "failed" and "No space left" in str(record["error"])
        assert {path.name for path in disk.rglob(".*")} == set()

    def test_without_room_for_that_many_files_is_reported_before(
        self, program: Program, clip: Path, mounted: Callable[[str], Path], colour_torchscript: Path
    ) -> None:
        disk = mounted("size=50m,nr_inodes=12")
        outcome = program("video", clip, "-m", colour_torchscript, "-o", disk, *FAST)
        assert outcome.code == 1 and "4 frames need 16 files" in outcome.complaints[0], outcome.stderr
        assert not list(disk.iterdir())
        assert program("video", clip, "-m", colour_torchscript, "-o", disk, *FAST, "--save", "none").code == 0

    @pytest.mark.parametrize("arguments", [(), ("--regions", "rle"), ("--overlay", "frames")])
    def test_noisy_masks_take_no_more_than_was_estimated(
        self, program: Program, tmp_path: Path, goliath: Path, arguments: tuple[str, ...]
    ) -> None:
        """Random weights see something else at every pixel."""
        clip = make_video(tmp_path / "clip.mp4", frames=10, size=(480, 640))
        out = tmp_path / "out"
        outcome = program("video", clip, "-m", goliath, "-o", out, "--shape", 512, 384, *arguments)
        assert outcome.code == 0, outcome.stderr
        line = next(line for line in outcome.stderr.splitlines() if "frames need about" in line)
        amount, unit = line.split("need about ")[1].split(",")[0].split()
        estimated = float(amount) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
        written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        assert written <= estimated * 1.005, (written, line)  # the line has three digits
