"""How a model is opened and run: one frozen value, from the command line and from Python alike."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_stream import Outputs, Segmenter, segment
from sapiens_stream.api import _SETTINGS
from sapiens_stream.cli.demo import demo
from sapiens_stream.cli.images import images
from sapiens_stream.cli.live import live
from sapiens_stream.cli.video import video
from sapiens_stream.errors import UsageError
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.models.options import ModelOptions, ModelSettings

FIELDS = {each.name: each.default for each in dataclasses.fields(InferenceOptions)}


def test_every_option_is_a_keyword_of_a_segmenter() -> None:
    assert _SETTINGS.keys() - {"warn", "note"} == FIELDS.keys()
    assert ModelSettings.__annotations__.keys() == {each.name for each in dataclasses.fields(ModelOptions)}


@pytest.mark.parametrize(
    ("command", "left_out", "other"),
    [
        (video, {"pull"}, {}),
        (live, {"pull", "batch_size", "boxes"}, {}),
        (images, {"pull"}, {"precision": None, "batch_size": 4}),
        (demo, FIELDS.keys() - {"device"}, {}),
    ],
)
def test_every_option_is_one_of_the_commands(command: Any, left_out: set[str], other: dict[str, Any]) -> None:
    parameters = inspect.signature(command).parameters
    assert "inference" not in parameters
    for name, default in FIELDS.items():
        if name not in left_out | {"alpha_of", "ranks"}:  # which follow from what is written
            assert parameters[name].default == other.get(name, default), name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (0, 4)}, "a shape of 0x4 .* both are 1 or more"),
        ({"shape": (4, 4, 4)}, r"a shape of \(4, 4, 4\); it is \(height, width\)"),
        ({"shape": "64x48"}, "a shape of '64x48'"),
        ({"detail": 5}, "a detail of 5; it is a number from 0.25 to 4"),
        ({"detail": 0.2}, "a detail of 0.2; it is"),
        ({"detail": float("nan")}, "a detail of nan"),
        ({"detail": "2"}, "a detail of '2'"),
        ({"detail": True}, "a detail of True"),
        ({"detail": 2, "shape": (64, 64)}, "a shape and a detail of 2; one of them"),
        ({"trust": "no"}, "trust is 'no'; it is True or False"),
        ({"pull": None}, "pull is None; it is True or False"),
        ({"as_is": 2}, "as_is is 2; it is"),
        ({"compile": ""}, "compile is ''; it is"),
        ({"batch_size": 0}, "a batch size of 0; it is 1 or more, or auto"),
        ({"batch_size": True}, "a batch size of True"),
        ({"people": "everyone"}, "people is 'everyone'; there are off, auto, builtin, ssdlite320"),
        ({"people": "builtin", "boxes": "b.json"}, "people is 'builtin' and boxes 'b.json'; one of them"),
        ({"boxes": 3}, "boxes is 3; it is the path of a file"),
        ({"fit": "squeeze"}, "no fit is called 'squeeze'; there are stretch, letterbox, crop"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused_where_it_is_made(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        InferenceOptions(**options)
    with pytest.raises(UsageError, match=said):
        Segmenter("builtin", **options)


def test_a_value_may_be_given_as_python_has_it() -> None:
    options = InferenceOptions(device=torch.device("cuda", 1), shape=[64, 48])  # type: ignore[arg-type]
    assert (options.device, options.shape) == ("cuda:1", (64, 48))
    assert InferenceOptions(trust=np.False_, pull=1).pull  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.device = "cpu"  # type: ignore[misc]


def test_a_text_is_no_yes_for_what_is_written_either() -> None:
    with pytest.raises(UsageError, match="keep_background is 'no'; it is True or False"):
        Outputs(keep_background="no")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="strict is 'no'; it is True or False"):
        segment("samples/clip.mp4", strict="no")  # type: ignore[arg-type]


def test_a_segmenter_names_each_device_once() -> None:
    with Segmenter("builtin", device="cpu") as model:
        assert repr(model) == "<Segmenter 'builtin' on cpu>"


def test_keywords_go_before_the_options() -> None:
    options = InferenceOptions(device="cpu", shape=(64, 96), batch_size=3)
    with Segmenter("builtin", options=options, batch_size=2) as model:
        assert (model.engine.batch_size, model.model.input.height, model.model.input.width) == (2, 64, 96)
