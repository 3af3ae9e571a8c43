"""Numbered pictures as one clip: "shot.%04d.exr", as renderers and compositors write them."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from sapiens_stream import LabelVideo, segment
from sapiens_stream.errors import InputError, UsageError
from sapiens_stream.frame import Frame, Skipped
from sapiens_stream.sources import PictureSequence, Video, open_source
from sapiens_stream.sources.film_header import FilmHeader, exact_rate, film_header
from sapiens_stream.sources.pattern import parse_pattern, pattern_of
from sapiens_stream.sources.sequence import parse_rate
from sapiens_stream.sources.time_code import at_rate
from tests.media import frame_times, make_photo, make_video, number_of, picture
from tests.program import Program, record_of
from tests.test_results import assert_same_files

SIZE = (64, 96)
SMALL = ("--shape", 64, 64, "--device", "cpu")


def shot(folder: Path, numbers: Iterable[int], name: str = "shot.{:04d}.png") -> Path:
    """Pictures that bear the last digits of their own numbers; their pattern's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        make_photo(folder / name.format(number), picture(number % 1000, SIZE))
    return folder / "shot.%04d.png"


def read(what: Path | str, **options: Any) -> list[Frame | Skipped]:
    with PictureSequence(what, **options) as source:
        return list(source.frames())


@pytest.mark.parametrize(
    ("name", "stem", "seventh"),
    [
        ("shot.%04d.exr", "shot", "shot.0007.exr"),
        ("shot.####.exr", "shot", "shot.0007.exr"),
        ("shot_%d.png", "shot", "shot_7.png"),
        ("shot-#.dpx", "shot", "shot-7.dpx"),
        ("%06d.jpg", "plates", "000007.jpg"),
        ("sh010_%04d_comp_v2.tif", "sh010_comp_v2", "sh010_0007_comp_v2.tif"),
        ("é ü.%03d.png", "é ü", "é ü.007.png"),
    ],
)
def test_a_name_stands_for_numbered_pictures(name: str, stem: str, seventh: str, tmp_path: Path) -> None:
    folder = tmp_path / "plates"
    folder.mkdir()
    pattern = parse_pattern(folder / name)
    assert pattern is not None
    assert (pattern.stem, pattern.path(7)) == (stem, folder / seventh)
    for number in (12, 7, 10000):
        pattern.path(number).write_bytes(b"")
    others = ("shot.07.exr", "shot.00007.exr", "shot_07.png", "._shot.0007.exr", "shot..exr", "shot.-001.exr", "７.jpg")
    for other in others:
        (folder / other).write_bytes(b"")
    assert list(pattern.files()) == [7, 12, 10000]


@pytest.mark.parametrize(
    "name",
    ["shot.png", "shot.%04d.mp4", "shot.%04d.%02d.png", "http://a/%04d.png", "%099d.png", "100%.png", "a%4d.png"],
)
def test_other_names_stand_for_none(name: str) -> None:
    assert parse_pattern(name) is None


def test_a_file_of_that_very_name_is_a_picture(tmp_path: Path) -> None:
    make_photo(tmp_path / "photo#1.png", picture(1, SIZE))
    assert parse_pattern(tmp_path / "photo#1.png") is None
    with open_source(tmp_path / "photo#1.png") as source:
        assert source.info.kind == "photos"


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a/s.0998.png", "a/s.1002.png"], "a/s.%04d.png"),
        (["s9.png", "s10.png"], "s%d.png"),
        (["s10.png", "s9.png"], "s%d.png"),
        (["v2_01.png", "v2_02.png"], "v2_%02d.png"),
        (["a.png", "b.png"], None),
        (["a/1.png", "b/2.png"], None),
        (["1.mp4", "2.mp4"], None),
        (["1.png"], None),
    ],
)
def test_what_a_shell_makes_of_a_glob_is_recognised(names: list[str], pattern: str | None) -> None:
    assert pattern_of(names) == pattern


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("24", Fraction(24)),
        ("25.0", Fraction(25)),
        ("12.5", Fraction(25, 2)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
    ],
)
def test_a_rate_as_people_write_it(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "x", "0", "-24", "nan", "inf", "1e999", "24/0", "24/x", "1001", "1/2", "24000"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UsageError, match="frames a second"):
        parse_rate(text)


