"""What follows from the frames before: the same however many devices share the frames, and whichever is the faster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_stream.errors import DeviceError, ModelError
from sapiens_stream.frame import Frame, PersonBox
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.turns import Turn, Turns
from sapiens_stream.models.model import Model
from sapiens_stream.people.closer import CloserToPeople, Seen
from sapiens_stream.people.detection import wait
from sapiens_stream.people.first_look import EVERY, LookedAt
from sapiens_stream.people.track import Track
from tests.test_engine import SPEC, by_brightness, model

DEVICES = 3
SLOW = 0.03  # seconds


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """As many workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(DEVICES)
    yield
    torch.set_num_threads(before)


class Walking:
    """Finds somebody who grows along a clip; notes whose turn it was, and in which threads."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.threads: set[int] = set()
        self.later = threading.Event()
        """Found in a frame that is not the first."""

    def find(self, batch: PendingBatch, turn: Turn) -> list[list[PersonBox]]:
        wait(batch, turn)
        self.order += [frame.index for frame in batch.frames]
        if max(self.order) > 0:
            self.later.set()
        self.threads.add(threading.get_ident())
        return [[PersonBox(10, 10, 20 + frame.index % 4, 40)] for frame in batch.frames]


def slow_at(
    *numbers: int,
    fails: Sequence[int] = (),
    error: BaseException | None = None,
    first: Callable[[threading.Event], object] = lambda later: None,
) -> Model:
    """Takes its time over the pictures of these brightnesses, and fails at those.

    `first` is called at the first picture, which is black, with what is set once another has been begun.
    """
    later = threading.Event()

    def forward(pixels: Tensor) -> Tensor:
        brightness = round(float(pixels.mean()))
        if brightness:
            later.set()
        else:
            first(later)
        if brightness in numbers:
            time.sleep(SLOW)
        if brightness in fails:
            raise error or RuntimeError("the graph broke")
        return by_brightness(pixels)

    made = model(forward)
    plain = replace(SPEC, mean=(0.0,) * 3, std=(1.0,) * 3)
    return replace(made, spread=True, input=plain)


def clip(count: int, **changes: object) -> list[Frame]:
    return [
        replace(
            Frame(index=index, name=f"clip/{index:06d}", decoded=np.full((60, 80, 3), index, np.uint8), pts=index),
            **changes,  # type: ignore[arg-type]
        )
        for index in range(count)
    ]


def engine(made: Model, finder: Walking, batch_size: int = 1) -> Engine:
    seen = Seen(Track())

    def closer(_device: torch.device) -> CloserToPeople:
        return CloserToPeople(made, made.input, finder, seen)

    options = InferenceOptions(device="cpu", batch_size=batch_size)
    return Engine(made, options, closer=closer, warn=lambda sentence: None)


def boxes(subject: Engine, frames: Sequence[Frame], batch: int = 1) -> list[tuple[PersonBox, ...] | None]:
    batches = [frames[start : start + batch] for start in range(0, len(frames), batch)]
    found = [each.boxes for results in subject.run(batches) for each in results]
    subject.close()
    return found


@pytest.mark.parametrize("slow", [(), (1, 2, 5), (3, 4, 8, 9, 10)], ids=str)
@pytest.mark.parametrize(("batch", "batch_size"), [(1, 1), (2, 2), (5, 2)])
def test_frames_of_a_clip_are_looked_at_in_their_order(slow: Sequence[int], batch: int, batch_size: int) -> None:
    finder, alone = Walking(), Walking()
    frames = clip(16)
    made = slow_at(*slow, first=lambda later: later.wait(60))  # which another worker has begun
    found = boxes(engine(made, finder, batch_size), frames, batch)
    assert finder.order == list(range(16)) and len(finder.threads) > 1
    torch.set_num_threads(1)
    assert found == boxes(engine(slow_at(), alone), frames) and len(alone.threads) == 1


def test_photos_do_not_wait_for_each_other() -> None:
    finder = Walking()
    boxes(engine(slow_at(first=lambda _later: finder.later.wait(60)), finder), clip(9, pts=None))
    assert sorted(finder.order) == list(range(9)) and finder.order[0] != 0


def test_a_frame_that_fails_holds_nobody_up() -> None:
    subject = engine(slow_at(2, fails=(2, 6)), finder := Walking())
    futures = [subject.submit([frame]) for frame in clip(12)]
    futures[9].cancel()
    failed = [index for index, each in enumerate(futures) if index != 9 and each.exception(timeout=60)]
    assert failed == [2, 6] and isinstance(futures[2].exception(), ModelError)
    assert [each for each in finder.order if each != 9] == [0, 1, 3, 4, 5, 7, 8, 10, 11]
    subject.close()


def test_a_device_that_is_lost_holds_nobody_up() -> None:
    lost = torch.AcceleratorError("CUDA error: unspecified launch failure\nand so on")
    subject = engine(slow_at(fails=(2, 6), error=lost), Walking())
    futures = [subject.submit([frame]) for frame in clip(12)]
    errors = [each.exception(timeout=60) for each in futures]
    assert all(error is None or isinstance(error, DeviceError) for error in errors)
    assert errors[:2] == [None, None]
    subject.close()


def test_turns_come_in_order_and_end_once() -> None:
    turns = Turns()
    first, second, third = turns.next(), turns.next(), turns.next()
    came: list[str] = []
    told: Callable[[Turn, str], None] = lambda turn, name: (turn.wait(), came.append(name))  # type: ignore[func-returns-value, assignment, return-value]  # noqa: E731
    waiting = threading.Thread(target=told, args=(third, "third"))
    waiting.start()
    second.end()
    assert not came and not second.is_waiting
    first.wait()
    first.end()
    first.end()
    waiting.join(60)
    assert came == ["third"] and not third.is_waiting


@pytest.mark.parametrize("rate", [5, 12, 24, Fraction(30000, 1001), 60])
@pytest.mark.parametrize("start", [0, 7, 13])
def test_what_is_due_does_not_depend_on_where_a_clip_is_begun(rate: Fraction | int, start: int) -> None:
    """From the second period on, a chunk of it looks at the same frames as the whole."""

    def due(first: int) -> list[int]:
        before, found = LookedAt(), []
        for index, frame in enumerate(clip(120, time_base=1 / Fraction(rate))[first:]):
            numbered = replace(frame, index=index)  # a chunk counts from its own first
            if not before.is_within(EVERY, numbered):
                found.append(first + index)
                before.frame = numbered
        return found

    later = start + rate * EVERY + 1
    assert [each for each in due(start) if each > later] == [each for each in due(0) if each > later] != []
