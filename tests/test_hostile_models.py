"""Checkpoints that mean harm, or were damaged: refused by name, in one line, before anything is run or allocated."""

from __future__ import annotations

import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_stream import Segmenter
from sapiens_stream.errors import ModelError
from sapiens_stream.models import open_model
from sapiens_stream.models.export import export_model
from sapiens_stream.models.inspection import inspect_checkpoint
from sapiens_stream.models.shape_run import RefusedError, run_on_shapes
from tests import hostile_checkpoints as hostile
from tests.checkpoints import tiny_export, tiny_torchscript
from tests.program import Program
from tests.sapiens import PublishedSapiens

pytestmark = pytest.mark.usefixtures("one_thread")

BYTES = 3 << 30
"""Of address space beyond what Python and torch take, for what must not ask for more."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where hostile files write


def refused(path: Path, said: str, **options: Any) -> None:
    with pytest.raises(ModelError) as caught:
        open_model(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message, message
    assert not Path("sprung").exists() and not path.with_name("sprung").exists()


@pytest.mark.parametrize("name", hostile.CODE)
def test_code_that_is_more_than_tensor_operators_is_refused_by_name(tmp_path: Path, name: str) -> None:
    line, said = hostile.CODE[name]
    refused(hostile.with_code(tmp_path / "model.pt2", line), said, shape=(64, 64))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (hostile.in_a_method, "aten::from_file"),
        (hostile.in_a_hook, "a hook"),
        (hostile.with_state, "__getstate__"),
        (hostile.with_custom_class, "torch.classes.quantized.Conv2dPackedParamsBase"),
    ],
)
def test_code_is_found_wherever_it_stands(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    refused(make(tmp_path / "model.pt2"), said, shape=(64, 64))


@pytest.mark.parametrize("name", hostile.EXPORTS)
def test_an_export_is_held_against_the_same_operators(tmp_path: Path, name: str) -> None:
    change, said = hostile.EXPORTS[name]
    path = hostile.exported(tmp_path / "model.pt2", change)
    if said is not None:
        refused(path, said)
    else:
        model = open_model(path)
        model.place(torch.device("cpu"), model.dtype)(torch.zeros(1, 3, 32, 32))
        assert not Path("sprung").exists()


def test_a_trusted_file_runs(tmp_path: Path, program: Program) -> None:
    path = hostile.with_code(tmp_path / "model.pt2", hostile.WRITE)
    told = program("models", "info", path)
    assert told.code == 0 and "aten::from_file; --trust runs it" in told.stdout
    assert not (tmp_path / "sprung").exists()
    photo = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ModelError, match="aten::from_file"):
        Segmenter(path, shape=(32, 32), device="cpu")
    assert not (tmp_path / "sprung").exists()
    result = Segmenter(path, shape=(32, 32), device="cpu", trust=True)(photo)
    assert result.class_map.shape == (32, 32)
    assert (tmp_path / "sprung").exists()  # so that the trap is one


def test_what_a_graph_takes_is_found_for_each_batch_before_it_runs(tmp_path: Path) -> None:
    line = hostile.CODE["enormous for one batch"][0].replace("0), 2)", "0), 5)")
    model = open_model(hostile.with_code(tmp_path / "model.pt2", line), shape=(32, 32))
    forward = model.place(torch.device("cpu"), model.dtype)
    assert forward(torch.zeros(4, 3, 32, 32)).shape == (4, 28, 32, 32)
    with pytest.raises(RefusedError, match="GB of memory"):
        forward(torch.zeros(5, 3, 32, 32))


def test_shapes_are_those_of_a_real_run(tmp_path: Path, goliath: Path) -> None:
    network = torch.jit.load(goliath).eval()
    with torch.no_grad():
        assert run_on_shapes(network, (2, 3, 64, 96), torch.float32).shape == network(torch.zeros(2, 3, 64, 96)).shape


@pytest.mark.parametrize("name", hostile.DAMAGED)
def test_a_checkpoint_that_cannot_be_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pth"
    hostile.DAMAGED[name](path)
    refused(path, "")


def test_a_pickle_of_millions_of_steps_is_given_up(tmp_path: Path) -> None:
    """48 KB of an archive can hold fifty million, each of which makes a list."""
    with zipfile.ZipFile(tmp_path / "model.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"(" * 20_000_000)
        archive.writestr("archive/version", "3\n")
    refused(tmp_path / "model.pth", "a pickle of more than")


def test_a_header_of_more_tensors_than_networks_have_is_refused(tmp_path: Path) -> None:
    names = (f'"{number}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for number in range(150_000))
    header = f"{{{','.join(names)}}}".encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    refused(tmp_path / "model.safetensors", "holds 150000 tensors")
    with pytest.raises(ModelError, match="holds 150000 tensors"):
        inspect_checkpoint(tmp_path / "model.safetensors")


def _mutants(whole: bytes, seed: int, count: int) -> list[bytes]:
    """The file with bits flipped, cut short, or with a run of zeros."""
    chance = random.Random(seed)
    mutants = []
    for number in range(count):
        mutant = bytearray(whole)
        at = chance.randrange(len(whole))
        match number % 4:
            case 0:
                mutant[at] ^= 1 << chance.randrange(8)
            case 1:
                for _ in range(20):
                    mutant[chance.randrange(len(whole))] = chance.randrange(256)
            case 2:
                del mutant[at:]
            case 3:
                mutant[at : at + chance.randrange(1, 400)] = bytes(min(400, len(whole) - at))
        mutants.append(bytes(mutant))
    return mutants


def _checkpoints(folder: Path) -> dict[str, Path]:
    """A small file of each kind. What is not numbers is most of it, since that is where damage shows."""
    from safetensors.torch import save_file

    weights = {name: each[:1].clone() if each.ndim else each for name, each in PublishedSapiens().state_dict().items()}
    kinds = {name: folder / name for name in ("state_dict", "old", "safetensors", "torchscript", "export")}
    torch.save(weights, kinds["state_dict"])
    torch.save(weights, kinds["old"], _use_new_zipfile_serialization=False)
    save_file(weights, kinds["safetensors"])
    tiny_torchscript(kinds["torchscript"], shape=(32, 32))
    tiny_export(kinds["export"], shape=(32, 32))
    return kinds


_OPEN_ALL = """
import resource, sys
from pathlib import Path
import torch
from sapiens_stream.errors import SapiensStreamError
from sapiens_stream.models.inspection import inspect_checkpoint
from sapiens_stream.models import open_model

