"""Inputs split between processes that know nothing of each other: each is some shard's, and no two shards'."""

import json
import random
import shutil
from pathlib import Path

import pytest

from sapiens_stream.cluster.shards import Shard, parse_shard
from sapiens_stream.cluster.video_shards import Split
from sapiens_stream.errors import UsageError
from sapiens_stream.pipeline.file_list import FileList
from tests.media import make_photo, make_video, picture
from tests.program import record_of

FAST = ("--shape", 64, 64, "--quiet", "--device", "cpu")


def array(*ids, step=1):
    """What Slurm tells each task of an array."""
    return [
        {
            "SLURM_ARRAY_TASK_ID": str(each),
            "SLURM_ARRAY_TASK_COUNT": str(len(ids)),
            "SLURM_ARRAY_TASK_MIN": str(min(ids)),
            "SLURM_ARRAY_TASK_MAX": str(max(ids)),
            "SLURM_ARRAY_TASK_STEP": str(step),
        }
        for each in ids
    ]


ARRAYS = {
    "from 0": array(0, 1, 2, 3),
    "from 1": array(1, 2, 3, 4),
    "from anywhere": array(5, 6, 7, 8),
    "every other": array(0, 2, 4, 6, step=2),
    "every third, from 1": array(1, 4, 7, 10, step=3),
    "a single task": array(7),
}


@pytest.mark.parametrize("tasks", ARRAYS.values(), ids=ARRAYS.keys())
def test_each_task_of_an_array_has_a_share_of_its_own(tasks):
    shards = [parse_shard(f"{task['SLURM_ARRAY_TASK_ID']}/{task['SLURM_ARRAY_TASK_COUNT']}", task) for task in tasks]
    assert sorted(shard.number for shard in shards) == list(range(len(tasks)))


@pytest.mark.parametrize("first", [0, 1])
def test_shares_are_counted_from_0_or_from_1(first):
    assert {parse_shard(f"{number + first}/5", {}).number for number in range(5)} == set(range(5))


def test_a_single_task_that_is_repeated_has_the_share_that_it_had():
    before = {
        task["SLURM_ARRAY_TASK_ID"]: parse_shard(f"{task['SLURM_ARRAY_TASK_ID']}/4", task)
        for task in array(*range(1, 5))
    }
    [again] = array(3)
    assert parse_shard("3/4", again) == before["3"]


WRONG = {
    "nothing": (" ", "is I/N"),
    "variables that are not set": ("/", "in its tasks alone"),
    "one number": ("3", "is I/N"),
    "beyond": ("9/8", "I is 0 to 7, or 1 to 8"),
    "of none": ("0/0", "1 to"),
    "below": ("-1/8", "is I/N"),
    "other digits": ("٣/٨", "is I/N"),
    "too many": ("1/999999999", "1 to"),
    "words": ("one/two", "is I/N"),
}


