"""Checkpoints that several suites read, and what to do where a GPU or the larger test data is missing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.checkpoints import tiny_export, tiny_torchscript

pytest_plugins = ["tests.display", "tests.hub_server", "tests.program", "tests.schemas", "tests.small_disk"]

DATA = Path(__file__).parent / "data"


HAS_CUDA = torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if HAS_CUDA:
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Only what is marked "cuda" sees a device: the figures of all else, and of its programs, are the CPU's.

    No limit of a container is seen either, so that tests have as many threads as they ask for.
    """
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr("sapiens_stream.control_groups._PROCESS", Path("/nowhere"))
        if not item.get_closest_marker("cuda"):
            changed.setattr(torch.cuda, "is_available", lambda: False)
            changed.setattr(torch.backends.mps, "is_available", cache(lambda: False))  # cached as torch's is
            changed.setenv("CUDA_VISIBLE_DEVICES", "")
        return (yield)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Larger test data, beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the folder {folder} with larger test data is not here")
    return folder


@pytest.fixture(scope="session")
def goliath() -> Path:
    """A TorchScript checkpoint with the interface of Sapiens v1 and random weights."""
    return DATA / "tiny_goliath_torchscript.pt2"


@pytest.fixture(scope="session")
def colour_torchscript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript checkpoint of 28 classes, 256x192, that tells them apart by their colours, and says so."""
    return tiny_torchscript(tmp_path_factory.mktemp("torchscript") / "colour.pt2", known=True)


@pytest.fixture(scope="session")
def colour_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a torch.export program in bf16, for batches of 1 to 64."""
    return tiny_export(tmp_path_factory.mktemp("export") / "colour.pt2")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On networks as small as the tests', threads spend their time waiting for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
