"""`python -m benchmarks.cpu`: what this program gains on a CPU, as ratios against baselines of the same run.

Give it a checkpoint (`--model`) to measure with; by default the small random one of the tests, so that the network
hides nothing. `--only class-map,json,photos,video,overlay,colour,render,builtin,memory` picks sections; json, render
and builtin are always of the built-in model.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import av
import cv2
import numpy as np
import torch

from benchmarks import class_map, frame_json, original, render
from benchmarks.timing import Comparison, compare, peak_memory, seconds
from sapiens_stream import Segmenter
from sapiens_stream.cli.allocator import keep_freed_memory
from sapiens_stream.frame import Frame, Segmentation
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.model import InputSpec
from sapiens_stream.painting import Painter
from sapiens_stream.pipeline import Run, Statistics
from sapiens_stream.pipeline.writers import Writers
from sapiens_stream.sinks import Outputs, OverlayVideo, Sink
from sapiens_stream.sources import Photos, Source, Video

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "data" / "tiny_goliath_torchscript.pt2"
PHOTO = ROOT / "tests" / "data" / "golden" / "astronaut.png"
PEOPLE = ROOT / "samples" / "people.mp4"
PHOTOS = 4
VIDEO_FRAMES = 60


def show(name: str, result: Comparison, baseline: str) -> None:
    """One row: the ratio first, what it is against last."""
    print(f"  {name:<44} {result.speedup:6.2f} x   {result.ours:8.3f} s against {result.baseline:8.3f} s: {baseline}")


def make_photos(folder: Path, size: tuple[int, int] = (2160, 3840)) -> list[Path]:
    """JPEG photos of that (height, width): a portrait, enlarged, with some grain as a real sensor has."""
    picture = cv2.resize(cv2.imread(str(PHOTO)), size[::-1], interpolation=cv2.INTER_CUBIC)
    random = np.random.default_rng(0)
    names = [folder / f"{index}.jpg" for index in range(PHOTOS)]
    for name in names:
        grain = random.normal(0, 1, picture.shape[:2])[..., None]
        cv2.imwrite(str(name), np.clip(picture + grain, 0, 255).astype(np.uint8))
    return names


def make_clip(path: Path, *, width: int, height: int, frames: int = VIDEO_FRAMES, codec: str = "libx264") -> Path:
    """A clip, 25 frames/s: a slow pan over the same portrait, to and fro."""
    pan = min(frames, width // 4)
    picture = cv2.resize(cv2.imread(str(PHOTO)), (width + pan, height), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        quiet = {"x265-params": "log-level=error"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=25, options={"preset": "veryfast", **quiet})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            left = abs((index + pan) % (2 * pan) - pan)
            view = np.ascontiguousarray(picture[:, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode())
    return path


def run(source: Source, segmenter: Segmenter, outputs: Outputs, folder: Path) -> Run:
    """The program itself, from the source to the files; the run that was."""
    with source:
        model = segmenter.model
        sinks = outputs.sinks(folder, "clip", source.info, model.classes, print)
        work = Run(source, segmenter.engine, sinks, record_path=folder / "run.json", on_skip=print)
        work.execute()
        if work.error:
            raise work.error
        return work


def transcode(clip: Path, target: Path) -> None:
    """Decode and encode alone, with the settings that the overlay has."""
    with av.open(str(clip)) as reader, av.open(str(target), "w") as writer:
        source = reader.streams.video[0]
        source.thread_type = "AUTO"
        stream = writer.add_stream("libx264", rate=source.average_rate, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuv420p"
        for frame in reader.decode(source):
            frame.pict_type = 0
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode())


def model_alone(segmenter: Segmenter, frames: int, size: tuple[int, int] | None = None) -> Callable[[], None]:
    """The network on pixels that are already there, as often as the clip has frames; `size` is a frame's (H, W)."""
    spec = segmenter.model.input_for(size) if size else segmenter.model.input
    device, dtype = segmenter.engine.devices[0], segmenter.engine.dtype
    runner = segmenter.model.runner(device, dtype) if segmenter.model.runner else None
    return forwards(runner or segmenter.model.place(device, dtype), spec, dtype, frames)


def forwards(
    forward: Callable[[torch.Tensor], torch.Tensor], spec: InputSpec, dtype: torch.dtype, frames: int
) -> Callable[[], None]:
    """A number of forward passes, a picture each."""
    pixels = torch.zeros(1, 3, spec.height, spec.width, dtype=dtype)

    @torch.inference_mode()
    def work() -> None:
        for _ in range(frames):
            forward(pixels)

    return work