def test_each_has_its_number_its_place_and_its_time(tmp_path: Path) -> None:
    pattern = shot(tmp_path, (1001, 1002, 1003, 1010))
    with PictureSequence(pattern) as source:
        info, items = source.info, list(source.frames())
    frames = [each for each in items if isinstance(each, Frame)]
    assert [(each.index, each.name, each.number) for each in frames] == [
        (0, "shot/000000", 1001),
        (1, "shot/000001", 1002),
        (2, "shot/000002", 1003),
        (3, "shot/000003", 1010),
    ]
    assert [number_of(each.rgb) for each in frames] == [1, 2, 3, 10]
    assert [each.time for each in frames] == [Fraction(place, 24) for place in (0, 1, 2, 9)]
    assert items[3] == Skipped(str(tmp_path / "shot.1004.png"), "6 pictures are missing, to shot.1009.png")
    assert (info.kind, info.frame_count, info.size, info.frame_rate, info.duration, info.numbers) == (
        *("video", 4, SIZE, Fraction(24), Fraction(10, 24)),
        (1001, 1010),
    )


def test_what_cannot_be_read_is_named_and_the_rest_keeps_its_numbers(tmp_path: Path) -> None:
    pattern = shot(tmp_path, range(5))
    (tmp_path / "shot.0000.png").write_bytes(b"nothing")
    whole = (tmp_path / "shot.0002.png").read_bytes()
    (tmp_path / "shot.0002.png").write_bytes(whole[: len(whole) // 2])
    items = read(pattern)
    assert [each.name for each in items if isinstance(each, Skipped)] == [
        str(tmp_path / f"shot.{number:04d}.png") for number in (0, 2)
    ]
    assert [(each.index, each.number, number_of(each.rgb)) for each in items if isinstance(each, Frame)] == [
        (0, 1, 1),
        (1, 3, 3),
        (2, 4, 4),
    ]


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": 2000}, {"rate": float("nan")}, {"rate": "x"}])
def test_a_rate_that_there_cannot_be(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="frames a second"):
        read(shot(tmp_path, range(2)), **options)


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture is called like that"):
        read(tmp_path / "shot.%04d.png")
    with pytest.raises(InputError, match="no name of numbered pictures"):
        read(tmp_path / "shot.png")
    with pytest.raises(InputError, match="No such file"):  # and standard input is not waited for
        Video(shot(tmp_path, range(2)))
    for path in tmp_path.iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no picture of it can be read: shot\.0000\.png"):
        read(tmp_path / "shot.%04d.png")


class TestHeaders:
    """What OpenEXR and DPX tell of the film."""

    def exr(self, path: Path, rate: Fraction, aspect: Fraction) -> bytes:
        encoder: Any = av.CodecContext.create("exr", "w")
        encoder.width, encoder.height, encoder.pix_fmt = SIZE[1], SIZE[0], "gbrpf32le"
        encoder.framerate, encoder.sample_aspect_ratio = rate, aspect
        frame = av.VideoFrame(SIZE[1], SIZE[0], "gbrpf32le")
        path.write_bytes(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))
        return path.read_bytes()

    def dpx(self, path: Path, order: str, fields: dict[int, bytes], *, film: bool = True) -> Path:
        """With the headers of film and television between FFmpeg's own and the pixels, or without."""
        encoder: Any = av.CodecContext.create("dpx", "w")
        encoder.width, encoder.height, encoder.pix_fmt = SIZE[1], SIZE[0], "gbrp10be" if order == ">" else "gbrp10le"
        frame = av.VideoFrame(SIZE[1], SIZE[0], encoder.pix_fmt)
        content = bytearray(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))
        assert content[:4] == (b"SDPX" if order == ">" else b"XPDS")
        if film:
            content[1664:1664] = bytes(2048 - 1664)
            content[4:8], content[16:20] = (struct.pack(f"{order}I", number) for number in (2048, len(content)))
        for at, value in fields.items():
            content[at : at + 4] = value
        path.write_bytes(content)
        return path

    @pytest.mark.parametrize("order", "<>")
    def test_pixels_are_not_taken_for_a_rate_or_a_time_code(self, order: str, tmp_path: Path) -> None:
        pixels = {1724: struct.pack(f"{order}f", 48), 1940: struct.pack(f"{order}f", 48), 1920: b"\1\1\1\1"}
        without = self.dpx(tmp_path / "a.1.dpx", order, pixels, film=False)
        assert film_header(without.read_bytes()) == FilmHeader()
        told = film_header(self.dpx(tmp_path / "b.1.dpx", order, pixels).read_bytes())
        assert (told.rate, told.time_code) == (48, "01:01:01:01")

    def test_an_openexr(self, tmp_path: Path) -> None:
        self.exr(tmp_path / "a.1.exr", Fraction(24000, 1001), Fraction(2))
        with PictureSequence(tmp_path / "a.%d.exr") as source:
            assert source.info.frame_rate == Fraction(24000, 1001)
            assert source.info.sample_aspect_ratio == 2
        with PictureSequence(tmp_path / "a.%d.exr", rate=30) as source:
            assert source.info.frame_rate == 30

    @pytest.mark.parametrize(
        ("bits", "rate", "said"),
        [
            (0x01020304, "24", "01:02:03:04"),
            (0, "24", "00:00:00:00"),
            (0x81828344, "30000/1001", "01:02:03;04"),  # flags of all digits, and that numbers are dropped
            (0x81828344, "24", "01:02:03:04"),
            (0x23595924, "24", None),
            (0x24000000, "24", None),
            (0x00600000, "24", None),
            (0x0000000A, "24", None),
            (0xFFFFFFFF, "24", None),
        ],
    )
    def test_the_time_code_of_an_openexr(self, bits: int, rate: str, said: str | None, tmp_path: Path) -> None:
        exr = self.exr(tmp_path / "a.1.exr", Fraction(24), Fraction(1))
        attribute = b"timeCode\0timecode\0" + struct.pack("<iII", 8, bits, 0)
        (tmp_path / "a.1.exr").write_bytes(exr[:8] + attribute + exr[8:])
        told = film_header((tmp_path / "a.1.exr").read_bytes()).time_code
        assert at_rate(told, Fraction(rate)) == said

    def test_the_library_says_the_same(self, tmp_path: Path) -> None:
        library = pytest.importorskip("OpenEXR")
        said = library.TimeCode(10, 20, 30, 12, *[0] * 14)
        channels = {"RGB": np.zeros((*SIZE, 3), np.float32)}
        library.File({"timeCode": said}, channels).write(str(tmp_path / "a.1.exr"))
        with PictureSequence(tmp_path / "a.%d.exr") as source:
            assert source.info.time_code == "10:20:30:12"

    @pytest.mark.parametrize(("rate", "said"), [("24", "01:02:03:04"), ("30000/1001", "01:02:03;04")])
    def test_videos_begin_at_the_time_code_of_the_first(
        self, rate: str, said: str, program: Program, tmp_path: Path
    ) -> None:
        fields = {1920: struct.pack(">I", 0x01020344)}
        for number in range(1001, 1013):
            self.dpx(tmp_path / f"a.{number}.dpx", ">", fields)
        clip, matte = tmp_path / "a.%d.dpx", ("--matte", "qtrle")
        assert program("video", clip, "--fps", rate, *matte, *SMALL, "-o", tmp_path / "out").code == 0
        assert program("results", "render", tmp_path / "out", *matte, "-o", tmp_path / "again").code == 0
        for name in ("out/a_overlay.mp4", "out/a_matte_qtrle.mov", "again/a_overlay.mp4", "again/a_matte_qtrle.mov"):
            with av.open(tmp_path / name) as container:
                assert container.streams.video[0].metadata["timecode"] == said, name

    @pytest.mark.parametrize("order", "<>")
    def test_a_dpx(self, order: str, tmp_path: Path) -> None:
        aspect = {1628: struct.pack(f"{order}I", 3), 1632: struct.pack(f"{order}I", 2)}
        time = {1920: struct.pack(f"{order}I", 0x01020314)}
        rate = {1724: struct.pack(f"{order}f", 23.976), 1940: b"\xff" * 4}
        self.dpx(tmp_path / "a.1.dpx", order, aspect | rate | time)
        with PictureSequence(tmp_path / "a.%d.dpx") as source:
            assert source.info.time_code == "01:02:03:14"
            assert source.info.frame_rate == Fraction(24000, 1001)
            assert source.info.sample_aspect_ratio == Fraction(3, 2)

    def test_what_makes_no_sense_is_not_told(self, tmp_path: Path) -> None:
        undefined = dict.fromkeys((1628, 1632, 1724, 1920, 1940), b"\xff" * 4)
        content = self.dpx(tmp_path / "a.dpx", ">", undefined).read_bytes()
        assert film_header(content) == FilmHeader()
        strange = {1628: bytes(4), 1632: bytes(4), 1724: struct.pack(">f", 1e9), 1940: struct.pack(">f", float("nan"))}
        assert film_header(self.dpx(tmp_path / "b.dpx", ">", strange).read_bytes()) == FilmHeader()
        exr = self.exr(tmp_path / "c.exr", Fraction(24), Fraction(2))
        for at in range(0, len(exr), 7):
            told = film_header(exr[:at])
            assert told.rate in (None, 24) and told.pixel_aspect in (None, 2)
        for at in (0, 3, 4, 40, 1629, 1726):
            film_header(content[:at])
        head, aspect = b"\x76\x2f\x31\x01", b"pixelAspectRatio\0float\0"
        for size, value in ((4, 0.0), (4, float("nan")), (4, 1e30), (9, 2.0)):
            assert film_header(head + aspect + struct.pack("<if", size, value)) == FilmHeader()
        rate = b"framesPerSecond\0rational\0"
        for size, above, below in ((8, 24, 0), (8, -24, 1), (8, 1 << 30, 1), (7, 24, 1)):
            assert film_header(head + rate + struct.pack("<iiI", size, above, below)) == FilmHeader()
        assert exact_rate(float("inf")) is None


