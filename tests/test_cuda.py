"""A real CUDA device gives what the CPU gives, whatever runs beside what, and goes on where memory or range is short.

What the device may reorder is shown without one in `tests.test_streams`; here the device is there and is made late.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from sapiens_stream import Segmenter
from sapiens_stream.classes import numbered
from sapiens_stream.errors import DeviceError
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.inference.class_map import class_maps
from sapiens_stream.inference.engine import Engine
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.families.sapiens import SAPIENS_FAMILY
from sapiens_stream.models.knowledge import known
from sapiens_stream.models.model import InputSpec, Model
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.models.sapiens import network as sapiens_network
from sapiens_stream.models.sapiens import open_sapiens
from sapiens_stream.models.sapiens.config import SapiensConfig
from sapiens_stream.models.sapiens.network import Sapiens
from sapiens_stream.sources import Video
from tests.program import Program

pytestmark = pytest.mark.cuda

SAMPLES = Path(__file__).parents[1] / "samples"
SPEC = InputSpec(height=64, width=48, mean=(123.5, 116.5, 103.5), std=(58.5, 57.0, 57.5))
LATE = 4_000_000
"""Cycles of the device, some milliseconds: longer than the host takes to get a batch ready."""
Forward = Callable[[Tensor, Tensor], Tensor]


def by_brightness(pixels: Tensor, centres: Tensor) -> Tensor:
    """Logits of 8 classes at half the input's size: the class is the brightness of the pixel, in eighths."""
    return -(pixels[:, :, ::2, ::2].float().mean(1)[:, None] - centres.float()).abs()


def late_to_read(pixels: Tensor, centres: Tensor) -> Tensor:
    torch.cuda._sleep(LATE)  # type: ignore[no-untyped-call]
    return by_brightness(pixels, centres)


def late_to_write(pixels: Tensor, centres: Tensor) -> Tensor:
    logits = torch.zeros(len(pixels), 8, 32, 24, device=pixels.device)
    torch.cuda._sleep(LATE)  # type: ignore[no-untyped-call]
    return logits.copy_(by_brightness(pixels, centres))


