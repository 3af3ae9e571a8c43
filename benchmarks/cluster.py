"""What many workers are worth, and where a cluster would break first.

    python -m benchmarks.cluster                 # chunks against one piece, on this machine
    python -m benchmarks.cluster --workers       # 1, 2, 4 workers of a Ray cluster here against one
    python -m benchmarks.cluster --simulate      # a million hours of video on 1,000 GPUs, by the assumptions printed

The first two are measured, as ratios; the third is a simulation by discrete events, of which nothing was measured but
what it says so of.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import av

from sapiens_stream.cluster.ledger import Ledger, Outcome, Task
from sapiens_stream.cluster.listing import Entry, entries_of
from sapiens_stream.cluster.ray_run import RayRun, Resources
from sapiens_stream.cluster.worker import Job, Worker
from sapiens_stream.doctor.timing import share_of_cores
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.sinks import Outputs

CLIP = Path(__file__).parents[1] / "samples/people.mp4"
HOUR = 3600.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--workers", action="store_true")
    arguments.add_argument("--simulate", action="store_true")
    arguments.add_argument("--clip", type=Path, default=CLIP)
    arguments.add_argument("--count", type=int, default=8, help="videos that the workers share")
    given = arguments.parse_args()
    if given.simulate:
        simulate()
        return
    print(f"this process gets {share_of_cores():.0%} of the cores; below 85 % figures are noise")
    if given.workers:
        measure_workers(given.clip, given.count)
    else:
        measure_chunks(given.clip)


def job(place: str, chunk_seconds: float) -> Job:
    return Job(
        model="builtin",
        inference=InferenceOptions(device="cpu"),
        outputs=Outputs(save=frozenset({"labels"}), overlay="none"),
        only=None,
        place=place,
        settings={},
        chunk_seconds=chunk_seconds,
    )


def with_key_frames(clip: Path, path: Path) -> Path:
    """The clip with a key frame each second, between which it can be cut."""
    with av.open(clip) as source, av.open(path, "w") as copy:
        from_stream = source.streams.video[0]
        stream = copy.add_stream("libx264", rate=from_stream.average_rate, options={"g": "25", "preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = from_stream.width, from_stream.height, "yuv420p"
        for frame in source.decode(from_stream):
            frame.pict_type = 0
            copy.mux(stream.encode(frame))
        copy.mux(stream.encode(None))
    return path


def measure_chunks(clip: Path) -> None:
    """What a chunk costs beside its frames, and what joining does."""
    with tempfile.TemporaryDirectory() as folder:
        entries, _ = entries_of([str(with_key_frames(clip, Path(folder) / "clip.mp4"))])
        in_parts, whole = Worker(job(f"{folder}/parts", 1.0)), Worker(job(f"{folder}/whole", 1e9))
        for worker in (in_parts, whole):
            worker.ready()
        spent: dict[str, list[float]] = {"whole": [], "video": [], "chunk": [], "join": []}
        for name, worker in (("", in_parts), ("whole", whole)):
            ledger = Ledger.of(entries)
            while (task := ledger.next()) is not None:
                outcome = worker.do(task)
                spent[name or task.kind].append(outcome.seconds)
                ledger.finish(task, outcome)
    one, chunks = sum(spent["whole"]), spent["chunk"]
    print(f"{len(chunks)} chunks of a second each against one piece: {sum(chunks) / one:.2f} x its time")
    print(f"a chunk beside its frames: {(sum(chunks) - one) / len(chunks) / one:.3f} x the time of the whole clip")
    print(f"finding the cuts: {sum(spent['video']) / one:.3f} x; joining: {sum(spent['join']) / one:.3f} x")


class Metered(Worker):
    """Notes what processor time its tasks take, in a file of its own below `place`."""

    def do(self, task: Task) -> Outcome:
        before = time.process_time()
        outcome = super().do(task)
        with Path(self._job.place, f"{os.getpid()}.seconds").open("a") as file:
            file.write(f"{time.process_time() - before}\n")
        return outcome


class Together(RayRun):
    """Hands out nothing before all workers have the model open; `began` is when they had."""

    began: float | None = None
    wanted = 1

    def _hand_out(self) -> None:
        if self.began is None and sum(member.is_ready for member in self._members) == self.wanted:
            self.began = time.perf_counter()
        if self.began is not None:
            super()._hand_out()


def measure_workers(clip: Path, count: int) -> None:
    """Of the same list, on 1, 2 and 4 workers of one thread of torch's each.

    The cores allow `count` videos in the time of one worker divided by the workers, or in the processor time that one
    worker took divided by the cores, whichever is longer.
    """
    cores = len(os.sched_getaffinity(0))
    alone = processor = 0.0
    for workers in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger.of(Entry(str(clip), str(copy), "clip") for copy in range(count))
            resources = Resources(cpus=0.25, gpus=0, workers=workers)
            run = Together(job(folder, 1e9), ledger, address="local", resources=resources, worker=Metered)
            run.wanted = min(workers, count)
            run.execute()
            assert run.began is not None and len(ledger.done) == count, ledger.given_up
            took = time.perf_counter() - run.began
            spent = sum(float(line) for file in Path(folder).glob("*.seconds") for line in file.read_text().split())
        if workers == 1:
            alone, processor = took, spent
        allowed = max(alone / workers, processor / cores)
        print(
            f"{workers} workers: {alone / took:.2f} x one worker, {allowed / took:.2f} of what {cores} cores allow"
            f" ({spent / processor:.2f} x its processor time)",
            flush=True,
        )


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """Of the simulation. Times in seconds."""

    gpus: int = 1000
    hours: float = 1e6
    """Of video."""
    mean_video: float = 0.5 * HOUR
    """Lengths are spread log-normally about it, sigma 1."""
    chunk: float = 300.0
    video_rate: float = 25.0
    gpu_rate: float = 35.0
    """Frames/s."""
    chunk_overhead: float = 3.0
    """To open, to decode from two key frames before, to close."""
    bytes_per_second: float = 5e6 / 8
    """Of video: 5 Mbit/s."""
    storage: float = 10e9
    """Bytes/s that all machines together can read."""
    driver: float = 0.005
    """To hand out a task and take its result, one after the other."""
    gpus_per_node: int = 8
    node_failure: float = 1000 * HOUR
    """Mean time of a node to its next failure."""
    node_return: float = 900.0
    """Until it, or another in its place, has the model open again."""
    worker_failure: float = 2e-5
    """Of a chunk to kill its worker, by itself."""
    poisoned: float = 1e-5
    """Of a video to kill every worker."""
    restart: float = 60.0
    """Of a killed worker, with its model."""


@dataclass
class Found:
    """How it went."""

    hours: float = 0.0
    chunks: int = 0
    repeated: int = 0
    given_up: int = 0
    ideal: float = 0.0
    driver_busy: float = 0.0
    storage_busy: float = 0.0


def simulated(assumed: Assumed, seed: int = 1, scale: float = 1.0) -> Found:
    """By events: the workers' ends and the nodes' failures. `scale` takes a part of the videos."""
    chance = random.Random(seed)
    found = Found()
    frame_time = assumed.video_rate / assumed.gpu_rate
    share = assumed.storage / assumed.gpus  # bytes/s of a worker
    workers = [(0.0, number) for number in range(assumed.gpus)]
    nodes = -(-assumed.gpus // assumed.gpus_per_node)
    fails = [chance.expovariate(1 / assumed.node_failure) for _ in range(nodes)]
    driver_free = 0.0
    left = assumed.hours * HOUR * scale
    queue: list[tuple[float, bool]] = []  # seconds of a chunk, and whether it kills
    strikes = 0
    end = 0.0
    while left > 0 or queue:
        if not queue:
            length = min(left, assumed.mean_video * chance.lognormvariate(-0.5, 1.0))
            left -= length
            count = max(1, round(length / assumed.chunk))
            bad = chance.random() < assumed.poisoned
            queue = [(length / count, bad and each == 0) for each in range(count)]
        seconds, kills = queue[-1]
        free, number = workers[0]
        start = max(free, driver_free)
        driver_free = start + assumed.driver
        found.driver_busy += assumed.driver
        works = max(seconds * frame_time, seconds * assumed.bytes_per_second / share) + assumed.chunk_overhead
        done = driver_free + works
        node = number // assumed.gpus_per_node
        while fails[node] < start:
            fails[node] += chance.expovariate(1 / assumed.node_failure)
        if fails[node] < done:  # the node goes, and the chunk is another's
            found.repeated += 1
            heapq.heapreplace(workers, (fails[node] + assumed.node_return, number))
            continue
        if kills or chance.random() < assumed.worker_failure:
            found.repeated += 1
            heapq.heapreplace(workers, (start + works / 2 + assumed.restart, number))
            strikes += 1
            if strikes >= 3:
                found.given_up += 1
                queue, strikes = [], 0
            continue
        strikes = 0
        queue.pop()
        found.chunks += 1
        found.ideal += seconds * frame_time
        found.storage_busy += seconds * assumed.bytes_per_second / assumed.storage
        end = max(end, done)
        heapq.heapreplace(workers, (done, number))
    found.hours = end / HOUR
    return found


CASES = {
    "as assumed": {},
    "chunks of 30 s": {"chunk": 30.0},
    "chunks of an hour": {"chunk": HOUR},
    "a node fails each 50 hours": {"node_failure": 50 * HOUR},
    "storage of 1 GB/s": {"storage": 1e9},
    "storage of 0.5 GB/s": {"storage": 0.5e9},
    "the driver takes 0.1 s a task": {"driver": 0.1},
    "the driver takes 0.5 s a task": {"driver": 0.5},
    "10,000 GPUs": {"gpus": 10_000, "storage": 100e9},
    "10,000 GPUs, chunks of 30 s": {"gpus": 10_000, "storage": 100e9, "chunk": 30.0},
    "ten times faster GPUs": {"gpu_rate": 350.0},
}


def simulate() -> None:
    """Prints a row a case."""
    print("Simulated, not measured. Assumed:")
    for name, value in vars(Assumed()).items():
        print(f"  {name} = {value:g}")
    print("| case | hours | of the ideal | repeated | given up | driver busy | storage busy |")
    print("|---|---|---|---|---|---|---|")
    for name, changes in CASES.items():
        assumed = Assumed(**changes)
        scale = 1.0 if not changes else 0.05
        found = simulated(assumed, scale=scale)
        spent = found.hours * HOUR
        row = (
            f"{found.hours / scale:.0f}",
            f"{found.ideal / assumed.gpus / spent:.3f}",
            f"{found.repeated / max(1, found.chunks):.2%}",
            f"{found.given_up}",
            f"{found.driver_busy / spent:.1%}",
            f"{found.storage_busy / spent:.1%}",
        )
        print(f"| {name} | {' | '.join(row)} |", flush=True)
    print(f"a video waiting in the ledger takes {ledger_bytes()} bytes of the driver's memory (measured)")


def ledger_bytes(count: int = 20_000) -> int:
    """Of the driver's memory for each video that waits."""
    import tracemalloc

    tracemalloc.start()
    ledger = Ledger.of(Entry(f"/videos/{number:06d}/clip.mp4", f"{number:06d}", "clip") for number in range(count))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ledger.next() is not None and Outcome() is not None
    return round(size / count)


if __name__ == "__main__":
    main()
