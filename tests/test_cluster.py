"""A list of videos on a Ray cluster of three nodes, and in an object store: nothing is lost, whatever dies."""

import json
import os
import socket
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from sapiens_stream.cluster.ledger import Ledger, Outcome, Task
from sapiens_stream.cluster.listing import entries_of
from sapiens_stream.errors import DeviceError, OutputError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.sinks import Outputs
from tests.media import make_photo, make_video, picture
from tests.program import record_of

pytestmark = pytest.mark.slow

SMALL = InferenceOptions(device="cpu", shape=(64, 64))
FAST = ("--shape", 64, 64, "--device", "cpu", "--save", "labels,json", "--quiet")
CLIPS = {"long.mp4": 120, "one.mp4": 12, "two.mp4": 9}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, frames in CLIPS.items():
        make_video(folder / name, frames=frames, audio="aac", options={"g": "25"})
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where the first that asks leaves what a single process makes."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def expected(videos, whole, program):
    if not any(whole.iterdir()):
        assert program("video", *(videos / name for name in CLIPS), "-o", whole, *FAST).code == 0
    return {
        path.relative_to(whole).as_posix(): path.read_bytes()
        for path in whole.rglob("*")
        if path.is_file() and not path.name.endswith(("_run.json", "run.jsonl"))
    }


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    import ray
    from ray.cluster_utils import Cluster

    for _ in range(3):  # Ray gives a node half a minute to start, however busy the machine is
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            for _ in range(2):
                cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes(timeout=120)
            break
        except Exception as error:
            why = str(error).splitlines()[0]
            cluster.shutdown()
    else:
        pytest.skip(f"Ray does not start here: {why}")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def made_in(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("_run.json", "_inputs.json", "run.jsonl"))
    }


def test_a_node_that_is_killed_costs_no_result(cluster, videos, expected, program, tmp_path, monkeypatch):
    from sapiens_stream.cluster.ray_run import RayRun

    victims = list(cluster.worker_nodes)[:1]
    plain = RayRun._tell

    def tell(self):
        plain(self)
        if victims and self._ledger.frames:  # in the midst of it
            cluster.remove_node(victims.pop(), allow_graceful=False)

    monkeypatch.setattr(RayRun, "_tell", tell)
    (tmp_path / "list.txt").write_text("\n".join(str(videos / name) for name in (*CLIPS, "broken.mp4")))
    command = ("cluster", "run", tmp_path / "list.txt", "-o", tmp_path / "out", "--address", cluster.address, *FAST)
    outcome = program(*command, "--cpus-per-worker", 1, "--chunk-minutes", 0.03)
    assert outcome.code == 3 and not victims, outcome
    assert [line.split(":")[0] for line in outcome.complaints] == [f"skipped {videos / 'broken.mp4'}"]
    assert made_in(tmp_path / "out") == expected
    assert {record_of(tmp_path / "out", Path(name).stem)["status"] for name in CLIPS} == {"complete"}
    again = program("video", *(videos / name for name in CLIPS), "-o", tmp_path / "out", *FAST[:-1], "--resume")
    assert again.code == 0 and again.stdout.count("done already") == len(CLIPS)
    told = [json.loads(line) for line in program("results", "status", tmp_path / "out", "--json").stdout.splitlines()]
    states = {Path(each["input"]).name: each["state"] for each in told if "input" in each}
    assert states == {**dict.fromkeys(CLIPS, "complete"), "broken.mp4": "failed"}


def job(place, **changes):
    from sapiens_stream.cluster.worker import Job

    settings = {"steady": 0, "every": 1, "save": "json,labels"}
    outputs = Outputs(save=frozenset({"labels", "json"}))
    made = Job(
        model="builtin",
        inference=SMALL,
        outputs=outputs,
        only=None,
        place=str(place),
        settings=settings,
        chunk_seconds=2,
    )
    return replace(made, **changes)


