"""Fewer frames are inferred, and those between take their class maps from both sides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_stream import segment
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.models.model import Model
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.pipeline import Run
from tests.media import make_video
from tests.moving import SIZE, Clip, scene, seeing
from tests.program import Program
from tests.test_engine import engine
from tests.test_steady import changes, iou, same

pytestmark = [pytest.mark.usefixtures("one_thread")]


def counting(model: Model) -> tuple[Model, list[int]]:
    """The model, and how many pictures it was given at each call."""
    forward, calls = model.place(torch.device("cpu"), torch.float32), list[int]()

    def counted(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        return forward(pixels)

    return replace(model, place=lambda device, dtype: counted), calls


def carried(
    frames: Sequence[Frame], every: int, *, steady: int = 0, batch: int = 1, doubt: float = 0.0, **settings: Any
) -> tuple[list[Segmentation], int]:
    """The results, and how many frames were inferred."""
    model, calls = counting(seeing(doubt))
    batches = [frames[start : start + batch] for start in range(0, len(frames), batch)]
    subject = engine(model, **settings)
    try:
        found = subject.run(batches, refiner_for(model, steady=steady, every=every))
        return [each for results in found for each in results], sum(calls)
    finally:
        subject.close()


class TestMaps:
    @pytest.mark.parametrize("turns, planar", [(0, False), (1, True)])
    @pytest.mark.parametrize("every, inferred", [(2, 7), (4, 4), (8, 3)])
    def test_maps_stay_on_what_moves(self, every: int, inferred: int, turns: int, planar: bool) -> None:
        frames = [scene(index, turns=turns, planar=planar) for index in range(13)]
        results, count = carried(frames, every)
        assert [each.frame for each in results] == frames and count == inferred
        ages = [index % every for index in range(12)] + [0]
        assert [each.carried for each in results] == ages
        assert iou(results) > carried_iou_in_place(results) + 0.02 and iou(results) > 0.93

    @pytest.mark.parametrize("batch, batch_size", [(1, 1), (3, 1), (5, 4), (20, 8)])
    def test_batches_make_no_difference(self, batch: int, batch_size: int) -> None:
        frames = [scene(index) for index in range(10)]
        one, _ = carried(frames, 3, doubt=3.0)
        other, count = carried(frames, 3, doubt=3.0, batch=batch, batch_size=batch_size)
        assert same(one, other) and count == 4

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
    def test_the_first_frame_and_the_last_are_inferred(self, count: int) -> None:
        frames = [scene(index) for index in range(count)]
        results, inferred = carried(frames, 8)
        assert [each.frame for each in results] == frames and inferred == min(count, 2)

    def test_nobody_stays_nobody(self) -> None:
        results, _ = carried([scene(index, people=False) for index in range(5)], 4)
        assert not any(each.class_map.any() for each in results)

    def test_steady_ones_flicker_less(self) -> None:
        frames = [scene(index) for index in range(12)]
        alone, _ = carried(frames, 2, doubt=3.0)
        held, inferred = carried(frames, 2, doubt=3.0, steady=1)
        assert inferred == 7 and [each.carried for each in held] == [each.carried for each in alone]
        assert changes(held) < 0.8 * changes(alone)

    @pytest.mark.parametrize("every", [0, 31, True, 2.0])
    def test_other_numbers_are_refused(self, every: Any) -> None:
        with pytest.raises(UsageError, match=r"every is .*; it is a number of frames, 1 to 30"):
            refiner_for(seeing(), every=every)


def carried_iou_in_place(results: Sequence[Segmentation]) -> float:
    """What it were if each frame had the map of the inferred one before it."""
    last, still = results[0], list[Segmentation]()
    for each in results:
        last = last if each.carried else each
        still.append(replace(each, class_map=last.class_map))
    return iou(still)


class TestScenes:
    def test_both_sides_of_a_cut_are_inferred_and_nothing_crosses_it(self) -> None:
        first = [scene(index) for index in range(6)]
        second = [replace(scene(index, seed=40), index=6 + index) for index in range(6)]
        apart = carried(first, 12)[0] + carried(second, 12)[0]
        together, inferred = carried([*first, *second], 12)
        assert same(together, apart) and inferred == 4
        assert [each.carried for each in together] == [0, 1, 2, 3, 4, 0] * 2

    def test_a_clip_that_changes_its_size(self) -> None:
        small = [replace(scene(index), decoded=np.ascontiguousarray(scene(index).rgb[:100])) for index in range(3)]
        results, inferred = carried([scene(0), scene(1), scene(2), *small], 8)
        assert [each.class_map.shape for each in results] == [SIZE] * 3 + [(100, 160)] * 3 and inferred == 4

    @pytest.mark.parametrize(
        "indices, ages", [(range(2, 9), [0, 0, 1, 2, 0, 1, 0]), ([0, 1, 5, 6, 7], [0, 1, 0, 0, 0])]
    )
    def test_frames_go_by_their_numbers_in_the_clip(self, indices: Sequence[int], ages: Sequence[int]) -> None:
        frames = [replace(scene(place), index=index) for place, index in enumerate(indices)]
        assert [each.carried for each in carried(frames, 3)[0]] == ages

    def test_indices_that_stand_still(self) -> None:
        frames = [replace(scene(index), index=0) for index in range(4)]
        assert [each.carried for each in carried(frames, 3)[0]] == [0, 1, 2, 0]


class TestClips:
    def test_a_run_that_is_stopped_hands_on_what_has_both_sides_and_tells_what_was_carried(self) -> None:
        model, runs = seeing(), list[Run]()

        def stop_at_the_tenth(index: int) -> None:
            if index == 9:
                runs[0].stop()

        source = Clip([scene(index) for index in range(30)], before=stop_at_the_tenth)
        runs.append(Run(source, engine(model), [], refiner=refiner_for(model, every=4)))
        runs[0].execute()
        assert runs[0].status == "interrupted" and runs[0].statistics.segmented == 9
        assert runs[0].record()["every"] == {"inferred": 3, "carried": 6}

    def test_the_command(self, program: Program, tmp_path: Path, colour_torchscript: Path) -> None:
        clip, out = make_video(tmp_path / "clip.mp4", frames=7), tmp_path / "out"
        arguments = ("-m", colour_torchscript, "-o", out, "--every", 3, "--steady", 1, "--overlay", "none")
        outcome = program("video", clip, *arguments)
        assert outcome.code == 0, outcome.stderr
        record = json.loads((out / "clip_run.json").read_text())
        assert record["every"]["inferred"] + record["every"]["carried"] == record["frames"]["written"] == 7
        assert set(record["steady"]["flicker"]) == {"with", "without"}
        found = [json.loads((out / "clip" / f"{index:06d}.json").read_text()) for index in range(7)]
        assert sum("carried" in each for each in found) == record["every"]["carried"] > 0
        assert all(record["fingerprint"]["settings"][name] == value for name, value in (("every", 3), ("steady", 1)))

    def test_in_python(self) -> None:
        frames = [scene(index) for index in range(6)]
        results = list(segment(Clip(frames), model=seeing(doubt=0.0), device="cpu", every=5))
        assert same(results, carried(frames, 5)[0])
        assert [each.to_dict().get("carried", 0) for each in results] == [0, 1, 2, 3, 4, 0]
