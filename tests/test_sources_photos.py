"""Photos: formats, orientation, which are listed and by which names, and what is wrong with them."""

from __future__ import annotations

import base64
import errno
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sapiens_stream.cluster.listing import read_list
from sapiens_stream.disk import folds_case
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sources import Decoder, Photos
from sapiens_stream.sources import photos as photos_module
from sapiens_stream.sources.listing import Listed, list_photos
from tests.media import UInt8Array, as_stored, exif, make_photo, number_of, picture

GOLDEN = Path(__file__).parent / "data" / "golden"
DECODERS: tuple[Decoder, ...] = ("pyav", "opencv")

RGB = cv2.GaussianBlur(picture(0b1011001110), (0, 0), 3)
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
ALPHA = np.tile(np.linspace(0, 255, RGB.shape[1]).astype(np.uint8), (RGB.shape[0], 1))
TWO_TONE = np.where(GREY > 100, 255, 0).astype(np.uint8)

# 32 x 16, left half (200, 30, 30), right half (30, 30, 200), as CMYK with Adobe's inverted inks
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy"
    "/8AAFAgAEAAgBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAAIB//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8A0hjr"
    "HW/gCVRVQAKqEqgAlUVUAD//2Q=="
)
CMYK_RGB = np.repeat(np.repeat(np.array([[[200, 30, 30], [30, 30, 200]]], np.uint8), 16, 0), 16, 1)


def three(grey: UInt8Array) -> UInt8Array:
    return np.repeat(grey[:, :, None], 3, 2)


