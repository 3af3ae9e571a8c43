"""Feeds the program hostile files: `python -m tests.fuzz --minutes 10 --seed 1`.

Cases run in a child process under a watchdog and a limit of memory. A case fails when it raises what is not one of our
errors, does not end, takes too much memory, dies of a signal, or leaves a file outside its folder for results. A
failed case is reported with its number, by which `--case` runs it alone.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import multiprocessing.connection
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tests import hostile

CASE_SECONDS = 60.0
"""A busy machine decodes a small picture in far less; what takes so long does not end."""
MEMORY_MEGABYTES = 1500
MAX_PIXELS = 4_000_000  # so that an honest case cannot come near the limit of memory

Case = Callable[[Path, random.Random], None]


@dataclass
class Findings:
    """How many cases of each kind ran, and what failed."""

    ran: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


@cache
def seeds() -> dict[str, bytes]:
    """Small whole files of every kind, by name."""
    from fractions import Fraction

    from tests.heif import coded, cropped, heif, mirrored, tiled, tiles_of, turned
    from tests.media import exif_segment, make_video, picture

    rgb = picture(613)
    bgr = rgb[:, :, ::-1]
    files = {
        f"a{extension}": cv2.imencode(extension, bgr)[1].tobytes()
        for extension in (".jpg", ".png", ".bmp", ".webp", ".tif", ".gif", ".jp2", ".ppm")
    }
    files["progressive.jpg"] = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    files["restarts.jpg"] = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes()
    files["turned.jpg"] = files["a.jpg"][:2] + exif_segment(6) + files["a.jpg"][2:]
    files["lossy.webp"] = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 70])[1].tobytes()
    files["interlaced.png"] = hostile.png_of_rows(rgb, interlaced=True)
    files["a.heic"] = heif(coded(rgb), cropped((80, 100), rgb.shape[:2], 8, 10), turned(1), mirrored(0))
    files["a.avif"] = heif(coded(rgb, "libsvtav1"), brand=b"avif")
    files["tiles.heic"] = tiled(tiles_of(rgb, 64), 3, (96, 160), turned(3))
    files["itself.heic"] = hostile.heif_of_itself()
    files["bomb.png"] = hostile.png_bomb(1900, 2000)
    with tempfile.TemporaryDirectory() as folder:
        for name, codec, pix_fmt in (
            ("a.mp4", "libx264", "yuv420p"),
            ("a.mkv", "libx265", "yuv420p10le"),
            ("a.avi", "mjpeg", "yuvj420p"),
            ("a.mov", "png", "rgb24"),
            ("a.ts", "mpeg2video", "yuv420p"),
        ):
            path = make_video(Path(folder, name), codec=codec, pix_fmt=pix_fmt, frames=6, rate=Fraction(25))
            files[name] = path.read_bytes()
    return files


_PHOTOS = (".jpg", ".png", ".bmp", ".webp", ".tif", ".gif", ".jp2", ".ppm", ".heic", ".avif")


def _pick(rng: random.Random, photos: bool) -> tuple[str, bytes]:
    names = [name for name in seeds() if name.endswith(_PHOTOS) == photos]
    name = rng.choice(names)
    return name, hostile.mutated(seeds()[name], rng)


def photo(folder: Path, rng: random.Random) -> None:
    """One photo, by either decoder, turned upright."""
    from sapiens_stream.frame import Frame
    from sapiens_stream.sources import Photos

    name, content = _pick(rng, photos=True)
    (folder / name).write_bytes(content)
    with Photos(folder / name, decoder=rng.choice(("pyav", "opencv")), workers=1, max_pixels=MAX_PIXELS) as source:
        for each in source.frames():
            if isinstance(each, Frame):
                assert each.rgb.shape == (*each.size, 3) and each.rgb.dtype == np.uint8
                assert each.size[0] * each.size[1] <= MAX_PIXELS, f"{each.size} passed the limit"
            else:
                assert each.reason and "\n" not in each.reason


def video(folder: Path, rng: random.Random) -> None:
    """One video, up to some hundred frames of it."""
    from sapiens_stream.frame import Frame
    from sapiens_stream.sources import Video

    name, content = _pick(rng, photos=False)
    (folder / name).write_bytes(content)
    with Video(folder / name, max_pixels=MAX_PIXELS) as source:
        for number, each in enumerate(source.frames()):
            if isinstance(each, Frame):
                assert each.rgb.shape == (*each.size, 3)
            if number > 200:
                break


def listing(folder: Path, rng: random.Random) -> None:
    """A list of photos, with lines of noise."""
    from sapiens_stream.frame import Skipped
    from sapiens_stream.sources import Photos

    (folder / "a.jpg").write_bytes(seeds()["a.jpg"])
    lines = b"a.jpg\n./a.jpg\n../../etc/passwd\n\n\xff\xfe\n" + b"x" * 300 + b"\n/dev/null\n.\n"
    (folder / "list.txt").write_bytes(hostile.mutated(lines, rng))
    with Photos(folder / "list.txt", workers=2, max_pixels=MAX_PIXELS) as source:
        for each in source.frames():
            assert isinstance(each, Skipped) or not each.name.startswith(("..", "/"))


def checkpoint(folder: Path, rng: random.Random) -> None:
    """A model's file."""
    from sapiens_stream.models import open_model

    data = Path(__file__).parent / "data"
    source = rng.choice(sorted(data.glob("*.pt2")))
    (folder / "model.pt2").write_bytes(hostile.mutated(source.read_bytes(), rng))
    open_model(folder / "model.pt2")