def test_all_that_is_written_of_it(program: Program, tmp_path: Path) -> None:
    pattern = shot(tmp_path / "in", (1001, 1002, 1004))
    out = tmp_path / "out"
    outcome = program(
        *("video", pattern, "-o", out, "--save", "classes,json,labels,cryptomatte", "--matte", "exr", "--matte-only"),
        *("--fps", "12.5", *SMALL),
    )
    assert outcome.code == 3
    assert outcome.complaints[1:] == [f"skipped {tmp_path / 'in' / 'shot.1003.png'}: this picture is missing"]
    for kind in ("matte", "cryptomatte"):
        names = sorted(path.name for path in (out / f"shot_{kind}").iterdir())
        assert names == [f"shot_{kind}.{number:06d}.exr" for number in (1001, 1002, 1004)]
    told = [json.loads((out / "shot" / f"{index:06d}.json").read_text()) for index in range(3)]
    assert [(each["frame"], each["number"], each["time"]) for each in told] == [
        (0, 1001, 0),
        (1, 1002, 0.08),
        (2, 1004, 0.24),
    ]
    with LabelVideo(out / "shot_labels.mkv") as labels:
        assert list(labels.times) == [Fraction(place * 2, 25) for place in (0, 1, 3)]
        assert all((labels[index] == np.load(out / "shot" / f"{index:06d}_seg.npy")).all() for index in range(3))
    with av.open(out / "shot_overlay.mp4") as overlay:
        assert [frame.time for frame in overlay.decode(video=0)] == pytest.approx([0, 0.08, 0.24])
    record = record_of(out, "shot")
    assert record["frames"]["expected"] == record["frames"]["written"] == 3
    assert record["files"]["endings"][".exr"]["count"] == 6


