"""The engine hands back the class map of every frame, in order, whatever the batches, sizes and memory."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event, Thread, get_ident
from threading import enumerate as enumerate_threads

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_stream.classes import numbered
from sapiens_stream.errors import DeviceError, InputError, ModelError, UsageError
from sapiens_stream.frame import Frame
from sapiens_stream.inference import placed_model as placed_model_module
from sapiens_stream.inference.device import MAX_SPREAD, resolve_device, resolve_precision
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.memory import most_frames, out_of_memory
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.preprocess import draw, normalise, placement
from sapiens_stream.models.model import InputSpec, Model

GOLDEN = Path(__file__).parent / "data" / "golden"
SPEC = InputSpec(height=64, width=48, mean=(123.5, 116.5, 103.5), std=(58.5, 57.0, 57.5))
Forward = Callable[[Tensor], Tensor]


def by_brightness(pixels: Tensor) -> Tensor:
    """Logits of 8 classes at half the input's size: the class is the brightness of the pixel, in eighths."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (SPEC.mean, SPEC.std))
    brightness = (pixels.float() * std + mean).mean(1)[:, ::2, ::2]
    centres = torch.arange(8).view(8, 1, 1) * 32 + 16
    return -(brightness[:, None] - centres).abs()


def model(forward: Forward = by_brightness, **changes: object) -> Model:
    made = Model(
        name="toy",
        kind="test",
        classes=numbered(8),
        input=SPEC,
        logits_size=(32, 24),
        place=lambda device, dtype: forward,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def grey(index: int, size: tuple[int, int] = (90, 70)) -> Frame:
    """A frame that is all of class `index % 8`."""
    return Frame(index=index, name=f"frame{index}", decoded=np.full((*size, 3), index % 8 * 32 + 16, np.uint8))


def picture(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Frame:
    return Frame(index=0, name="picture", decoded=array)


def engine(
    made: Model | None = None,
    *,
    warn: Callable[[str], None] = pytest.fail,
    note: Callable[[str], None] = lambda sentence: None,
    **settings: object,
) -> Engine:
    options = InferenceOptions(**{"device": "cpu", **settings})  # type: ignore[arg-type]
    return Engine(made or model(), options, warn=warn, note=note)


SIZES = [(90, 70), (31, 57), (200, 100), (64, 48), (1, 9)]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_results_come_in_order_a_list_a_batch(batch_size: int) -> None:
    frames = [grey(index, SIZES[index % len(SIZES)]) for index in range(11)]
    batches = [frames[:4], frames[4:5], frames[5:]]
    results = list(engine(batch_size=batch_size).run(batches))
    assert [[result.frame for result in each] for each in results] == batches
    for result in (result for each in results for result in each):
        assert result.class_map.shape == result.frame.size
        assert result.class_map.dtype == np.uint8
        assert (result.class_map == result.frame.index % 8).all()


def test_an_empty_batch_hands_back_what_is_in_flight() -> None:
    taken: list[int] = []

    def batches() -> Iterator[list[Frame]]:
        for index in range(3):
            yield [grey(index)]
            yield []
            assert len(taken) == index + 1

    for [result] in engine().run(batches()):
        taken.append(result.frame.index)
    assert taken == [0, 1, 2]


def test_devices_share_the_batches_and_results_stay_in_order() -> None:
    threads: set[int] = set()
    slow = Event()

    def forward(pixels: Tensor) -> Tensor:
        threads.add(get_ident())
        if len(threads) == 1 and not slow.is_set():  # the first batch, held until the other device has done the next
            assert slow.wait(10)
        slow.set()
        return by_brightness(pixels)

    frames = [grey(index) for index in range(9)]
    results = list(engine(model(forward), device="cpu,cpu").run([[frame] for frame in frames]))
    assert [each.frame for [each] in results] == frames
    assert all((each.class_map == each.frame.index % 8).all() for [each] in results)
    assert len(threads) == 2


def test_a_failure_on_one_device_comes_after_the_results_before_it() -> None:
    def forward(pixels: Tensor) -> Tensor:
        logits = by_brightness(pixels)
        if (logits.argmax(1) == 3).all():
            raise RuntimeError("no three")
        return logits

    done: list[int] = []
    with pytest.raises(ModelError, match=r"frame3: toy failed: .*no three"):
        for [result] in engine(model(forward), device="cpu,cpu").run([[grey(index)] for index in range(7)]):
            done.append(result.frame.index)
    assert done == [0, 1, 2]


def test_one_warning_for_all_devices() -> None:
    said: list[str] = []
    overflowing = model(lambda pixels: by_brightness(pixels) * (float("inf") if pixels.dtype != torch.float32 else 1))
    subject = engine(overflowing, device="cpu,cpu", precision="bf16", warn=said.append)
    assert len(list(subject.run([[grey(index)] for index in range(8)]))) == 8
    assert said == ["toy overflows in bf16; going on in fp32"]


def test_a_small_model_takes_a_core_a_frame() -> None:
    cores = min(torch.get_num_threads(), MAX_SPREAD)
    assert len(engine(model(spread=True)).devices) == cores
    assert len(engine(model()).devices) == 1
    assert len(engine(model(spread=True), device="cpu,cpu").devices) == 2
    assert engine(model(spread=True)).device == "cpu"


def test_the_threads_end_with_the_engine() -> None:
    before = set(enumerate_threads())
    subject = engine(device="cpu,cpu")
    mine = set(enumerate_threads()) - before
    assert len(mine) == 2
    del subject
    for thread in mine:
        thread.join(10)
        assert not thread.is_alive()


def test_other_threads_keep_the_number_of_threads_of_torch() -> None:
    found: list[int] = []
    kept = engine(device="cpu,cpu")
    thread = Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [torch.get_num_threads()]
    assert len(kept.devices) == 2


def test_no_frames_no_results() -> None:
    assert list(engine().run([])) == []
    assert list(engine().run([[], []])) == []


@pytest.mark.parametrize(("fixed", "sizes"), [(None, [4, 4, 1]), (4, [4, 4, 4]), (2, [2] * 5)])
def test_only_a_model_of_fixed_batch_is_padded(fixed: int | None, sizes: list[int]) -> None:
    seen: list[int] = []

    def forward(pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        return by_brightness(pixels)

    subject = engine(model(forward, fixed_batch=fixed), batch_size=4)
    [results] = subject.run([[grey(index) for index in range(9)]])
    assert seen == sizes
    assert [int(result.class_map[0, 0]) for result in results] == [index % 8 for index in range(9)]


def scarce(bears: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> Forward:
    """A device that has memory for a limited number of frames."""

    def forward(pixels: Tensor) -> Tensor:
        if len(pixels) > bears:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return by_brightness(pixels)

    return forward


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_halves_the_batch_says_so_and_goes_on(error: type[RuntimeError]) -> None:
    warnings: list[str] = []
    subject = engine(model(scarce(2, error)), batch_size=8, warn=warnings.append)
    results = list(subject.run([[grey(index) for index in range(8)], [grey(index) for index in range(8, 13)]]))
    assert [[int(result.class_map[0, 0]) for result in each] for each in results] == [[*range(8)], [0, 1, 2, 3, 4]]
    assert subject.batch_size == 2
    assert len(warnings) == 2
    assert "8 frames" in warnings[0] and "going on with 4" in warnings[0]
    assert "going on with 2" in warnings[1]


def test_out_of_memory_for_a_single_frame_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"^frame3: cpu is out of memory for toy .*1 x 64x48 pixels in fp32$"):
        list(engine(model(scarce(0))).run([[grey(3)]]))
    with pytest.raises(DeviceError, match="4 x 64x48"):
        list(engine(model(scarce(2), fixed_batch=4)).run([[grey(3)]]))


def overflowing(*, bears: tuple[torch.dtype, ...]) -> Model:
    """A model whose logits are finite in these precisions alone."""

    def place(device: torch.device, dtype: torch.dtype) -> Forward:
        return lambda pixels: by_brightness(pixels) / (dtype in bears)

    return model(place=place)


@pytest.mark.parametrize(
    ("bears", "used"),
    [((torch.bfloat16, torch.float32), torch.bfloat16), ((torch.float32,), torch.float32)],
)
def test_logits_that_are_not_finite_widen_the_precision(bears: tuple[torch.dtype, ...], used: torch.dtype) -> None:
    warnings: list[str] = []
    subject = engine(overflowing(bears=bears), precision="fp16", warn=warnings.append)
    assert subject.dtype == torch.float16
    [[result]] = subject.run([[grey(5)]])
    assert (result.class_map == 5).all()
    assert subject.dtype == used
    assert "overflows in fp16" in warnings[0]


def test_logits_that_are_not_finite_in_float32_are_an_error() -> None:
    with pytest.raises(ModelError, match="not finite in fp32"):
        list(engine(overflowing(bears=())).run([[grey(5)]]))


def test_a_model_that_fails_is_named_with_the_frame_and_the_cause() -> None:
    @torch.jit.script
    def scripted(pixels: Tensor) -> Tensor:
        return pixels.view(7, -1, 5)

    def forward(pixels: Tensor) -> Tensor:
        raise ValueError("no such layer\nmore")

    with pytest.raises(ModelError, match=r"^frame3: toy failed: ValueError: no such layer$"):
        list(engine(model(forward)).run([[grey(3)]]))
    with pytest.raises(ModelError, match=r"^frame3: toy failed: RuntimeError: .*\[7, -1, 5\].*$"):
        list(engine(model(scripted)).run([[grey(3)]]))


def test_a_frame_that_cannot_be_resized_is_named() -> None:
    frame = picture(np.zeros((4, 5, 3), np.uint8))
    object.__setattr__(frame, "decoded", np.empty((0, 5, 3), np.uint8))  # which no frame is made of
    with pytest.raises(InputError, match=r"^picture: "):
        list(engine().run([[frame]]))


def test_timings_say_what_each_stage_took() -> None:
    subject = engine()
    list(subject.run([[grey(0)]]))
    assert set(subject.timings) == {"preprocess", "infer", "class_map"}
    assert all(seconds > 0 for seconds in subject.timings.values())


def test_preprocessing_is_the_originals() -> None:
    bgr = cv2.imread(str(GOLDEN / "astronaut_wide.jpg"))
    spec = replace(SPEC, height=1024, width=768)
    original = cv2.resize(bgr, (768, 1024), interpolation=cv2.INTER_LINEAR)[..., ::-1].transpose(2, 0, 1)
    original = (original.astype(np.float32) - np.float32(SPEC.mean)[:, None, None]) / np.float32(SPEC.std)[
        :, None, None
    ]
    frame = picture(np.ascontiguousarray(bgr[..., ::-1]))
    canvas = np.empty((1024, 768, 3), np.uint8)
    draw(frame, placement(frame.size, spec, "stretch"), spec, canvas)
    mean, std = torch.tensor(SPEC.mean), torch.tensor(SPEC.std)
    batch = normalise(torch.from_numpy(canvas)[None], mean, std, torch.float32)
    np.testing.assert_array_equal(batch[0].numpy(), original)


def quarter_lit(height: int, width: int) -> Frame:
    """Of class 0, but the lower right quarter of class 4."""
    array = np.full((height, width, 3), 16, np.uint8)
    array[height // 2 :, width // 2 :] = 16 + 32 * 4
    return picture(array)


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(300, 400), (400, 300), (120, 600), (600, 60), (64, 48), (256, 192)])
def test_every_fit_puts_the_classes_where_they_are(fit: str, size: tuple[int, int]) -> None:
    """Inside of what the model sees, the class map follows the picture to within a pixel of the logits."""
    frame = quarter_lit(*size)
    [[result]] = engine(fit=fit).run([[frame]])
    place = placement(size, SPEC, fit)  # type: ignore[arg-type]
    seen = place.seen
    wanted = np.zeros(size, np.uint8)
    wanted[place.seen.slices] = (frame.rgb[..., 0] // 32)[place.seen.slices]
    tolerance_y = 2 + 3 * seen.height // place.shown.height
    tolerance_x = 2 + 3 * seen.width // place.shown.width
    sure = np.ones(size, bool)
    sure[size[0] // 2 - tolerance_y : size[0] // 2 + tolerance_y] = False
    sure[:, size[1] // 2 - tolerance_x : size[1] // 2 + tolerance_x] = False
    assert result.class_map.shape == size
    assert sure.any()
    np.testing.assert_array_equal(result.class_map[sure], wanted[sure])


def test_letterbox_keeps_the_aspect_and_pads_with_the_mean_colour() -> None:
    place = placement((100, 300), SPEC, "letterbox")
    assert (place.shown.top, place.shown.left, place.shown.height, place.shown.width) == (24, 0, 16, 48)
    canvas = np.zeros((64, 48, 3), np.uint8)
    draw(grey(7, (100, 300)), place, SPEC, canvas)
    assert (canvas[24:40] == 7 * 32 + 16).all()
    assert (canvas[:24] == [round(each) for each in SPEC.mean]).all()
    assert (canvas[40:] == canvas[0]).all()


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
@pytest.mark.parametrize("widening", [4 / 3, 2.0, 0.5])
def test_pixels_that_are_no_squares_are_shown_as_they_are_meant(fit: str, widening: float) -> None:
    wide = round(240 * widening)
    place, meant = placement((240, 240), SPEC, fit, widening), placement((240, wide), SPEC, fit)  # type: ignore[arg-type]
    assert place.shown == meant.shown
    assert place.seen.height == meant.seen.height
    assert place.seen.width * widening == pytest.approx(meant.seen.width, abs=widening)


def test_crop_leaves_what_it_does_not_see_to_the_background() -> None:
    [[result]] = engine(fit="crop").run([[grey(7, (100, 300))]])
    columns = np.flatnonzero((result.class_map == 7).all(0))
    assert (columns[0], columns[-1]) == (112, 186)
    assert not result.class_map[:, :112].any() and not result.class_map[:, 187:].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit": "zoom"}, "'zoom'; there are stretch, letterbox, crop"),
        ({"device": "gpu"}, "'gpu'; there are auto, cpu, cuda, cuda:N, cuda:all, mps"),
        ({"device": "cpu:1"}, "'cpu:1'"),
        ({"precision": "int8"}, "'int8'; there are auto, fp32, fp16, bf16"),
        ({"batch_size": 0}, "batch size of 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        engine(**settings)


def test_a_device_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(DeviceError, match=r"no device cuda:63 here.*; there are .*cpu$"):
        resolve_device("cuda:63")


@pytest.mark.parametrize(
    ("precision", "device", "changes", "wanted"),
    [
        ("auto", "cpu", {}, torch.float32),
        ("auto", "cuda", {}, torch.float16),
        ("bf16", "cpu", {}, torch.bfloat16),
        ("auto", "cpu", {"dtype": torch.bfloat16}, torch.float32),
        ("auto", "cpu", {"dtype": torch.bfloat16, "fixed_dtype": True}, torch.bfloat16),
        ("auto", "cuda", {"dtype": torch.bfloat16, "fixed_dtype": True}, torch.bfloat16),
        ("bf16", "cpu", {"dtype": torch.bfloat16, "fixed_dtype": True}, torch.bfloat16),
    ],
)
def test_precision(precision: str, device: str, changes: dict[str, object], wanted: torch.dtype) -> None:
    assert resolve_precision(precision, torch.device(device), model(**changes)) == wanted


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((480, 640), (256, 320)),
        ((720, 1280), (224, 384)),
        ((1920, 1080), (384, 224)),
        ((768, 576), (320, 256)),
        ((500, 500), (288, 288)),
        ((100, 4000), (128, 576)),
        ((3, 1), (480, 160)),
    ],
)
def test_a_network_for_any_size_keeps_the_pictures_aspect(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    spec = replace(SPEC, height=256, width=320)
    for step, expected in ((32, wanted), (None, (256, 320))):
        found = model(input=spec, aspect_step=step).input_for(size)
        assert (found.height, found.width) == expected
        assert found.mean == spec.mean


@pytest.mark.parametrize(
    ("size", "widening", "meant"),
    [
        ((1080, 1440), 4 / 3, (1080, 1920)),
        ((576, 720), 64 / 45, (576, 1024)),
        ((1556, 1828), 2.0, (1556, 3656)),
        ((1920, 1080), 0.75, (1920, 810)),
    ],
)
def test_pixels_that_are_no_squares_keep_the_aspect_that_is_meant(
    size: tuple[int, int], widening: float, meant: tuple[int, int]
) -> None:
    subject = model(input=replace(SPEC, height=256, width=320), aspect_step=32)
    assert subject.input_for(size, widening=widening) == subject.input_for(meant)


@pytest.mark.parametrize(
    ("ratio", "turns", "widening"),
    [
        (None, 0, 1),
        (Fraction(4, 3), 0, 4 / 3),
        (Fraction(4, 3), 1, 3 / 4),
        (Fraction(0), 0, 1),
        (Fraction(1, 65535), 1, 4),
    ],
)
def test_how_wide_a_frame_is_meant_to_be_seen(ratio: Fraction | None, turns: int, widening: float) -> None:
    frame = replace(grey(1, (20, 30)), sample_aspect_ratio=ratio, quarter_turns=turns)
    assert frame.widening == pytest.approx(widening)
    assert pickle.loads(pickle.dumps(frame)).widening == frame.widening


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((3000, 4000), (352, 480)),  # twice the pixels
        ((300, 387), (352, 448)),
        ((300, 386), (256, 320)),
        ((60, 80), (256, 320)),
    ],
)
def test_a_photo_has_more_detail_if_it_has_the_pixels(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    subject = model(input=replace(SPEC, height=256, width=320), aspect_step=32, photo_detail=2.0)
    found, of_a_clip = subject.input_for(size, photo=True), subject.input_for(size)
    assert (found.height, found.width) == wanted
    assert of_a_clip.height * of_a_clip.width <= 1.1 * 256 * 320


def test_photos_and_frames_of_a_clip_each_have_their_detail() -> None:
    seen: list[tuple[int, ...]] = []

    def watch(pixels: Tensor) -> Tensor:
        seen.append(tuple(pixels.shape))
        return by_brightness(pixels)

    subject = engine(model(watch, aspect_step=8, photo_detail=4.0), batch_size=8)
    photo = grey(0, (480, 360))
    timed, live = replace(photo, index=1, pts=7, time_base=Fraction(1, 25)), replace(photo, index=2, arrived=1.0)
    list(subject.run([[photo, timed, live]]))
    assert seen == [(1, 3, 128, 96), (2, 3, 64, 48)]


def test_frames_of_several_aspects_in_a_batch_are_computed_in_their_own() -> None:
    seen: list[tuple[int, ...]] = []

    def watch(pixels: Tensor) -> Tensor:
        seen.append(tuple(pixels.shape))
        return by_brightness(pixels)

    subject = engine(model(watch, aspect_step=8), batch_size=8)
    sizes = [(90, 70), (90, 70), (40, 80), (80, 40), (90, 70)]
    frames = [grey(index, size) for index, size in enumerate(sizes)]
    [results] = subject.run([frames])
    assert [each.frame.index for each in results] == [0, 1, 2, 3, 4]
    for index, (each, size) in enumerate(zip(results, sizes, strict=True)):
        np.testing.assert_array_equal(each.class_map, np.full(size, index))
    assert seen == [(2, 3, 64, 48), (1, 3, 40, 80), (1, 3, 80, 40), (1, 3, 64, 48)]


def test_a_model_of_fixed_precision_refuses_another() -> None:
    with pytest.raises(UsageError, match="toy runs in bf16 alone, not in fp32"):
        engine(model(dtype=torch.bfloat16, fixed_dtype=True), precision="fp32")


@pytest.mark.parametrize("name", ["astronaut.png", "astronaut_wide.jpg"])
def test_golden_photos(name: str, goliath: Path) -> None:
    network = torch.jit.load(str(goliath))
    made = replace(
        model(network),
        classes=numbered(28),
        input=replace(SPEC, height=1024, width=768),
        logits_size=(512, 384),
    )
    bgr = cv2.imread(str(GOLDEN / name))
    [[result]] = engine(made).run([[picture(np.ascontiguousarray(bgr[..., ::-1]))]])
    stored = cv2.imread(str(GOLDEN / f"{Path(name).stem}_seg.png"), cv2.IMREAD_UNCHANGED)
    assert int((result.class_map != stored).sum()) <= max(3, stored.size * 5e-6)


@pytest.mark.cuda
def test_cuda_gives_what_the_cpu_gives(goliath: Path) -> None:
    def place(device: torch.device, dtype: torch.dtype) -> Forward:
        return torch.jit.load(str(goliath)).to(device, dtype)  # type: ignore[no-any-return]

    made = replace(model(place=place), classes=numbered(28), input=replace(SPEC, height=1024, width=768))
    array = cv2.imread(str(GOLDEN / "astronaut.png"))
    frames = [picture(np.ascontiguousarray(np.roll(array, 40 * index, 1))) for index in range(7)]
    batches = [frames[:3], frames[3:6], [], frames[6:]]
    here, there = (
        [
            result.class_map
            for each in engine(made, device=device, precision="fp32", batch_size=2).run(batches)
            for result in each
        ]
        for device in ("cpu", "cuda")
    )
    for one, other in zip(here, there, strict=True):
        assert (one == other).mean() > 0.999


@pytest.mark.parametrize(
    ("said", "memory"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("MPS backend out of memory (MPS allocated: 1.00 GB)", True),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.", True),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", False),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_a_device_out_of_memory_is_told_from_one_that_fails(said: str, memory: bool) -> None:
    assert out_of_memory(RuntimeError(said)) is memory


@pytest.mark.parametrize(
    ("device", "logits", "dtype", "frames"),
    [
        ("mps", (512, 384), torch.float32, 7),
        ("mps", (512, 384), torch.float16, 8),
        ("mps", (1024, 768), torch.float32, 1),
        ("mps", (2048, 2048), torch.float32, 1),
        ("cpu", (2048, 2048), torch.float32, 8),
    ],
)
def test_arrays_stay_below_what_metal_takes(
    device: str, logits: tuple[int, int], dtype: torch.dtype, frames: int
) -> None:
    made = model(logits_size=logits)
    assert most_frames(8, made, torch.device(device), dtype) == frames


def test_a_compiled_network_goes_to_the_batch_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its warm-up, and where a single frame is filled up to a batch."""

    def hungry(pixels: Tensor) -> Tensor:
        if len(pixels) > room[0]:
            raise RuntimeError("out of memory")
        return by_brightness(pixels)

    room = [3]
    warnings: list[str] = []
    monkeypatch.setattr(placed_model_module, "compiled", lambda forward, model: forward)
    subject = engine(model(hungry), batch_size=8, compile=True, warn=warnings.append)
    assert subject.batch_size == 2
    room[0] = 1
    [[result]] = subject.run([[grey(3)]])
    assert (result.class_map == 3).all()
    assert [re.sub(r"\D+", " ", each).split() for each in warnings] == [["8", "4"], ["4", "2"], ["2", "1"]]
