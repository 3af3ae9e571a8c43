"""A device that is lost in the midst of a run: tried once more, then done without; no frame is lost or doubled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch

from sapiens_stream.errors import DeviceError, ModelError, UsageError
from sapiens_stream.frame import Segmentation
from sapiens_stream.inference import engine as engine_module
from sapiens_stream.inference import worker_thread
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.lost_device import is_lost
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.turns import Turns
from sapiens_stream.inference.worker_loop import Job
from sapiens_stream.models.model import Model
from sapiens_stream.people.chain import refiner_for
from sapiens_stream.pipeline import Run
from sapiens_stream.sinks import Outputs
from sapiens_stream.sources import Video
from tests.cuda_simulator import SimulatedCuda, simulated_cuda, unsupported
from tests.media import make_video
from tests.schemas import mistakes
from tests.test_pipeline import WAIT, NumberedSource, Recorder, level_model

LAUNCH = "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"


class Devices:
    """A model whose devices fail as they are told to: after how many forwards, and for how many placements on."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.fail_after: dict[str, list[int]] = {}
        self.dead: set[str] = set()
        self.forwards: dict[str, int] = {}
        self.placed: list[str] = []

    def model(self) -> Model:
        model = level_model()

        def place(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
            name = str(device)
            self.placed.append(name)
            if name in self.dead:
                raise self.error
            levels = torch.arange(256.0).view(1, 256, 1, 1).to(device, dtype)

            def forward(pixels: torch.Tensor) -> torch.Tensor:
                self.forwards[name] = count = self.forwards.get(name, 0) + 1
                if count in self.fail_after.get(name, ()):
                    raise self.error
                if name in self.dead:
                    raise self.error
                return -(pixels.mean(1, keepdim=True) - levels).abs()

            return forward

        object.__setattr__(model, "place", place)
        return model


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Devices:
    """`mps` and the like are the CPU here: what is tried out is who takes over, not how it computes."""
    return Devices(torch.AcceleratorError(LAUNCH))


def engine(devices: Devices, warnings: list[str] | None = None, **options: Any) -> Engine:
    settings = InferenceOptions(**{"device": "cpu", "batch_size": 1, **options})
    return Engine(devices.model(), settings, warn=(warnings if warnings is not None else []).append)


def levels(results: list[Segmentation]) -> list[tuple[int, int]]:
    return [(each.frame.index, int(np.median(each.class_map))) for each in results]


def run(subject: Engine, count: int = 12) -> list[tuple[int, int]]:
    frames = list(NumberedSource(count).frames())
    return levels([each for batch in subject.run([[frame] for frame in frames]) for each in batch])  # type: ignore[list-item]


EXPECTED = [(index, index) for index in range(12)]


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.AcceleratorError(LAUNCH), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"), False),
        (RuntimeError("the graph broke"), False),
        (ValueError("unspecified launch failure"), False),
    ],
    ids=lambda value: str(value).split("\n")[0][:40],
)
def test_a_lost_device_is_told_from_other_failures(error: BaseException, lost: bool) -> None:
    assert is_lost(error) is lost
    wrapped = ModelError("frame: model failed")
    wrapped.__cause__ = error
    assert is_lost(wrapped) is lost


