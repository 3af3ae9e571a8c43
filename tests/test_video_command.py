"""`sapiens-stream video` on real files: what is written, read back with other readers; bad input; interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
from pycocotools import mask as coco

from sapiens_stream import Segmenter, segment
from tests.media import make_photo, make_video, picture
from tests.program import WAIT, Program, finish, start, wait_for


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", frames=12, audio="aac", b_frames=2)


def times(path: Path) -> list[Fraction]:
    """When each frame begins, as a player sees it."""
    with av.open(str(path)) as container:
        return [Fraction(frame.pts) * frame.time_base for frame in container.decode(video=0)]


class TestFiles:
    def test_overlay_masks_json_and_record(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        out = tmp_path / "out"
        outcome = program("video", clip, "-m", colour_torchscript, "-o", out)
        assert outcome.code == 0, outcome.stderr
        assert times(out / "clip_overlay.mp4") == times(clip)
        with av.open(str(out / "clip_overlay.mp4")) as container:
            assert [stream.type for stream in container.streams] == ["video", "audio"]
            assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        for index in range(12):
            classes = np.load(out / "clip" / f"{index:06d}_seg.npy")
            found = json.loads((out / "clip" / f"{index:06d}.json").read_text())
            assert classes.shape == (96, 160) and classes.dtype == np.uint8
            assert list(found) == [
                "schema", "title", "name", "width", "height", "frame", "time", "model", "labels", "regions"
            ]  # fmt: skip
            assert (found["schema"], found["name"]) == ("sapiens-stream/1", f"clip/{index:06d}")
            assert found["time"] == pytest.approx(index / 25) and found["frame"] == index
            again = np.zeros_like(classes)
            for region in found["regions"]:
                rings = [np.array(ring, np.int32) for ring in region["polygons"]]
                cv2.drawContours(again, rings, -1, region["id"], cv2.FILLED)
            assert (again == classes).all()
        record = json.loads((out / "clip_run.json").read_text())
        assert record["status"] == "complete" and record["outputs"] == [str(out / "clip_overlay.mp4")]
        assert record["frames"]["decoded"] == record["frames"]["written"] == 12
        assert len(record["model"]["sha256"]) == 64 and record["settings"]["codec"] == "libx264"
        assert not [path for path in out.rglob("*") if path.name.startswith(".")]

    def test_what_to_save_is_chosen(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        arguments = ("--save", "foreground,json", "--overlay", "frames", "--save-format", "jpg", "--regions", "rle")
        assert program("video", clip, "-m", colour_torchscript, "-o", tmp_path, *arguments).code == 0
        suffixes = sorted({path.name[6:] for path in (tmp_path / "clip").iterdir()})
        assert suffixes == [".jpg", ".json", ".npy"] and not (tmp_path / "clip_overlay.mp4").exists()
        mask = np.load(tmp_path / "clip" / "000003.npy")
        regions = json.loads((tmp_path / "clip" / "000003.json").read_text())["regions"]
        assert mask.dtype == bool and mask.any()
        assert (np.any([coco.decode(region["rle"]) for region in regions], axis=0) == mask).all()

    def test_json_is_one_line_a_run_on_standard_output(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        second = make_video(tmp_path / "second.mkv", frames=3)
        outcome = program("video", clip, second, "-m", colour_torchscript, "-o", tmp_path / "out", "--json", "--quiet")
        records = [json.loads(line) for line in outcome.stdout.splitlines()]
        assert [(record["status"], record["frames"]["written"]) for record in records] == [
            ("complete", 12), ("complete", 3)
        ]  # fmt: skip
        assert outcome.stderr == ""

    def test_the_contact_sheet(self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path) -> None:
        arguments = ("--contact-sheet", "--overlay", "none", "--save", "json")
        assert program("video", clip, "-m", colour_torchscript, "-o", tmp_path / "out", *arguments).code == 0
        sheet = cv2.imread(str(tmp_path / "out" / "clip_sheet.png"))
        assert sheet is not None and sheet.size > 2 * 8 * 96 * 160 * 3

    @pytest.mark.parametrize("batch_size", [1, 5])
    def test_the_real_clip(
        self, program: Program, tmp_path: Path, colour_torchscript: Path, shared: Path, batch_size: int
    ) -> None:
        reel = shared / "media" / "reel.mp4"
        arguments = ("--batch-size", batch_size, "--preset", "ultrafast")
        outcome = program("video", reel, "-m", colour_torchscript, "-o", tmp_path, *arguments)
        assert outcome.code == 0, outcome.stderr
        assert times(tmp_path / "reel_overlay.mp4") == times(reel)
        assert len(list((tmp_path / "reel").glob("*_seg.npy"))) == 100
        with av.open(str(tmp_path / "reel_overlay.mp4")) as ours, av.open(str(reel)) as theirs:
            assert [bytes(p) for p in ours.demux(audio=0)] == [bytes(p) for p in theirs.demux(audio=0)]


def bad_video(folder: Path, kind: str) -> Path:
    path = folder / "bad.mp4"
    match kind:
        case "missing":
            pass
        case "text":
            path.write_text("this is no video")
        case "zero bytes":
            path.touch()
        case "no index":
            whole = make_video(folder / "whole.mp4", frames=12).read_bytes()
            path.write_bytes(whole[: len(whole) * 2 // 3])
        case "no video stream":
            with av.open(str(path), "w") as container:
                stream = container.add_stream("aac", rate=48000, layout="mono")
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
                frame.sample_rate = 48000
                container.mux(stream.encode(frame))
                container.mux(stream.encode())
        case "folder":
            path.mkdir()
    return path


class TestBadInput:
    @pytest.mark.parametrize("kind", ["missing", "text", "zero bytes", "no index", "no video stream", "folder"])
    def test_a_bad_video_is_named_and_the_good_ones_are_done(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path, kind: str
    ) -> None:
        bad = bad_video(tmp_path, kind)
        alone = program("video", bad, "-m", colour_torchscript, "-o", tmp_path / "alone")
        assert alone.code == 1 and len(alone.complaints) == 1 and "bad.mp4" in alone.complaints[0]
        assert not (tmp_path / "alone").exists()
        both = program("video", bad, clip, "-m", colour_torchscript, "-o", tmp_path / "both", "--json")
        assert both.code == 3 and both.complaints == alone.complaints
        assert [json.loads(line)["status"] for line in both.stdout.splitlines()] == ["failed", "complete"]
        assert len(times(tmp_path / "both" / "clip_overlay.mp4")) == 12

    def test_a_video_cut_short_gives_what_it_has(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        whole = make_video(tmp_path / "whole.mkv", frames=60).read_bytes()
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole[: len(whole) // 2])
        outcome = program("video", cut, "-m", colour_torchscript, "-o", tmp_path)
        assert outcome.code == 3 and len(outcome.complaints) == 1 and "cut" in outcome.complaints[0]
        done = len(times(tmp_path / "cut_overlay.mp4"))
        assert 10 < done < 60 and len(list((tmp_path / "cut").glob("*_seg.npy"))) == done

    def test_inputs_that_would_write_the_same_files(
        self, program: Program, clip: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        other = make_video(tmp_path / "clip.mkv", frames=3)
        outcome = program("video", clip, other, "-m", colour_torchscript, "-o", tmp_path / "out")
        assert outcome.code == 3 and len(outcome.complaints) == 1 and "clip.mkv" in outcome.complaints[0]
        assert len(times(tmp_path / "out" / "clip_overlay.mp4")) == 12

    def test_an_input_is_never_written_over(self, program: Program, tmp_path: Path, colour_torchscript: Path) -> None:
        clip, overlay = (make_video(tmp_path / name, frames=3) for name in ("clip.mp4", "clip_overlay.mp4"))
        before = overlay.read_bytes()
        outcome = program("video", clip, overlay, "-m", colour_torchscript, "-o", tmp_path)
        assert outcome.code == 3 and overlay.read_bytes() == before
        assert (tmp_path / "clip_overlay_overlay.mp4").exists()

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("--save", "nose"), 2, ["nose", "classes"]),
            (("--save", "none", "--overlay", "none"), 2, ["nothing to write"]),
            (("--codec", "nonsense"), 2, ["nonsense"]),
            (("--crf", "99"), 2, ["--crf", "63"]),
            (("--overlay", "gif"), 2, ["gif"]),
            (("--batch-size", "0"), 2, ["--batch-size", "1 or more"]),
            (("--opacity", "-1"), 2, ["--opacity", "greater than or equal to 0"]),
            (("--classes", "nose"), 2, ["nose", "Class_5"]),
            (("--device", "cuda:77"), 1, ["cuda:77"]),
            (("--model", "sapiens-9b"), 2, ["sapiens-9b", "builtin"]),
            (("--output", "{clip}"), 1, ["clip.mp4"]),
        ],
    )
    def test_one_line_says_what_is_wrong(
        self,
        program: Program,
        clip: Path,
        colour_torchscript: Path,
        tmp_path: Path,
        arguments: tuple[str, ...],
        code: int,
        says: list[str],
    ) -> None:
        given = [each.format(clip=clip) for each in arguments]
        if "--model" not in given:
            given += ["--model", str(colour_torchscript)]
        if "--output" not in given:
            given += ["--output", str(tmp_path / "out")]
        outcome = program("video", clip, *given)
        assert outcome.code == code, outcome.stderr
        assert len(outcome.complaints) == 1, outcome.stderr
        assert all(word in outcome.complaints[0] for word in says), outcome.complaints


class TestInterruption:
    """The clip is long enough that no machine is done before it is stopped."""

    @pytest.fixture
    def long_run(self, tmp_path: Path, goliath: Path) -> tuple[subprocess.Popen[str], Path]:
        clip = make_video(tmp_path / "long.mp4", frames=1000, size=(240, 320), audio="aac")
        out = tmp_path / "out"
        process = start("video", clip, "-m", goliath, "-o", out, "--shape", 512, 384)
        wait_for(lambda: (out / "long" / "000020.json").exists(), process)
        return process, out

    def check_masks(self, out: Path) -> int:
        """Every mask and JSON that bears its name is whole."""
        masks = sorted((out / "long").glob("[0-9]*_seg.npy"))
        assert all(np.load(path).shape == (240, 320) for path in masks)
        assert all(json.loads(path.read_text())["schema"] for path in (out / "long").glob("[0-9]*.json"))
        return len(masks)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_frames_in_flight_are_finished(
        self, long_run: tuple[subprocess.Popen[str], Path], number: signal.Signals
    ) -> None:
        process, out = long_run
        process.send_signal(number)
        outcome = finish(process)
        assert outcome.code == 130 and "Traceback" not in outcome.stderr, outcome.stderr
        record = json.loads((out / "long_run.json").read_text())
        assert record["status"] == "interrupted"
        count = record["frames"]["written"]
        assert 20 < count < 1000 and self.check_masks(out) == count == len(times(out / "long_overlay.mp4"))
        assert not [path for path in out.rglob("*") if path.name.startswith(".")]

    def test_a_killed_process_leaves_what_was_done_readable(self, long_run: tuple[subprocess.Popen[str], Path]) -> None:
        process, out = long_run
        wait_for(lambda: (out / "long" / "000300.json").exists(), process)
        process.kill()
        process.wait(WAIT)
        process.communicate()
        assert self.check_masks(out) >= 300
        assert json.loads((out / "long_run.json").read_text())["status"] == "interrupted"
        [growing] = [path for path in out.iterdir() if path.suffix == ".mp4"]
        assert len(times(growing)) > 100


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk takes root")
class TestFullDisk:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Path:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("no tmpfs can be mounted here")
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_what_was_done_stays_readable(
        self, program: Program, small_disk: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        """Photos do not tell their sizes beforehand, so that no estimate stops the run before it starts."""
        filler = small_disk / "filler"
        filler.write_bytes(bytes(900_000))
        outcome = program("images", colour_torchscript, "--input", self.photos(tmp_path), "--output_root", small_disk)
        assert outcome.code == 1, outcome.stderr
        assert len(outcome.complaints) == 1 and "No space left" in outcome.complaints[0]
        masks = list(small_disk.rglob("[!.]*_seg.npy"))
        assert masks and all(np.load(path).shape == (300, 400) for path in masks)
        assert not list(small_disk.rglob(".*"))

    def photos(self, folder: Path) -> Path:
        for index in range(30):
            make_photo(folder / "photos" / f"{index}.png", picture(index, (300, 400)))
        return folder / "photos"

    def test_a_run_that_will_not_fit_is_refused_before_it_starts(
        self, program: Program, small_disk: Path, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=200)
        outcome = program("video", clip, "-m", colour_torchscript, "-o", small_disk)
        assert outcome.code == 1 and "200 frames need about" in outcome.complaints[0]
        assert not list(small_disk.iterdir())


class TestPythonApi:
    def test_a_picture(self, colour_torchscript: Path, tmp_path: Path) -> None:
        image = picture(5, (90, 120))
        result = Segmenter(colour_torchscript, device="cpu")(image)
        assert result.class_map.shape == (90, 120) and result.class_map.dtype == np.uint8
        assert {label.id for label in result.labels} == set(np.unique(result.class_map)) - {0}
        assert (result.mask() == (result.class_map > 0)).all()
        assert result.overlay().shape == image.shape and (result.overlay(0.0) == image).all()
        result.save(tmp_path, "one")
        assert {path.name for path in tmp_path.iterdir()} == {"one.png", "one.npy", "one_seg.npy", "one.json"}

    def test_a_video_streamed(self, clip: Path, colour_torchscript: Path) -> None:
        model = Segmenter(colour_torchscript, device="cpu")
        results = list(segment(clip, model=model))
        assert [result.frame.time for result in results] == times(clip)
        assert (results[3].class_map == model(results[3].frame.rgb).class_map).all()

    def test_leaving_the_loop_early(self, clip: Path, colour_torchscript: Path) -> None:
        for result in segment(clip, model=colour_torchscript, device="cpu"):
            if result.frame.index == 2:
                break
        assert result.frame.index == 2

    def test_memory_is_flat(self, tmp_path: Path, colour_torchscript: Path) -> None:
        clip = make_video(tmp_path / "long.mp4", frames=900, size=(360, 640))
        process, sizes = psutil.Process(), []
        for result in segment(clip, model=colour_torchscript, device="cpu"):
            if result.frame.index % 100 == 99:
                sizes.append(process.memory_info().rss)
        assert max(sizes[3:]) - sizes[2] < 15_000_000, [size >> 20 for size in sizes]
