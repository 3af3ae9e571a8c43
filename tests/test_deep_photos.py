"""Photos of more than 8 bits keep them in mattes that have as many."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from sapiens_stream.frame import Frame
from sapiens_stream.sinks.mattes.pixels import linear_of, rgb_of
from sapiens_stream.sources import Photos, PictureSequence
from tests.media import make_photo, picture
from tests.program import Program

SIZE = (64, 96)
SMALL = ("--shape", 64, 64, "--device", "cpu")
DEEP = np.random.default_rng(7).integers(0, 65536, (*SIZE, 3)).astype(np.uint16)
LIGHT = (DEEP / np.float32(8192)).astype(np.float16)  # up to 8
ACES = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)


def write_exr(path: Path, **attributes: Any) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}
    OpenEXR.File(header, {"RGB": LIGHT}).write(str(path))
    return path


def write_deep(path: Path) -> Path:
    assert cv2.imwrite(str(path), DEEP[..., ::-1])
    return path


def read(path: Path) -> Frame:
    with Photos(path) as photos:
        [frame] = photos.frames()
    assert isinstance(frame, Frame), frame
    return frame


@pytest.mark.parametrize("ending", [".png", ".tif", ".ppm"])
def test_16_bits_are_kept(ending: str, tmp_path: Path) -> None:
    frame = read(write_deep(tmp_path / f"deep{ending}"))
    assert (rgb_of(frame, deep=True) == DEEP).all()
    assert rgb_of(frame, deep=False).dtype == np.uint8
    assert np.abs(frame.rgb.astype(int) - (DEEP >> 8)).max() <= 1
    light, corners = linear_of(frame)
    nearest, _ = linear_of(Frame(index=0, name="a", decoded=np.rint(DEEP / 257).astype(np.uint8)))
    assert np.abs(light - nearest).max() < 0.006  # half a level of 8 bits
    assert len(np.unique(light)) > 10_000
    assert corners[:2] == (0.64, 0.33)


def test_jpeg_2000(tmp_path: Path) -> None:
    frame = read(write_deep(tmp_path / "deep.jp2"))
    deep = rgb_of(frame, deep=True)
    assert np.abs((deep >> 8).astype(int) - frame.rgb).max() <= 1
    assert len(np.unique(deep)) > 1000


def test_10_bits_of_dpx(tmp_path: Path) -> None:
    encoder: Any = av.CodecContext.create("dpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = SIZE[1], SIZE[0], "gbrp10be"
    frame = av.VideoFrame.from_ndarray(DEEP, format="rgb48le").reformat(format="gbrp10be", threads=1)
    (tmp_path / "a.dpx").write_bytes(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))
    assert np.abs(rgb_of(read(tmp_path / "a.dpx"), deep=True).astype(int) - DEEP).max() <= 64


def test_the_light_of_openexr_is_as_it_was_stored(tmp_path: Path) -> None:
    frame = read(write_exr(tmp_path / "a.exr", chromaticities=ACES))
    light, corners = linear_of(frame)
    assert (light == LIGHT.astype(np.float32)).all() and light.max() > 7
    assert corners == pytest.approx(ACES, abs=1e-6)
    shown = rgb_of(frame, deep=True)
    assert shown.dtype == np.uint16
    assert np.abs((shown >> 8).astype(int) - frame.rgb).max() <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_they_are_as_upright_as_the_picture(orientation: int, tmp_path: Path) -> None:
    path = write_deep(tmp_path / "a.png")
    with Image.open(path) as image:
        exif = image.getexif()
    exif[0x0112] = orientation
    content = path.read_bytes()
    chunk = exif.tobytes().removeprefix(b"Exif\0\0")
    extra = struct.pack(">I", len(chunk)) + b"eXIf" + chunk + struct.pack(">I", zlib.crc32(b"eXIf" + chunk))
    path.write_bytes(content[:33] + extra + content[33:])
    frame = read(path)
    assert frame.size == (SIZE if orientation in (1, 3) else SIZE[::-1])
    assert np.abs((rgb_of(frame, deep=True) >> 8).astype(int) - frame.rgb).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.ppm"])
def test_8_bits_stay_as_they_are(name: str, tmp_path: Path) -> None:
    rgb = picture(5, SIZE)
    if name == "a.jpg":
        make_photo(tmp_path / name, rgb)
    else:
        cv2.imwrite(str(tmp_path / name), np.ascontiguousarray(rgb[..., ::-1]))
    frame = read(tmp_path / name)
    assert frame.original is None or frame.original() is None
    assert (rgb_of(frame, deep=True) == frame.rgb.astype(np.uint16) * 257).all()


def test_a_file_that_is_another_by_now_is_not_taken(tmp_path: Path) -> None:
    frame = read(write_deep(tmp_path / "a.png"))
    shown = frame.rgb
    cv2.imwrite(str(tmp_path / "a.png"), DEEP[:32])
    assert (rgb_of(frame, deep=True) == shown.astype(np.uint16) * 257).all()


def test_another_picture_in_its_place_is_not_the_files(tmp_path: Path) -> None:
    frame = read(write_deep(tmp_path / "a.png"))
    other = picture(9, SIZE)
    assert (rgb_of(frame.with_picture(other), deep=True) == other.astype(np.uint16) * 257).all()


def test_a_sequence_of_plates_keeps_them(program: Program, tmp_path: Path) -> None:
    for number in (1001, 1002):
        write_exr(tmp_path / f"shot.{number}.exr", chromaticities=ACES)
    with PictureSequence(tmp_path / "shot.%d.exr") as source:
        assert all(isinstance(each, Frame) and each.original is not None for each in source.frames())
    options = ("--overlay", "none", "--save", "none", "--matte", "exr", *SMALL)
    assert program("video", tmp_path / "shot.%04d.exr", "-o", tmp_path / "out", *options).code == 0
    for number in (1001, 1002):
        with OpenEXR.File(str(tmp_path / "out" / "shot_matte" / f"shot_matte.{number:06d}.exr")) as file:
            channels = file.channels()
            assert (channels["RGBA"].pixels[..., :3] == LIGHT.astype(np.float32)).all()
            assert file.header()["chromaticities"] == pytest.approx(ACES, abs=1e-6)


def test_photos_keep_them(program: Program, tmp_path: Path) -> None:
    write_deep(tmp_path / "a.png")
    outcome = program("images", tmp_path / "a.png", "-o", tmp_path / "out", "--matte", "png16", *SMALL)
    assert outcome.code == 0, outcome
    found = cv2.imread(str(tmp_path / "out" / "a_matte16.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None and (found[..., 2::-1] == DEEP).all()
