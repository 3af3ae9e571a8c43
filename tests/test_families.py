"""Which family a checkpoint is of, what is known of it, and what the user can say where nothing is."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_stream import Segmenter
from sapiens_stream.classes import FOREGROUND, SAPIENS, SAPIENS2, titled
from sapiens_stream.errors import UsageError
from sapiens_stream.models import open_model
from sapiens_stream.models.catalogue import BUILTIN_WEIGHTS, PUBLISHED
from sapiens_stream.models.checkpoint import Checkpoint
from sapiens_stream.models.class_files import read_classes
from sapiens_stream.models.families import FAMILIES, family_of
from tests.checkpoints import tiny_export, tiny_torchscript
from tests.media import make_video
from tests.program import Program
from tests.sapiens import PublishedSapiens, export, torchscript

OURS = (123.5, 116.5, 103.5)


def _renamed(goliath: Path, folder: Path) -> Path:
    return shutil.copy(goliath, folder / "model.pt2")


def _builtin(folder: Path) -> Path:
    save_file(load_file(BUILTIN_WEIGHTS), folder / "other.safetensors")
    return folder / "other.safetensors"


def _pth(folder: Path, classes: int) -> Path:
    torch.save(PublishedSapiens(classes).state_dict(), folder / "a.pth")
    return folder / "a.pth"


def _named(folder: Path, name: str, **options: Any) -> Path:
    return tiny_torchscript(folder / name, **{"shape": (64, 48), **options})


# What makes the checkpoint, its family, its classes (None: numbered), and whether something is said to be assumed.
CHECKPOINTS = {
    "Sapiens' weights": (lambda folder: _pth(folder, 28), "sapiens", SAPIENS),
    "Sapiens' weights of other classes": (lambda folder: _pth(folder, 5), "sapiens", None),
    "the foreground model's weights": (lambda folder: _pth(folder, 1), "sapiens-foreground", FOREGROUND),
    "Sapiens' weights in TorchScript": (
        lambda folder: torchscript(folder / "a.pt2", PublishedSapiens()),
        "sapiens",
        SAPIENS,
    ),
    "Sapiens' weights in an export": (lambda folder: export(folder / "a.pt2", PublishedSapiens()), "sapiens", SAPIENS),
    "the built-in network's weights": (_builtin, "builtin", SAPIENS),
    "a graph named as Meta does": (lambda folder: _named(folder, "x_goliath_y.pt2"), "sapiens-graph", SAPIENS),
    "so named, of other classes": (lambda folder: _named(folder, "goliath.pt2", channels=5), "sapiens-graph", None),
    "so named, of other logits": (lambda folder: _named(folder, "goliath.pt2", stride=4), "sapiens-graph", None),
    "a graph of 28 classes": (lambda folder: _named(folder, "sapiens.pt2"), "graph", None),
    "one at Sapiens' size": (lambda folder: _named(folder, "model.pt2", shape=(1024, 768)), "graph", None),
    "an export of 28 classes": (lambda folder: tiny_export(folder / "model.pt2", shape=(64, 48)), "graph", None),
    "a graph of 29 classes": (lambda folder: _named(folder, "model.pt2", channels=29), "graph", None),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_family_is_told_by_what_the_file_holds(case: str, tmp_path: Path) -> None:
    make, name, classes = CHECKPOINTS[case]
    path = make(tmp_path)
    family = family_of(Checkpoint(path))
    assert family is not None and family.name == name
    model = open_model(path)
    if classes is None:
        assert model.classes.names[1:] == tuple(f"Class_{index}" for index in range(1, len(model.classes)))
        assert model.assumed is not None and "--classes-from" in model.assumed and "\n" not in model.assumed
        assert ("normalisation" in model.assumed) == (name != "sapiens")
    else:
        assert (model.classes, model.assumed) == (classes, None)


def test_the_graph_of_a_file_that_was_renamed_is_still_known(goliath: Path, tmp_path: Path) -> None:
    model = open_model(_renamed(goliath, tmp_path))
    assert (model.classes, model.assumed, model.input.mean) == (SAPIENS, None, OURS)


def test_sapiens_as_it_is_keeps_its_classes(tmp_path: Path) -> None:
    model = open_model(torchscript(tmp_path / "a.pt2", PublishedSapiens()), as_is=True)
    assert (model.kind, model.classes, model.assumed) == ("torchscript", SAPIENS, None)


@pytest.mark.parametrize(("path", "probability"), [("foreground", 0.3), ("graph", 0.5)])
def test_one_channel_is_foreground_from_the_probability_of_its_family(
    path: str, probability: float, tmp_path: Path
) -> None:
    file = _pth(tmp_path, 1) if path == "foreground" else _named(tmp_path, "model.pt2", channels=1)
    model = open_model(file)
    assert model.classes == FOREGROUND
    assert 1 / (1 + math.exp(-model.threshold)) == pytest.approx(probability)
    assert (model.assumed is None) == (path == "foreground")


def test_a_segmenter_says_what_is_assumed(tmp_path: Path) -> None:
    told: list[str] = []
    path = _named(tmp_path, "model.pt2")
    Segmenter(path, device="cpu", warn=told.append)
    assert (
        len(told) == 1 and "28 classes, which are numbered" in told[0] and "normalisation, which is assumed" in told[0]
    )
    told.clear()
    known = {"classes_from": "sapiens", "mean": (127.5, 127.5, 127.5), "std": (50, 50, 50)}
    model = Segmenter(path, device="cpu", warn=told.append, **known).model
    assert told == [] and model.classes == SAPIENS
    assert (model.input.mean, model.input.std) == ((127.5, 127.5, 127.5), (50.0, 50.0, 50.0))


def test_a_command_says_it_in_one_line_and_takes_what_the_user_knows(program: Program, tmp_path: Path) -> None:
    import cv2

    path, photo = _named(tmp_path, "model.pt2", channels=3), tmp_path / "a.png"
    assert cv2.imwrite(str(photo), np.zeros((64, 48, 3), np.uint8))
    names = tmp_path / "names.txt"
    names.write_text("nothing\nmug #ff0000\nspoon\n")
    told = ("--classes-from", names, "--mean", 100, 100, 100, "--std", 50, 50, 50)
    silent = program("images", path, "--input", photo, "--device", "cpu", "--quiet", *told, "-o", tmp_path / "b")
    assert (silent.code, silent.complaints) == (0, [])
    said = program("images", path, "--input", photo, "--device", "cpu", "--quiet", "-o", tmp_path / "c")
    assert said.code == 0 and len(said.complaints) == 1 and "its 3 classes, which are numbered" in said.complaints[0]
    facts = json.loads(program("models", "info", path, *told, "--json").stdout)
    assert (facts["class_names"], facts["assumed"]) == (["nothing", "mug", "spoon"], None)
    facts = json.loads(program("models", "info", path, "--json").stdout)
    assert facts["class_names"][2] == "Class_2" and "numbered" in facts["assumed"]
    # Class maps in files have no names: the run record has them, for all that is made of them afterwards.
    assert program("results", "render", tmp_path / "b", "--save", "json", "-o", tmp_path / "again").code == 0
    for name in ("a.json", "a.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    [kept] = (tmp_path / "b").glob("*_run.json")
    record = json.loads(kept.read_text())
    assert record["model"]["class_names"] == ["nothing", "mug", "spoon"]
    for lost, told in (({"class_colours": ["red"]}, "'names'"), ({"class_names": None}, "'names'")):
        kept.write_text(json.dumps(record | {"model": record["model"] | lost}))
        outcome = program("results", "export", tmp_path / "b", "--to", "coco")
        assert (outcome.code, len(outcome.complaints)) == (1, 1) and told in outcome.complaints[0]
    wrong = program("images", path, "--input", photo, "--classes-from", "sapiens", "-o", tmp_path / "d")
    assert wrong.code == 2
    assert wrong.complaints == [f"sapiens-stream: error: {_WRONG}"] or _WRONG in wrong.complaints[0]


_WRONG = "sapiens has 28 classes; model tells 3 classes apart"

FILES: dict[str, tuple[str, tuple[str, ...], dict[int, tuple[int, int, int]]]] = {
    "a name a line": ("bg\n\nhair\n left arm \n", ("bg", "hair", "left arm"), {}),
    "with colours": ("bg #000000\nhair, #FF8000\n", ("bg", "hair"), {0: (0, 0, 0), 1: (255, 128, 0)}),
    "windows": ("\ufeffbg\r\nhair\r\n", ("bg", "hair"), {}),
    "a list": ('["bg", "hair"]', ("bg", "hair"), {}),
    "objects": ('[{"name": "bg"}, {"name": "hair", "colour": [1, 2, 3]}]', ("bg", "hair"), {1: (1, 2, 3)}),
    "colours by name": ('{"bg": "#010203", "hair": [4, 5, 6]}', ("bg", "hair"), {0: (1, 2, 3), 1: (4, 5, 6)}),
    "names by id": ('{"1": "hair", "0": "bg"}', ("bg", "hair"), {}),
    "a configuration": ('{"model_type": "x", "id2label": {"0": "bg", "1": "hair"}}', ("bg", "hair"), {}),
    "names and colours": ('{"names": ["a", "b"], "colors": ["#000001", "#000002"]}', ("a", "b"), {1: (0, 0, 2)}),
}


@pytest.mark.parametrize("case", FILES)
def test_classes_are_read_from_a_file(case: str, tmp_path: Path) -> None:
    content, names, colours = FILES[case]
    (tmp_path / "names").write_bytes(content.encode())
    classes = read_classes(str(tmp_path / "names"))
    assert classes.names == names
    assert {index: classes.colours[index] for index in colours} == colours


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "says 0 classes"),
        (b"one\n", "says 1 classes"),
        (b"\n".join(b"c%d" % index for index in range(257)), "says 257 classes"),
        (b"a\na\n", "names the class a twice"),
        (b'["", "b"]', "a class without a name"),
        (b'["a", 3]', "'3' for a name"),
        (b'[{"name": "a", "colour": [1, 2, 300]}, "b"]', "for a colour; it is '#RRGGBB'"),
        (b'{"0": "a", "2": "b"}', "ids that are not 0 to 1"),
        (b'{"names": ["a", "b"], "colours": ["#000000"]}', "2 names and 1 colours"),
        (b"[" * 100_000, "does not say names of classes"),
        (b"{not json", "does not say names of classes"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"a\x07b\nc\n", "a name is printable"),
        (b"x" * (1 << 21), "more than 1 MB"),
    ],
    ids=range(14),
)
def test_a_file_of_no_classes_is_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        read_classes(str(path))
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes_from": "sapiens3"}, "no classes 'sapiens3': no such file, and neither sapiens nor sapiens2"),
        ({"classes_from": "sapiens2"}, "sapiens2 has 29 classes; model tells 28 classes apart"),
        ({"mean": (1, 2)}, r"a mean of \(1, 2\); it is three numbers"),
        ({"mean": "abc"}, "a mean of 'abc'"),
        ({"mean": (1, 2, math.inf)}, "a mean of 1 2 inf; each is finite"),
        ({"std": (1, 0, 1)}, "a std of 1 0 1; each is finite, and above 0"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_the_user_says_is_checked(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        open_model(_named(tmp_path, "model.pt2"), **settings)


def test_the_registry_knows_every_published_model() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert {each.classes for each in PUBLISHED.values()} >= {SAPIENS, SAPIENS2, FOREGROUND}
    for family in FAMILIES:
        for each in family.published:
            assert each.classes == family.classes and each.licence == family.licence
            assert family.tflop(each.parameters) == each.tflop


def test_what_counts_of_a_file_of_classes_is_what_it_says(program: Program, tmp_path: Path) -> None:
    names, elsewhere = tmp_path / "names.txt", tmp_path / "moved.txt"
    names.write_text("nothing\nmug\nspoon\n")
    path, clip = _named(tmp_path, "model.pt2", channels=3), make_video(tmp_path / "clip.mp4", frames=3)
    run = ("video", clip, "-m", path, "--device", "cpu", "-o", tmp_path / "out", "--overlay", "none", "--classes-from")
    assert program(*run, names).code == 0
    names.rename(elsewhere)
    again = program(*run, elsewhere, "--resume")
    assert again.code == 0 and "done already" in again.stdout
    elsewhere.write_text("nothing\ncup\nspoon\n")
    for resume in ((), ("--resume",)):
        refused = program(*run, elsewhere, *resume)
        assert refused.code == 2 and "other classes_from" in refused.stderr


def test_the_classes_of_a_published_family_go_by_the_title_of_their_set() -> None:
    """As `--classes-from` takes it; a family's new set has its place in `classes.py`."""
    assert [each.name for each in FAMILIES if each.classes is not None and titled(each.classes.title) is None] == []
