"""What phones and cameras put beside JPEGs: read whole, or named."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sources import Photos
from tests.heif import Codec, coded, cropped, heif, mirrored, tiled, tiles_of, turned
from tests.media import UInt8Array, as_stored, exif, make_photo, number_of, picture

UPRIGHT = picture(773)
TALL = picture(773, (160, 96))


def read(what: str | Path, **options: object) -> tuple[dict[str, Frame], dict[str, str]]:
    """The frames by name, and the reasons of what was skipped by the file's name."""
    with Photos(what, **options) as photos:  # type: ignore[arg-type]
        found = list(photos.frames())
    frames = {each.name: each for each in found if isinstance(each, Frame)}
    return frames, {Path(each.name).name: each.reason for each in found if isinstance(each, Skipped)}


def read_bytes(folder: Path, content: bytes, name: str = "a.heic") -> Frame:
    (folder / name).write_bytes(content)
    frames, skipped = read(folder / name)
    assert not skipped
    [frame] = frames.values()
    assert frame.damaged is None
    return frame


@pytest.mark.parametrize(("codec", "name"), [("libx265", "a.heic"), ("libx265", "a.HIF"), ("libsvtav1", "a.avif")])
def test_a_picture_of_one_piece(codec: Codec, name: str, tmp_path: Path) -> None:
    frame = read_bytes(tmp_path, heif(coded(UPRIGHT, codec)), name)
    assert np.abs(frame.rgb.astype(int) - UPRIGHT).mean() < 4
    assert number_of(frame.rgb) == 773


@pytest.mark.parametrize(
    ("properties", "undo"),
    [
        ((turned(1),), lambda a: np.rot90(a, -1)),
        ((turned(2),), lambda a: np.rot90(a, -2)),
        ((turned(3),), lambda a: np.rot90(a, -3)),
        ((mirrored(0),), lambda a: a[::-1]),
        ((mirrored(1),), lambda a: a[:, ::-1]),
        ((turned(1), mirrored(0)), lambda a: np.rot90(a[::-1], -1)),
        ((turned(1), mirrored(1)), lambda a: np.rot90(a[:, ::-1], -1)),
        ((mirrored(1), turned(1)), lambda a: np.rot90(a, -1)[:, ::-1]),
        ((mirrored(0), turned(3)), lambda a: np.rot90(a, -3)[::-1]),
    ],
)
def test_turned_and_mirrored(
    properties: tuple[bytes, ...], undo: Callable[[UInt8Array], UInt8Array], tmp_path: Path
) -> None:
    frame = read_bytes(tmp_path, heif(coded(np.ascontiguousarray(undo(UPRIGHT))), *properties))
    assert frame.size == UPRIGHT.shape[:2] == frame.rgb.shape[:2]
    assert number_of(frame.rgb) == 773


def test_a_crop_comes_before_a_turn(tmp_path: Path) -> None:
    stored = np.pad(np.rot90(TALL, -1), ((8, 24), (16, 0), (0, 0)))
    crop = cropped((96, 160), stored.shape[:2], 8, 16)
    frame = read_bytes(tmp_path, heif(coded(np.ascontiguousarray(stored)), crop, turned(1)))
    assert frame.size == (160, 96)
    assert number_of(frame.rgb) == 773


class TestTiles:
    RGB = picture(611, (150, 220))

    @pytest.mark.parametrize("codec", ["libx265", "libsvtav1"])
    def test_they_make_one_picture(self, codec: Codec, tmp_path: Path) -> None:
        tiles = tiles_of(self.RGB, 64, codec)
        assert len(tiles) == 12
        frame = read_bytes(tmp_path, tiled(tiles, 4, (150, 220)))
        assert frame.size == (150, 220)
        assert np.abs(frame.rgb.astype(int) - self.RGB).mean() < 4
        assert number_of(frame.rgb) == 611

    def test_turned(self, tmp_path: Path) -> None:
        stored = np.ascontiguousarray(np.rot90(self.RGB, 1))
        frame = read_bytes(tmp_path, tiled(tiles_of(stored, 64), 3, stored.shape[:2], turned(3)))
        assert number_of(frame.rgb) == 611

    @pytest.mark.parametrize(
        ("tiles", "size", "message"),
        [(11, (150, 220), "11 of its 12 tiles"), (12, (150, 300), "do not add up"), (12, (150, 60), "do not add up")],
    )
    def test_never_a_part_of_them(self, tiles: int, size: tuple[int, int], message: str, tmp_path: Path) -> None:
        content = tiled(tiles_of(self.RGB, 64)[:tiles], 4, size)
        (tmp_path / "a.heic").write_bytes(content)
        frames, skipped = read(tmp_path)
        assert not frames and message in skipped["a.heic"]

    def test_cut_short(self, tmp_path: Path) -> None:
        (tmp_path / "a.heic").write_bytes(tiled(tiles_of(self.RGB, 64), 4, (150, 220))[:-500])
        frames, skipped = read(tmp_path)
        assert not frames and "cut short" in skipped["a.heic"]