def model(forward: Forward = by_brightness) -> Model:
    def place(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        weights = (((torch.arange(8).view(8, 1, 1) * 32 + 16) - 114.5) / 57.7).to(device, dtype)
        return lambda pixels: forward(pixels, weights)

    return Model(name="toy", kind="test", classes=numbered(8), input=SPEC, logits_size=(32, 24), place=place)


def halves(index: int, size: tuple[int, int]) -> Frame:
    """A frame of two halves: of class `index % 8`, and of the class after it."""
    picture = np.full((*size, 3), index % 8 * 32 + 16, np.uint8)
    picture[:, size[1] // 2 :] = (index + 1) % 8 * 32 + 16
    return Frame(index=index, name=f"frame{index}", decoded=picture)


def batches(count: int, *sizes: tuple[int, int]) -> list[list[Frame]]:
    frames = [halves(index, sizes[index % len(sizes)]) for index in range(4 * count)]
    return [frames[first : first + 4] for first in range(0, len(frames), 4)]


def run(made: Model, wanted: Sequence[Sequence[Frame]], **settings: object) -> tuple[list[Segmentation], list[str]]:
    """The results, and what was warned of."""
    said: list[str] = []
    options = InferenceOptions(**{"device": "cuda", "batch_size": 4, "precision": "fp16", **settings})  # type: ignore[arg-type]
    subject = Engine(made, options, warn=said.append, note=said.append)
    try:
        return [each for results in subject.run(wanted) for each in results], said
    finally:
        subject.close()


def check(results: Sequence[Segmentation], wanted: Sequence[Sequence[Frame]]) -> None:
    """Each frame has its own class map, in order."""
    frames = [frame for each in wanted for frame in each]
    assert [each.frame for each in results] == frames
    for each in results:
        height, width = each.frame.size
        assert each.class_map.shape == (height, width)
        assert (each.class_map[:, : width // 4] == each.frame.index % 8).all()
        assert (each.class_map[:, -(width // 4) :] == (each.frame.index + 1) % 8).all()


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    return float((one == other).mean())


@pytest.mark.parametrize("forward", [by_brightness, late_to_read, late_to_write])
@pytest.mark.parametrize("sizes", [[(1080, 1920)], [(90, 70), (720, 1280), (31, 57)]], ids=["alike", "mixed"])
def test_no_batch_sees_anothers_memory(forward: Forward, sizes: list[tuple[int, int]]) -> None:
    wanted = batches(25, *sizes)
    results, said = run(model(forward), wanted)
    check(results, wanted)
    assert said == []


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
def test_every_fit_gives_what_the_cpu_gives(fit: str) -> None:
    wanted = batches(2, (90, 160), (160, 90))
    there, _ = run(model(), wanted, fit=fit, precision="fp32")
    here, _ = run(model(), wanted, fit=fit, precision="fp32", device="cpu")
    for one, other in zip(there, here, strict=True):
        assert agreement(one.class_map, other.class_map) > 0.999


@pytest.mark.parametrize("from_batch", [0, 3])
def test_a_batch_that_overflows_is_computed_again_in_a_wider_range(from_batch: int) -> None:
    def overflowing(pixels: Tensor, centres: Tensor) -> Tensor:
        logits = late_to_write(pixels, centres)
        seen[0] += 1
        return logits * (1e30 if seen[0] > from_batch else 1) if pixels.dtype == torch.float16 else logits

    seen = [0]
    wanted = batches(6, (90, 70))
    results, said = run(model(lambda pixels, centres: overflowing(pixels, centres).to(pixels.dtype)), wanted)
    check(results, wanted)
    assert said == ["toy overflows in fp16; going on in bf16"]


@pytest.fixture
def small_device() -> Iterator[int]:
    """Room for a GiB more than is in use; gives that in bytes."""
    torch.cuda.empty_cache()
    room = 1 << 30
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + room) / total)
    yield room
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.parametrize(("bears", "left"), [(4, None), (2, 2), (1, 1)])
def test_a_batch_too_large_for_the_memory_is_halved(small_device: int, bears: int, left: int | None) -> None:
    def hungry(pixels: Tensor, centres: Tensor) -> Tensor:
        held = torch.empty(len(pixels), int(small_device / (bears + 0.5)), dtype=torch.uint8, device=pixels.device)
        held[:, ::4096] = 1
        return by_brightness(pixels, centres)

    wanted = batches(5, (90, 70))
    results, said = run(model(hungry), wanted)
    check(results, wanted)
    assert [sentence.rsplit(maxsplit=1)[-1] for sentence in said] == [
        str(size) for size in (2, 1) if left is not None and size >= left
    ]


def test_memory_short_for_one_frame_is_an_error_that_says_so(small_device: int) -> None:
    def starving(pixels: Tensor, centres: Tensor) -> Tensor:
        return (
            by_brightness(pixels, centres) + torch.zeros(2 * small_device, dtype=torch.uint8, device=pixels.device)[0]
        )

    with pytest.raises(DeviceError, match=r"frame0: cuda:0 is out of memory for toy on 1 x 64x48 pixels in fp16"):
        run(model(starving), batches(1, (90, 70)))


def test_a_kernel_that_fails_is_the_devices_failure_and_not_the_frames() -> None:
    """In a process of its own, which loses its device by it."""
    code = (
        "import torch\n"
        "from tests.test_cuda import batches, by_brightness, model, run\n"
        "def fails(pixels, centres):\n"
        "    logits = by_brightness(pixels, centres)\n"
        "    return logits + logits.flatten()[torch.full((1,), 1 << 40, device='cuda')]\n"
        "try:\n"
        "    run(model(fails), batches(3, (90, 70)))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("DeviceError"), done.stdout + done.stderr
    assert "cuda:0" in done.stdout and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("channels", [1, 5, 28])
def test_class_maps_of_a_batch_are_the_cpus(channels: int) -> None:
    torch.manual_seed(0)
    logits = torch.nn.functional.interpolate(torch.randn(3, channels, 16, 12), scale_factor=8, mode="bicubic")
    there = class_maps(logits.cuda(), (1080, 1920))
    here = class_maps(logits, (1080, 1920))
    for one, other in zip(there, here, strict=True):
        assert int((one.cpu() != other).sum()) <= 3


def test_the_class_maps_of_a_batch_take_few_kernels_and_one_wait() -> None:
    torch.manual_seed(0)
    logits = torch.nn.functional.interpolate(torch.randn(8, 28, 4, 3).cuda(), scale_factor=64, mode="bicubic")
    class_maps(logits, (1080, 1920))  # which makes the tables that are kept
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        class_maps(logits, (1080, 1920))
    names = [event.name for event in trace.events()]
    waits = [name for name in names if name == "cudaStreamSynchronize"]  # the profiler waits for the device
    launches = [name for name in names if name.startswith(("cudaLaunchKernel", "cuLaunchKernel"))]
    assert 0 < len(launches) < 100 and len(waits) <= 1, (len(launches), waits)


@pytest.mark.parametrize("batch", [29, 32])
def test_norms_of_large_batches_are_those_of_single_frames(batch: int) -> None:
    """A head's planes at 1024x768 have more numbers than 32 bits count from a batch of 29 on."""
    torch.manual_seed(0)
    planes = torch.randn(batch, 384, 512 * 384, device="cuda", dtype=torch.float16)
    last = torch.nn.functional.layer_norm(planes[-1:].float(), planes.shape[-1:], eps=sapiens_network.INSTANCE_NORM_EPS)
    with torch.inference_mode():
        normed = sapiens_network._normed(planes)
    assert float((normed[-1:].float() - last).abs().max()) < 0.02


def toy_sapiens() -> Model:
    torch.manual_seed(0)
    config = replace(SapiensConfig.of("toy"), head_channels=16, grid=(8, 6))
    network = replace(open_sapiens(Path("sapiens-toy"), Sapiens(config).state_dict()), path=None)
    return known("sapiens-toy", network, SAPIENS_FAMILY, None, ModelOptions())


@pytest.mark.parametrize("made", [toy_sapiens, load_builtin])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 0.002), ("fp16", 0.01), ("bf16", 0.06)])
def test_a_network_gives_the_cpus_classes(made: Callable[[], Model], precision: str, most: float) -> None:
    with Video(SAMPLES / "people.mp4") as source:
        frames = [frame for frame, _ in zip(source.frames(), range(5), strict=False)]
    there, _ = run(made(), [frames], precision=precision)
    here, _ = run(made(), [frames], precision="fp32", device="cpu")
    for one, other in zip(there, here, strict=True):
        assert 1 - agreement(one.class_map, other.class_map) < most


def test_a_compiled_sapiens_gives_the_same_classes() -> None:
    photo = np.asarray(np.random.default_rng(0).integers(0, 256, (120, 90, 3)), np.uint8)
    plain, compiled = (
        Segmenter(toy_sapiens(), device="cuda", batch_size=2, compile=compile)(photo) for compile in (False, True)
    )
    assert agreement(plain.class_map, compiled.class_map) > 0.99


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped clip's first half second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(SAMPLES / "people.mp4")) as source, av.open(str(path), "w") as copy:
        from_, to = source.streams.video[0], copy.add_stream_from_template(source.streams.video[0])
        for packet in islice(source.demux(from_), 13):
            packet.stream = to
            copy.mux(packet)
    return path


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--steady", "1"),
        ("--every", "2"),
        ("--people", "builtin"),
        ("--people", "builtin", "--steady", "2", "--every", "2"),
        ("--matte", "ffv1", "--edge", "soft"),
        ("--save", "classes,statistics"),
        ("--batch-size", "auto"),
    ],
    ids=" ".join,
)
def test_a_video_comes_out_as_on_the_cpu(
    program: Program, short_clip: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    maps = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        done = program(
            *("video", short_clip, "-o", folder, "--device", device, "--precision", "fp32"),
            *("--save", "classes", "--overlay", "none", *options),
        )
        assert done.code == 0, done.stderr
        maps.append([np.load(path) for path in sorted(folder.rglob("*_seg.npy"))])
    assert len(maps[0]) == len(maps[1]) > 10
    assert np.mean([agreement(one, other) for one, other in zip(*maps, strict=True)]) > 0.995


def test_photos_of_many_sizes_come_out_as_on_the_cpu(program: Program, tmp_path: Path) -> None:
    photo = cv2.imread(str(SAMPLES / "astronaut.jpg"))
    for index, size in enumerate([(512, 512), (300, 200), (200, 300), (512, 512), (90, 400)]):
        (tmp_path / "in").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / f"{index}.png"), cv2.resize(photo, size))
    maps = []
    for device in ("cpu", "cuda"):
        given = ("--input", tmp_path / "in", "--output_root", tmp_path / device, "--device", device)
        done = program("images", "builtin", *given, "--precision", "fp32", "--batch_size", 4)
        assert done.code == 0, done.stderr
        maps.append([np.load(path) for path in sorted((tmp_path / device).rglob("*_seg.npy"))])
    assert len(maps[0]) == len(maps[1]) == 5
    for one, other in zip(*maps, strict=True):
        assert agreement(one, other) > 0.995


def test_a_camera_is_segmented_live(program: Program) -> None:
    camera = "lavfi:testsrc2=size=640x480:rate=30"
    done = program("live", camera, "--device", "cuda", "--no-window", "--max-frames", 60, "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["frames"]["segmented"] > 0