def test_an_input_that_kills_workers_is_skipped_and_a_stop_is_gone_on_with(cluster, tmp_path):
    from sapiens_stream.cluster.ray_run import RayRun, Resources
    from sapiens_stream.cluster.worker import Worker

    class Frail(Worker):  # which needs no model
        def ready(self):
            return "cpu"

        def do(self, task):
            if "poison" in task.entry.input:
                os._exit(1)
            time.sleep(0.05)
            return Outcome(frames=1)

    entries, _ = entries_of([f"/v/{name}.mp4" for name in ("a", "poison", "b", "c", "d")])
    ledger = Ledger.of(entries)
    resources = Resources(cpus=1, gpus=0)
    run = RayRun(job(tmp_path), ledger, address=cluster.address, resources=resources, worker=Frail)
    run.execute()
    assert sorted(entry.stem for entry in ledger.done) == ["a", "b", "c", "d"]
    assert [each.name for each in ledger.given_up] == ["/v/poison.mp4"] and ledger.repeated == 3

    ledger = Ledger.of([entry for entry in entries if entry.stem != "poison"])
    run = RayRun(
        job(tmp_path),
        ledger,
        address=cluster.address,
        resources=resources,
        worker=Frail,
        on_progress=lambda progress: progress.frames and run.stop(),
    )
    run.execute()
    assert ledger.is_finished and ledger.done and not ledger.running
    assert len(ledger.done) + len(ledger.waiting) == 4


@pytest.mark.parametrize(("address", "taken"), [("local", 2.0), ("auto", 4.0)])
def test_a_worker_takes_no_more_cores_than_this_machine_has(address, taken, tmp_path, monkeypatch):
    from sapiens_stream.cluster import ray_run

    machine = SimpleNamespace(cluster_resources=lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray_run, "_connected", lambda address: machine)
    resources = ray_run.Resources(cpus=4.0)
    run = ray_run.RayRun(job(tmp_path), Ledger.of([]), address=address, resources=resources)
    assert run._resources.cpus == taken


def test_the_end_of_ray_on_this_machine_ends_the_run(tmp_path, monkeypatch):
    """Ray waits forever for a machine to come back."""
    from sapiens_stream.cluster import ray_run

    machine = SimpleNamespace(
        cluster_resources=lambda: {"CPU": 2.0},
        nodes=lambda: [{"Alive": False}],
        remote=lambda worker: SimpleNamespace(options=lambda **options: worker),
        kill=lambda handle: None,
    )
    monkeypatch.setattr(ray_run, "_connected", lambda address: machine)
    monkeypatch.setattr(ray_run.RayRun, "_grow", lambda self, remote, gpus: None)
    ledger = Ledger.of(entries_of(["/v/a.mp4"])[0])
    run = ray_run.RayRun(job(tmp_path), ledger, address="local", resources=ray_run.Resources())
    with pytest.raises(DeviceError, match="Ray on this machine has ended"):
        run.execute()


@pytest.mark.parametrize("of_output", [True, False])
def test_an_output_that_takes_nothing_any_more_ends_the_run(of_output, tmp_path, monkeypatch):
    """Else each video that is left would be done three times for nothing."""
    from sapiens_stream.cluster import ray_run

    worker = SimpleNamespace(do=SimpleNamespace(remote=lambda task: task))
    machine = SimpleNamespace(
        cluster_resources=lambda: {"CPU": 2.0},
        nodes=lambda: [{"Alive": True}],
        remote=lambda worker: SimpleNamespace(options=lambda **options: worker),
        kill=lambda handle: None,
        wait=lambda pending, timeout: (pending, []),
        get=lambda task: Outcome(error="/out: Disk quota exceeded", for_good=not of_output, of_output=of_output),
    )
    monkeypatch.setattr(ray_run, "_connected", lambda address: machine)

    def grow(self, remote, gpus):
        if not self._members:
            self._members.append(ray_run._Member(worker, is_ready=True))

    monkeypatch.setattr(ray_run.RayRun, "_grow", grow)
    ledger = Ledger.of(entries_of([f"/v/{number}.mp4" for number in range(10)])[0])
    run = ray_run.RayRun(job(tmp_path), ledger, address="local", resources=ray_run.Resources())
    if not of_output:
        run.execute()
        assert len(ledger.given_up) == 10
        return
    with pytest.raises(OutputError, match="Disk quota exceeded; the same command goes on"):
        run.execute()
    assert len(ledger.given_up) == 1 and len(ledger.waiting) == 9