def encoded(extension: str, rgb: np.ndarray, *parameters: int) -> bytes:
    """By OpenCV, which counts BGR or BGRA."""
    order = {2: [], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[rgb.shape[2] if rgb.ndim == 3 else 2]
    done, data = cv2.imencode(extension, rgb[:, :, order] if order else rgb, parameters)
    assert done
    return data.tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows: np.ndarray, depth: int, colour_type: int, width: int, extra: bytes = b"") -> bytes:
    """A PNG of any colour type from its packed rows."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff_of_jpeg(jpeg: bytes, height: int, width: int) -> bytes:
    """A TIFF whose only strip is a JPEG (compression 7, YCbCr 4:2:0)."""
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, 8),  # bits a sample: three shorts, which lie right behind the header
        (259, 3, 1, 7),
        (262, 3, 1, 6),
        (273, 4, 1, 14),
        (277, 3, 1, 3),
        (278, 3, 1, height),
        (279, 4, 1, len(jpeg)),
        (530, 3, 2, 2 | 2 << 16),
    ]
    jpeg += bytes(len(jpeg) % 2)
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0"
        + struct.pack("<IHHH", 14 + len(jpeg), 8, 8, 8)
        + jpeg
        + struct.pack("<H", len(entries))
        + directory
        + bytes(4)
    )


PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
PLTE = png_chunk(b"PLTE", PALETTE.tobytes())
DEEP = RGB.astype(np.uint16) * 257
WIDTH = RGB.shape[1]
JPEG_420 = encoded(".jpg", RGB)
LZW, DEFLATE = 5, 8

# name: file name, content, the RGB it stands for, the mean difference that its coding may make
FORMATS: dict[str, tuple[str, bytes, UInt8Array, float]] = {
    "jpeg": ("a.jpg", JPEG_420, RGB, 2),
    "jpeg progressive": ("a.jpeg", encoded(".jpg", RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), RGB, 2),
    "jpeg 4:4:4": ("a.jpg", encoded(".jpg", RGB, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111), RGB, 1),
    "jpeg odd size": ("a.jpg", encoded(".jpg", RGB[:-1, :-1]), RGB[:-1, :-1], 2),
    "jpeg grey": ("a.jpg", encoded(".jpg", GREY), three(GREY), 1),
    "jpeg cmyk": ("a.jpg", CMYK_JPEG, CMYK_RGB, 3),
    "jpeg and more after its end": ("a.jpg", JPEG_420 + bytes(500), RGB, 2),
    "jpeg under png's name": ("a.png", JPEG_420, RGB, 2),
    "png": ("a.PNG", encoded(".png", RGB), RGB, 0),
    "png grey": ("a.png", encoded(".png", GREY), three(GREY), 0),
    "png alpha": ("a.png", encoded(".png", np.dstack([RGB, ALPHA])), RGB, 0),
    "png grey alpha": ("a.png", png(np.dstack([GREY, ALPHA]), 8, 4, WIDTH), three(GREY), 0),
    "png 16-bit": ("a.png", encoded(".png", DEEP), RGB, 0),
    "png 16-bit grey": ("a.png", encoded(".png", DEEP[:, :, 0]), three(RGB[:, :, 0]), 0),
    "png 16-bit grey alpha": (
        "a.png",
        png(np.dstack([GREY * np.uint16(257), ALPHA * np.uint16(257)]).astype(">u2"), 16, 4, WIDTH),
        three(GREY),
        0,
    ),
    "png 1-bit": ("a.png", png(np.packbits(TWO_TONE > 0, axis=1), 1, 0, WIDTH), three(TWO_TONE), 0),
    "png palette": ("a.png", png(GREY, 8, 3, WIDTH, PLTE), PALETTE[GREY], 0),
    "png palette alpha": (
        "a.png",
        png(GREY, 8, 3, WIDTH, PLTE + png_chunk(b"tRNS", bytes(range(256)))),
        PALETTE[GREY],
        0,
    ),
    "bmp": ("a.bmp", encoded(".bmp", RGB), RGB, 0),
    "bmp grey": ("a.bmp", encoded(".bmp", GREY), three(GREY), 0),
    "bmp alpha": ("a.bmp", encoded(".bmp", np.dstack([RGB, ALPHA])), RGB, 0),
    "webp": ("a.webp", encoded(".webp", RGB, cv2.IMWRITE_WEBP_QUALITY, 90), RGB, 3),
    "webp lossless": ("a.webp", encoded(".webp", RGB, cv2.IMWRITE_WEBP_QUALITY, 101), RGB, 0),
    # Under no alpha the lossless coder keeps no colour, so none of it is transparent here.
    "webp lossless alpha": (
        "a.webp",
        encoded(".webp", np.dstack([RGB, ALPHA // 2 + 99]), cv2.IMWRITE_WEBP_QUALITY, 101),
        RGB,
        0,
    ),
    "webp alpha": ("a.webp", encoded(".webp", np.dstack([RGB, ALPHA // 2 + 99]), cv2.IMWRITE_WEBP_QUALITY, 90), RGB, 3),
    "tiff": ("a.tif", encoded(".tif", RGB, cv2.IMWRITE_TIFF_COMPRESSION, 1), RGB, 0),
    "tiff lzw": ("a.TIFF", encoded(".tif", RGB, cv2.IMWRITE_TIFF_COMPRESSION, LZW), RGB, 0),
    "tiff deflate": ("a.tif", encoded(".tif", RGB, cv2.IMWRITE_TIFF_COMPRESSION, DEFLATE), RGB, 0),
    "tiff 16-bit": ("a.tif", encoded(".tif", DEEP), RGB, 0),
    "tiff 16-bit grey": ("a.tif", encoded(".tif", DEEP[:, :, 0]), three(RGB[:, :, 0]), 0),
    "tiff grey": ("a.tif", encoded(".tif", GREY), three(GREY), 0),
    "tiff jpeg": ("a.tif", tiff_of_jpeg(JPEG_420, *RGB.shape[:2]), RGB, 3),
}


def read(what: str | Path, **options: object) -> tuple[dict[str, Frame], dict[str, str]]:
    """The frames by name, and the reasons of what was skipped by the file's name."""
    with Photos(what, **options) as photos:  # type: ignore[arg-type]
        found = list(photos.frames())
    frames = {each.name: each for each in found if isinstance(each, Frame)}
    skipped = [each for each in found if isinstance(each, Skipped)]
    assert len(frames) + len(skipped) == len(found)
    return frames, {Path(each.name).name: each.reason for each in skipped}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("name", "content", "wanted", "tolerance"), FORMATS.values(), ids=FORMATS)