def photos_section(segmenter: Segmenter, folder: Path) -> None:
    """`images` on 4K photos, end to end, writing what the original writes and a JSON more."""
    names = make_photos(folder)
    spec = segmenter.model.input
    forward = segmenter.model.place(torch.device("cpu"), torch.float32)
    for label, side_by_side in (("[photo | overlay], as the original", True), ("overlay alone, the default", False)):
        outputs = Outputs(
            overlay="frames", save=frozenset({"classes", "foreground", "json"}), side_by_side=side_by_side
        )
        result = compare(
            lambda outputs=outputs: run(Photos(folder), segmenter, outputs, folder / "ours"),
            lambda: original.segment_photos(forward, spec, names, folder / "original"),
            repeats=3,
        )
        show(f"{PHOTOS} photos 3840x2160, {label}", result, "the original's steps in sequence")


def video_section(segmenter: Segmenter, folder: Path) -> None:
    """`video`, end to end: overlay, class masks, JSON."""
    for width, height in ((1280, 720), (1920, 1080)):
        clip = make_clip(folder / f"{height}.mp4", width=width, height=height)
        ours = lambda clip=clip: run(Video(clip), segmenter, Outputs(), folder / clip.stem)  # noqa: E731
        for baseline, name in (
            (lambda clip=clip: transcode(clip, folder / "transcoded.mp4"), "decode + encode alone"),
            (model_alone(segmenter, VIDEO_FRAMES), "the model alone"),
        ):
            result = compare(ours, baseline, repeats=3)
            show(f"{width}x{height}, {VIDEO_FRAMES / result.ours:.1f} frames/s end to end", result, name)
        print(f"  {'':<44} {VIDEO_FRAMES / 25 / result.ours:6.2f} x   the speed at which the clip plays (25 frames/s)")


def runtimes_section(spec: InputSpec) -> None:
    """The built-in network in fp32 by onnxruntime against torch, on one thread and on all."""
    model, cpu, everything = load_builtin(), torch.device("cpu"), torch.get_num_threads()
    for threads in sorted({1, everything}):
        torch.set_num_threads(threads)
        runner = model.runner(cpu, torch.float32) if model.runner else None
        if runner is None:
            print("  onnxruntime is not installed")
            break
        by_onnx, by_torch = (
            forwards(each, spec, torch.float32, 30) for each in (runner, model.place(cpu, torch.float32))
        )
        result = compare(by_onnx, by_torch, repeats=5)
        label = f"{spec.height}x{spec.width}, the network alone, {result.ours / 30 * 1e3:.1f} ms"
        show(label, result, f"by torch, {threads} thread{'s' if threads > 1 else ''}")
    torch.set_num_threads(everything)


def colour_section() -> None:
    """What HDR costs: a frame of 10 bits to SDR RGB, whole and in the built-in model's size, and what threads do."""
    for width, height in ((1920, 1080), (3840, 2160)):
        plain, hdr = hdr_frames(width, height)
        fresh = lambda decoded=hdr: Frame(index=0, name="a", decoded=decoded)  # noqa: E731
        drawn = lambda fresh=fresh, whole=(slice(0, height), slice(0, width)): fresh().draw(  # noqa: E731
            whole, np.empty((288, 352, 3), np.uint8)
        )
        as_it_was = lambda plain=plain: plain.to_ndarray(format="rgb24")  # noqa: E731
        by_one_thread = lambda plain=plain: plain.to_ndarray(format="rgb24", threads=1)  # noqa: E731
        size = f"{width}x{height}"
        for name, ours in (
            (f"{size} HLG, tone-mapped", lambda fresh=fresh: fresh().sdr),
            (f"{size} HLG to RGB", lambda fresh=fresh: fresh().rgb),
            (f"{size} HLG in the model's size", drawn),
            (f"{size} SDR to RGB by one thread", by_one_thread),
        ):
            show(name, compare(ours, as_it_was, repeats=9), "plain RGB of the same 10 bits, all cores")


class _PaintedInline(Sink):
    """An overlay whose encoder's thread paints too."""

    ordered: ClassVar[bool] = True

    def __init__(self, inner: OverlayVideo) -> None:
        self._inner = inner

    def write(self, result: Segmentation) -> None:
        self._inner.write(result)

    def close(self) -> None:
        self._inner.close()


def overlay_section(folder: Path) -> None:
    """What the overlay's encoder gains where others paint for it; on more cores than encoder threads, that is."""
    clip = make_clip(folder / "overlay.mp4", width=1920, height=1080)
    with Video(clip) as video:
        info, frames = video.info, [frame for frame in video.frames() if isinstance(frame, Frame)]
    segmenter = Segmenter("builtin", device="cpu")
    classes = segmenter(frames[0].rgb).class_map
    known = segmenter.model.classes
    results = [Segmentation(frame=frame, class_map=classes, classes=known, model="builtin") for frame in frames]

    def write(wrap: Callable[[OverlayVideo], Sink]) -> None:
        overlay = OverlayVideo(folder / "painted.mp4", info, Painter(known), preset="ultrafast")
        writers = Writers([wrap(overlay)], Statistics())
        for result in results:
            writers.write(result)
        writers.close()

    result = compare(lambda: write(lambda sink: sink), lambda: write(_PaintedInline), repeats=3)
    show("1920x1080, painted ahead in a pool", result, "painted in the encoder's thread")


