"""Photos that are damaged, or larger than is allowed: reported, used as far as they go, no drain on the machine."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import threading
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sources import Photos, Video
from sapiens_stream.sources.budget import OrderedBudget
from tests import hostile
from tests.media import make_photo, make_video, picture
from tests.program import Program

RGB = cv2.GaussianBlur(picture(0b1011001110, (240, 320)), (0, 0), 3)
RGB = np.clip(RGB.astype(int) + np.random.default_rng(3).integers(-9, 10, RGB.shape), 0, 255).astype(np.uint8)


def encoded(extension: str, *parameters: int) -> bytes:
    return cv2.imencode(extension, RGB[:, :, ::-1], parameters)[1].tobytes()


JPEG = encoded(".jpg")
PNG = encoded(".png")


def read_one(folder: Path, content: bytes, name: str = "a.jpg", **options: object) -> Frame | Skipped:
    (folder / name).write_bytes(content)
    with Photos(folder / name, **options) as photos:  # type: ignore[arg-type]
        [found] = photos.frames()
    return found


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
@pytest.mark.parametrize(
    ("name", "content", "share"),
    [
        ("a.jpg", JPEG, 0.0),
        ("a.jpg", encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 0.0),
        ("a.jpg", encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 8), 0.3),
        ("a.png", PNG, 0.2),
        ("a.tif", encoded(".tif", cv2.IMWRITE_TIFF_COMPRESSION, 8), 0.2),
        ("a.tif", encoded(".tif", cv2.IMWRITE_TIFF_COMPRESSION, 5), 0.2),
    ],
    ids=["jpeg", "progressive", "restarts", "png", "tiff deflate", "tiff lzw"],
)
def test_damage_in_the_middle_is_told_and_the_rest_used(
    name: str, content: bytes, share: float, decoder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`share` of the pixels at least are as they were; of a JPEG without restarts what follows may all be shifted."""
    whole = read_one(tmp_path, content, name, decoder=decoder)
    assert isinstance(whole, Frame) and whole.damaged is None
    for seed in range(5):
        found = read_one(tmp_path, hostile.damaged(content, random.Random(seed), 2000), name, decoder=decoder)
        assert isinstance(found, Frame), found
        assert found.damaged is not None and "decoded as far as it goes" in found.damaged.reason
        assert found.damaged.name == str(tmp_path / name)
        assert found.size == whole.size
        same = (np.abs(found.rgb.astype(int) - whole.rgb) < 8).all(2).mean()
        assert same >= share
    assert capfd.readouterr() == ("", "")


def test_damage_to_what_is_no_part_of_the_picture_is_none(tmp_path: Path) -> None:
    chunk = b"tEXt" + b"Comment\0hello"
    broken = struct.pack(">I", len(chunk) - 4) + chunk + b"\0\0\0\0"  # a wrong checksum
    found = read_one(tmp_path, PNG[:33] + broken + PNG[33:], "a.png")
    assert isinstance(found, Frame) and found.damaged is None
    assert (found.rgb == RGB).all()


