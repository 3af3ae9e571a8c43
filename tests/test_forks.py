"""Models, videos and processes that are forked, as multiprocessing does on Linux: a line in place of a hang."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sapiens_stream import Segmenter, UsageError, open_source
from tests.program import WAIT
from tests.test_label_video import write

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")

PARENT = """
import os, sys
import numpy as np
import torch
from sapiens_stream import Segmenter, UsageError, segment

torch.set_num_threads(2)  # with one torch does not hang
PICTURE = np.zeros((90, 60, 3), np.uint8)
model = Segmenter("builtin", device="cpu")
model(PICTURE)
child = os.fork()
if child == 0:
    try:
        {what}
    except UsageError as error:
        print(error, flush=True)
    model.close()
    os._exit(0)
os.waitpid(child, 0)
print(model(PICTURE).class_map.shape)
"""
CHILDREN = {
    "model(PICTURE)": "this Segmenter was made before the process was forked",
    "list(segment([PICTURE] * 3, model=model))": "this Segmenter was made before the process was forked",
    'Segmenter("builtin")': "this process was forked from one with a model, after which torch hangs",
    "list(segment([PICTURE]))": "this process was forked from one with a model, after which torch hangs",
    'torch.set_num_threads(1); print(Segmenter("builtin", device="cpu")(PICTURE).class_map.shape)': "(90, 60)",
}


@pytest.mark.parametrize("what", CHILDREN)
def test_a_child_says_why_it_has_no_model_and_its_parent_goes_on(what: str) -> None:
    program = [sys.executable, "-c", PARENT.format(what=what)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=100)
    said, parent = done.stdout.splitlines()
    assert said.startswith(CHILDREN[what]) and parent == "(90, 60)", done


def test_what_would_take_a_segmenter_to_another_process_is_refused() -> None:
    with Segmenter("builtin", device="cpu") as model, pytest.raises(UsageError, match="make one in each process"):
        pickle.dumps(model)


WORKERS = """
import multiprocessing as mp
import sys
import numpy as np
from sapiens_stream import LabelVideo, UsageError, open_source

fork = mp.get_context("fork")
video, labels = open_source(sys.argv[1]), LabelVideo(sys.argv[2])
every = [class_map.tobytes() for class_map in labels]


def of_video(_, said):
    try:
        said.put(str(sum(1 for _ in video.frames())))
    except UsageError as error:
        said.put(str(error))
    video.close()


def of_labels(seed, said):
    order = np.random.default_rng(seed).integers(0, len(labels), 1000)
    said.put(str(sum(labels[int(index)].tobytes() != every[index] for index in order)))


said = fork.SimpleQueue()
for work in (of_video, of_labels):
    workers = [fork.Process(target=work, args=(seed, said)) for seed in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        print(said.get())
        each.join()
print(sum(1 for _ in video.frames()))
"""


def test_children_say_why_they_have_no_video_and_read_label_videos_side_by_side(tmp_path):
    """One place in the file for all of them: frames of a label video were called damaged, those of a video got lost."""
    maps = (np.full((61, 83), value, np.uint8) for value in range(100))
    write(tmp_path / "clip_labels.mkv", maps)
    clip = ROOT / "samples" / "clip.mp4"
    program = [sys.executable, "-c", WORKERS, str(clip), str(tmp_path / "clip_labels.mkv")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=WAIT)
    *of_video, first, second, parent = done.stdout.splitlines()
    assert len(of_video) == 2 and all("it was opened before the process was forked" in each for each in of_video), done
    assert (first, second) == ("0", "0"), done
    assert parent == "100"


def test_what_would_take_an_open_video_to_another_process_is_refused():
    with (
        open_source(ROOT / "samples" / "clip.mp4") as video,
        pytest.raises(UsageError, match="open it in each process"),
    ):
        pickle.dumps(video)
