"""Long runs, in small: what grows with the frames is on the disk alone, and is as much as was estimated before."""

import gc
import sys
import weakref
from contextlib import contextmanager
from multiprocessing import get_context

import av
import numpy as np
import pytest
import torch

from sapiens_stream import Segmenter, segment
from sapiens_stream.classes import SAPIENS
from sapiens_stream.cli.batch_runner import BatchRunner
from sapiens_stream.containers.label_video import LabelVideo
from sapiens_stream.frame import Frame
from sapiens_stream.pipeline import Run, Stream
from sapiens_stream.pipeline.space import require_space
from sapiens_stream.sinks import Outputs
from tests.hdr import PQ, video_frame
from tests.hdr import write as write_hdr
from tests.long_run import LoopedClip, ToyEngine, bytes_read, long_run
from tests.media import make_video

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


HEAVY = (Run, Stream, Frame, av.VideoCodecContext, av.container.InputContainer, torch.Tensor)


@contextmanager
def uncollected():
    """Lists what is left of heavy things where nobody looks for circles of things that hold each other."""
    gc.collect()
    gc.disable()
    left = []
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left += [repr(type(each)) for each in gc.garbage if isinstance(each, HEAVY)]
        left += [repr(each) for each in gc.garbage if isinstance(each, av.VideoFrame) and each.width > 2]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    "options",
    [
        "--save classes,json",
        "--overlay none --save people,labels --people builtin --steady 1",
        "--every 3 --codec ffv1 --save none",
        "--matte qtrle --overlay frames --save none --jobs 2",
    ],
)
def test_nothing_of_a_clip_that_is_done_stays(options, program, tmp_path, monkeypatch):
    clips = [make_video(tmp_path / f"{name}.mp4", size=(96, 160), frames=8, audio="aac") for name in "abcdef"]
    light = [video_frame(np.full((96, 160, 3), 500 + index, np.float32), PQ) for index in range(4)]
    clips.append(write_hdr(tmp_path / "hdr.mkv", light))
    begun, alive = BatchRunner.begun, []

    def counted(runner, turn):
        alive.append(sum(type(each) is Run for each in gc.get_objects()))
        begun(runner, turn)

    monkeypatch.setattr(BatchRunner, "begun", counted)
    with uncollected() as left:
        assert program("video", *clips, *options.split(), "--device", "cpu", "-o", tmp_path / "out").code == 0
    assert left == []
    assert len(alive) == len(clips) and max(alive) <= 4  # those that go on, and the last that have ended


def test_from_python_neither(tmp_path):
    clip = make_video(tmp_path / "a.mp4", size=(96, 160), frames=8)
    with Segmenter("builtin", device="cpu", people="builtin") as model, uncollected() as left:
        for _ in range(3):
            for result in segment(clip, model=model, steady=1):
                assert result.labels is not None
            del result
            next(iter(segment(clip, model=model)))  # left early
            segment(clip, model=model)  # and not even begun
    assert left == []


def test_a_label_video_that_is_forgotten_closes_its_file(tmp_path, program):
    clip = make_video(tmp_path / "a.mp4", size=(96, 160), frames=4)
    assert program("video", clip, "--save", "labels", "--overlay", "none", "-o", tmp_path, "--device", "cpu").code == 0
    video = LabelVideo(tmp_path / "a_labels.mkv")
    opened = weakref.ref(video)
    with uncollected():
        assert video[2].shape == (96, 160) and len(video.times) == 4
        del video
        assert opened() is None