def test_a_tiff_that_tells_its_black_and_white_is_whole(tmp_path: Path) -> None:
    """FFmpeg writes the tag 532 beside chroma, and its strict decoder does not know it."""
    height, width = RGB.shape[:2]
    encoder = av.CodecContext.create("tiff", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv444p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(RGB, "rgb24").reformat(format="yuv444p")
    content = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    assert struct.pack("<H", 532) in content
    found = read_one(tmp_path, content, "a.tif")
    assert isinstance(found, Frame) and found.damaged is None
    assert np.abs(found.rgb.astype(int) - RGB).mean() < 3


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("upper", [0.5, 0.9])
def test_a_damaged_png_keeps_its_upper_rows(interlaced: bool, upper: float, tmp_path: Path) -> None:
    content = hostile.png_of_rows(RGB, interlaced=interlaced)
    whole = read_one(tmp_path, content, "a.png")
    assert isinstance(whole, Frame) and (whole.rgb == RGB).all()
    at = int(len(content) * upper)
    found = read_one(tmp_path, content[:at] + bytes(40) + content[at + 40 :], "a.png")
    assert isinstance(found, Frame) and found.damaged is not None
    if not interlaced:
        rows = int(len(RGB) * (upper - 0.1))
        assert (found.rgb[:rows] == RGB[:rows]).all()


def test_a_png_of_too_few_rows_keeps_these(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in RGB[:8])
    size = struct.pack(">IIBBBBB", RGB.shape[1], RGB.shape[0], 8, 2, 0, 0, 0)
    parts = [(b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(hostile.png_chunk(*part) for part in parts)
    found = read_one(tmp_path, content, "a.png")
    assert isinstance(found, Frame) and found.damaged is not None
    assert (found.rgb[:8] == RGB[:8]).all()
    assert not capfd.readouterr().err


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
@pytest.mark.parametrize("where", ["after the start", "between segments", "before the scan"])
@pytest.mark.parametrize("stray", [b"\0\0\0\0\0", b"garbage", b"\xff\xff\xff", b"\x12\xff\x00\x34"])
def test_stray_bytes_in_a_jpeg_do_no_harm(where: str, stray: bytes, decoder: str, tmp_path: Path) -> None:
    marker = {"after the start": b"\xff\xe0", "between segments": b"\xff\xc0", "before the scan": b"\xff\xda"}[where]
    at = JPEG.index(marker)
    whole = read_one(tmp_path, JPEG, decoder=decoder)
    found = read_one(tmp_path, JPEG[:at] + stray + JPEG[at:], decoder=decoder)
    assert isinstance(whole, Frame) and isinstance(found, Frame), found
    assert found.damaged is None
    assert (found.rgb == whole.rgb).all()
    cut = read_one(tmp_path, (JPEG[:at] + stray + JPEG[at:])[:-300], decoder=decoder)
    assert isinstance(cut, Skipped) and "cut short" in cut.reason


TOO_LARGE = {
    "png of one colour": ("a.png", hostile.png_bomb(30_000, 30_000)),
    "png header alone": ("a.png", hostile.png_bomb(2**31 - 1, 2**31 - 1, rows=0)),
    "lying jpeg": ("a.jpg", hostile.jpeg_that_lies(JPEG, 65_500, 65_500)),
    "lying bmp": ("a.bmp", hostile.bmp_that_lies(encoded(".bmp"), 60_000, -60_000)),
    "lying tiff": ("a.tif", hostile.tiff_of(60_000, 60_000)),
    "lying gif": ("a.gif", hostile.gif_of(65_535, 65_535)),
    "lying pnm": ("a.ppm", b"P6\n# a comment\n90000 90000\n255\n" + bytes(100)),
    "lying qoi": ("a.qoi", b"qoif" + struct.pack(">IIBB", 90_000, 90_000, 3, 0) + bytes(100)),
    "lying webp": ("a.webp", hostile.webp_that_lies(encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80), 16_000, 16_000)),
    "lying jpeg 2000": ("a.jp2", hostile.jpeg_2000_that_lies(encoded(".jp2"), 70_000, 70_000)),
    "lying heic": ("a.heic", hostile.heif_that_lies(60_000, 60_000)),
    "grid of heic": ("a.heic", hostile.heif_grid_that_lies(60_000, 60_000)),
}


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
@pytest.mark.parametrize(("name", "content"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_too_large_is_not_decoded(name: str, content: bytes, decoder: str, tmp_path: Path) -> None:
    found = read_one(tmp_path, content, name, decoder=decoder)
    assert isinstance(found, Skipped)
    assert "pixels, more than 200000000; --max-pixels" in found.reason, found.reason


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
def test_the_limit_is_the_users(decoder: str, tmp_path: Path) -> None:
    size = RGB.shape[0] * RGB.shape[1]
    assert isinstance(read_one(tmp_path, JPEG, decoder=decoder, max_pixels=size), Frame)
    found = read_one(tmp_path, JPEG, decoder=decoder, max_pixels=size - 1)
    assert isinstance(found, Skipped) and "it has 320x240 pixels, more than 76799" in found.reason
    with pytest.raises(UsageError, match="max_pixels is 0"):
        Photos(tmp_path, max_pixels=0)


@pytest.mark.parametrize(
    ("codec", "name"), [("png", "a.mov"), ("mjpeg", "a.avi"), ("png", "a.avi"), ("mjpeg", "a.mkv")]
)
def test_pictures_in_videos_are_limited_too(codec: str, name: str, tmp_path: Path) -> None:
    pix_fmt = "rgb24" if codec == "png" else "yuvj420p"
    path = make_video(tmp_path / name, codec=codec, pix_fmt=pix_fmt, frames=3)
    with Video(path, max_pixels=96 * 160) as video:
        assert sum(isinstance(each, Frame) for each in video.frames()) == 3
    with pytest.raises(InputError, match="it has 160x96 pixels, more than 15359"):
        Video(path, max_pixels=96 * 160 - 1)


@pytest.mark.parametrize("name", ["a.mov", "a.avi"])
def test_a_picture_in_a_video_that_belies_its_container(name: str, tmp_path: Path) -> None:
    path = hostile.video_of_png(tmp_path / name, hostile.png_bomb(30_000, 30_000), (96, 160))
    with pytest.raises(InputError, match="it has 30000x30000 pixels, more than 200000000"):
        Video(path)


def test_memory_that_runs_out_is_said_to_have(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(hostile.png_of_rows(np.zeros((6000, 6000, 3), np.uint8)))
    script = (
        "import sys\n"
        "from sapiens_stream.sources import Photos\n"
        "from tests.hostile import limit_memory\n"
        "limit_memory(200)\n"
        "with Photos(sys.argv[1], workers=1) as photos:\n"
        "    print(list(photos.frames()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=300)
    assert "out of memory: it is 6000x6000 pixels large" in done.stdout, done.stdout + done.stderr


class TestBudget:
    def test_what_does_not_fit_waits(self) -> None:
        budget = OrderedBudget(100)
        budget.take(0, 60)
        done = threading.Event()
        thread = threading.Thread(target=lambda: (budget.take(1, 60), done.set()), daemon=True)
        thread.start()
        assert not done.wait(0.1)
        budget.give_back(0)
        assert done.wait(30)

    def test_the_next_one_never_waits(self) -> None:
        budget = OrderedBudget(100)
        budget.take(1, 100)
        budget.take(0, 1000)

    def test_closing_frees_those_that_wait(self) -> None:
        budget = OrderedBudget(100)
        budget.take(1, 100)
        thread = threading.Thread(target=lambda: budget.take(2, 100), daemon=True)
        thread.start()
        budget.close()
        thread.join(30)
        assert not thread.is_alive()


def test_large_photos_are_not_decoded_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two of them, in whatever order their threads come."""
    monkeypatch.setattr("sapiens_stream.sources.photos.PHOTO_BYTES_AT_ONCE", 2_000_000)
    for number in range(12):
        make_photo(tmp_path / f"{number:02}.jpg", picture(number, (240, 320)))
    with Photos(tmp_path, workers=4) as photos:
        names = [each.name for each in photos.frames()]
    assert names == [f"{number:02}" for number in range(12)]


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "photos"
        make_photo(folder / "a.jpg", RGB)
        (folder / "b.jpg").write_bytes(hostile.damaged(JPEG, random.Random(1), 2000))
        return folder

    def test_damage_is_in_the_json_the_record_and_a_line(
        self, program: Program, folder: Path, colour_torchscript: Path
    ) -> None:
        outcome = program("images", colour_torchscript, "--input", folder, "--json")
        assert outcome.code == 3
        assert not outcome.complaints
        assert [line for line in outcome.stderr.splitlines() if line.startswith("damaged ")] == [
            f"damaged {folder / 'b.jpg'}: the JPEG file is damaged; decoded as far as it goes"
        ]
        found = {name: json.loads((folder / "output" / f"{name}.json").read_text()) for name in "ab"}
        assert "damaged" not in found["a"] and found["b"]["damaged"] is True
        record = json.loads(outcome.stdout)
        assert (record["frames"]["damaged"], record["frames"]["skipped"], record["frames"]["written"]) == (1, 0, 2)
        assert record["damaged"][0]["name"] == str(folder / "b.jpg")

    @pytest.mark.parametrize("save", ["classes,json", "foreground", "none"])
    @pytest.mark.parametrize("forgets", ["nothing", "the lines", "the record"])
    def test_it_is_told_again_by_a_run_that_goes_on(
        self, save: str, forgets: str, program: Program, folder: Path, colour_torchscript: Path, tmp_path: Path
    ) -> None:
        inputs = ("images", colour_torchscript, folder, "-o", tmp_path / "out", "--save", save, "--shape", 64, 64)
        first = program(*inputs)
        assert first.code == 3
        record = tmp_path / "out" / "photos_run.json"
        if forgets == "the lines":
            (tmp_path / "out" / "run.jsonl").unlink()
        elif forgets == "the record":  # which says what it did some time before a kill
            told = json.loads(record.read_text())
            record.write_text(json.dumps({**told, "status": "interrupted", "damaged": []}))
        for _ in range(2):
            again = program(*inputs, "--resume")
            assert again.code == 3, again
            assert f"damaged {folder / 'b.jpg'}: " in again.stderr
            frames = json.loads(record.read_text())["frames"]
            assert (frames["written"], frames["damaged"]) == (2, 1)

    def test_strict_skips_it(self, program: Program, folder: Path, colour_torchscript: Path) -> None:
        outcome = program("images", colour_torchscript, "--input", folder, "--json", "--strict")
        assert outcome.code == 3
        assert [line.split(":")[0] for line in outcome.complaints] == [f"skipped {folder / 'b.jpg'}"]
        record = json.loads(outcome.stdout)
        assert (record["frames"]["damaged"], record["frames"]["skipped"], record["frames"]["written"]) == (0, 1, 1)
        assert not (folder / "output" / "b.json").exists()

    def test_max_pixels(self, program: Program, folder: Path, colour_torchscript: Path) -> None:
        make_photo(folder / "c.png", picture(1, (100, 100)))
        outcome = program("images", colour_torchscript, "--input", folder, "--max-pixels", "10000")
        assert outcome.code == 3
        assert len(outcome.complaints) == 2 and all("more than 10000" in line for line in outcome.complaints)
