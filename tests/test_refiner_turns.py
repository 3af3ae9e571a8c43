"""A clip's refiner sees one batch at a time, in order, while other workers compute the next: the same as with one."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_stream.errors import DeviceError, ModelError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.worker_loop import Job, Jobs
from sapiens_stream.models.model import Model
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.people.closer import CloserToPeople, Seen
from sapiens_stream.people.track import Track
from tests.moving import scene, seeing
from tests.test_people_turns import DEVICES, Walking, clip, slow_at, threads

__all__ = ["threads"]  # as many workers, in every test

WAIT = 60
LOST = torch.AcceleratorError("CUDA error: unspecified launch failure\nand so on")


class Watched:
    """Hands each frame on with the next batch's; fails where two are refined at once. `held` is called with each."""

    def __init__(self, held: Callable[[Frame], object] = lambda frame: None) -> None:
        self.order: list[int] = []
        self.finished: list[int] = []
        self.threads: set[int] = set()
        self._held = held
        self._last: list[PendingBatch] = []
        self._alone = threading.Lock()

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        return frames

    def last(self) -> Sequence[Frame]:
        return []

    def refine(self, batch: PendingBatch) -> list[PendingBatch]:
        assert self._alone.acquire(blocking=False), "two at once"
        try:
            self._held(batch.frames[0])
            self.order += [frame.index for frame in batch.frames]
            self.threads.add(threading.get_ident())
            ready, self._last = self._last, [replace(batch, finishing=[self._finish(each) for each in batch.frames])]
            return ready
        finally:
            self._alone.release()

    def rest(self) -> list[PendingBatch]:
        return self._last

    def record(self) -> dict[str, Any]:
        return {}

    def _finish(self, frame: Frame) -> Callable[[Tensor], Tensor]:
        def finish(class_map: Tensor) -> Tensor:
            self.finished.append(frame.index)
            return class_map

        return finish


def engine(made: Model, **settings: Any) -> Engine:
    return Engine(made, InferenceOptions(device="cpu", **settings), warn=lambda sentence: None)


def spread(doubt: float = 3.0) -> Model:
    return replace(seeing(doubt), spread=True)


def results(subject: Engine, frames: Sequence[Frame], refiner: Any, batch: int = 1) -> list[Segmentation]:
    batches = [frames[start : start + batch] for start in range(0, len(frames), batch)]
    found = [each for several in subject.run(batches, refiner) for each in several]
    subject.close()
    return found


@pytest.mark.parametrize("slow", [(), (1, 2, 5), (3, 4, 8, 9, 10)], ids=str)
@pytest.mark.parametrize(("batch", "batch_size"), [(1, 1), (2, 2), (5, 2)])
def test_frames_are_refined_and_finished_in_order(slow: Sequence[int], batch: int, batch_size: int) -> None:
    refiner = Watched()
    made = slow_at(*slow, first=lambda later: later.wait(WAIT))  # which another worker has begun
    found = results(engine(made, batch_size=batch_size), clip(16), refiner, batch)
    assert refiner.order == refiner.finished == [each.frame.index for each in found] == list(range(16))
    assert len(refiner.threads) > 1


@pytest.mark.parametrize(("steady", "every"), [(2, 1), (0, 3), (1, 2)])
@pytest.mark.parametrize("batch", [1, 2])
def test_class_maps_are_those_of_one_worker(steady: int, every: int, batch: int) -> None:
    frames = [scene(index) for index in range(14)]
    several = engine(spread(), batch_size=2)
    assert len(several.devices) == DEVICES
    found = results(several, frames, refiner_for(spread(), steady=steady, every=every), batch)
    alone = results(engine(seeing(), batch_size=2), frames, refiner_for(seeing(), steady=steady, every=every), batch)
    assert [each.frame for each in found] == [each.frame for each in alone] == frames
    assert all(np.array_equal(one.class_map, other.class_map) for one, other in zip(found, alone, strict=True))
    assert [each.carried for each in found] == [each.carried for each in alone]


@pytest.mark.parametrize("steady", [0, 1])
def test_a_frame_that_is_carried_has_the_people_of_the_one_that_it_is_carried_from(steady: int) -> None:
    made, seen = spread(0.0), Seen(Track())
    finder = Walking()
    subject = Engine(
        made,
        InferenceOptions(device="cpu", batch_size=1),
        closer=lambda _device: CloserToPeople(made, made.input, finder, seen),
        warn=lambda sentence: None,
    )
    found = results(subject, [scene(index) for index in range(13)], refiner_for(made, steady=steady, every=3))
    assert len({each.boxes for each in found}) > 2 and sum(each.carried > 0 for each in found) > 6
    for each in found:
        assert each.boxes == found[each.frame.index - each.carried].boxes


