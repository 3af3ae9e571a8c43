"""Many inputs in one command: each has a line, all have a summary, and who watches sees how they go."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from sapiens_stream.cli.display import Display, forget_passed_total
from sapiens_stream.errors import UsageError
from sapiens_stream.pipeline import Statistics
from sapiens_stream.pipeline.batch_file import BatchFile, Ending, State, read_batch
from sapiens_stream.pipeline.event_log import EventLog
from sapiens_stream.pipeline.outlook import Outlook, Pace
from tests.busy_disk import keep_open_files
from tests.media import make_photo, make_video, picture
from tests.program import Program, finish, start, wait_for
from tests.schemas import mistakes

FAST = ("--preset", "ultrafast", "--save", "labels")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ending(index: int, status: State = "done", **members: Any) -> Ending:
    return Ending(index=index, input=f"{index}.mp4", name=str(index), status=status, **members)


class TestFile:
    def test_a_line_as_each_ends_and_in_the_end_in_order(self, tmp_path: Path) -> None:
        file = BatchFile(tmp_path / "out")
        for index in (2, 0, 1):
            file.append(ending(index))
            assert lines_of(file.path)[-1]["index"] == index
        file.settle()
        assert [line["index"] for line in lines_of(tmp_path / "out" / "run.jsonl")] == [0, 1, 2]

    def test_a_later_line_counts_in_place_of_an_earlier_one(self, tmp_path: Path) -> None:
        BatchFile(tmp_path).append(ending(0, "interrupted"))
        again = BatchFile(tmp_path)
        again.append(ending(1))
        again.append(ending(0, "resumed"))
        assert [line["status"] for line in read_batch(again.path)] == ["resumed", "done"]
        again.settle()
        assert [line["status"] for line in lines_of(again.path)] == ["resumed", "done"]

    def test_all_lines_stay_where_no_open_file_can_be_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep_open_files(monkeypatch)
        file = BatchFile(tmp_path)
        for each in (ending(1), ending(0, "failed", reason="damaged"), ending(0)):
            file.append(each)
        file.settle()
        assert [line["index"] for line in lines_of(file.path)] == [1, 0, 0]
        assert [line["status"] for line in read_batch(file.path)] == ["done", "done"]
        assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]

    def test_half_a_line_is_dropped_by_the_next_batch(self, tmp_path: Path) -> None:
        BatchFile(tmp_path).append(ending(0))
        with (tmp_path / "run.jsonl").open("ab") as file:
            file.write(b'{"schema":"sapiens-stream-batch/1","inp')
        assert [line["index"] for line in read_batch(tmp_path / "run.jsonl")] == [0]
        BatchFile(tmp_path).append(ending(1))
        assert [line["index"] for line in lines_of(tmp_path / "run.jsonl")] == [0, 1]

    def test_several_processes_write_by_turns(self, tmp_path: Path) -> None:
        def append(first: int) -> None:
            file = BatchFile(tmp_path)
            for index in range(first, first + 50):
                file.append(ending(index))
                if index % 10 == 0:
                    file.settle()

        threads = [threading.Thread(target=append, args=(100 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(lines_of(tmp_path / "run.jsonl")) == 200

    @pytest.mark.parametrize("kind", ["results of a clip", "a link", "a planned result"])
    def test_what_is_not_its_own_is_left_alone(self, tmp_path: Path, kind: str) -> None:
        path, taken = tmp_path / "run.jsonl", []
        match kind:
            case "results of a clip":
                path.write_text('{"schema":"sapiens-stream/1"}\n')
            case "a link":
                path.symlink_to(tmp_path / "elsewhere")
            case "a planned result":
                taken = [path]
        file = BatchFile(tmp_path, taken)
        file.append(ending(0))
        assert file.path == tmp_path / "run_run.jsonl" and file.path.exists()
        assert not (tmp_path / "elsewhere").exists()

    def test_a_folder_that_somebody_removed_is_not_made_again(self, tmp_path: Path) -> None:
        file = BatchFile(tmp_path / "out")
        file.append(ending(0))
        file.path.unlink()
        (tmp_path / "out").rmdir()
        with pytest.raises(OSError):
            file.append(ending(1))
        assert not (tmp_path / "out").exists()


class TestOutlook:
    def test_time_left_goes_by_frames_and_the_unknown_are_as_long_as_the_others(self) -> None:
        outlook = Outlook(4)
        outlook.expect(0, 100)
        outlook.expect(1, 200)
        outlook.expect(2, None)
        assert outlook.frames_left == 100 + 200 + 2 * 150
        outlook.move(0, 60)
        assert outlook.frames_left == 540
        outlook.end(ending(0, frames=98))
        outlook.move(0, 99)
        assert outlook.frames == 98 and outlook.frames_left == 500
        outlook.end(ending(2, "failed"))
        assert outlook.frames_left == 350 and outlook.ended == 2

    def test_nothing_known_is_nothing_told(self) -> None:
        outlook = Outlook(2)
        outlook.move(0, 5)
        assert outlook.frames_left is None and outlook.seconds_left is None

    def test_what_goes_on_past_its_header_has_no_known_length(self) -> None:
        outlook = Outlook(1)
        outlook.expect(0, 100)
        outlook.move(0, 100)
        assert outlook.frames_left == 0
        outlook.move(0, 101)
        assert outlook.frames_left is None and outlook.seconds_left is None

    def test_the_summary_adds_up(self) -> None:
        outlook = Outlook(3)
        for index, status in enumerate(("done", "resumed", "failed")):
            outlook.end(ending(index, status, frames=10, bytes=1000, reason="?"))  # type: ignore[arg-type]
        summary = outlook.summary()
        assert mistakes(summary) == []
        assert (summary["done"], summary["resumed"], summary["failed"], summary["frames"]) == (1, 1, 1, 30)

    def test_the_rate_is_that_of_the_frames_that_this_start_segmented(self) -> None:
        outlook = Outlook(2)
        outlook._started -= 10
        outlook.end(ending(0, frames=1000, segmented=0, reason="done already"))
        resumed = ending(1, "resumed", frames=500, segmented=20, seconds=10.0)
        outlook.end(resumed)
        assert resumed.frames_per_second == 2.0
        assert 0 < outlook.summary()["frames_per_second"] <= 2


class TestPace:
    def test_stored_frames_say_nothing_of_those_that_follow(self) -> None:
        pace = Pace()
        for second in range(1, 11):  # forty thousand that an earlier run had written
            pace.come_to(4000 * second, 20.0 + second)
        for step in range(100):  # then one in two seconds
            pace.come_to(40_000 + step, 32.0 + 2 * step)
        assert pace.seconds_for(1000) == pytest.approx(2000)

    def test_frames_that_take_minutes_have_one_too(self) -> None:
        pace = Pace()
        pace.come_to(1, 0.0)
        assert pace.seconds_for(5) is None
        pace.come_to(2, 300.0)
        assert pace.seconds_for(5) == 1500


class TestRate:
    def test_what_was_verified_before_the_first_frame_does_not_count(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sapiens_stream.cli.display.PLAIN_LINE_EVERY", 0)
        clock = iter(range(1000, 2000))
        monkeypatch.setattr("sapiens_stream.pipeline.outlook.time.monotonic", lambda: next(clock))
        statistics = Statistics()
        statistics._started -= 1000  # what is there was verified for so long
        with Display().progress("clip.mp4", None) as line:
            for segmented in (100, 200, 300):
                statistics.segmented = segmented
                line.update(statistics)
        first, *others = capsys.readouterr().err.splitlines()
        assert first == "clip.mp4: 100 frames, - frames/s"
        rates = [float(re.findall(r"([\d.]+) frames/s", each)[0]) for each in others]
        assert len(rates) == 2 and all(rate > 10 for rate in rates)

    def test_what_an_earlier_start_had_does_not_count(self) -> None:
        statistics = Statistics(segmented=120, stored=100)
        statistics.stop()
        assert statistics.segmented_now == 20
        assert statistics.rate == pytest.approx(20 / statistics.elapsed)


class TestLengthThatIsPassed:
    """Of a transport stream of more than 26.5 hours, or of several, the header's length is too short."""

    def test_plain_lines(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("sapiens_stream.cli.display.PLAIN_LINE_EVERY", 0)
        with Display().progress("clip.ts", 10) as line:
            for segmented in (7, 8, 11):
                line.update(Statistics(segmented=segmented))
        _, first, second = capsys.readouterr().err.splitlines()
        assert "8/10 frames" in first and "left" in first
        assert "11 frames" in second and "left" not in second

    def test_bars(self) -> None:
        progress = Progress()
        task = progress.add_task("clip.ts", total=10)
        forget_passed_total(progress, task, 10)
        assert progress.tasks[0].total == 10
        forget_passed_total(progress, task, 11)
        assert progress.tasks[0].total is None


class TestLog:
    def test_each_event_is_a_line_and_the_file_is_appended_to(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        for _ in range(2):
            log = EventLog(path, pytest.fail)
            log.write("start", inputs=2, place="out")
            log.close()
        assert [line["event"] for line in lines_of(path)] == ["start", "start"]
        assert all(mistakes(line) == [] for line in lines_of(path))

    def test_half_a_line_of_before_stays_apart(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        path.write_text('{"schema": "sapi')
        EventLog(path, pytest.fail).write("warning", text="?")
        assert json.loads(path.read_text().splitlines()[1])["event"] == "warning"

    def test_a_file_that_is_printed_into_as_well_keeps_both(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        code = (
            "import sys; from pathlib import Path; from sapiens_stream.pipeline.event_log import EventLog\n"
            "log = EventLog(Path(sys.argv[1]), print)\n"
            "for text in 'abc': log.write('warning', text=text); print('printed', flush=True)"
        )
        with path.open("w") as file:
            subprocess.run([sys.executable, "-c", code, str(path)], stdout=file, check=True)
        lines = path.read_text().splitlines()
        assert lines[1::2] == ["printed"] * 3
        assert [json.loads(line)["text"] for line in lines[::2]] == ["a", "b", "c"]

    @pytest.mark.parametrize("kind", ["a folder", "in no folder", "a file of another kind", "a pipe without a reader"])
    def test_a_file_that_cannot_be_is_refused(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "log"
        match kind:
            case "a folder":
                path.mkdir()
            case "in no folder":
                path = tmp_path / "missing" / "log"
            case "a file of another kind":
                make_video(tmp_path / "log", format="mp4", frames=2)
            case _ if sys.platform == "win32":
                pytest.skip("POSIX pipes")
            case _:
                os.mkfifo(path)
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(UsageError, match=r"^--log .*(can't be written|holds something else)"):
            EventLog(path, pytest.fail)
        assert (path.read_bytes() if path.is_file() else None) == before

    def test_a_disk_that_gets_full_is_told_once(self) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        warnings: list[str] = []
        log = EventLog(Path("/dev/full"), warnings.append)
        log.write("warning", text="1")
        log.write("warning", text="2")
        assert len(warnings) == 1 and "No space left" in warnings[0]


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """A good one, one that is none, and another good one."""
    (tmp_path / "b.mp4").write_text("this is no video")
    return [
        make_video(tmp_path / "a.mp4", frames=6),
        tmp_path / "b.mp4",
        make_video(tmp_path / "c.mp4", frames=4),
    ]


class TestVideos:
    def test_every_input_has_its_line(
        self, program: Program, clips: list[Path], tmp_path: Path, colour_torchscript: Path
    ) -> None:
        out = tmp_path / "out"
        outcome = program("video", *clips, clips[0], "-m", colour_torchscript, "-o", out, *FAST)
        assert outcome.code == 3
        lines = lines_of(out / "run.jsonl")
        assert [mistakes(line) for line in lines] == [[]] * 3 and [line["index"] for line in lines] == [0, 1, 2]
        assert [line["input"] for line in lines] == [str(clip) for clip in clips]
        assert [line["frames"] for line in lines] == [6, 0, 4]
        assert lines[0]["bytes"] == sum((out / f"a{name}").stat().st_size for name in ("_labels.mkv", "_overlay.mp4"))
        assert lines[0]["record"] == "a_run.json" and "not a video" in lines[1]["reason"]
        assert "4 inputs: 2 done, 1 skipped, 1 failed; 10 frames in" in outcome.stdout
        found = map(json.loads, program("results", "status", out, "--json").stdout.splitlines())
        states = {each["input"]: each["state"] for each in found if "input" in each}
        assert states == dict(zip(map(str, clips), ("complete", "failed", "complete"), strict=True))

    def test_one_input_has_none(
        self, program: Program, clips: list[Path], tmp_path: Path, colour_torchscript: Path
    ) -> None:
        outcome = program("video", clips[0], "-m", colour_torchscript, "-o", tmp_path / "out", *FAST)
        assert outcome.code == 0 and "inputs:" not in outcome.stdout
        assert not (tmp_path / "out" / "run.jsonl").exists()

    def test_resumed_inputs_say_so(
        self, program: Program, clips: list[Path], tmp_path: Path, colour_torchscript: Path
    ) -> None:
        out = tmp_path / "out"
        line = ["video", clips[0], clips[2], "-m", colour_torchscript, "-o", out, *FAST]
        assert program(*line).code == 0
        (out / "c_overlay.mp4").unlink()
        outcome = program(*line, "--resume", "--json")
        assert outcome.code == 0
        assert [(each["status"], each["reason"]) for each in lines_of(out / "run.jsonl")] == [
            ("done", "done already"),
            ("resumed", None),
        ]
        assert len(outcome.stdout.splitlines()) == 2
        summary = json.loads(outcome.stderr.splitlines()[-1])
        assert mistakes(summary) == [] and (summary["done"], summary["resumed"]) == (1, 1)
        record = json.loads((out / "c_run.json").read_text())
        assert record["frames"]["stored"] == record["frames"]["segmented"] and record["frames_per_second"] == 0
        rates = [each["frames_per_second"] for each in (*lines_of(out / "run.jsonl"), summary)]
        assert rates == [None, None, None]  # none was segmented

    def test_the_log_tells_all(
        self, program: Program, clips: list[Path], tmp_path: Path, colour_torchscript: Path
    ) -> None:
        log = tmp_path / "log.jsonl"
        arguments = ("-m", colour_torchscript, "-o", tmp_path / "out", *FAST, "--log", log)
        assert program("video", *clips, *arguments).code == 3
        lines = lines_of(log)
        assert [mistakes(line) for line in lines] == [[]] * len(lines)
        events = [line["event"] for line in lines if line["event"] not in ("warning", "progress")]
        assert events == ["start", "input", "end_of_input", "end_of_input", "input", "end_of_input", "end"]
        assert lines[-1]["exit_code"] == 3 and lines[-1]["frames"] == 10

    def test_a_log_that_cannot_be_written_is_wrong_usage(
        self, program: Program, clips: list[Path], tmp_path: Path
    ) -> None:
        outcome = program("video", *clips, "-o", tmp_path / "out", "--log", tmp_path / "no" / "log")
        assert outcome.code == 2 and len(outcome.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("jobs", [3, "auto"])
    def test_side_by_side_gives_the_same_and_tells_it_in_order(
        self, program: Program, tmp_path: Path, colour_torchscript: Path, jobs: object
    ) -> None:
        clips = [
            make_video(tmp_path / f"{name}.mp4", frames=frames) for name, frames in (("a", 30), ("b", 2), ("c", 5))
        ]
        for folder, more in (("one", ()), ("many", ("--jobs", jobs))):
            outcome = program("video", *clips, "-m", colour_torchscript, "-o", tmp_path / folder, *FAST, *more)
            assert outcome.code == 0, outcome.stderr
            told = [line for line in outcome.stdout.splitlines() if "frames in" in line][:3]
            assert [Path(line.split(": ")[0]).stem for line in told] == ["a", "b", "c"]
        for name in "abc":
            one, many = ((tmp_path / folder / f"{name}_labels.mkv").read_bytes() for folder in ("one", "many"))
            assert len(one) == len(many)

    @pytest.mark.parametrize("jobs", ["0", "some", "-1"])
    def test_jobs_that_cannot_be(self, program: Program, clips: list[Path], jobs: str) -> None:
        outcome = program("video", *clips, "--jobs", jobs)
        assert outcome.code == 2 and re.search(r"1 or more, or auto", outcome.stderr)

    def test_people_are_followed_in_one_clip_at_a_time(self, program: Program, clips: list[Path]) -> None:
        outcome = program("video", *clips, "--jobs", 2, "--people", "builtin")
        assert outcome.code == 2 and "--people follows each clip" in outcome.stderr

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
    @pytest.mark.parametrize("jobs", [2])
    def test_ctrl_c_ends_all_and_resume_goes_on(
        self, program: Program, tmp_path: Path, goliath: Path, jobs: int
    ) -> None:
        clips = [make_video(tmp_path / f"{name}.mp4", frames=300, size=(240, 320)) for name in "abc"]
        out = tmp_path / "out"
        line = ["video", *clips, "-m", goliath, "-o", out, "--shape", 256, 192, *FAST, "--jobs", jobs]
        process = start(*line)
        wait_for(lambda: (out / ".a_labels.part.mkv").exists(), process)
        process.send_signal(signal.SIGINT)
        outcome = finish(process)
        assert outcome.code == 130, outcome.stderr
        lines = lines_of(out / "run.jsonl")
        assert 1 <= len(lines) <= jobs and {each["status"] for each in lines} == {"interrupted"}
        assert not (out / "c_run.json").exists()


class TestPhotos:
    def test_every_photo_has_its_line(self, program: Program, tmp_path: Path, colour_torchscript: Path) -> None:
        photos = tmp_path / "photos"
        for name in ("a", "sub/a"):
            make_photo(photos / f"{name}.png", picture(1))
        (photos / "bad.jpg").write_text("this is no photo")
        line = ("images", colour_torchscript, "--input", photos, "--recursive")
        outcome = program(*line)
        assert outcome.code == 3
        lines = lines_of(photos / "output" / "run.jsonl")
        assert [mistakes(each) for each in lines] == [[]] * 3
        assert {(each["name"], each["status"]) for each in lines} == {
            ("a", "done"),
            ("sub/a", "done"),
            ("bad", "skipped"),
        }
        assert [each["input"] for each in lines] == sorted(each["input"] for each in lines)
        [first] = [each for each in lines if each["name"] == "a"]
        written = sum((photos / "output" / f"a{end}").stat().st_size for end in (".png", ".npy", "_seg.npy", ".json"))
        assert first["bytes"] == written and "3 inputs: 2 done, 1 skipped" in outcome.stdout
        again = program(*line, "--resume")
        assert again.code == 3
        assert [each["reason"] for each in lines_of(photos / "output" / "run.jsonl") if each["status"] == "done"] == [
            "done already"
        ] * 2

    def test_lines_are_in_the_order_of_the_list_and_what_is_listed_twice_is_done_once(
        self, program: Program, tmp_path: Path, colour_torchscript: Path
    ) -> None:
        for name in ("a.png", "a.bmp", "b.png"):
            make_photo(tmp_path / name, picture(1))
        (tmp_path / "list.txt").write_text("a.png\nnowhere.png\na.bmp\nb.png\na.png\n")
        out = tmp_path / "out"
        line = ("images", colour_torchscript, "--input", tmp_path / "list.txt", "-o", out)
        for more in ((), ("--resume",)):  # with which a.png is passed over before the end of the list is read
            assert program(*line, *more).code == 3
            lines = lines_of(out / "run.jsonl")
            assert [(each["index"], Path(each["input"]).name, each["status"]) for each in lines] == [
                (0, "a.png", "done"),
                (1, "nowhere.png", "skipped"),
                (2, "a.bmp", "skipped"),
                (3, "b.png", "done"),
            ]
