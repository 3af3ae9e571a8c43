"""What CUDA may reorder, and what it must not wait for, shown on a simulated device.

The real worker, engine and class map code run; only the device is simulated: see `tests.cuda_simulator`.
"""

from __future__ import annotations

import gc
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_stream.classes import numbered
from sapiens_stream.errors import DeviceError, ModelError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference import cells
from sapiens_stream.inference import engine as engine_module
from sapiens_stream.inference import pending as pending_module
from sapiens_stream.inference import streams as streams_module
from sapiens_stream.inference import worker as worker_module
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.pending import PendingBatch
from sapiens_stream.inference.streams import CudaStreams
from sapiens_stream.inference.worker import Worker
from sapiens_stream.models import open_model
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.models.sapiens.config import SapiensConfig
from sapiens_stream.models.sapiens.network import Sapiens
from tests.cuda_simulator import SimulatedCuda, simulated_cuda, unsupported

if (_reason := unsupported()) is not None:
    pytest.skip(_reason, allow_module_level=True)
pytestmark = [pytest.mark.usefixtures("one_thread")]

SPEC = InputSpec(height=64, width=48, mean=(123.5, 116.5, 103.5), std=(58.5, 57.0, 57.5))
Forward = Callable[[Tensor, Tensor], Tensor]


def by_brightness(pixels: Tensor, centres: Tensor) -> Tensor:
    """Logits of 8 classes at half the input's size: the class is the brightness of the pixel, in eighths."""
    brightness = pixels[:, :, ::2, ::2].mean(1)
    return -(brightness[:, None] - centres).abs()