@pytest.mark.parametrize(("text", "why"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_share_is_refused(text, why, program):
    with pytest.raises(UsageError, match=why):
        parse_shard(text, {})
    outcome = program("video", "clip.mp4", "--shard", text)
    assert outcome.code == 2 and why in outcome.stderr and len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize("ids", [(0, 1, 5), (1, 2, 4, 9)])
def test_an_array_whose_shares_cannot_be_told_is_refused_in_every_task(ids):
    for task in array(*ids):
        with pytest.raises(UsageError, match="not evenly spaced"):
            parse_shard(f"{task['SLURM_ARRAY_TASK_ID']}/{len(ids)}", task)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_weighted_shares_hold_everything_once_in_whatever_order_it_is_named(count):
    chance = random.Random(count)
    weights = {f"clip {number} é": chance.choice([1, 60, 3600, 7200]) for number in range(60)}
    shares = [Shard(number, count).of(weights) for number in range(count)]
    assert sorted(name for share in shares for name in share) == sorted(weights)
    shuffled = list(weights.items())
    chance.shuffle(shuffled)
    assert [Shard(number, count).of(dict(shuffled)) for number in range(count)] == shares
    filled = [sum(weights[name] for name in share) for share in shares]
    assert max(filled) - min(filled) <= max(weights.values())


def test_names_alone_decide_where_inputs_may_come_and_go():
    shards = [Shard(number, 5) for number in range(5)]
    for name in ("a", "sub/b", "e\u0301", "\udcff", "日本"):
        assert sum(shard.holds(name) for shard in shards) == 1
    assert [shard.holds("e\u0301") for shard in shards] == [shard.holds("\u00e9") for shard in shards]


def test_videos_are_split_by_length_wherever_they_lie(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for number, frames in enumerate((60, 10, 10, 10, 10, 10, 10)):
            make_video(tmp_path / place / f"clip{number}.mp4", frames=frames)
    (tmp_path / "here/broken.mp4").write_bytes(b"no video")
    (tmp_path / "there/broken.mp4").write_bytes(b"no video")
    here = Split([str(path) for path in sorted((tmp_path / "here").iterdir())])
    there = Split([str(path) for path in sorted((tmp_path / "there").iterdir(), reverse=True)])
    shares = [here.share_of(Shard(number, 2)) for number in range(2)]
    names = [[Path(each).name for each in there.share_of(Shard(number, 2))] for number in range(2)]
    assert [[Path(each).name for each in share] for share in shares] == names
    [long] = [share for share in names if "clip0.mp4" in share]
    assert len(long) <= 2  # the long one, and at most the broken one beside it
    assert {each.name: each.frames for each in here.asked}["clip0"] == 60


def test_videos_of_one_name_are_told_of_by_one_shard(tmp_path, program):
    clips = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        clips.append(make_video(tmp_path / folder / "clip.mp4", frames=2))
    codes = []
    for number in range(2):
        outcome = program("video", *clips, "-o", tmp_path / "out", "--shard", f"{number}/2", *FAST, "--overlay", "none")
        codes.append((outcome.code, sum("would overwrite" in line for line in outcome.complaints)))
        clips.reverse()
    assert sorted(codes) == [(0, 0), (3, 1)]


def test_shards_of_videos_leave_what_one_run_leaves_and_what_is_left_is_told(tmp_path, program):
    clips = [make_video(tmp_path / f"clip{number}.mp4", frames=2 + number) for number in range(4)]
    out = tmp_path / "out"
    command = ("video", *clips, *FAST, "--overlay", "none", "--save", "classes")
    assert program(*command, "-o", out, "--shard", "1/2").code == 0
    first = {path.name for path in out.glob("*_run.json")}
    found = [json.loads(line) for line in program("results", "status", out, "--json").stdout.splitlines()]
    assert sorted(each["state"] for each in found) == ["complete"] * len(first) + ["left"] * (4 - len(first))
    assert sum(each["frames"]["expected"] for each in found) == 2 + 3 + 4 + 5
    assert f"{4 - len(first)} left" in program("results", "status", out).stdout
    again = program(*command, "-o", out, "--shard", "1/2", "--resume")
    assert again.code == 0
    assert program(*command, "-o", out, "--shard", "2/2").code == 0
    assert program(*command, "-o", tmp_path / "whole").code == 0
    for path in (tmp_path / "whole").rglob("*.npy"):
        assert (out / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    assert {record_of(out, clip.stem)["status"] for clip in clips} == {"complete"}
    assert "left" not in program("results", "status", out).stdout


def test_a_shard_without_inputs_is_done(tmp_path, program):
    clip = make_video(tmp_path / "clip.mp4", frames=2)
    shutil.copy(clip, tmp_path / "photos.mp4")
    make_photo(tmp_path / "photos/a.jpg", picture(1))
    lines = []
    for number in range(3):
        command = ("-o", tmp_path / "out", "--shard", f"{number}/3", *FAST[:2], 64, "--device", "cpu")
        outcome = program("video", clip, *command)
        assert outcome.code == 0
        lines += [line for line in outcome.stdout.splitlines() if "nothing to do" in line]
        outcome = program("images", "--input", tmp_path / "photos", *command)
        assert outcome.code == 0
        lines += [line for line in outcome.stdout.splitlines() if "nothing to do" in line]
    assert len(lines) == 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(9):
        make_photo(folder / f"img{number:04d}.jpg", picture(number))
    make_photo(folder / "sub/other.jpg", picture(9))
    (folder / "img0002_no.jpg").write_bytes(b"no photo")  # those after it have the numbers that a run of all gives them
    return folder


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("_run.json", "run.jsonl"))  # which tell of times
    }


def inputs_of(folder):
    """Those that the lines of the whole batch tell of, with what became of them."""
    lines = map(json.loads, (folder / "run.jsonl").read_text().splitlines())
    return {line["input"]: line["status"] for line in lines}


def images(program, photos, out, *options):
    return program("images", "--input", photos, "-o", out, "--recursive", *FAST, *options)


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """What one run leaves; made once."""
    return tmp_path_factory.mktemp("whole")


def test_shards_of_photos_leave_what_one_run_leaves(photos, program, tmp_path, whole):
    assert images(program, photos, whole).code == 3
    out = tmp_path / "out"
    codes = [images(program, photos, out, "--shard", f"{number}/3").code for number in range(3)]
    assert sorted(codes) == [0, 0, 3]
    assert files_of(out) == files_of(whole)
    assert inputs_of(out) == inputs_of(whole)
    records = list(out.glob("*_run.json"))
    assert len(records) == 3
    assert sum(json.loads(path.read_bytes())["frames"]["written"] for path in records) == 10


def test_photos_may_be_split_otherwise_and_swept_up(photos, program, tmp_path):
    out = tmp_path / "out"
    assert images(program, photos, out, "--shard", "0/2").code in (0, 3)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_seg.npy")}
    for number in range(3):
        assert images(program, photos, out, "--shard", f"{number}/3", "--resume").code in (0, 3)
    assert len(list(out.rglob("*_seg.npy"))) == 10
    sweep = images(program, photos, out, "--resume")
    assert sweep.code == 3
    [record] = [json.loads(path.read_bytes()) for path in out.glob("*_run.json")]
    assert record["frames"]["stored"] == record["frames"]["written"] == 10
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_shard_run_again_removes_nothing_of_the_others(photos, program, tmp_path):
    out = tmp_path / "out"
    for number in (0, 1, 0):
        images(program, photos, out, "--shard", f"{number}/2")
    assert len(list(out.rglob("*_seg.npy"))) == 10


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (["a", "b"], ["b", "c"], ["b"]),
        (["i001", "i002", "i003", "i007"], ["i002", "i003", "i004", "i007"], [["i002", "i003"], "i007"]),
        (["i001"], ["i002"], []),
        (["i001", "i005", "i009"], ["i000", "i001", "i002", "i008", "i009"], ["i001", "i009"]),
        (["i01"], ["i001"], []),
    ],
)
def test_what_two_lists_share(one, other, both):
    lists = [FileList(), FileList()]
    for files, names in zip(lists, (one, other), strict=True):
        for name in names:
            files.claim(name, endings=[".png"])
    assert lists[0].among(lists[1]).as_dict()["names"] == both
    assert lists[1].among(lists[0]).as_dict()["names"] == both
