"""What a cluster's run rests on, without a cluster: names that stay below the output, tasks until they are done."""

import importlib.util
import json
from fractions import Fraction
from pathlib import Path

import pytest
from typer.main import get_command

from sapiens_stream.cli import app
from sapiens_stream.cluster.ledger import LOSSES, STRIKES, Ledger, Outcome, Task
from sapiens_stream.cluster.listing import Entry, entries_of, read_list
from sapiens_stream.cluster.plan import Rates, cost_of
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Skipped
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.sinks import Outputs
from sapiens_stream.sources.parts import Part
from sapiens_stream.sources.probe import Probe
from tests.hostile import broadcast_with_losses
from tests.media import make_video

ENTRY = Entry("clip.mp4", "", "clip")
OTHER = Entry("other.mp4", "", "other")

NAMES = {
    "one folder": (["/v/a.mp4", "/v/b.mp4"], ["a", "b"]),
    "sub-folders": (["/v/x/a.mp4", "/v/y/a.mp4", "/v/c.mp4"], ["x/a", "y/a", "c"]),
    "one alone": (["/v/x/a.mp4"], ["a"]),
    "objects": (["s3://bucket/x/a.mp4", "s3://bucket/y/a.mp4"], ["x/a", "y/a"]),
    "two buckets": (["s3://one/a.mp4", "s3://two/a.mp4"], ["one/a", "two/a"]),
    "addresses": (["https://h.org/v/My%20talk.mp4?token=1", "https://h.org/w/b.mp4"], ["v/My talk", "w/b"]),
}


@pytest.mark.parametrize(("inputs", "names"), NAMES.values(), ids=NAMES.keys())
def test_results_are_named_by_where_the_inputs_lie(inputs, names):
    entries, skipped = entries_of(inputs)
    assert [entry.name for entry in entries] == names and not skipped


HOSTILE = [
    "s3://bucket/../../../etc/passwd.mp4",
    "s3://bucket/..",
    "s3://bucket/a/..\\..\\x.mp4",
    "s3://bucket//absolute.mp4",
    "https://h.org/%2e%2e/%2e%2e/x.mp4",
    "https://h.org/%2Fetc%2Fpasswd",
    "s3://bucket/C:/x.mp4",
    "s3://bucket/nul\x01\n.mp4",
    "s3://bucket/" + "x" * 5000 + ".mp4",
    "s3://bucket/.hidden/.mp4",
    "s3://bucket",
    "/",
]


def test_no_name_leads_out_of_the_output_folder(tmp_path):
    entries, skipped = entries_of([*HOSTILE, "s3://bucket/good.mp4", "gs://other/x.mp4"])
    assert len(entries) + len(skipped) == len(HOSTILE) + 2
    for entry in entries:
        path = tmp_path / entry.name
        assert path.resolve().is_relative_to(tmp_path.resolve()) and path != tmp_path
        assert ".." not in path.parts and all(len(part.encode()) < 120 for part in Path(entry.name).parts)
    assert len({entry.name.casefold() for entry in entries}) == len(entries)


def test_results_that_would_overwrite_others_are_named():
    entries, skipped = entries_of(["/v/a.mp4", "/v/a.mov", "/v/a.mp4", "/v/A.mkv"])
    assert [entry.input for entry in entries] == ["/v/a.mp4"]
    assert [each.name for each in skipped] == ["/v/a.mov", "/v/a.mp4", "/v/A.mkv"]
    assert "already" in skipped[1].reason and "overwrite" in skipped[0].reason