def test_files_of_phones(shared: Path) -> None:
    frames, skipped = read(shared / "cases" / "*.*")
    sizes = {name: frame.size for name, frame in frames.items()}
    assert sizes["orientation"] == (48, 64)
    assert sizes["torchcodec_gradient_rotated"] == (1280, 720)
    assert sizes["rot1mir0"] == (427, 640)
    assert {"two_pictures", "person_junk", "photoshop-200dpi-broken"} < set(frames)
    assert not skipped and not any(frame.damaged for frame in frames.values())
    sky, field = frames["rot1mir0"].rgb[60:110].mean((0, 1)), frames["rot1mir0"].rgb[330:380].mean((0, 1))
    assert sky[2] > field[2] + 60, "the sky is on top"


@pytest.mark.parametrize("name", ["a.jp2", "a.ppm", "a.pgm", "a.qoi", "a.jfif", "a.dib", "a.mpo"])
def test_other_kinds_are_read(name: str, tmp_path: Path) -> None:
    rgb = cv2.GaussianBlur(UPRIGHT, (0, 0), 2)
    if name == "a.qoi":
        context = av.CodecContext.create("qoi", "w")
        context.height, context.width, context.pix_fmt, context.time_base = *rgb.shape[:2], "rgb24", 1  # type: ignore[attr-defined]
        [packet] = context.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24"))  # type: ignore[attr-defined]
        content = bytes(packet)
    else:
        extension = {"jfif": ".jpg", "dib": ".bmp", "mpo": ".jpg"}.get(name[2:], name[1:])
        shown = rgb[:, :, ::-1] if extension != ".pgm" else cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        content = cv2.imencode(extension, shown)[1].tobytes()
        if name == "a.mpo":  # a second picture behind the first
            content += cv2.imencode(".jpg", 255 - shown)[1].tobytes()
    frame = read_bytes(tmp_path, content, name)
    wanted = rgb if name != "a.pgm" else np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    assert np.abs(frame.rgb.astype(int) - wanted).mean() < 4


def test_a_gif(tmp_path: Path) -> None:
    frame = read_bytes(tmp_path, cv2.imencode(".gif", UPRIGHT[:, :, ::-1])[1].tobytes(), "a.gif")
    assert number_of(frame.rgb) == 773


def raw(tag: int, value: int) -> bytes:
    """A TIFF with a thumbnail and one tag that tells what it is."""
    entries = [(254, 4, 1, 1), (256, 3, 1, 1), (257, 3, 1, 1), (tag, 4, 1, value)]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 4) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.dng", b"", "camera raw"),
        ("a.CR3", b"", "camera raw"),
        ("a.nef", b"", "camera raw"),
        ("a.ARW", b"", "camera raw"),
        ("a.raf", b"", "camera raw"),
        ("a.jls", b"", "JPEG-LS"),
        ("a.jpg", b"\xff\xd8\xff\xf7\0\x0b\x08" + bytes(20), "JPEG-LS"),
        ("a.jxl", b"", "JPEG XL"),
        ("a.psd", b"", "Photoshop"),
        ("a.hdr", b"", "Radiance HDR"),
        ("a.0001.cin", b"", "Cineon"),
        ("a.png", b"\x80\x2a\x5f\xd7" + bytes(20), "Cineon"),
        ("a.tga", b"", "Targa"),
        ("a.tif", raw(50706, 0x00000401), "camera raw"),
        ("a.tif", b"II*\0\x10\0\0\0CR\x02\0" + bytes(20), "camera raw"),
        ("a.jpg", b"\xff\x0a" + bytes(20), "JPEG XL"),
        ("a.jpg", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JPEG XL"),
        ("a.heic", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "camera raw"),
    ],
)
def test_kinds_that_are_not_read_are_named(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content or b"whatever")
    make_photo(tmp_path / "b.jpg", UPRIGHT)
    frames, skipped = read(tmp_path)
    assert list(frames) == ["b"]
    assert skipped[name].startswith(f"{kind} is not read; convert it")


