"""Long runs, in small: what grows with the frames is on the disk alone, and is as much as was estimated before."""

import sys
from multiprocessing import get_context

import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.containers.label_video import LabelVideo
from sapiens_stream.pipeline.space import require_space
from sapiens_stream.sinks import Outputs
from tests.long_run import LoopedClip, ToyEngine, bytes_read, long_run

needs_counters = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process reads")


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """In a process that has done nothing else."""
    root = tmp_path_factory.mktemp("long")
    with get_context("spawn").Pool(1) as pool:
        return root, pool.apply(long_run, (8000, root, "labels,jsonl"))


def test_memory_and_descriptors_stay(long):
    _, run = long
    assert len({each.descriptors for each in run.samples[len(run.samples) // 5 :]}) <= 2  # the record's, while saved
    assert run.growth() < 4_000_000


@needs_counters
def test_any_frame_is_read_in_the_same_few_bytes(long):
    root, _ = long
    with LabelVideo(root / "clip_labels.mkv") as video:
        assert len(video) == 8000
        taken = [bytes_read(video, index) for index in (0, 31, 4000, 4021, 7999)]
    assert max(size for size, _ in taken) < 20_000 and max(calls for _, calls in taken) < 12


@pytest.mark.parametrize("save, frames", [("labels,jsonl", 8000), ("classes,json", 200), ("labels,foreground", 200)])
def test_the_estimate_is_within_a_tenth(save, frames, long, tmp_path):
    run = long[1] if frames == 8000 else long_run(frames, tmp_path, save)
    assert run.estimated / 1.1 < run.written < run.estimated * 1.1


def estimate(root, save, frames):
    """What a run of that many frames says when the first is there."""
    with LoopedClip(frames) as source:
        sinks = Outputs(save=frozenset(save.split(",")), overlay="none").sinks(
            root, "clip", source.info, SAPIENS, print
        )
        first = next(source.frames())
        [[result]] = ToyEngine().run([[first]])
        return require_space(sinks, source.info, root, result)


@pytest.mark.parametrize(
    "save, words, files",
    [
        ("classes,json", "labels,jsonl", "2 files instead of 1940000"),
        ("json", "jsonl", "1 file instead of 970000"),
        ("classes,foreground", "labels", "1 file instead of 1940000"),
        ("labels,jsonl", None, None),
    ],
)
def test_of_many_frames_it_says_what_one_file_would_take(save, words, files, tmp_path):
    line = estimate(tmp_path, save, 970_000)
    assert ("instead" in line) == (words is not None)
    if words:
        assert f"--save {words} would take about " in line and line.endswith(files)
    assert "instead" not in estimate(tmp_path, save, 20_000)