def test_it_is_what_a_video_of_the_same_pictures_gives(program: Program, tmp_path: Path) -> None:
    clip = make_video(tmp_path / "shot.mkv", frames=30, codec="ffv1", size=SIZE)
    with Video(clip) as video:
        (tmp_path / "in").mkdir()
        for frame in video.frames():
            assert isinstance(frame, Frame)
            bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(tmp_path / "in" / f"shot.{frame.index:04d}.png"), bgr)
    options = ("--save", "classes,json", "--steady", 1, "--every", 3, "--overlay", "none", *SMALL)
    assert program("video", clip, "-o", tmp_path / "a", *options).code == 0
    outcome = program("video", tmp_path / "in" / "shot.####.png", "--fps", 25, "-o", tmp_path / "b", *options)
    assert outcome.code == 0, outcome
    for index, time in enumerate(frame_times(30)):
        one, other = (np.load(tmp_path / each / "shot" / f"{index:06d}_seg.npy") for each in "ab")
        assert (one == other).all()
        told = json.loads((tmp_path / "b" / "shot" / f"{index:06d}.json").read_text())
        assert told["time"] == pytest.approx(float(time))


def test_chunks_joined_are_what_one_run_leaves(program: Program, tmp_path: Path) -> None:
    pattern = shot(tmp_path / "in", (*range(1001, 1030), *range(1033, 1060)))
    command = ("video", pattern, "--fps", 8, "--save", "labels,json", *SMALL)
    assert program(*command, "-o", tmp_path / "whole").code == 3
    for number in (2, 0, 1):
        outcome = program(*command, "-o", tmp_path / "chunks", "--chunk", f"{number}/3")
        assert outcome.code == (3 if "missing" in outcome.stderr else 0), outcome
        assert record_of(tmp_path / "chunks", f"shot_chunk_{number}_of_3")["frames"]["written"] > 10
    assert program("results", "join", tmp_path / "chunks").code == 3
    assert_same_files(tmp_path / "chunks", tmp_path / "whole")