def hdr_frames(width: int, height: int) -> tuple[av.VideoFrame, av.VideoFrame]:
    """The portrait in 10 bits, untagged and tagged as HLG."""
    picture = cv2.resize(cv2.imread(str(PHOTO)), (width, height), interpolation=cv2.INTER_CUBIC)
    frames = [av.VideoFrame.from_ndarray(picture, "bgr24").reformat(format="yuv420p10le") for _ in range(2)]
    frames[1].colorspace, frames[1].color_primaries, frames[1].color_trc = 9, 9, 18
    return frames[0], frames[1]


def builtin_section(folder: Path) -> None:
    """The built-in model at its own input size, and `video` with it on the shipped 720p clip: overlay, masks, JSON.

    In fp32, as it runs by default, and in bf16, which is faster on CPUs that multiply it.
    """
    with Video(PEOPLE) as clip:
        info, pictures = clip.info, [frame.rgb for frame in clip.frames() if isinstance(frame, Frame)]
    assert info.size and info.frame_rate
    runtimes_section(load_builtin().input_for(info.size))
    plays = f"the speed at which the clip plays ({float(info.frame_rate):g} frames/s)"
    for precision in ("fp32", "bf16"):
        segmenter = Segmenter("builtin", device="cpu", precision=precision, batch_size=1)
        spec = segmenter.model.input_for(info.size)
        small = [cv2.resize(picture, (spec.width, spec.height)) for picture in pictures]
        frames = [[Frame(index=index, name=str(index), decoded=picture)] for index, picture in enumerate(small)]
        alone = model_alone(segmenter, len(frames), info.size)
        result = compare(
            lambda frames=frames, segmenter=segmenter: list(segmenter.engine.run(frames)), alone, repeats=3
        )
        label = f"{spec.height}x{spec.width}, {precision}, {len(frames) / result.ours:.1f} frames/s"
        show(label, result, "the network alone, all cores at each frame")
        taken = seconds_of_a_run(segmenter, folder / precision)
        label = f"{info.size[1]}x{info.size[0]}, {precision}, {len(frames) / taken:.1f} frames/s end to end"
        print(f"  {label:<44} {len(frames) / float(info.frame_rate) / taken:6.2f} x   {plays}")


def seconds_of_a_run(segmenter: Segmenter, folder: Path, repeats: int = 3) -> float:
    """The median, after one that is not counted, each into a folder of its own.

    Files that take the place of others are written out by the system at once, which costs 2 % more.
    """
    taken = []
    for index in range(1 + repeats):
        to = folder / str(index)
        taken.append(seconds(lambda to=to: run(Video(PEOPLE), segmenter, Outputs(), to)))
        shutil.rmtree(to)
    return statistics.median(taken[1:])


def memory_section(model: str, folder: Path) -> None:
    """Peak resident memory of whole processes: a clip against one ten times as long."""
    peaks = []
    for frames in (VIDEO_FRAMES, 10 * VIDEO_FRAMES):
        clip = make_clip(folder / f"long{frames}.mp4", width=640, height=360, frames=frames)
        peaks.append(peak_memory(["sapiens_stream", "video", str(clip), "-m", model, "-o", str(folder / "m"), "-q"]))
    short, long = peaks
    print(f"  video, 10 x as many frames: {long / short:.2f} x the memory ({long >> 20} MiB against {short >> 20} MiB)")


def main() -> None:
    """Prints the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(TINY))
    parser.add_argument("--only", default="class-map,json,photos,video,overlay,colour,render,builtin,memory")
    chosen = parser.parse_args()
    sections = set(chosen.only.split(","))
    keep_freed_memory()
    segmenter = Segmenter(chosen.model, device="cpu", batch_size=1)
    print(f"{segmenter.model.name} on the CPU, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        if "class-map" in sections:
            print("logits to class map")
            class_map.main()
        if "json" in sections:
            print("a 4K frame's JSON")
            frame_json.main()
        if "photos" in sections:
            print("images")
            (folder := Path(name) / "photos").mkdir()
            photos_section(segmenter, folder)
        if "video" in sections:
            print("video")
            video_section(segmenter, Path(name))
        if "overlay" in sections:
            print("overlay video")
            overlay_section(Path(name))
        if "colour" in sections:
            print("HDR")
            colour_section()
        if "render" in sections:
            print("results again")
            render.main()
        if "builtin" in sections:
            print("the built-in model")
            builtin_section(Path(name) / "builtin")
        if "memory" in sections:
            print("memory")
            memory_section(chosen.model, Path(name))


if __name__ == "__main__":
    main()
