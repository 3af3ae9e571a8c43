"""What stands between the forward and the class map: it may hold frames back, mix them, and leave some uninferred."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sapiens_stream.errors import DeviceError, ModelError
from sapiens_stream.frame import Frame
from sapiens_stream.inference import cells
from sapiens_stream.inference import engine as engine_module
from sapiens_stream.inference import pending as pending_module
from sapiens_stream.inference.class_map import class_maps
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.worker import Worker
from tests.cuda_simulator import simulated_cuda, unsupported
from tests.test_engine import by_brightness, engine, grey, model
from tests.test_streams import model as model_on_device

FRAMES = [grey(index) for index in range(7)]


class Late:
    """Infers every second frame, and gives each the logits of the next that is inferred, or of the last."""

    def __init__(self, short: int = 0) -> None:
        self.ended = False
        self._short = short
        self._waiting: list[Frame] = []
        self._newest: PendingBatch | None = None

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        self._waiting += frames
        return [frame for frame in frames if frame.index % 2]

    def last(self) -> Sequence[Frame]:
        return []

    def refine(self, batch: PendingBatch) -> list[PendingBatch]:
        self._run_short()
        ready = []
        for self._newest in batch.each():
            index = self._newest.frames[0].index
            while self._waiting and self._waiting[0].index <= index:
                ready.append(self._as(self._waiting.pop(0), index))
        return ready

    def rest(self) -> list[PendingBatch]:
        self._run_short()
        self.ended = True
        return [self._as(frame, self._newest.frames[0].index) for frame in self._waiting if self._newest]

    def record(self) -> dict[str, Any]:
        return {}

    def _as(self, frame: Frame, index: int) -> PendingBatch:
        assert self._newest is not None
        return replace(self._newest, frames=[frame], carried=[abs(index - frame.index)])

    def _run_short(self) -> None:
        if self._short:
            self._short -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")


def batches(size: int) -> list[list[Frame]]:
    return [FRAMES[start : start + size] for start in range(0, len(FRAMES), size)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_frames_come_out_in_order_with_the_logits_they_are_given(size: int, batch_size: int) -> None:
    results = [each for found in engine(batch_size=batch_size).run(batches(size), Late()) for each in found]
    assert [each.frame for each in results] == FRAMES
    assert [int(each.class_map[0, 0]) for each in results] == [1, 1, 3, 3, 5, 5, 5]
    assert [each.carried for each in results] == [1, 0, 1, 0, 1, 0, 1]


def test_a_clip_of_nothing() -> None:
    refiner = Late()
    assert [each for found in engine().run([], refiner) for each in found] == []
    assert refiner.ended


def test_logits_that_are_not_finite_are_never_seen_by_a_refiner() -> None:
    def nothing(pixels: Tensor) -> Tensor:
        return by_brightness(pixels) * float("nan")

    class Finite(Late):
        def refine(self, batch: PendingBatch) -> list[PendingBatch]:
            pytest.fail("refined")

    with pytest.raises(ModelError, match="not finite"):
        list(engine(model(nothing)).run(batches(2), Finite()))


@pytest.mark.parametrize("times", [1, 2])
def test_memory_that_is_short_while_refining_is_tried_for_once_more(times: int) -> None:
    found = engine(batch_size=8).run([FRAMES], Late(short=times))
    if times > 1:
        with pytest.raises(DeviceError, match="out of memory for the class maps of 3 frames"):
            list(found)
    else:
        assert [each.frame for results in found for each in results] == FRAMES


@pytest.mark.parametrize("times", [1, 2])
def test_memory_that_is_short_for_class_maps_asks_nothing_of_the_refiner_again(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    plain, left = class_maps, [times]

    def hungry(*args: Any, **kwargs: Any) -> Sequence[Tensor]:
        left[0] -= 1
        if left[0] >= 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(*args, **kwargs)

    monkeypatch.setattr(pending_module, "class_maps", hungry)
    found = engine(batch_size=8).run([FRAMES], Late())
    if times > 1:
        with pytest.raises(DeviceError, match="out of memory for the class maps of 3 frames"):
            list(found)
    else:
        assert [each.frame for results in found for each in results] == FRAMES


def test_a_refiner_that_fails_ends_the_run() -> None:
    class Failing(Late):
        def refine(self, batch: PendingBatch) -> list[PendingBatch]:
            raise ValueError("no such person")

    with pytest.raises(ValueError, match="no such person"):
        list(engine().run([FRAMES], Failing()))


@pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))
def test_on_a_device_its_work_is_ordered_behind_the_model_and_before_the_class_maps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells._axis.cache_clear()
    with simulated_cuda(devices=2) as cuda:

        def made(*args: Any, **kwargs: Any) -> Worker:
            cuda.enter_thread()
            return Worker(*args, **kwargs)

        monkeypatch.setattr(engine_module, "Worker", made)
        subject = engine(model_on_device(), device="cuda:0,cuda:1", batch_size=2)
        results = [each for found in subject.run(batches(2), Late()) for each in found]
        subject.close()
        del subject
        gc.collect()
        assert [each.frame for each in results] == FRAMES
        assert [int(each.class_map[0, 0]) for each in results] == [1, 1, 3, 3, 5, 5, 5]
        assert cuda.problems == []
    cells._axis.cache_clear()
