"""Steady class maps: they flicker less, stay on what moves, know where a scene ends, and are absent when off."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_stream import segment
from sapiens_stream.errors import UsageError
from sapiens_stream.frame import Frame, Segmentation, Skipped
from sapiens_stream.inference import cells
from sapiens_stream.inference import engine as engine_module
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.worker import Worker
from sapiens_stream.models.model import Model
from sapiens_stream.people import kept
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.people.closer import closer_for
from sapiens_stream.people.hold import Hold, Holds
from sapiens_stream.pipeline import Run, Stream
from tests.cuda_simulator import simulated_cuda, unsupported
from tests.moving import CLASS, SIZE, Clip, exact, patch, scene, seeing
from tests.test_engine import engine

pytestmark = [pytest.mark.usefixtures("one_thread")]


def refined(
    frames: Sequence[Frame], model: Model, steady: int, *, batch: int = 1, **settings: Any
) -> list[Segmentation]:
    batches = [frames[start : start + batch] for start in range(0, len(frames), batch)]
    subject = engine(model, **settings)
    try:
        found = subject.run(batches, refiner_for(model, steady=steady))
        return [each for results in found for each in results]
    finally:
        subject.close()


def iou(results: Sequence[Segmentation]) -> float:
    """Of the patch, over all frames."""
    pairs = [(each.class_map == CLASS, exact(each.frame.index) == CLASS) for each in results]
    return float(sum((a & b).sum() for a, b in pairs) / sum((a | b).sum() for a, b in pairs))


def changes(results: Sequence[Segmentation]) -> float:
    """The share of the patch that changes its class from frame to frame, along with its motion."""
    patches = [each.class_map[patch(each.frame.index)] for each in results]
    return float(np.mean([now != before for now, before in zip(patches[1:], patches, strict=False)]))


def same(one: Sequence[Segmentation], other: Sequence[Segmentation]) -> bool:
    return all((a.class_map == b.class_map).all() for a, b in zip(one, other, strict=True))


class TestMaps:
    @pytest.mark.parametrize("turns, planar", [(0, False), (0, True), (1, True), (3, False)])
    @pytest.mark.parametrize("steady", [1, 2])
    def test_they_flicker_less_and_are_nearer_to_the_truth(self, steady: int, turns: int, planar: bool) -> None:
        frames = [scene(index, turns=turns, planar=planar) for index in range(12)]
        alone, held = (refined(frames, seeing(), each) for each in (0, steady))
        assert [each.frame for each in held] == frames and not any(each.carried for each in held)
        assert changes(held) < 0.6 * changes(alone)
        assert iou(held) > iou(alone) + 0.02

    def test_what_the_model_is_certain_of_stays_where_it_is(self) -> None:
        frames = [scene(index) for index in range(8)]
        alone, held = (refined(frames, seeing(doubt=0.0), each) for each in (0, 2))
        assert iou(held) > iou(alone) - 0.005 > 0.9

    def test_nobody_stays_nobody(self) -> None:
        held = refined([scene(index, people=False) for index in range(5)], seeing(doubt=0.0), 2)
        assert not any(each.class_map.any() for each in held)

    @pytest.mark.parametrize("batch, batch_size", [(1, 1), (2, 2), (3, 2), (7, 8)])
    def test_batches_make_no_difference(self, batch: int, batch_size: int) -> None:
        frames = [scene(index) for index in range(7)]
        one = refined(frames, seeing(), 2)
        assert same(refined(frames, seeing(), 2, batch=batch, batch_size=batch_size), one)

    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_clips_shorter_than_the_reach(self, count: int) -> None:
        frames = [scene(index) for index in range(count)]
        held = refined(frames, seeing(), 2)
        assert [each.frame for each in held] == frames
        if count == 1:
            assert same(held, refined(frames, seeing(), 0))

    @pytest.mark.parametrize("fit", ["letterbox", "crop"])
    def test_other_fits_see_the_same_motion(self, fit: str) -> None:
        frames = [scene(index) for index in range(8)]
        model = replace(seeing(), input=replace(seeing().input, width=96))
        alone, held = (refined(frames, model, each, fit=fit) for each in (0, 1))
        assert changes(held) < changes(alone)
        assert iou(held) > iou(alone)

    def test_a_model_of_one_channel(self) -> None:
        model = replace(seeing(doubt=1.5, channels=1), threshold=0.3)
        frames = [scene(index) for index in range(8)]
        found = [refined(frames, model, steady) for steady in (0, 2)]
        alone, held = ([replace(each, class_map=each.class_map * np.uint8(CLASS)) for each in one] for one in found)
        assert changes(held) < changes(alone)
        assert iou(held) > iou(alone)

    def test_off_is_the_engine_without_it(self) -> None:
        assert refiner_for(seeing()) is None

    @pytest.mark.parametrize("steady", [-1, 3, True, 1.0, "1"])
    def test_other_reaches_are_refused(self, steady: Any) -> None:
        with pytest.raises(UsageError, match=r"steady is .*; it is a number of frames, 0 to 2"):
            refiner_for(seeing(), steady=steady)


class TestScenes:
    @pytest.mark.parametrize("steady", [1, 2])
    def test_nothing_crosses_a_cut(self, steady: int) -> None:
        first, second = ([scene(index, seed=seed) for index in range(5)] for seed in (0, 40))
        frames = [replace(frame, index=index) for index, frame in enumerate([*first, *second])]
        apart = refined(frames[:5], seeing(), steady) + refined(frames[5:], seeing(), steady)
        assert same(refined(frames, seeing(), steady), apart)

    def test_a_clip_that_changes_its_size(self) -> None:
        small = [replace(scene(index), decoded=np.ascontiguousarray(scene(index).rgb[:100])) for index in range(3)]
        frames = [scene(0), scene(1), *small, scene(2)]
        held = refined(frames, seeing(), 2)
        assert [each.class_map.shape for each in held] == [SIZE] * 2 + [(100, 160)] * 3 + [SIZE]
        assert same(held[2:5], refined(small, seeing(), 2))


class TestHold:
    """The way of a live camera, which knows no later frame."""

    def held(self, frames: Sequence[Frame], model: Model, cameras: int = 1, **settings: Any) -> list[Segmentation]:
        holds, results = [Hold(model.threshold) for _ in range(cameras)], list[Segmentation]()
        subject = engine(model, **settings)
        try:
            for frame in frames:
                refiner = Holds(holds)
                batch = refiner.take([replace(frame) for _ in holds])
                results += subject.submit(batch, refiner).result()
        finally:
            subject.close()
        return results

    def test_classes_stay_until_another_is_clearly_ahead(self) -> None:
        frames, model = [scene(index) for index in range(12)], seeing(doubt=1.5)
        alone, held = refined(frames, model, 0), self.held(frames, model)
        assert changes(held) < 0.9 * changes(alone)
        assert iou(held) > iou(alone) - 0.01

    @pytest.mark.parametrize(
        "shares, shown",
        [
            ((0.0, 0.52, 0.52), (False, True, True)),  # found by little, whoever was missed: they are not held away
            ((0.0, 0.48, 0.48), (False, False, False)),
            ((1.0, 0.4, 0.4), (True, True, True)),  # lost by little
            ((1.0, 0.3, 0.3), (True, False, False)),
        ],
    )
    def test_who_is_found_comes_more_easily_than_who_is_lost_goes(
        self, shares: Sequence[float], shown: Sequence[bool]
    ) -> None:
        said = iter(shares)

        def saying(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
            forward = seeing().place(device, dtype)

            def says(pixels: Tensor) -> Tensor:
                logits = torch.full_like(forward(pixels), -30)
                share = next(said)
                logits[:, CLASS], logits[:, 0] = np.log(share + 1e-6), np.log(1 - share + 1e-6)
                return logits

            return says

        frames = [replace(scene(0), index=index) for index in range(len(shares))]
        held = self.held(frames, replace(seeing(), place=saying))
        assert [bool(each.class_map.any()) for each in held] == list(shown)

    def test_it_tells_its_flicker_with_and_without(self) -> None:
        model, hold = seeing(doubt=1.5), Hold(seeing().threshold)
        subject = engine(model)
        for place, index in enumerate([0, 1, 2, 3, 3, 3]):
            refiner = Holds([hold])
            subject.submit(refiner.take([replace(scene(index), index=place)]), refiner).result()
        subject.close()
        counted = hold.flickers
        assert 0 < counted.handed_on.changed < counted.without.changed < counted.without.places
        assert set(counted.record()["steady"]["flicker"]) == {"with", "without"}

    def test_what_is_certain_follows_at_once(self) -> None:
        frames, model = [scene(index) for index in range(6)], seeing(doubt=0.0)
        assert iou(self.held(frames, model)) > iou(refined(frames, model, 0)) - 0.01

    @pytest.mark.parametrize("batch_size", [1, 2, 3])
    def test_each_camera_has_its_own(self, batch_size: int) -> None:
        frames, model = [scene(index) for index in range(4)], seeing()
        held = self.held(frames, model, cameras=3, batch_size=batch_size)
        alone = self.held(frames, model)
        for camera in range(3):
            assert same(held[camera::3], alone)

    def test_nothing_crosses_a_cut(self) -> None:
        first, second = ([scene(index, seed=seed) for index in range(3)] for seed in (0, 40))
        apart = self.held(first, seeing()) + self.held(second, seeing())
        assert same(self.held([*first, *second], seeing()), apart)

    def test_a_camera_that_changes_its_size(self) -> None:
        small = [replace(scene(index), decoded=np.ascontiguousarray(scene(index).rgb[:100])) for index in range(2)]
        assert same(self.held([scene(0), *small], seeing())[1:], self.held(small, seeing()))


class TestClips:
    def test_a_skipped_frame_is_passed_over(self) -> None:
        items: list[Frame | Skipped] = [scene(index) for index in range(6)]
        items[3] = Skipped("scene/000003", "left out")
        model = seeing()
        with Stream(Clip(items), engine(model), refiner=refiner_for(model, steady=1)) as stream:
            results = list(stream)
        assert [each.frame.index for each in results] == [0, 1, 2, 4, 5]
        assert [each.frame.time for each in results] == [each.time for each in items if isinstance(each, Frame)]

    def test_a_run_that_is_stopped_hands_on_what_the_whole_run_does(self) -> None:
        def handed_on(stop_at: int) -> list[Segmentation]:
            model, streams = seeing(), list[Stream]()
            frames = [scene(index) for index in range(20)]
            source = Clip(frames, before=lambda index: streams[0].stop() if index == stop_at else None)
            with Stream(source, engine(model), refiner=refiner_for(model, steady=2)) as stream:
                streams.append(stream)
                return list(stream)

        some = handed_on(9)
        assert len(some) == 8 and same(some, handed_on(-1)[:8])

    def test_the_record_tells_the_flicker_with_and_without(self) -> None:
        model = seeing()
        run = Run(Clip([scene(index) for index in range(10)]), engine(model), [], refiner=refiner_for(model, steady=1))
        run.execute(check=True)
        flicker = run.record()["steady"]["flicker"]
        assert 0 < flicker["with"] < 0.7 * flicker["without"] < 1

    def test_what_pixels_keep_is_in_the_record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def recorded() -> float:
            model = seeing()
            frames = Clip([scene(index) for index in range(8)])
            run = Run(frames, engine(model), [], refiner=refiner_for(model, steady=1))
            run.execute(check=True)
            return float(run.record()["steady"]["flicker"]["with"])

        keeping = recorded()
        monkeypatch.setattr(kept, "AHEAD", -1.0)
        assert keeping < recorded()

    def test_in_python(self) -> None:
        model = seeing()
        frames = [scene(index) for index in range(6)]
        alone, held = (list(segment(Clip(frames), model=model, device="cpu", steady=steady)) for steady in (0, 1))
        assert same(alone, refined(frames, model, 0)) and same(held, refined(frames, model, 1))


@pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))
@pytest.mark.parametrize("batch_size", [1, 3])
def test_on_a_device_it_gives_the_same(monkeypatch: pytest.MonkeyPatch, batch_size: int) -> None:
    frames, model, said = [scene(index) for index in range(7)], seeing(), list[Tensor]()

    def remembering(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        forward = model.place(device, dtype)
        return lambda pixels: said.append(forward(pixels)) or said[-1]  # type: ignore[func-returns-value]

    here = refined(frames, replace(model, place=remembering), 2)
    cells._axis.cache_clear()
    with simulated_cuda(devices=1) as cuda:

        def made(*args: Any, **kwargs: Any) -> Worker:
            cuda.enter_thread()
            return Worker(*args, **kwargs)

        def repeating(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
            table, count = torch.cat(said).to(device), itertools.count(0, batch_size)
            return lambda pixels: table[(first := next(count)) : first + len(pixels)] + 0

        monkeypatch.setattr(engine_module, "Worker", made)
        there = refined(
            frames, replace(model, place=repeating), 2, batch=batch_size, batch_size=batch_size, device="cuda:0"
        )  # fmt: skip
        gc.collect()
        assert cuda.problems == []
    cells._axis.cache_clear()
    assert [each.frame for each in there] == frames
    assert min(float((a.class_map == b.class_map).mean()) for a, b in zip(here, there, strict=True)) > 0.99


def test_frames_that_were_looked_at_closer_are_steadied_with_those_that_were_not(tmp_path: Path) -> None:
    """Their logits are finer, and the others' are brought to their places all the same."""
    frames = [scene(index) for index in range(6)]
    boxes = tmp_path / "boxes.jsonl"
    line = '{{"frame": {0}, "boxes": [[{1}, 30, 50, 60]]}}'
    boxes.write_text("\n".join(line.format(index, 15 + 2 * index) for index in range(0, 6, 2)))
    model = seeing()
    options = InferenceOptions(device="cpu", boxes=boxes)
    engine = Engine(model, options, closer=closer_for(model, options), warn=lambda sentence: None)
    refiner = refiner_for(model, steady=1)
    assert refiner is not None
    sizes = set()
    taken = refiner.refine

    def refine(batch: PendingBatch) -> list[PendingBatch]:
        sizes.add(tuple(batch.logits.shape[2:]))
        return taken(batch)

    refiner.refine = refine  # type: ignore[method-assign]
    found = [each for batch in engine.run(([frame] for frame in frames), refiner) for each in batch]
    engine.close()
    assert len(sizes) == 2 and [each.frame.index for each in found] == list(range(6))
    alone = Engine(model, options, closer=closer_for(model, options), warn=lambda sentence: None)
    single = [each for batch in alone.run([frame] for frame in frames) for each in batch]
    alone.close()
    with_, without = (
        np.mean([(each.class_map == exact(each.frame.index)).mean() for each in maps]) for maps in (found, single)
    )
    assert with_ > without
    record = refiner.record()["steady"]["flicker"]
    assert record["with"] < record["without"]
