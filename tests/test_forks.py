"""Models and processes that are forked, as multiprocessing does on Linux: a line in place of a hang."""

import os
import pickle
import subprocess
import sys

import pytest

from sapiens_stream import Segmenter, UsageError

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
