"""Pictures of film scans and of renders, DPX and OpenEXR, as photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenEXR
import pytest
from av.video.codeccontext import VideoCodecContext

from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sources import Photos
from tests.media import picture

SHOWN = picture(5, (90, 124))
SIGNAL = SHOWN / 255
LIGHT = np.where(SIGNAL <= 0.04045, SIGNAL / 12.92, ((SIGNAL + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
ONE = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}


def read(path: Path, **options: Any) -> Frame | Skipped:
    with Photos(path, **options) as photos:
        [item] = photos.frames()
    return item


def rgb_of(path: Path) -> np.ndarray:
    item = read(path)
    assert isinstance(item, Frame), item
    return item.rgb


@pytest.mark.parametrize("form", ["rgb24", "gbrp10be", "gbrp12le", "rgb48be", "rgba"])
def test_a_dpx(form: str, tmp_path: Path) -> None:
    encoder = av.CodecContext.create("dpx", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 124, 90, form
    frame = av.VideoFrame.from_ndarray(SHOWN, format="rgb24").reformat(format=form, threads=1)
    (tmp_path / "plate.0001.dpx").write_bytes(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))
    assert np.abs(rgb_of(tmp_path / "plate.0001.dpx").astype(int) - SHOWN).max() <= 1


@pytest.mark.parametrize("numbers", [np.float16, np.float32])
@pytest.mark.parametrize("packed", ["NO", "ZIP", "PIZ", "RLE", "DWAA"])
def test_the_light_of_an_openexr_is_shown_as_srgb(packed: str, numbers: Any, tmp_path: Path) -> None:
    path = tmp_path / "render.0001.exr"
    header = ONE | {"compression": getattr(OpenEXR, f"{packed}_COMPRESSION")}
    OpenEXR.File(header, {"RGB": LIGHT.astype(numbers)}).write(str(path))
    difference = np.abs(rgb_of(path).astype(int) - SHOWN)
    assert difference.mean() < 1 if packed == "DWAA" else difference.max() <= 1


def test_what_is_brighter_than_white_is_white_and_what_is_no_number_is_black(tmp_path: Path) -> None:
    light = np.zeros((8, 8, 3), np.float32)
    light[0], light[1], light[2], light[3] = 7, np.inf, np.nan, -1
    OpenEXR.File(dict(ONE), {"RGB": light}).write(str(tmp_path / "a.exr"))
    assert rgb_of(tmp_path / "a.exr")[:4, 0, 0].tolist() == [255, 255, 0, 0]


def planes(layer: str = "") -> dict[str, np.ndarray]:
    return {f"{layer}{name}": LIGHT[..., number].astype(np.float16) for number, name in enumerate("RGB")}


DEPTH = np.ones(SHOWN.shape[:2], np.float32)
LAYERS = {
    "beside others": planes() | {"Z": DEPTH, "albedo.R": DEPTH, "albedo.G": DEPTH, "albedo.B": DEPTH},
    "with alpha": planes() | {"A": DEPTH.astype(np.float16)},
    "in a layer": planes("beauty.") | {"normal.X": DEPTH, "Z": DEPTH},
}


@pytest.mark.parametrize("channels", LAYERS.values(), ids=LAYERS.keys())
def test_the_picture_among_the_channels_of_a_render(channels: dict[str, np.ndarray], tmp_path: Path) -> None:
    OpenEXR.File(dict(ONE), channels).write(str(tmp_path / "a.exr"))
    assert np.abs(rgb_of(tmp_path / "a.exr").astype(int) - SHOWN).max() <= 1


def grey(path: Path) -> None:
    OpenEXR.File(dict(ONE), {"Y": LIGHT[..., 1].astype(np.float16)}).write(str(path))


def tiled(path: Path) -> None:
    header = ONE | {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    OpenEXR.File(header, planes()).write(str(path))


def of_parts(path: Path) -> None:
    OpenEXR.File([OpenEXR.Part(dict(ONE), planes(), name) for name in ("left", "right")]).write(str(path))


@pytest.mark.parametrize("write", [grey, tiled, of_parts])
def test_other_kinds_of_openexr_are_read_and_told_where_they_are_cut_short(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write(path)
    wanted = SHOWN if write is not grey else np.repeat(SHOWN[..., 1:2], 3, axis=2)
    assert np.abs(rgb_of(path).astype(int) - wanted).max() <= 1
    content = path.read_bytes()
    for share in (0.3, 0.6, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        assert read(path) == Skipped(str(path), "the OpenEXR file is cut short")


@pytest.mark.parametrize("write", [grey, tiled, of_parts])
def test_an_openexr_whose_header_is_forged_takes_no_memory(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write(path)
    content = path.read_bytes()
    for window in (b"displayWindow", b"dataWindow"):
        at = content.index(window + b"\0box2i\0") + len(window) + 7 + 12
        path.write_bytes(content[:at] + (2**30).to_bytes(4, "little") * 2 + content[at + 8 :])
        item = read(path)
        assert isinstance(item, Skipped) and "more than 200000000" in item.reason


def test_openexr_is_a_photo_of_images(program: Any, tmp_path: Path) -> None:
    (tmp_path / "shot").mkdir()
    for number in (1001, 1002):
        OpenEXR.File(dict(ONE), planes()).write(str(tmp_path / "shot" / f"plate.{number}.exr"))
    outcome = program("images", tmp_path / "shot", "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.stderr
    assert {path.name for path in (tmp_path / "out").glob("*_seg.npy")} == {
        "plate.1001_seg.npy",
        "plate.1002_seg.npy",
    }