torch.set_num_threads(1)
whole, *mutants = sorted(Path(sys.argv[1]).iterdir())
for use in (inspect_checkpoint, open_model):
    try:
        use(whole)
    except SapiensStreamError:
        pass
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), resource.RLIM_INFINITY))
for path in mutants:
    print(path.name, flush=True)
    for use in (inspect_checkpoint, open_model):
        try:
            use(path)
        except SapiensStreamError as error:
            assert "\\n" not in str(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("kind", ["state_dict", "old", "safetensors", "torchscript", "export"])
def test_a_damaged_checkpoint_is_opened_or_refused(tmp_path: Path, kind: str) -> None:
    whole = _checkpoints(tmp_path)[kind].read_bytes()
    folder = tmp_path / "mutants"
    folder.mkdir()
    (folder / "0000").write_bytes(whole)
    for number, mutant in enumerate(_mutants(whole, seed=len(kind), count=60), 1):
        (folder / f"{number:04}").write_bytes(mutant)
    run = subprocess.run(
        [sys.executable, "-c", _OPEN_ALL, str(folder), str(BYTES)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, (run.stdout[-100:], run.stderr[-2000:])
    assert run.stdout.split()[-1:] == ["0060"]


@pytest.mark.parametrize("to", ["torchscript", "torch-export"])
def test_what_we_write_needs_no_trust(tmp_path: Path, to: Any) -> None:
    export_model(open_model("builtin", shape=(64, 64)), to, tmp_path / "model.pt2")
    assert open_model(tmp_path / "model.pt2").logits_size == (32, 32)