class TestEngine:
    def test_goes_on_with_another_worker_on_the_same_device(self, devices: Devices) -> None:
        devices.fail_after["cpu"] = [4]
        warnings: list[str] = []
        subject = engine(devices, warnings)
        assert run(subject) == EXPECTED
        assert [(each.device, each.event) for each in subject.device_events] == [("cpu", "lost"), ("cpu", "again")]
        [warning] = warnings
        assert "cpu was lost" in warning and "unspecified launch failure" in warning
        assert run(subject) == EXPECTED

    def test_is_tried_again_once(self, devices: Devices) -> None:
        devices.fail_after["cpu"] = [4, 6]
        subject = engine(devices)
        with pytest.raises(DeviceError, match=r"cpu was lost: .*launch failure.*--resume"):
            run(subject)
        assert devices.placed == ["cpu", "cpu"]
        with pytest.raises(DeviceError, match="cpu was lost"):
            subject.submit([])
        assert subject.device == "cpu" and subject.batch_size == 1
        subject.close()

    def test_results_before_the_loss_are_handed_on(self, devices: Devices) -> None:
        devices.fail_after["cpu"] = [5]
        subject = engine(devices)
        devices.error = torch.AcceleratorError(LAUNCH)
        frames = list(NumberedSource(12).frames())
        found: list[Segmentation] = []
        original = devices.model

        def die() -> None:
            devices.dead.add("cpu")

        with pytest.raises(DeviceError):
            for batch in subject.run([frame] for frame in frames):  # type: ignore[list-item]
                found += batch
                if len(found) == 2:
                    die()
        assert original is not None
        assert levels(found) == EXPECTED[: len(found)] and len(found) >= 2

    def test_other_failures_are_the_frames_own(self, devices: Devices) -> None:
        devices.error = RuntimeError("the graph broke")
        devices.fail_after["cpu"] = [4]
        subject = engine(devices)
        with pytest.raises(ModelError, match="the graph broke"):
            run(subject)
        assert subject.device_events == () and devices.placed == ["cpu"]

    def test_a_refiners_clip_fails_and_the_next_is_done(self, devices: Devices) -> None:
        devices.fail_after["cpu"] = [4]
        subject = engine(devices)

        def steady() -> list[tuple[int, int]]:
            frames = list(NumberedSource(12).frames())
            refiner = refiner_for(subject.model, steady=1)
            return levels([each for batch in subject.run(([frame] for frame in frames), refiner) for each in batch])  # type: ignore[list-item]

        with pytest.raises(DeviceError, match="--resume begins the clip anew"):
            steady()
        assert [index for index, _ in steady()] == list(range(12))

    def test_a_fallback_that_there_is_not(self) -> None:
        with pytest.raises(UsageError, match="fallback is 'gpu'; it is none or cpu"):
            InferenceOptions(fallback="gpu")  # type: ignore[arg-type]


class TestABatchThatSeemedToHang:
    """It came to its end after all, just when another worker was to do it again."""

    def test_it_is_not_done_again(self) -> None:
        job = Job(Future(), [], None, Turns().next())
        assert job.begin()
        job.resolve([])
        assert not job.begin()

    def test_it_is_handed_over_once(self) -> None:
        job = Job(Future(), [], None, Turns().next())
        assert job.begin() and job.begin()
        first: list[Segmentation] = []
        job.resolve(first)
        job.resolve([])
        job.fail(DeviceError("hangs"))
        assert job.results.result() is first


@pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))
class TestSeveralDevices:
    """On simulated CUDA devices, of which one is lost."""

    @pytest.fixture
    def cuda(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCuda]:
        with simulated_cuda(devices=2) as simulated:
            plain = worker_thread.serve

            def serve(*arguments: Any) -> None:
                simulated.enter_thread()
                plain(*arguments)

            monkeypatch.setattr(worker_thread, "serve", serve)
            yield simulated

    def lost_at(self, subject: Engine, devices: Devices, name: str, after: int) -> list[tuple[int, int]]:
        frames = list(NumberedSource(12).frames())
        found: list[Segmentation] = []
        for batch in subject.run([frame] for frame in frames):  # type: ignore[list-item]
            found += batch
            if len(found) == after:
                devices.dead.add(name)
        return levels(found)

    def test_the_others_take_over(self, cuda: SimulatedCuda, devices: Devices) -> None:
        subject = engine(devices, device="cuda:0,cuda:1", precision="fp32")
        try:
            assert self.lost_at(subject, devices, "cuda:1", 3) == EXPECTED
            assert subject.device == "cuda:0"
            assert [(each.device, each.event) for each in subject.device_events] == [
                ("cuda:1", "lost"),
                ("cuda:1", "lost"),
                ("cuda:0", "instead"),
            ]
        finally:
            subject.close()

    @pytest.mark.parametrize("fallback", ["none", "cpu"])
    def test_the_cpu_takes_over_only_if_asked(self, cuda: SimulatedCuda, devices: Devices, fallback: str) -> None:
        subject = engine(devices, device="cuda:0", precision="fp16", fallback=fallback)
        try:
            if fallback == "none":
                with pytest.raises(DeviceError, match=r"cuda:0 was lost.*--fallback cpu"):
                    self.lost_at(subject, devices, "cuda:0", 3)
                assert "cpu" not in devices.placed
            else:
                assert self.lost_at(subject, devices, "cuda:0", 3) == EXPECTED
                assert subject.device == "cpu" and subject.dtype == torch.float32
                assert [each.event for each in subject.device_events][-1] == "instead"
        finally:
            subject.close()

    def test_what_comes_while_the_cpu_is_made_ready_waits_for_it(self, cuda: SimulatedCuda, devices: Devices) -> None:
        frames = list(NumberedSource(2).frames())
        came: list[Future[list[Segmentation]] | BaseException] = []

        def submit() -> None:
            try:
                came.append(subject.submit([frames[1]]))  # type: ignore[list-item]
            except BaseException as error:
                came.append(error)

        def slowly(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
            if device.type == "cpu":
                submitting.start()
                submitting.join(0.5)  # it waits for this
            return place(device, dtype)

        submitting, model = Thread(target=submit), devices.model()
        place = model.place
        object.__setattr__(model, "place", slowly)
        options = InferenceOptions(device="cuda:0", batch_size=1, precision="fp16", fallback="cpu")
        subject = Engine(model, options, warn=lambda sentence: None)
        try:
            devices.dead.add("cuda:0")
            first = subject.submit([frames[0]])  # type: ignore[list-item]
            assert levels(first.result(60)) == [(0, 0)]
            submitting.join(60)
            [second] = came
            assert isinstance(second, Future) and levels(second.result(60)) == [(1, 1)]
        finally:
            subject.close()


def test_the_record_says_so(devices: Devices, tmp_path: Path) -> None:
    devices.fail_after["cpu"] = [3]
    subject = engine(devices)
    clip = make_video(tmp_path / "clip.mp4", frames=8)
    with Video(clip) as source:
        outputs = Outputs(overlay="none", save=frozenset({"classes"}))
        sinks = outputs.sinks(tmp_path / "out", "clip", source.info, subject.model.classes, print)
        done = Run(source, subject, sinks, record_path=tmp_path / "out" / "clip_run.json")
        done.execute(check=True)
    record = json.loads((tmp_path / "out" / "clip_run.json").read_text())
    assert record["frames"]["written"] == 8 and mistakes(record) == []
    assert [(each["device"], each["event"]) for each in record["devices"]] == [("cpu", "lost"), ("cpu", "again")]
    assert len(list((tmp_path / "out" / "clip").glob("*_seg.npy"))) == 8
    # What befell the devices in earlier runs is theirs.
    again = Run(NumberedSource(3), subject, [Recorder(ordered=True)])
    again.execute(check=True)
    assert "devices" not in again.record()


@pytest.mark.parametrize("fallback", ["none", "cpu"])
def test_one_that_is_lost_while_the_engine_is_closed_leaves_nobody_waiting(devices: Devices, fallback: str) -> None:
    devices.fail_after["cpu"] = [1]
    subject = engine(devices, fallback=fallback)
    forward, begun, closing = subject._workers.all[0]._forward, Event(), Event()
    start = forward.start

    def start_late(*parts: Any) -> Any:
        begun.set()
        closing.wait()
        return start(*parts)

    forward.start = start_late  # type: ignore[method-assign]
    results = [subject.submit([frame]) for frame in NumberedSource(3).frames()]  # type: ignore[list-item]
    begun.wait()
    thread = Thread(target=subject.close)
    thread.start()
    while not subject._workers.group._cancelled:
        time.sleep(0.01)
    closing.set()
    for each in results:
        with pytest.raises(DeviceError, match=r"cpu was lost: .*launch failure"):
            each.result(WAIT)
    thread.join(WAIT)
    assert not thread.is_alive()


def test_the_engine_is_let_go_of_after_a_loss(devices: Devices) -> None:
    devices.fail_after["cpu"] = [2]
    subject = engine(devices)
    run(subject)
    threads = list(subject._workers.group._threads)
    del subject
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert engine_module.Engine is Engine