def test_a_list_is_read(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    path = tmp_path / "list.txt"
    path.write_text("\ufeff# mine\n\n clip.mp4 \ns3://bucket/x.mp4\nnowhere.mp4\n")
    assert read_list(path) == [str(tmp_path / "clip.mp4"), "s3://bucket/x.mp4", str(Path("nowhere.mp4").absolute())]
    path.write_text("# mine\nclip.mp4\n", encoding="utf-16")  # as Windows PowerShell's > writes it
    assert read_list(path) == [str(tmp_path / "clip.mp4")]
    path.write_text("# nothing\n")
    with pytest.raises(InputError, match="names no videos"):
        read_list(path)
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        read_list(tmp_path / "nowhere.txt")


def part(number, count=3):
    return Part(number, count, None, None, None, 10)


def test_a_long_video_is_joined_once_all_its_chunks_are_done():
    ledger = Ledger.of([ENTRY, OTHER])
    video = ledger.next()
    ledger.finish(video, Outcome(parts=[part(number) for number in range(3)]))
    chunks = [ledger.next() for _ in range(3)]
    assert [task.part.number for task in chunks] == [0, 1, 2]  # before the other video is begun
    for task in reversed(chunks):
        assert all(each.kind != "join" for each in ledger.waiting)
        ledger.finish(task, Outcome(frames=10))
    assert ledger.next() == Task("join", ENTRY)
    ledger.finish(Task("join", ENTRY), Outcome(frames=30))
    assert ledger.done == [ENTRY] and ledger.frames == 30
    ledger.finish(ledger.next(), Outcome(passed=True, frames=99))
    assert ledger.is_finished and ledger.frames == 30


def test_what_kills_its_workers_is_given_up_and_named_and_the_rest_goes_on():
    ledger = Ledger.of([ENTRY, OTHER])
    ledger.finish(ledger.next(), Outcome(parts=[part(0), part(1)]))
    poisoned, good = ledger.next(), ledger.next()
    for _ in range(STRIKES):
        ledger.lost(poisoned, "it died")
        again = ledger.next()
        assert again in (poisoned, Task("video", OTHER))
    ledger.finish(good, Outcome(frames=1))
    assert [(each.name, "it died" in each.reason) for each in ledger.given_up] == [("clip.mp4", True)]
    ledger.finish(Task("video", OTHER), Outcome(frames=5))
    assert ledger.is_finished and ledger.done == [OTHER]


def test_a_node_that_is_lost_is_no_fault_of_the_task_s():
    ledger = Ledger.of([ENTRY])
    for _ in range(LOSSES - 1):
        ledger.lost(ledger.next(), "gone", with_node=True)
    assert not ledger.given_up
    ledger.lost(ledger.next(), "gone", with_node=True)
    assert ledger.given_up and ledger.is_finished


def test_failures_for_good_are_not_tried_again_and_others_are():
    ledger = Ledger.of([ENTRY, OTHER])
    ledger.finish(ledger.next(), Outcome(error="clip.mp4: no video"))
    for _ in range(STRIKES):
        ledger.finish(ledger.next(), Outcome(error="the disk is full", for_good=False))
    assert ledger.given_up[0] == Skipped("clip.mp4", "no video"), "its name is said once"
    assert [each.name for each in ledger.given_up] == ["clip.mp4", "other.mp4"] and ledger.is_finished


SECRET = "https://me:secret@h.org/v/clip.mp4?X-Amz-Signature=secret&part=2"
SHOWN = "https://h.org/v/clip.mp4?X-Amz-Signature=***&part=2"


def test_passwords_and_signatures_are_not_told_on():
    entries, refused = entries_of([SECRET, SECRET.replace("part=2", "part=3")])
    assert entries[0].input == SECRET and entries[0].shown == SHOWN
    assert refused == [Skipped(SHOWN.replace("part=2", "part=3"), f"its results would overwrite {SHOWN}'s")]
    ledger = Ledger.of(entries)
    task = ledger.next()
    assert task.name == SHOWN
    ledger.finish(task, Outcome(error=f"{SHOWN}: Connection refused"))
    assert ledger.given_up == [Skipped(SHOWN, "Connection refused")]


def test_an_output_that_does_not_answer_is_no_fault_of_the_worker_s(tmp_path):
    pytest.importorskip("fsspec", reason="the extra `ray` is not installed")
    from sapiens_stream.cluster.worker import Job, Worker

    make_video(tmp_path / "clip.mp4", frames=2)
    job = Job(
        model="builtin",
        inference=InferenceOptions(device="cpu", shape=(64, 64)),
        outputs=Outputs(),
        only=None,
        place="ftp://me:secret@127.0.0.1:9/results",
        settings={},
    )
    outcome = Worker(job).do(Task("video", Entry(str(tmp_path / "clip.mp4"), "", "clip")))
    assert outcome.error == "ftp://127.0.0.1:9/results: Connection refused"
    assert outcome.of_output and not outcome.for_good


def test_a_stop_hands_out_no_more_and_loses_nothing():
    ledger = Ledger.of([ENTRY, OTHER])
    task = ledger.next()
    ledger.stopped = True
    assert ledger.next() is None and not ledger.is_finished
    ledger.finish(task, Outcome(stopped=True))
    assert ledger.is_finished and {each.entry for each in ledger.waiting} == {ENTRY, OTHER}


def test_frames_that_were_skipped_are_told():
    ledger = Ledger.of([ENTRY])
    ledger.finish(ledger.next(), Outcome(frames=3, skipped=[Skipped("clip.mp4", "damaged")]))
    assert ledger.skips == [Skipped("clip.mp4", "damaged")]


@pytest.mark.parametrize("chunk_seconds", [300, 0.8], ids=["in one piece", "in chunks"])
@pytest.mark.parametrize("strict", [False, True])
def test_frames_that_are_damaged_are_told_once_and_again_when_all_was_done_before(
    strict, chunk_seconds, colour_torchscript, tmp_path
):
    pytest.importorskip("fsspec", reason="the extra `ray` is not installed")
    from sapiens_stream.cluster.worker import Job, Worker

    path = broadcast_with_losses(tmp_path / "clip.ts")
    entries, _ = entries_of([str(path)])
    job = Job(
        model=str(colour_torchscript),
        inference=InferenceOptions(device="cpu"),
        outputs=Outputs(save=frozenset({"labels"}), overlay="none"),
        only=None,
        place=str(tmp_path / "out"),
        settings={"save": "labels", "strict": strict},
        strict=strict,
        chunk_seconds=chunk_seconds,
    )
    for again in (False, True):
        ledger, worker, outcomes = Ledger.of(entries), Worker(job), []
        while (task := ledger.next()) is not None:
            outcomes.append(worker.do(task))
            ledger.finish(task, outcomes[-1])
        assert ledger.done == entries and outcomes[-1].passed is again
        assert [each.name for each in ledger.skips] == [str(path)] * strict
        assert [each.name for each in ledger.damages] == [str(path)] * (not strict)


def test_a_missing_list_and_a_missing_cluster_are_one_line(program, tmp_path):
    outcome = program("cluster", "run", tmp_path / "nowhere.txt")
    assert outcome.code == 1 and len(outcome.stderr.splitlines()) == 1
    (tmp_path / "list.txt").write_text("clip.mp4\n")
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    outcome = program("cluster", "run", tmp_path / "list.txt", "--address", "127.0.0.1:1", "-o", tmp_path / "out")
    assert outcome.code == 2 and "127.0.0.1:1" in outcome.stderr


def test_an_address_that_nothing_reads_is_refused():
    pytest.importorskip("fsspec", reason="the extra `ray` is not installed")
    from sapiens_stream.cluster.storage import file_system

    with pytest.raises(UsageError, match="nothing://"):
        file_system("nothing://x/y")


@pytest.mark.parametrize(("address", "package"), [("gs://bucket/clip.mp4", "gcsfs"), ("az://box/clip.mp4", "adlfs")])
def test_what_an_address_takes_is_named(address, package):
    pytest.importorskip("fsspec", reason="the extra `ray` is not installed")
    from sapiens_stream.cluster.storage import file_system

    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(UsageError, match=f"needs {package}: .*pip install .*{package}$"):
        file_system(address)


def test_the_list_tells_what_is_left(tmp_path, program):
    from sapiens_stream.pipeline.input_list import Asked, write_input_list

    write_input_list(tmp_path, [Asked("a/clip", "a/clip.mp4", 10), Asked("b/clip", "b/clip.mp4", 10)])
    write_input_list(tmp_path, [Asked("../x", "x.mp4", 10)])
    lines = [json.loads(line) for line in program("results", "status", tmp_path, "--json").stdout.splitlines()]
    assert sorted(each["state"] for each in lines) == ["left"] * 3


def probes(*lengths):
    size = (1080, 1920)
    return [
        Probe(bytes=10**9, seconds=Fraction(each), frames=25 * each, size=size) if each else Probe() for each in lengths
    ]


COSTS = {
    "the model": (Rates(model=25.0), 10, "model", 0.2),
    "decoding": (Rates(model=100.0, decode=12.5), 10, "decode", 0.4),
    "the disk": (Rates(model=1000.0, decode=1000.0, disk=1e6), 10, "disk", 2 * 10**9 / 1e6 / 3600),
}


@pytest.mark.parametrize(("rates", "workers", "limit", "hours"), COSTS.values(), ids=COSTS.keys())
def test_a_plan_adds_up_and_names_its_limit(rates, workers, limit, hours):
    cost = cost_of(probes(3600, 3600), [], rates, workers)
    assert (cost.limit, cost.frames, cost.read) == (limit, 180_000, 2 * 10**9)
    assert cost.hours == pytest.approx(hours) and cost.gpu_hours == pytest.approx(hours * workers)


def test_a_plan_takes_what_has_no_length_for_the_average():
    cost = cost_of(probes(100, 300, None, None), [], Rates(model=1.0), 1)
    assert cost.unknown == 2 and cost.frames == 2 * 400 * 25
    with pytest.raises(InputError, match="length"):
        cost_of(probes(None), [], Rates(model=1.0), 1)


def test_a_plan_is_shown(program, tmp_path):
    make_video(tmp_path / "clip.mp4", frames=50)
    (tmp_path / "list.txt").write_text("clip.mp4\nnowhere.mp4\n")
    outcome = program("cluster", "plan", tmp_path / "list.txt", "-m", "sapiens-1b", "--card", "H100", "--gpus", 4)
    assert outcome.code == 0 and "not measured" in outcome.stdout and "the limit:" in outcome.stdout
    told = program("cluster", "plan", tmp_path / "list.txt", "--frames-per-second", 10, "--save", "labels", "--json")
    found = json.loads(told.stdout)
    assert (found["frames"], found["gpu_hours"]) == (100, round(100 / 10 / 3600, 3))
    assert found["files"] == 2 * 3
    estimated = ["-m", "sapiens-1b", "--card", "h100"]
    of_more = [
        [*estimated, *more] for more in (["--shape", 512, 384], ["--people", "builtin"], ["--precision", "fp32"])
    ]
    for wrong in (["-m", "builtin", "--card", "h100"], ["-m", "sapiens-1b", "--card", "abacus"], *of_more):
        outcome = program("cluster", "plan", tmp_path / "list.txt", *wrong)
        assert outcome.code == 2 and "--frames-per-second" in outcome.stderr


def test_videos_are_planned_by_name_beside_lists_and_what_is_named_twice_is_told(program, tmp_path):
    clip, other = (make_video(tmp_path / name, frames=25) for name in ("clip.mp4", "other.mkv"))
    (tmp_path / "list.txt").write_text("clip.mp4\n")
    outcome = program("cluster", "plan", tmp_path / "list.txt", other, "--frames-per-second", 10, "--json")
    assert outcome.code == 0 and (json.loads(outcome.stdout)["videos"], outcome.stderr) == (2, ""), outcome
    outcome = program("cluster", "plan", clip, other, tmp_path / "list.txt", "--frames-per-second", 10, "--json")
    assert outcome.code == 3 and json.loads(outcome.stdout)["videos"] == 2
    assert outcome.complaints == [f"skipped {clip}: it is listed already"]


def test_a_run_takes_videos_by_name(program, tmp_path):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    clips = [make_video(tmp_path / name, frames=5) for name in ("clip.mp4", "other.mp4")]
    outcome = program("cluster", "run", *clips, "--address", "127.0.0.1:1", "-o", tmp_path / "out")
    assert outcome.code == 2 and "no Ray cluster at --address 127.0.0.1:1" in outcome.stderr, outcome


def test_a_run_of_the_list_has_the_options_of_video():
    """By them its records are those of `video`, and either goes on with the other's results."""
    root = get_command(app)
    video, run = root.commands["video"], root.commands["cluster"].commands["run"]
    own = {"inputs", "pull", "resume", "shard", "chunk", "address", "workers"}
    own |= {"gpus_per_worker", "cpus_per_worker", "chunk_minutes"}
    own |= {"jobs", "log", "stall_timeout"}  # of one machine; Ray sees to workers
    assert {each.name for each in video.params} - own == {each.name for each in run.params} - own


def test_numbered_pictures_are_found_beside_their_list(tmp_path, monkeypatch):
    plates = tmp_path / "lists" / "plates"
    plates.mkdir(parents=True)
    (plates / "shot.1001.png").write_bytes(b"")
    (tmp_path / "lists" / "all.txt").write_text("plates/shot.%04d.png\nplates/sh020_####.exr\n")
    monkeypatch.chdir(tmp_path)
    found = read_list(tmp_path / "lists" / "all.txt")
    assert found == [str(plates / "shot.%04d.png"), str(plates / "sh020_####.exr")]
    entries, refused = entries_of(found)
    assert [each.name for each in entries] == ["shot", "sh020"] and not refused