def test_a_frame_that_fails_ends_the_run_after_the_results_before_it() -> None:
    subject, found = engine(slow_at(2, fails=(5,)), batch_size=1), list[int]()
    with pytest.raises(ModelError, match="the graph broke"):
        for several in subject.run([[frame] for frame in clip(12)], Watched()):
            found += [each.frame.index for each in several]
    assert found == [0, 1, 2, 3]  # the fifth waits for what comes after it
    assert len(results(subject, clip(5), Watched())) == 5


def test_a_worker_that_is_lost_ends_the_clip_and_the_next_is_done() -> None:
    subject = engine(slow_at(4, fails=(5,), error=LOST), batch_size=1)
    refiner = Watched()
    with pytest.raises(DeviceError, match="--resume begins the clip anew"):
        list(subject.run([[frame] for frame in clip(12)], refiner))
    assert refiner.order == list(range(len(refiner.order))) and len(refiner.order) <= 5
    with pytest.raises(DeviceError, match="--resume begins the clip anew"):
        subject.submit(clip(1), refiner).result(WAIT)
    assert len(results(subject, clip(5), Watched())) == 5


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_refiner_that_hangs_is_not_asked_again(let_go: threading.Event) -> None:
    """Its batch fails with what is said of that, as do others that are computed, and the rest with the loss of it."""
    hangs = threading.Event()

    def held(frame: Frame) -> None:
        if frame.index == 2:
            hangs.set()
            let_go.wait(WAIT)

    subject = engine(slow_at(), batch_size=1)
    refiner = Watched(held)
    futures = [subject.submit([frame], refiner) for frame in clip(6)]
    assert hangs.wait(WAIT)
    subject.replace_hung(DeviceError("the model has hung"))
    assert [each.exception(WAIT) for each in futures[:2]] == [None, None]
    said = [str(each.exception(WAIT)) for each in futures[2:]]
    assert said[0] == "the model has hung" and said[-1].endswith("--resume begins the clip anew")
    assert all(each in (said[0], said[-1]) for each in said)
    let_go.set()
    assert len(results(subject, clip(5), Watched())) == 5
    assert [each for each in refiner.order if each != 2] == [0, 1]


def test_a_worker_that_waited_for_work_when_it_was_replaced_takes_none() -> None:
    """Else what it takes has no results, and all that follows waits for its turn."""
    subject = engine(slow_at(), batch_size=1)
    for thread in subject._workers.threads:
        thread.restart()
        thread.placed()
    assert [len(subject.submit([frame]).result(WAIT)) for frame in clip(2 * DEVICES)] == [1] * 2 * DEVICES
    subject.close()


def test_what_is_queued_while_a_worker_is_replaced_comes_after_what_was(
    let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    hangs = threading.Event()
    subject = engine(slow_at(first=lambda later: hangs.set() or let_go.wait(WAIT)), batch_size=1)
    refiner, (black, *frames) = Watched(), clip(4)
    subject.submit([black])
    assert hangs.wait(WAIT)
    futures = [subject.submit([frame], refiner) for frame in frames[:2]]
    drained = Jobs.drained

    def meanwhile(queue: Jobs) -> list[Job]:
        found = drained(queue)
        other = threading.Thread(target=lambda: futures.append(subject.submit([frames[2]], refiner)))
        other.start()
        other.join(0.2)  # as far as it gets
        return found

    monkeypatch.setattr(Jobs, "drained", meanwhile)
    subject.replace_hung(DeviceError("the model has hung"))
    let_go.set()
    assert [each.exception(10) for each in futures[:2]] == [None, None]
    assert len(results(subject, clip(5)[4:], refiner)) == 2  # with what the one before left
    assert refiner.order == [1, 2, 3, 4]


@pytest.mark.parametrize("refiner", [None, Watched()], ids=["alone", "refined"])
def test_frames_are_let_go_as_they_come_out(refiner: Watched | None) -> None:
    """At once, not when Python looks for circles: those of a clip in 4K are 25 MB each."""
    subject, there = engine(slow_at(), batch_size=1), weakref.WeakSet[Frame]()

    def batches() -> Iterator[list[Frame]]:
        for index in range(40):
            [frame] = clip(1, index=index)
            there.add(frame)
            yield [frame]
            del frame

    gc.disable()
    try:
        most = max(len(there) for _ in subject.run(batches(), refiner))
    finally:
        gc.enable()
    subject.close()
    assert most < 12


def test_no_more_frames_wait_for_those_that_are_inferred_than_memory_holds() -> None:
    """Eight workers have a dozen of those in hand, which would be 240 frames."""
    torch.set_num_threads(8)
    subject, picture = engine(slow_at(), batch_size=1), clip(1)[0]
    given, found, most = 0, 0, 0

    def batches() -> Iterator[list[Frame]]:
        nonlocal given
        for given in range(1, 401):
            yield [replace(picture, index=given - 1)]

    for several in subject.run(batches(), refiner_for(subject.model, every=20)):
        most = max(most, given - found)
        found += len(several)
    subject.close()
    assert found == 400 and 40 <= most <= 100