def model(forward: Forward = by_brightness) -> Model:
    """A network with weights, the classes' brightnesses, which lie on the device as a real one's do."""

    def place(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        centres = ((torch.arange(8).view(8, 1, 1) * 32 + 16) - 114.5) / 57.7
        weights = centres.to(device, dtype)
        return lambda pixels: forward(pixels, weights)

    return Model(name="toy", kind="test", classes=numbered(8), input=SPEC, logits_size=(32, 24), place=place)


def grey(index: int, size: tuple[int, int] = (90, 70)) -> Frame:
    """A frame of two halves: of class `index % 8`, and of the class after it."""
    picture = np.full((*size, 3), index % 8 * 32 + 16, np.uint8)
    picture[:, size[1] // 2 :] = (index + 1) % 8 * 32 + 16
    return Frame(index=index, name=f"frame{index}", decoded=picture)


def worker(made: Model | None = None, **settings: object) -> Worker:
    told = {name: settings.pop(name, pytest.fail) for name in ("warn", "note")}
    subject = Worker(
        made or model(),
        device=settings.pop("device", torch.device("cuda:0")),  # type: ignore[arg-type]
        dtype=settings.pop("dtype", torch.float16),  # type: ignore[arg-type]
        options=InferenceOptions(**{"batch_size": 4, **settings}),  # type: ignore[arg-type]
        **told,  # type: ignore[arg-type]
    )
    streams = subject._streams
    if isinstance(streams, CudaStreams):
        for name in ("up", "model", "maps"):
            getattr(streams, f"_{name}").name = name
    return subject


def run(subject: Worker, batches: Sequence[Sequence[Frame]]) -> list[Segmentation]:
    """As the engine's thread does: each batch is started before the one before it is finished."""
    started: deque[list[PendingBatch]] = deque()
    results: list[Segmentation] = []
    try:
        for frames in batches:
            started.append(subject.start(frames))
            if len(started) > subject.depth:
                results += subject.finish(started.popleft())
        while started:
            results += subject.finish(started.popleft())
    finally:
        subject.close()
        gc.collect()
    return results


def check(results: Sequence[Segmentation], frames: Sequence[Frame]) -> None:
    """Each frame has its own class map, in order."""
    assert [each.frame for each in results] == list(frames)
    for each in results:
        height, width = each.frame.size
        assert each.class_map.shape == (height, width)
        assert each.class_map[height // 2, width // 8] == each.frame.index % 8
        assert each.class_map[height // 2, -width // 8] == (each.frame.index + 1) % 8


@pytest.fixture
def cuda() -> Iterator[SimulatedCuda]:
    cells._axis.cache_clear()  # it keeps tables on the device
    with simulated_cuda(devices=2) as simulated:
        yield simulated
        cells._axis.cache_clear()


BATCHES = [[grey(index) for index in range(first, first + 2)] for first in range(0, 6, 2)]
FRAMES = [frame for frames in BATCHES for frame in frames]


class TestNoRace:
    def test_batches_that_overlap(self, cuda: SimulatedCuda) -> None:
        check(run(worker(), BATCHES), FRAMES)
        assert cuda.problems == []
        assert set(cuda.contexts) == {0}

    def test_sapiens_itself(self, cuda: SimulatedCuda, tmp_path: Path) -> None:
        torch.manual_seed(0)
        network = Sapiens(replace(SapiensConfig.of("toy"), head_channels=16, grid=(8, 6)))
        torch.save(network.state_dict(), tmp_path / "toy.pth")
        made = open_model(tmp_path / "toy.pth")
        results = run(worker(made, dtype=torch.float32), BATCHES[:2])
        expected = run(worker(made, device=torch.device("cpu"), dtype=torch.float32), BATCHES[:2])
        for there, here in zip(results, expected, strict=True):
            assert (
                there.class_map == here.class_map
            ).mean() > 0.99  # the device's class map is summed in another order
        assert cuda.problems == []

    @pytest.mark.parametrize("wanted", ["foreground", (3,)])
    def test_probabilities_beside_the_class_map(self, cuda: SimulatedCuda, wanted: str | tuple[int, ...]) -> None:
        options = {"alpha_of": wanted, "ranks": 3}
        results = run(worker(**options), BATCHES)
        waits = len(cuda.waits)
        check(results, FRAMES)
        expected = run(worker(**options, device=torch.device("cpu"), dtype=torch.float32), BATCHES)
        for there, here in zip(results, expected, strict=True):
            assert there.alpha is not None and here.alpha is not None
            assert np.abs(there.alpha.values.astype(int) - here.alpha.values).max() < 1000  # fp16
            assert there.ranked is not None and there.ranked.ids.shape == (3, 32, 24)
        assert cuda.problems == []
        cuda.waits.clear()
        run(worker(), BATCHES)
        assert waits == len(cuda.waits)  # the host waits no more often for them

    @pytest.mark.parametrize("fit", ["letterbox", "crop"])
    def test_other_fits(self, cuda: SimulatedCuda, fit: str) -> None:
        results = run(worker(fit=fit), BATCHES)
        expected = run(worker(fit=fit, device=torch.device("cpu"), dtype=torch.float32), BATCHES)
        for there, here in zip(results, expected, strict=True):
            assert (there.class_map == here.class_map).mean() > 0.99
        assert cuda.problems == []

    def test_photos_of_many_sizes(self, cuda: SimulatedCuda) -> None:
        photos = [
            [grey(4 * row + i, (50 + 31 * i + 7 * row, 80 + 13 * row + 11 * i)) for i in range(4)] for row in range(4)
        ]
        check(run(worker(), photos), [photo for row in photos for photo in row])
        assert cuda.problems == []

    def test_a_second_device_leaves_the_first_alone(self, cuda: SimulatedCuda) -> None:
        check(run(worker(device=torch.device("cuda:1")), BATCHES), FRAMES)
        assert cuda.problems == []
        assert set(cuda.contexts) == {1}, cuda.contexts

    @pytest.mark.parametrize("first", [0, 2])
    def test_logits_overflow(self, cuda: SimulatedCuda, first: int) -> None:
        """In the first batch or later, with the next batch computing already."""
        warnings: list[str] = []

        def overflows(pixels: Tensor, centres: Tensor) -> Tensor:
            logits = by_brightness(pixels, centres)
            later = seen[0] >= first
            seen[0] += 1
            return logits * 1e30 if later and pixels.dtype == torch.float16 else logits

        seen = [0]
        check(run(worker(model(overflows), warn=warnings.append), BATCHES), FRAMES)
        assert warnings == ["toy overflows in fp16; going on in bf16"]
        assert cuda.problems == []

    def test_logits_that_are_never_finite(self, cuda: SimulatedCuda) -> None:
        broken = model(lambda pixels, centres: by_brightness(pixels, centres) * float("nan"))
        with pytest.raises(ModelError, match="not finite in fp32"):
            run(worker(broken, warn=lambda sentence: None), BATCHES)
        assert cuda.problems == []

    @pytest.mark.parametrize("words", ["CUDA out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED"])
    def test_out_of_memory_in_the_model(self, cuda: SimulatedCuda, words: str) -> None:
        warnings: list[str] = []

        def hungry(pixels: Tensor, centres: Tensor) -> Tensor:
            logits = by_brightness(pixels, centres)
            if len(pixels) > 1 and count[0]:
                raise RuntimeError(words)
            count[0] += 1
            return logits

        count = [0]
        check(run(worker(model(hungry), warn=warnings.append), BATCHES), FRAMES)
        assert warnings == ["cuda:0 is out of memory for 2 frames at once; going on with 1"]
        assert cuda.problems == []

    def test_out_of_memory_for_good(self, cuda: SimulatedCuda) -> None:
        def hungry(pixels: Tensor, centres: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

        with pytest.raises(DeviceError, match=r"^frame0: cuda:0 is out of memory for toy on 1 x 64x48 pixels in fp16$"):
            run(worker(model(hungry), warn=lambda sentence: None), BATCHES)
        assert cuda.problems == []

    @pytest.mark.parametrize("times", [1, 9])
    def test_out_of_memory_in_the_class_maps(
        self, cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch, times: int
    ) -> None:
        plain, left = pending_module.class_maps, [times]

        def hungry(*args: object, **kwargs: object) -> Sequence[Tensor]:
            if left[0]:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory")
            return plain(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(pending_module, "class_maps", hungry)
        if times == 1:
            check(run(worker(), BATCHES), FRAMES)
        else:
            with pytest.raises(DeviceError, match="cuda:0 is out of memory for the class maps of 2 frames"):
                run(worker(), BATCHES)
        assert cuda.problems == []

    def test_a_device_that_fails_is_named(self, cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*args: object, **kwargs: object) -> Tensor:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(pending_module, "class_maps", broken)
        with pytest.raises(DeviceError, match=r"frame0: cuda:0 failed: .*illegal memory access"):
            run(worker(), BATCHES)

    @pytest.mark.parametrize(
        ("spread", "frames", "seen"),
        [(True, [4, 3, 1, 4], [4, 4, 4, 4]), (True, [1, 1, 2, 1], [1, 1, 2, 1]), (False, [4, 3, 1, 4], [4, 3, 1, 4])],
        ids=["a clip's end", "live", "a large network"],
    )
    def test_a_small_network_is_planned_for_few_sizes_of_batch(
        self, cuda: SimulatedCuda, spread: bool, frames: list[int], seen: list[int]
    ) -> None:
        def watched(pixels: Tensor, centres: Tensor) -> Tensor:
            given.append(len(pixels))
            return by_brightness(pixels, centres)

        given: list[int] = []
        numbers = iter(range(99))
        batches = [[grey(next(numbers)) for _ in range(count)] for count in frames]
        check(run(worker(replace(model(watched), spread=spread)), batches), list(chain(*batches)))
        assert given == seen
        assert cuda.problems == []

    def test_a_filled_batch_too_large_for_the_memory_is_halved(self, cuda: SimulatedCuda) -> None:
        def hungry(pixels: Tensor, centres: Tensor) -> Tensor:
            given.append(len(pixels))
            if len(pixels) > 2 and len(given) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return by_brightness(pixels, centres)

        given: list[int] = []
        batches = [[grey(4 * first + index) for index in range(count)] for first, count in enumerate((4, 3, 2))]
        made = replace(model(hungry), spread=True)
        check(run(worker(made, warn=lambda sentence: None), batches), list(chain(*batches)))
        assert given == [4, 4, 2, 2, 2]
        assert cuda.problems == []

    def test_the_fastest_batch_size_is_sought(self, cuda: SimulatedCuda) -> None:
        subject = worker(batch_size="auto", note=lambda sentence: None)
        check(run(subject, BATCHES), FRAMES)
        assert cuda.problems == []


class TestEngine:
    @pytest.fixture(autouse=True)
    def _workers_see_the_device(self, cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch) -> None:
        def made(*args: object, **kwargs: object) -> Worker:
            cuda.enter_thread()
            return Worker(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(engine_module, "Worker", made)

    def engine(self, **settings: object) -> Engine:
        options = InferenceOptions(**{"device": "cuda:0", "batch_size": 3, **settings})  # type: ignore[arg-type]
        return Engine(model(), options, warn=pytest.fail)

    def test_two_devices_share_the_batches(self, cuda: SimulatedCuda) -> None:
        subject = self.engine(device="cuda:0,cuda:1")
        check([each for results in subject.run(BATCHES) for each in results], FRAMES)
        del subject
        gc.collect()
        assert cuda.problems == []
        assert set(cuda.contexts) == {0, 1}

    def test_a_batch_in_flight_is_finished_when_the_engine_ends(self, cuda: SimulatedCuda) -> None:
        subject = self.engine()
        futures = [subject.submit(frames) for frames in BATCHES]
        del subject
        gc.collect()
        check([each for future in futures for each in future.result(timeout=60)], FRAMES)
        assert cuda.problems == []


class TestWaits:
    def test_a_batch_is_finished_without_waiting_for_the_next(self, cuda: SimulatedCuda) -> None:
        subject = worker()
        streams = subject._streams
        assert isinstance(streams, CudaStreams)
        for _ in range(3):
            first = subject.start(BATCHES[0])
            done = dict(streams._model.clock)  # type: ignore[attr-defined]
            second = subject.start(BATCHES[1])
            cuda.waits.clear()
            subject.finish(first)
            assert cuda.waits, "a download is waited for"
            for wait in cuda.waits:
                number = streams._model.number  # type: ignore[attr-defined]
                assert wait.known.get(number, 0) <= done[number], wait
            subject.finish(second)

    def test_starting_a_batch_waits_for_no_kernel(self, cuda: SimulatedCuda) -> None:
        subject = worker()
        subject.finish(subject.start(BATCHES[0]))
        first = subject.start(BATCHES[0])
        cuda.waits.clear()
        second = subject.start(BATCHES[1])
        assert [wait.reason for wait in cuda.waits if "(up)" not in wait.reason] == []
        subject.finish(first)
        subject.finish(second)

    @pytest.mark.parametrize("fit", ["stretch", "letterbox"])
    def test_a_batch_takes_as_few_kernels_as_a_frame(self, cuda: SimulatedCuda, fit: str) -> None:
        """A card would otherwise wait for the host to launch them."""
        counts = []
        for frames in ([grey(0)], [grey(index) for index in range(8)]):
            subject = worker(batch_size=8, fit=fit)
            subject.finish(subject.start(frames))  # which makes the tables
            started = subject.start(frames)
            cuda.launches.clear()
            cuda.waits.clear()
            results = subject.finish(started)
            check(results, frames)
            copies = sum(operator == "aten::copy_" for operator, _ in cuda.launches)
            counts.append(len(cuda.launches) - copies)
            assert len(cuda.launches) < 100
            assert [wait.reason for wait in cuda.waits if "nonzero" in wait.reason] == ["aten::nonzero"]
            assert {wait.reason for wait in cuda.waits} <= {
                "aten::nonzero",
                "Event.synchronize(maps)",
                "Event.synchronize(model)",
            }
        assert counts[0] == counts[1]

    def test_results_are_not_held_in_pinned_memory(self, cuda: SimulatedCuda) -> None:
        results = run(worker(), BATCHES)
        pinned = set(cuda.pinned)
        assert not [each for each in results if each.class_map.__array_interface__["data"][0] in pinned]
        assert all(each.class_map.base is None or each.class_map.base.base is None for each in results)

    def test_downloads_take_turns_through_bounded_memory(
        self, cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams_module, "STAGING_BYTES", 8000)
        subject = worker()
        check(run(subject, BATCHES), FRAMES)
        assert isinstance(subject._streams, CudaStreams)
        assert len(subject._streams._staging.memory) <= 8000
        assert cuda.problems == []


class NoRecordStream(CudaStreams):
    def upload(self, pixels: Tensor) -> Tensor:
        there = super().upload(pixels)
        there.owner.memory.recorded.clear()  # type: ignore[attr-defined]
        return there


class NoWaitForTheUpload(CudaStreams):
    def upload(self, pixels: Tensor) -> Tensor:
        self._model.wait_event = lambda event: None  # type: ignore[method-assign]
        return super().upload(pixels)


class NoWaitForTheModel(CudaStreams):
    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._maps.wait_event = lambda event: None  # type: ignore[method-assign]


class SlotUsedEarly(CudaStreams):
    def buffer(self, shape: tuple[int, ...]) -> Tensor:
        slot = self._slot
        slot.used.synchronize = lambda: None  # type: ignore[method-assign]
        return slot.take(int(np.prod(shape))).view(shape)


class DownloadNotWaitedFor(CudaStreams):
    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._staging.used.synchronize = lambda: None  # type: ignore[method-assign]


class DownloadOnTheDefaultStream(CudaStreams):
    def _through_staging(self, arrays: Sequence[Tensor]) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        maps, self._maps = self._maps, torch.cuda.default_stream(self.device)
        try:
            return super()._through_staging(arrays)
        finally:
            self._maps = maps


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (NoRecordStream, "use after free: memory of up"),
        (NoWaitForTheUpload, "race: .* on model"),
        (NoWaitForTheModel, "race: .* on maps"),
        (SlotUsedEarly, "the host writes pinned memory, .* that up may still use"),
        (DownloadNotWaitedFor, "the host writes pinned memory, .* that maps may still use"),
        (DownloadOnTheDefaultStream, "race: .* on default:0"),
    ],
)
def test_the_simulator_sees(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch, faulty: type[CudaStreams], said: str
) -> None:
    """A fault put into the program; without this, the tests above could pass for want of an eye."""
    monkeypatch.setattr(worker_module, "streams_for", faulty)
    run(worker(), BATCHES)
    assert any(re.search(said, problem) for problem in cuda.problems), cuda.problems