def test_a_run_is_gone_on_with_and_made_anew(program: Program, tmp_path: Path) -> None:
    pattern = shot(tmp_path / "in", range(1001, 1013))
    out = tmp_path / "out"
    command = ("video", pattern, "-o", out, "--save", "labels,json", "--matte", "png8", "--edge", "hard", *SMALL)
    assert program(*command).code == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    outcome = program(*command, "--resume")
    assert outcome.code == 0 and "done already" in outcome.stdout
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.name != "run.jsonl")
    (out / "shot_matte" / "shot_matte.001005.png").unlink()
    outcome = program(*command, "--resume")
    assert outcome.code == 0 and (out / "shot_matte" / "shot_matte.001005.png").exists()
    assert record_of(out, "shot")["frames"]["stored"] == 12
    rendered = program("results", "render", out, "-o", tmp_path / "anew", "--matte", "png8", "--edge", "hard")
    assert rendered.code == 0, rendered
    assert sorted(path.name for path in (tmp_path / "anew" / "shot_matte").iterdir())[0] == "shot_matte.001001.png"
    shutil.move(tmp_path / "in", tmp_path / "elsewhere")
    outcome = program("results", "render", out, "-o", tmp_path / "again")
    assert outcome.code == 1 and "which is not there" in outcome.stderr
    moved = tmp_path / "elsewhere" / "shot.%04d.png"
    assert program("results", "render", out, "-o", tmp_path / "again", "--input", moved).code == 0
    make_photo(tmp_path / "elsewhere" / "shot.1013.png", picture(500, SIZE))
    outcome = program("results", "render", out, "-o", tmp_path / "other", "--input", moved)
    assert outcome.code == 1 and "was not made of" in outcome.stderr
    outcome = program("video", moved, *command[2:], "--resume")
    assert outcome.code == 2 and "other input" in outcome.stderr, outcome  # with a picture more it is another


