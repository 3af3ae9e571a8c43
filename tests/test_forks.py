"""Models, videos and processes that are forked, as multiprocessing does on Linux: a line in place of a hang."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from sapiens_stream import Segmenter, UsageError, open_source
from tests.media import make_photo, make_video, picture
from tests.program import WAIT
from tests.test_label_video import maps, write

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
from sapiens_stream import LabelVideo, UsageError, open_source


def of_source(seed, said):
    try:
        said.put(str(sum(1 for _ in frames)))
    except UsageError as error:
        said.put(str(error))
    source.close()


def of_labels(seed, said):
    order = [(seed + 7) * at % len(labels) for at in range(2000)]
    together.wait()
    said.put(str(sum(labels[index].tobytes() != every[index] for index in order)))


if sys.argv[1].endswith("_labels.mkv"):
    labels, work = LabelVideo(sys.argv[1]), of_labels
    every = [class_map.tobytes() for class_map in labels]
    frames = iter(labels)
else:
    source, work = open_source(sys.argv[1]), of_source
    frames = source.frames()
next(frames)
fork = mp.get_context("fork")
together = fork.Barrier(2)
said = fork.SimpleQueue()
workers = [fork.Process(target=work, args=(seed, said)) for seed in range(2)]
for each in workers:
    each.start()
for each in workers:
    print(said.get())
    each.join()
print(1 + sum(1 for _ in frames))
"""


def beside(what: str | Path) -> tuple[list[str], str]:
    """What two children say who read what their parent has begun to, and how many frames that finds."""
    done = subprocess.run([sys.executable, "-c", WORKERS, str(what)], capture_output=True, text=True, timeout=WAIT)
    *children, parent = done.stdout.splitlines() or [done.stderr]
    return children, parent


@pytest.mark.parametrize("what", ["clip.mp4", "photos", "photos/%02d.png"])
def test_children_say_why_they_cannot_read_on_and_their_parent_loses_no_frame(what: str, tmp_path: Path) -> None:
    """They hung; and of a video, whose place in the file is one for all of them, the parent lost frames."""
    make_video(tmp_path / "clip.mp4", frames=40)
    (tmp_path / "photos").mkdir()
    for number in range(40):
        make_photo(tmp_path / "photos" / f"{number:02d}.png", picture(number, (48, 64)))
    children, parent = beside(tmp_path / what)
    assert len(children) == 2 and all("it was opened before the process was forked" in each for each in children)
    assert parent == "40"


def test_children_read_a_label_video_side_by_side(tmp_path: Path) -> None:
    """Its place in the file is one for all of them too, and sound frames were called damaged."""
    write(tmp_path / "clip_labels.mkv", maps(100, (61, 83), "noise"))
    assert beside(tmp_path / "clip_labels.mkv") == (["0", "0"], "100")


ENDS_WHILE_THE_THREAD_READS = f"""
child.start()
child.join({WAIT - 60})
print(child.exitcode)
if child.exitcode is None:
    child.kill()
go_on.set()
"""

FORKED_IN_THE_MIDST = (
    """
import multiprocessing as mp
import sys
import threading
from sapiens_stream import LabelVideo

labels = LabelVideo(sys.argv[1])
expected = labels[3].tobytes()
begun, go_on = threading.Event(), threading.Event()


class Slow:
    def __init__(self, decoder):
        self.decoder = decoder

    def decode(self, packet):
        begun.set()
        go_on.wait()
        return self.decoder.decode(packet)


labels._decoding.decoder = Slow(labels._decoding.decoder)
thread = threading.Thread(target=lambda: labels[0])
thread.start()
begun.wait()
child = mp.get_context("fork").Process(target=lambda: sys.exit(labels[3].tobytes() != expected), daemon=True)
"""
    + ENDS_WHILE_THE_THREAD_READS
)


CLOSED_IN_THE_MIDST = (
    """
import io
import multiprocessing as mp
import sys
import threading
import time
from pathlib import Path
from sapiens_stream import LabelVideo

slow, begun, go_on = threading.Event(), threading.Event(), threading.Event()


class SlowFile(io.FileIO):
    def readinto(self, buffer):
        if slow.is_set():
            begun.set()
            go_on.wait()
        return super().readinto(buffer)


def opened(path, mode, buffering=-1):
    file = SlowFile(path, "r")
    return file if buffering == 0 else io.BufferedReader(file, max(buffering, 64))


Path.open = opened
labels = LabelVideo(sys.argv[1])
slow.set()
thread = threading.Thread(target=lambda: labels[0])
thread.start()
while thread.is_alive() and not begun.is_set():
    time.sleep(0.01)
child = mp.get_context("fork").Process(target=labels.close, daemon=True)
"""
    + ENDS_WHILE_THE_THREAD_READS
)


@pytest.mark.parametrize("program", [FORKED_IN_THE_MIDST, CLOSED_IN_THE_MIDST], ids=["read", "closed"])
def test_a_child_does_not_wait_for_a_thread_that_was_reading_a_label_video(program: str, tmp_path: Path) -> None:
    write(tmp_path / "clip_labels.mkv", maps(10, (61, 83), "noise"))
    command = [sys.executable, "-c", program, str(tmp_path / "clip_labels.mkv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT)
    assert done.stdout.split() == ["0"], done.stderr


def test_what_would_take_an_open_video_to_another_process_is_refused() -> None:
    with (
        open_source(ROOT / "samples" / "clip.mp4") as video,
        pytest.raises(UsageError, match="open it in each process"),
    ):
        pickle.dumps(video)
