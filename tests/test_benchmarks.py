"""The benchmarks open what they measure; what they say is for people to read."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

import benchmarks
from sapiens_stream import Segmenter

RENDERERS = ("anny", "moderngl", "OpenEXR")
MODULES = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_each_is_a_program_that_says_what_it_does(name: str) -> None:
    try:
        module = importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name not in RENDERERS:
            raise
        pytest.skip(f"{error.name} of the extra `train` is not installed")
    assert module.__doc__


def test_random_networks_see_the_people_of_a_picture() -> None:
    from benchmarks.cpu import PHOTO
    from benchmarks.gpu import random_model
    from benchmarks.people_logits import with_people
    from sapiens_stream.models.sapiens.config import SapiensConfig

    photo = np.asarray(cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB), np.uint8)
    model = random_model("toy", replace(SapiensConfig.of("toy"), head_channels=16, grid=(8, 6)))
    found = Segmenter(with_people(model, photo), device="cpu")(photo).class_map
    expected = Segmenter("builtin", device="cpu")(photo).class_map
    assert np.mean((found > 0) == (expected > 0)) > 0.95