def pipeline(folder: Path, rng: random.Random) -> None:
    """Photos or a video through a model of no weight into all files."""
    import torch

    from sapiens_stream.classes import SAPIENS
    from sapiens_stream.inference.engine import Engine
    from sapiens_stream.inference.options import InferenceOptions
    from sapiens_stream.models.model import InputSpec, Model
    from sapiens_stream.pipeline import Run
    from sapiens_stream.sinks import Outputs
    from sapiens_stream.sources import Photos, Source, Video

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(pixels, (32, 24)).repeat(1, 10, 1, 1)[:, : len(SAPIENS.names)]

    spec = InputSpec(height=64, width=48, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    model = Model(
        name="none", kind="none", classes=SAPIENS, input=spec, logits_size=(32, 24), place=lambda device, dtype: forward
    )
    name, content = _pick(rng, photos=rng.random() < 0.5)
    (folder / name).write_bytes(content)
    is_photo = name.endswith(_PHOTOS)
    source: Source = (
        Photos(folder / name, workers=1, max_pixels=MAX_PIXELS)
        if is_photo
        else Video(folder / name, max_pixels=MAX_PIXELS)
    )
    outputs = Outputs(overlay="frames" if is_photo else "video", save=frozenset({"classes", "foreground", "json"}))
    options = InferenceOptions(device="cpu", batch_size=1)
    # Closed at once: its threads would otherwise live until the next collection of garbage.
    with source, closing(Engine(model, options, warn=lambda _: None)) as engine:
        sinks = outputs.sinks(folder / "out", "a", source.info, model.classes, lambda _: None)
        run = Run(source, engine, sinks, record_path=folder / "out" / "a_run.json")
        run.execute()
    if run.error is not None:
        raise run.error


CASES: dict[str, tuple[Case, int]] = {
    "photo": (photo, 10),
    "video": (video, 4),
    "list": (listing, 2),
    "checkpoint": (checkpoint, 2),
    "pipeline": (pipeline, 2),
}
"""With how often each comes."""


def _kind(seed: int, number: int, kinds: Collection[str]) -> str:
    known = [kind for kind in CASES if kind in kinds]
    return random.Random(f"{seed}/{number}/kind").choices(known, [CASES[kind][1] for kind in known])[0]


def run_case(kind: str, seed: int, number: int) -> str | None:
    """Runs a case here; what went wrong, or None."""
    from sapiens_stream.errors import SapiensStreamError

    with tempfile.TemporaryDirectory() as above:
        folder = Path(above, "case")
        folder.mkdir()
        try:
            CASES[kind][0](folder, random.Random(f"{seed}/{number}"))
        except SapiensStreamError as error:
            if "\n" in str(error) or not str(error):
                return f"its message is not a line: {str(error)!r}"
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
        strays = [path.name for path in Path(above).iterdir() if path.name != "case"]
        return f"it left {', '.join(strays)} outside its folder" if strays else None


def _work(pipe: multiprocessing.connection.Connection) -> None:
    import torch

    from sapiens_stream import sources  # noqa: F401  # loaded before memory is limited, and cases are timed

    torch.set_num_threads(1)
    seeds()
    hostile.limit_memory(MEMORY_MEGABYTES)
    pipe.send(None)
    while True:
        case = pipe.recv()
        if case is None:
            return
        pipe.send(run_case(*case))
        # PyAV's containers and streams hold one another, and with them a decoder's threads and memory: until collected
        # they would be missing to the next cases.
        gc.collect()


class Worker:
    """A process that runs cases one after the other; begun anew when one kills it."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def run(self, kind: str, seed: int, number: int) -> str | None:
        """What went wrong with a case, or None."""
        self._pipe.send((kind, seed, number))
        if not self._pipe.poll(CASE_SECONDS):
            self._again()
            return f"it did not end within {CASE_SECONDS:g} s"
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._again()
            return f"it died, exit code {code}"
        return answer if answer is None or isinstance(answer, str) else repr(answer)

    def _again(self) -> None:
        self._process.kill()
        self._process.join()
        self._start()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join(10)
        self._process.kill()


def cases(seconds: float, count: int | None) -> Iterator[int]:
    """Numbers of cases, until the time is over or there were enough."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end and (count is None or number < count):
        yield number
        number += 1


def fuzz(seconds: float, seed: int, *, count: int | None = None, kinds: Collection[str] = tuple(CASES)) -> Findings:
    """Runs cases for `seconds`, or `count` of them."""
    findings = Findings()
    worker = Worker()
    try:
        for number in cases(seconds, count):
            kind = _kind(seed, number, kinds)
            problem = worker.run(kind, seed, number)
            findings.ran[kind] += 1
            if problem is not None:
                findings.failed.append(f"{kind} {number}: {problem}")
                print(findings.failed[-1], flush=True)
    finally:
        worker.close()
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(CASES), help="cases of this kind alone")
    parser.add_argument("--case", type=int, help="this one alone, in this process")
    arguments = parser.parse_args()
    kinds = [arguments.only] if arguments.only else list(CASES)
    if arguments.case is not None:
        kind = _kind(arguments.seed, arguments.case, kinds)
        problem = run_case(kind, arguments.seed, arguments.case)
        print(f"{kind} {arguments.case}: {problem or 'passed'}")
        return int(problem is not None)
    findings = fuzz(60 * arguments.minutes, arguments.seed, kinds=kinds)
    ran = ", ".join(f"{count} {kind}" for kind, count in sorted(findings.ran.items()))
    print(f"seed {arguments.seed}: {findings.ran.total()} cases ({ran}), {len(findings.failed)} failed")
    return int(bool(findings.failed))


if __name__ == "__main__":
    raise SystemExit(main())