@pytest.fixture(scope="module")
def bucket():
    """An S3 server of our own."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    import s3fs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = server.ThreadedMotoServer("127.0.0.1", port)
    running.start()
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        system.mkdir("bucket")
        yield system
    running.stop()


def test_inputs_and_outputs_in_an_object_store(bucket, videos, expected, tmp_path):
    from sapiens_stream.cluster.worker import Worker

    for name in (*CLIPS, "broken.mp4"):
        bucket.put_file(str(videos / name), f"bucket/in/{name}")
    cut = make_video(tmp_path / "cut.mkv", frames=100).read_bytes()
    bucket.pipe_file("bucket/in/cut.mkv", cut[: len(cut) // 3])
    entries, _ = entries_of([f"s3://bucket/in/{name}" for name in (*CLIPS, "broken.mp4", "cut.mkv", "nowhere.mp4")])
    place = "s3://bucket/results"

    def run():
        worker, ledger, outcomes = Worker(job(place)), Ledger.of(entries), []
        while (task := ledger.next()) is not None:
            outcome = worker.do(task)
            outcomes.append((task.kind, outcome.passed))
            ledger.finish(task, outcome)
        return ledger, outcomes

    ledger, outcomes = run()
    assert sorted(entry.stem for entry in ledger.done) == ["cut", "long", "one", "two"], ledger.given_up
    told = {each.name: each.reason for each in ledger.given_up}
    assert told["s3://bucket/in/nowhere.mp4"] == "there is no such object"
    assert "://" not in told.pop("s3://bucket/in/broken.mp4"), "by no address but its own, which its name tells"
    assert len(told) == 1
    assert [each.name for each in ledger.skips] == ["s3://bucket/in/cut.mkv"]
    assert [kind for kind, _ in outcomes].count("chunk") == 2
    bucket.invalidate_cache()
    bucket.get("bucket/results/", str(tmp_path / "back") + "/", recursive=True)
    found = made_in(tmp_path / "back")
    assert {name for name in found if not name.startswith("cut")} == set(expected)
    for name, content in expected.items():  # but for the fingerprint in a label video, which tells the address
        assert found[name] == content or name.endswith(".mkv"), name
    record = record_of(tmp_path / "back", "long")
    assert record["status"] == "complete" and record["input"] == "s3://bucket/in/long.mp4"
    assert f"{place}/long_overlay.mp4" in record["outputs"] and all(
        each.startswith(place) for each in record["outputs"]
    )
    ledger, outcomes = run()
    assert [each for each in outcomes if each[1]] == [("video", True)] * 4


def test_a_worker_stops_in_good_order_and_another_goes_on(videos, tmp_path):
    from sapiens_stream.cluster.worker import Worker

    [entry], _ = entries_of([str(videos / "one.mp4")])
    stopped = Worker(job(tmp_path / "out"))
    stopped.stop()
    assert stopped.do(Task("video", entry)).stopped
    outcome = Worker(job(tmp_path / "out")).do(Task("video", entry))
    assert outcome.frames == CLIPS["one.mp4"] and outcome.error is None


def test_numbered_pictures_are_shared_as_a_video_is(tmp_path):
    from sapiens_stream.cluster.worker import Worker

    plates = tmp_path / "plates"
    plates.mkdir()
    for number in range(1001, 1041):
        make_photo(plates / f"shot.{number}.png", picture(number % 1000, (64, 96)))
    entries, _ = entries_of([str(plates / "shot.%04d.png")])
    worker, ledger, kinds = Worker(job(tmp_path / "out", rate=Fraction(10))), Ledger.of(entries), []
    while (task := ledger.next()) is not None:
        ledger.finish(task, worker.do(task))
        kinds.append(task.kind)
    assert not ledger.given_up and kinds.count("chunk") == 2
    told = [json.loads((tmp_path / "out" / "shot" / f"{index:06d}.json").read_text()) for index in range(40)]
    assert [each["number"] for each in told] == [*range(1001, 1041)]
    assert [each["time"] for each in told] == [index / 10 for index in range(40)]