def test_one_picture_that_is_made_anew_is_another_clip(program: Program, tmp_path: Path) -> None:
    """Renderers write the same number of bytes each time, and the time of writing into the head."""
    pattern = shot(tmp_path / "in", range(100), "shot.{:04d}.bmp").with_suffix(".bmp")
    command = ("video", pattern, "-o", tmp_path / "out", "--save", "labels", "--overlay", "none", *SMALL)
    assert program(*command).code == 0
    again = tmp_path / "in" / "shot.0038.bmp"
    content = bytearray(again.read_bytes())
    content[300] ^= 1
    again.write_bytes(content)
    outcome = program(*command, "--resume")
    assert outcome.code == 2 and "other input" in outcome.stderr


def test_a_file_of_nobodys_run_behind_a_gap_is_not_written_over(program: Program, tmp_path: Path) -> None:
    pattern = shot(tmp_path / "in", (1, 2, 5000))
    mine = tmp_path / "out" / "shot_matte" / "shot_matte.005000.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    outcome = program("video", pattern, "-o", tmp_path / "out", "--overlay", "none", "--matte", "png8", *SMALL)
    assert outcome.code == 2 and str(mine) in outcome.stderr
    assert mine.read_bytes() == b"mine"


def test_several_side_by_side(program: Program, tmp_path: Path) -> None:
    one, other = shot(tmp_path / "one", range(3)), shot(tmp_path / "other", range(4))
    for path in other.parent.iterdir():
        path.rename(path.with_name(path.name.replace("shot", "take")))
    out = tmp_path / "out"
    outcome = program("video", one, other.with_name("take.%04d.png"), "-o", out, "--jobs", 2, *SMALL)
    assert outcome.code == 0, outcome
    assert record_of(out, "shot")["frames"]["written"] == 3
    assert record_of(out, "take")["frames"]["written"] == 4


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("video in/shot.0001.png in/shot.0002.png", 2, ["2 numbered pictures", "video in/shot.%04d.png", "images"]),
        (
            "video in/shot.0001.png",
            1,
            ["is a photo", "images --input in/shot.0001.png", "one clip: sapiens-stream video in/shot.%04d.png"],
        ),
        ("video in", 1, ["is a folder", "images --input in", "one clip: sapiens-stream video in/shot.%04d.png"]),
        ("video in/gone.%04d.png", 1, ["in/gone.%04d.png: no picture is called like that", "gone.0001.png"]),
        ("video gone/shot.####.png", 1, ["gone: No such file or directory"]),
        ("video in/shot.%04d.png --fps x", 2, ["x is no number of frames a second", "24000/1001"]),
        ("video clip.mp4 --fps 24", 2, ["--fps is of numbered pictures", "clip.mp4"]),
        ("images --input in/shot.%04d.png", 2, ["video in/shot.%04d.png", "images --input 'in/shot.*.png'"]),
        ("video shot/%06d.png -o .", 1, ["its pictures lie where its results go"]),
        ("video in/shot.%04d.png --chunk 7/8 -o out", 0, ["nothing to do for 7/8"]),
    ],
)
def test_mistakes_are_told(
    command: str, code: int, says: list[str], program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot(tmp_path / "in", range(3))
    shot(tmp_path / "shot", range(3), "{:06d}.png")
    make_video(tmp_path / "clip.mp4", frames=2, size=SIZE)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*.png"))
    outcome = program(*command.split())
    assert outcome.code == code, outcome
    for each in says:
        assert each in outcome.stdout + outcome.stderr
    assert sorted(tmp_path.rglob("*.png")) == before


def test_from_python(tmp_path: Path) -> None:
    pattern = shot(tmp_path, range(1001, 1004))
    results = list(segment(str(pattern), device="cpu", shape=(64, 64)))
    assert [each.frame.number for each in results] == [1001, 1002, 1003]
    assert {each.class_map.shape for each in results} == {SIZE}