def test_a_raw_file_does_not_take_the_name_of_the_jpeg_beside_it(tmp_path: Path) -> None:
    make_photo(tmp_path / "IMG_1.JPG", UPRIGHT)
    (tmp_path / "IMG_1.DNG").write_bytes(raw(50706, 0x00000401))
    frames, skipped = read(tmp_path)
    assert list(frames) == ["IMG_1"] and list(skipped) == ["IMG_1.DNG"]


@pytest.mark.parametrize("what", ["folder", "glob", "list"])
def test_companions_of_macos_are_passed_over(what: str, tmp_path: Path) -> None:
    make_photo(tmp_path / "a.jpg", UPRIGHT)
    make_photo(tmp_path / "sub" / "b.jpg", UPRIGHT)
    for name in ("._a.jpg", "sub/._b.jpg", "._c.heic", "._d.dng"):
        (tmp_path / name).write_bytes(b"\0\x05\x16\x07")
    (tmp_path / "list.txt").write_text("a.jpg\n._a.jpg\nsub/b.jpg\nsub/._b.jpg\n")
    given = {"folder": tmp_path, "glob": f"{tmp_path}/**/*", "list": tmp_path / "list.txt"}[what]
    frames, skipped = read(given, recursive=True)
    assert sorted(frames) == ["a", "sub/b"] and not skipped


def png_with(chunk: tuple[bytes, bytes]) -> Callable[[UInt8Array], tuple[str, bytes]]:
    def make(rgb: UInt8Array) -> tuple[str, bytes]:
        content = cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()
        kind, data = chunk
        made = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        return "a.png", content[:33] + made + content[33:]

    return make


def webp_with(kind: bytes, data: bytes) -> Callable[[UInt8Array], tuple[str, bytes]]:
    def make(rgb: UInt8Array) -> tuple[str, bytes]:
        content = cv2.imencode(".webp", rgb[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
        size = b"".join((side - 1).to_bytes(3, "little") for side in (rgb.shape[1], rgb.shape[0]))
        body = b"WEBPVP8X" + struct.pack("<IB3x", 10, 4) + size + content[12:]
        body += kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
        return "a.webp", b"RIFF" + struct.pack("<I", len(body)) + body

    return make


def jpeg_with(segment: bytes) -> Callable[[UInt8Array], tuple[str, bytes]]:
    def make(rgb: UInt8Array) -> tuple[str, bytes]:
        content = cv2.imencode(".jpg", rgb[:, :, ::-1])[1].tobytes()
        return "a.jpg", content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]

    return make


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
XMP_ELEMENT = b"<x:xmpmeta><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>"
HEX = b"\nexif\n%8d\n" % len(b"Exif\0\0" + exif(6)) + (b"Exif\0\0" + exif(6)).hex().encode() + b"\n"


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
@pytest.mark.parametrize(
    "make",
    [
        png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        png_with((b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(XMP_ELEMENT))),
        png_with((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(HEX))),
        png_with((b"tEXt", b"Raw profile type APP1\0" + HEX)),
        png_with((b"eXIf", exif(6))),
        webp_with(b"XMP ", XMP),
        jpeg_with(b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    ],
    ids=["png xmp", "png xmp compressed", "png zTXt", "png tEXt", "png eXIf", "webp xmp", "jpeg xmp"],
)
def test_orientation_wherever_it_is_written(
    make: Callable[[UInt8Array], tuple[str, bytes]], decoder: str, tmp_path: Path
) -> None:
    name, content = make(as_stored(UPRIGHT, 6))
    (tmp_path / name).write_bytes(content)
    frames, _ = read(tmp_path, decoder=decoder)
    assert frames["a"].size == UPRIGHT.shape[:2]
    assert number_of(frames["a"].rgb) == 773