def test_every_format_comes_out_in_its_colours(
    name: str, content: bytes, wanted: UInt8Array, tolerance: float, decoder: Decoder, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    frames, skipped = read(tmp_path, decoder=decoder)
    assert not skipped
    rgb = frames["a"].rgb
    assert (rgb.shape, rgb.dtype) == (wanted.shape, np.uint8)
    assert np.abs(rgb.astype(int) - wanted).mean() <= tolerance


def oriented_jpeg(rgb: UInt8Array, orientation: int, folder: Path) -> Path:
    return make_photo(folder / "a.jpg", rgb, orientation=orientation)


def oriented_png(rgb: UInt8Array, orientation: int, folder: Path) -> Path:
    content = encoded(".png", rgb)
    (folder / "a.png").write_bytes(content[:33] + png_chunk(b"eXIf", exif(orientation)) + content[33:])
    return folder / "a.png"


def oriented_webp(rgb: UInt8Array, orientation: int, folder: Path) -> Path:
    height, width = rgb.shape[:2]
    size = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    block = exif(orientation)
    body = b"WEBPVP8X" + struct.pack("<IB3x", 10, 8) + size  # 8: it has EXIF data
    body += encoded(".webp", rgb)[12:] + b"EXIF" + struct.pack("<I", len(block)) + block
    (folder / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return folder / "a.webp"


def tiff_with(content: bytes, tag: int, value: int) -> bytes:
    """With the directory moved to the end, to have room for one entry more: a short."""
    at = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[at : at + 2], "little")
    entries = [content[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
    entries = [entry for entry in entries if entry[:2] != struct.pack("<H", tag)]
    entries.append(struct.pack("<HHIHH", tag, 3, 1, value, 0))
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    content += bytes(len(content) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory


def oriented_tiff(rgb: UInt8Array, orientation: int, folder: Path) -> Path:
    (folder / "a.tif").write_bytes(tiff_with(encoded(".tif", rgb), 0x112, orientation))
    return folder / "a.tif"


@pytest.mark.parametrize("compression", [1, LZW, DEFLATE])
def test_colours_are_not_darkened_by_a_straight_alpha(compression: int, tmp_path: Path) -> None:
    content = encoded(".tif", np.dstack([RGB, ALPHA]), cv2.IMWRITE_TIFF_COMPRESSION, compression)
    (tmp_path / "a.tif").write_bytes(tiff_with(content, 338, 2))
    frames, skipped = read(tmp_path)
    assert not skipped and not frames["a"].damaged
    assert np.array_equal(frames["a"].rgb, RGB)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("make", [oriented_jpeg, oriented_png, oriented_webp, oriented_tiff])
def test_orientation_is_applied(
    make: Callable[[UInt8Array, int, Path], Path], orientation: int, decoder: Decoder, tmp_path: Path
) -> None:
    upright = picture(773)
    make(as_stored(upright, orientation), orientation, tmp_path)
    frames, _ = read(tmp_path, decoder=decoder)
    assert frames["a"].size == upright.shape[:2]
    assert number_of(frames["a"].rgb) == 773


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_makes_no_sense_is_none(orientation: int, tmp_path: Path) -> None:
    oriented_png(picture(5), orientation, tmp_path)
    frames, _ = read(tmp_path)
    assert number_of(frames["a"].rgb) == 5


@pytest.mark.parametrize("name", ["astronaut.png", "astronaut_crop.jpg", "astronaut_wide.jpg"])
def test_opencv_gives_what_imread_gives(name: str) -> None:
    frames, _ = read(GOLDEN / name, decoder="opencv")
    np.testing.assert_array_equal(frames[Path(name).stem].rgb, cv2.imread(str(GOLDEN / name))[:, :, ::-1])


def test_opencv_gives_what_imread_gives_on_more_photos(shared: Path) -> None:
    frames, _ = read(shared / "golden" / "input", decoder="opencv")
    assert len(frames) >= 8
    for name, frame in frames.items():
        path = shared / "golden" / "input" / f"{name}.jpg"
        np.testing.assert_array_equal(frame.rgb, cv2.imread(str(path))[:, :, ::-1])


def test_pyav_reads_png_exactly_and_jpeg_closely() -> None:
    frames, _ = read(GOLDEN / "*.*")
    png_, jpeg = frames["astronaut"].rgb, frames["astronaut_crop"].rgb
    np.testing.assert_array_equal(png_, cv2.imread(str(GOLDEN / "astronaut.png"))[:, :, ::-1])
    # Chroma is scaled up by other filters in libjpeg and in swscale; the coarse picture is the same.
    other = cv2.imread(str(GOLDEN / "astronaut_crop.jpg"))[:, :, ::-1]
    assert np.abs(jpeg.astype(int) - other).mean() < 2


# name: file name, what makes it, the cause that is given
BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "jpeg cut": ("a.jpg", lambda p: p.write_bytes(JPEG_420[: len(JPEG_420) * 6 // 10]), "JPEG file is cut short"),
    "jpeg without its end": ("a.jpg", lambda p: p.write_bytes(JPEG_420[:-2]), "JPEG file is cut short"),
    "jpeg cut, with a thumbnail": (
        "a.jpg",
        lambda p: p.write_bytes(JPEG_420[:2] + b"\xff\xe2\x00\x06\xff\xd8\xff\xd9" + JPEG_420[2:900]),
        "JPEG file is cut short",
    ),
    "jpeg filled with zeros": (
        "a.jpg",
        lambda p: p.write_bytes(JPEG_420[:900] + bytes(2000)),
        "JPEG file is cut short",
    ),
    "progressive jpeg cut": (
        "a.jpg",
        lambda p: p.write_bytes(encoded(".jpg", RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)[:-300]),
        "JPEG file is cut short",
    ),
    "png cut": ("a.png", lambda p: p.write_bytes(encoded(".png", RGB)[:-1000]), "PNG file is cut short"),
    "png damaged": ("a.png", lambda p: p.write_bytes(encoded(".png", RGB).replace(b"IDAT", b"IDOT")), "damaged"),
    "webp cut": ("a.webp", lambda p: p.write_bytes(encoded(".webp", RGB)[:-200]), "WebP file is cut short"),
    "bmp cut": ("a.bmp", lambda p: p.write_bytes(encoded(".bmp", RGB)[:-200]), "BMP file is"),
    "tiff cut": ("a.tif", lambda p: p.write_bytes(encoded(".tif", RGB)[:-300]), "TIFF file is"),
    "only a start": ("a.jpg", lambda p: p.write_bytes(b"\xff\xd8\xff"), "JPEG file is cut short"),
    "zero bytes": ("a.jpg", lambda p: p.write_bytes(b""), "the file is empty"),
    "text": (
        "a.jpg",
        lambda p: p.write_text("Not a photo, though it says so."),
        "its content is not a picture, or of a kind that is not read",
    ),
    "a folder": ("a.jpg", lambda p: p.mkdir(), "it is a folder"),
    "a pipe": ("a.jpg", lambda p: os.mkfifo(p), "it is not a file"),
    "a link to nothing": ("a.jpg", lambda p: p.symlink_to("nowhere.jpg"), "No such file"),
    "no permission": ("a.jpg", lambda p: (p.write_bytes(JPEG_420), p.chmod(0)), "Permission denied"),
}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("name", "make", "message"), BAD.values(), ids=BAD)
def test_a_bad_photo_is_skipped_and_the_rest_goes_on(
    name: str,
    make: Callable[[Path], object],
    message: str,
    decoder: Decoder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if message == "Permission denied" and (os.name != "posix" or os.geteuid() == 0):
        pytest.skip("root may read everything, and so may everybody on Windows")
    if message == "it is not a file" and not hasattr(os, "mkfifo"):
        pytest.skip("no pipes that have a name")
    make(tmp_path / name)
    make_photo(tmp_path / "b.jpg", picture(1))
    frames, skipped = read(tmp_path, decoder=decoder)
    assert list(frames) == ["b"]
    assert list(skipped) == [name]
    assert message in skipped[name]
    assert capfd.readouterr() == ("", "")  # the reason is given once, by whoever prints it


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        make_photo(root / name, picture(len(name)))
    return root


def test_a_folder_is_read_in_sorted_order(tmp_path: Path) -> None:
    names = ["b.jpg", "a10.JPG", "a2.png", "Z.bmp", "c.webp", "d.tif", "e.TIFF", "f.Jpeg", "sub/g.jpg"]
    folder_of(tmp_path, *names)
    (tmp_path / "notes.md").write_text("no photo")
    frames, skipped = read(tmp_path)
    assert list(frames) == ["Z", "a10", "a2", "b", "c", "d", "e", "f"]
    assert not skipped


def test_sub_folders_keep_their_names_and_the_excluded_one_is_left_out(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.jpg", "x/a.jpg", "x/y/a.jpg", "output/a.png", "output/x/a.png", "x/output/a.jpg")
    frames, _ = read(tmp_path, recursive=True, exclude=tmp_path / "output")
    assert list(frames) == ["a", "x/a", "x/output/a", "x/y/a"]


def test_photos_that_lie_where_their_results_would_go_are_skipped(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.jpg", "x/b.jpg")
    frames, skipped = read(tmp_path, recursive=True, exclude=tmp_path)
    assert not frames and list(skipped) == ["a.jpg", "b.jpg"]
    assert "choose another folder" in skipped["a.jpg"]


def test_a_folder_with_photos_in_sub_folders_only(tmp_path: Path) -> None:
    folder_of(tmp_path, "x/a.jpg")
    with pytest.raises(InputError, match="recursive"):
        Photos(tmp_path)


def test_a_name_that_is_taken_is_skipped(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.jpg", "a.png", "a.b.png")
    frames, skipped = read(tmp_path)
    assert list(frames) == ["a.b", "a"] or list(frames) == ["a", "a.b"]
    assert "a.jpg" in skipped["a.png"]


def test_a_list_of_photos_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, "work/here.jpg", "lists/near.jpg", "far/away/a.jpg", "far/a.jpg", "lists/both.jpg")
    make_photo(tmp_path / "work" / "both.jpg", picture(99))
    monkeypatch.chdir(tmp_path / "work")
    lines = [
        "near.jpg",
        "",
        f"  {tmp_path}/far/away/a.jpg  ",
        "../far/a.jpg",
        "here.jpg",
        "gone.jpg",
        "both.jpg",
        "near.jpg",
    ]
    listing = tmp_path / "lists" / "list.txt"
    listing.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    with Photos(listing) as photos:
        found = list(photos.frames())
    assert [each.name for each in found] == [
        "lists/near",
        "far/away/a",
        "far/a",
        "work/here",
        "gone.jpg",
        "lists/both",
        str(tmp_path / "lists" / "near.jpg"),
    ]
    assert [each.reason for each in found if isinstance(each, Skipped)] == ["no such file", "it is listed already"]
    both = found[5]
    assert isinstance(both, Frame)
    assert number_of(both.rgb) == len("lists/both.jpg"), "the list's own folder comes first"
    listing.write_bytes("\r\n".join(lines).encode("utf-16"))  # as Windows PowerShell's > writes it
    with Photos(listing) as photos:
        assert [each.name for each in photos.frames()] == [each.name for each in found]


def test_a_list_of_one_folder_has_plain_names(tmp_path: Path) -> None:
    folder_of(tmp_path, "photos/a.jpg", "photos/b.jpg")
    listing = tmp_path / "list.txt"
    listing.write_text("photos/b.jpg\nphotos/a.jpg\n../../../../../../../../gone.jpg\n")
    frames, skipped = read(listing)
    assert list(frames) == ["b", "a"]
    assert list(skipped) == ["gone.jpg"]


@pytest.mark.parametrize("read", [list_photos, read_list], ids=["photos", "videos"])
def test_no_list_is_read_without_end(read: Callable[[Path], object], tmp_path: Path) -> None:
    holes = tmp_path / "holes.txt"
    with holes.open("wb") as file:
        file.truncate(1 << 40)
    lists = [holes]
    if Path("/dev/zero").exists():
        lists.append(tmp_path / "device.txt")
        lists[-1].symlink_to("/dev/zero")
    for path in lists:
        with pytest.raises(InputError, match=rf"{path.name}: a list of more than 268 MB; is it a list\?"):
            read(path)


def test_a_list_of_missing_photos_alone(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n")
    with Photos(tmp_path / "list.txt") as photos:
        assert list(photos.frames()) == [Skipped("a.jpg", "no such file"), Skipped("b.jpg", "no such file")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a"]),
        ("*", ["a"]),
        ("x/*.jpg", ["a", "b"]),
        ("*/b.jpg", ["x/b", "y/b"]),
        ("**/*.jpg", ["a", "x/a", "x/b", "y/b"]),
        ("[xy]/?.jpg", ["x/a", "x/b", "y/b"]),
    ],
)
def test_a_glob_names_its_photos_from_where_it_begins(pattern: str, names: list[str], tmp_path: Path) -> None:
    folder_of(tmp_path, "a.jpg", "x/a.jpg", "x/b.jpg", "y/b.jpg", "output/c.jpg")
    frames, _ = read(f"{tmp_path}/{pattern}", exclude=tmp_path / "output")
    assert list(frames) == names


def test_a_folder_of_a_glob_that_does_not_tell_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photo(tmp_path / "a.jpg", picture(0))

    def broken(folder: object) -> object:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(folder))

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(InputError, match=r"\*\.jpg: Stale file handle"):
        list_photos(tmp_path / "*.jpg")


@pytest.mark.parametrize("pattern", ["**/*.jpg", "*/*.jpg", "*/*", "*/a*.jpg", "x*/[a-c].jpg", "**"])
def test_a_folder_of_a_glob_that_may_not_be_looked_into_is_told(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path, "x/a.jpg", "xx/a.jpg", "output/c.jpg")
    listed = os.scandir

    def guarded(folder: object = ".") -> object:
        if str(folder).rstrip("/").endswith(("/x", "/output")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return listed(folder)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", guarded)
    frames, skipped = read(f"{tmp_path}/{pattern}", exclude=tmp_path / "output")
    assert list(frames) == ["xx/a"] and skipped == {"x": "Permission denied"}


def test_a_glob_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, "x/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert list(read("*/*.jpg")[0]) == ["x/a"]


class TestSeveral:
    """As a shell makes of a glob."""

    def test_come_as_they_are_given_and_are_called_like_the_glob(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder_of(tmp_path, "x/a.jpg", "x/b.jpg", "y/a.jpg")
        monkeypatch.chdir(tmp_path)
        frames, skipped = read(["x/b.jpg", "x/a.jpg", "x/c.jpg", "x/b.jpg"])
        assert list(frames) == ["b", "a"]
        assert skipped == {"c.jpg": "no such file", "b.jpg": "it is listed already"}
        with Photos(["x/b.jpg", "x/a.jpg"]) as photos:
            assert photos.info.name == "x/*.jpg" and photos.info.frame_count == 2

    @pytest.mark.parametrize(
        ("given", "names", "called"),
        [
            (["x/a.jpg", "y/a.jpg"], ["x/a", "y/a"], "*.jpg"),
            (["../here/x/a.jpg", "x/b.PNG"], ["a", "b"], "x/*"),
            (["../here/x/a.jpg", "../z.jpg"], ["here/x/a", "z"], "TMP/*.jpg"),
        ],
    )
    def test_are_named_below_the_folder_that_they_share(
        self, given: list[str], names: list[str], called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder_of(tmp_path, "here/x/a.jpg", "here/x/b.jpg", "here/y/a.jpg", "z.jpg")
        (tmp_path / "here" / "x" / "b.jpg").rename(tmp_path / "here" / "x" / "b.PNG")
        monkeypatch.chdir(tmp_path / "here")
        assert list(read(given)[0]) == names
        with Photos(given) as photos:
            assert photos.info.name == called.replace("TMP", str(tmp_path))

    def test_none_of_them_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"\*\.jpg: none of the 2 photos is there"):
            Photos([tmp_path / "a.jpg", tmp_path / "b.jpg"])


def test_a_single_photo(tmp_path: Path) -> None:
    folder_of(tmp_path, "x/a.b.jpg")
    assert list(read(tmp_path / "x" / "a.b.jpg")[0]) == ["a.b"]


def test_photos_are_not_decoded_far_ahead(tmp_path: Path) -> None:
    workers, count = 2, 40
    folder_of(tmp_path, *(f"{number:02d}.jpg" for number in range(count)))
    with Photos(tmp_path, workers=workers) as photos:
        frames = photos.frames()
        next(frames)
        for number in range(2 * workers + 1, count):
            (tmp_path / f"{number:02d}.jpg").unlink()
        rest = list(frames)
    assert sum(isinstance(each, Skipped) for each in rest) == count - 2 * workers - 1


@pytest.mark.parametrize("line", [".", "/", "..", "./", "folder", "//dev"])
def test_a_folder_in_a_list_is_named_and_skipped(tmp_path: Path, line: str) -> None:
    (tmp_path / "folder").mkdir()
    make_photo(tmp_path / "a.jpg", picture(1))
    (tmp_path / "list.txt").write_text(f"{line}\na.jpg\n")
    with Photos(tmp_path / "list.txt") as source:
        skipped, frame = source.frames()
    assert skipped == Skipped(line, "it is a folder, not a photo")
    assert frame.name == "a"


@pytest.mark.parametrize("line", ["x" * 5000, "a/" * 3000, "no.jpg"])
def test_what_cannot_be_in_a_list_is_skipped(tmp_path: Path, line: str) -> None:
    make_photo(tmp_path / "a.jpg", picture(1))
    (tmp_path / "list.txt").write_text(f"{line}\na.jpg\n")
    with Photos(tmp_path / "list.txt") as source:
        skipped, frame = source.frames()
    assert isinstance(skipped, Skipped) and skipped.name == line
    assert skipped.reason in ("no such file", os.strerror(errno.ENAMETOOLONG))
    assert frame.name == "a"


def test_two_slashes_in_a_list_are_one(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg", picture(1))
    (tmp_path / "list.txt").write_text(f"/{photo}\n/dev/null\n//dev/null\n")
    with Photos(tmp_path / "list.txt") as source:
        assert sorted(type(each).__name__ for each in source.frames()) == ["Frame", "Skipped", "Skipped"]


class TestOneThatHangs:
    """What blocks in a library or a network file is left behind; the photos after it are read by other threads."""

    def test_is_skipped_and_the_others_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in "abcdef":
            make_photo(tmp_path / f"{name}.png", picture(ord(name)))
        let_go = threading.Event()
        plain = photos_module.open_photo

        def opened(path: Path, *rest: Any) -> Any:
            if path.stem in "bc":
                let_go.wait(30)
            return plain(path, *rest)

        monkeypatch.setattr(photos_module, "open_photo", opened)
        alive: list[int] = []
        try:
            with Photos(tmp_path, workers=2, stall_timeout=0.5) as photos:
                photos.alive = lambda: alive.append(1)
                found = list(photos.frames())
            assert photos.hung and alive
        finally:
            let_go.set()
        assert [Path(each.name).stem for each in found] == [*"abcdef"]
        for each in found[1:3]:
            assert isinstance(each, Skipped) and re.fullmatch(r"decoding has hung for \d[.\d]* s", each.reason)
        assert [each.index for each in found if isinstance(each, Frame)] == [0, 3, 4, 5]  # as if all had been read

    def test_without_a_timeout_is_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_photo(tmp_path / "a.png", picture(1))
        plain = photos_module.decode_photo

        def decode(*arguments: Any) -> Any:
            time.sleep(0.5)
            return plain(*arguments)

        monkeypatch.setattr(photos_module, "decode_photo", decode)
        with Photos(tmp_path) as photos:
            assert [each.name for each in photos.frames()] == ["a"]
            assert not photos.hung


@pytest.mark.parametrize("folds", [False, True])
def test_names_that_differ_in_case_alone_are_one_where_the_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: bool
) -> None:
    monkeypatch.setattr("sapiens_stream.sources.listing.folds_case", lambda folder: folds)
    paths = [make_photo(tmp_path / "photos" / name, picture(1)) for name in ("UP.jpg", "up.png")]
    first, second = list_photos(tmp_path / "photos", exclude=tmp_path / "out")
    assert isinstance(first, Listed) and first.path == paths[0]
    assert isinstance(second, Skipped if folds else Listed)
    if isinstance(second, Skipped):
        assert second.name == str(paths[1]) and "overwrite those of UP.jpg, as the disk of" in second.reason


def test_whether_a_disk_takes_upper_and_lower_case_for_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert folds_case(tmp_path / "not" / "there") == (tmp_path / "A").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"decoder": "pil"}, "no decoder 'pil'; there are pyav, opencv"),
        ({"workers": 0}, "0 workers; it is a whole number, 1 or more"),
        ({"workers": "four"}, "'four' workers; it is"),
        ({"workers": 1.5}, "1.5 workers; it is"),
        ({"recursive": "no"}, "recursive is 'no'; it is True or False"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_told(setting, said):
    with pytest.raises(UsageError, match=said):
        Photos("samples/astronaut.jpg", **setting)
