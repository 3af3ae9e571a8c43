"""The Python API: whatever people call a picture goes in, and results can be asked, saved and handed on."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import itertools
import json
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from pycocotools import mask as coco

import sapiens_stream
from sapiens_stream import (
    Damaged,
    Frame,
    InputError,
    OutputError,
    Outputs,
    Result,
    Run,
    Segmenter,
    Sink,
    Skipped,
    Source,
    SourceInfo,
    UsageError,
    open_source,
    segment,
)
from sapiens_stream.models import open_model
from tests.media import as_stored, exif, make_photo, make_video, picture

RGB = picture(5, (90, 120))
LEVELS = np.linspace(0, 255, 90 * 120).reshape(90, 120).round().astype(np.uint8)
WAIT = 30.0  # seconds: far longer than any of these should take


@pytest.fixture(scope="module")
def model(colour_torchscript: Path) -> Segmenter:
    return Segmenter(colour_torchscript, device="cpu")


@pytest.fixture(scope="module")
def result(model: Segmenter) -> Result:
    return model(RGB)


@pytest.mark.parametrize("passed_on", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_the_result_of_a_frame_can_be_passed_to_another_process(
    model: Segmenter, tmp_path: Path, passed_on: Callable[[Result], Result]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=2, rotation=90, mirrored=True)
    for each in segment(clip, model=model):
        came = passed_on(each)
        assert came.to_dict() == each.to_dict()
        assert (came.overlay() == each.overlay()).all()
        assert (came.frame.time, came.frame.size) == (each.frame.time, each.frame.size)


def tensor(array: np.ndarray[Any, Any] = RGB) -> torch.Tensor:
    return torch.from_numpy(array.copy())


def pil(mode: str) -> Image.Image:
    return Image.fromarray(RGB).convert(mode)


def lab() -> Image.Image:
    there = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return ImageCms.applyTransform(Image.fromarray(RGB), there)  # type: ignore[return-value]


def as_file(image: Image.Image, format: str, **settings: Any) -> Image.Image:
    """Read from a file, lazily, as most PIL images are."""
    content = io.BytesIO()
    image.save(content, format, **settings)
    return Image.open(content)


def deep(levels: np.ndarray[Any, Any] = LEVELS) -> Image.Image:
    """A 16-bit picture."""
    return Image.fromarray(levels.astype(np.uint16) * 257)


RGB_FORMS: dict[str, Callable[[], Any]] = {
    "array": lambda: RGB,
    "RGBA": lambda: np.dstack([RGB, RGB[..., :1]]),
    "mirrored view": lambda: np.ascontiguousarray(RGB[:, ::-1])[:, ::-1],
    "Fortran order": lambda: np.asfortranarray(RGB),
    "read-only": lambda: np.frombuffer(RGB.tobytes(), np.uint8).reshape(RGB.shape),
    "subclass": lambda: np.ma.masked_array(RGB),
    "float64": lambda: RGB / 255,
    "float16": lambda: (RGB / 255).astype(np.float16),
    "big-endian float": lambda: (RGB / 255).astype(">f4"),
    "tensor, channels last": lambda: tensor(),
    "tensor, channels first": lambda: tensor().permute(2, 0, 1),
    "tensor, RGBA": lambda: tensor(np.dstack([RGB, RGB[..., :1]])).permute(2, 0, 1).contiguous(),
    "tensor, half": lambda: (tensor() / 255).half(),
    "tensor, bfloat16": lambda: (tensor() / 255).double().bfloat16() * 0 + (tensor() / 255),
    "tensor with a gradient": lambda: (tensor() / 255).requires_grad_(),
    "PIL": lambda: pil("RGB"),
    "PIL RGBA": lambda: pil("RGBA"),
    "PIL RGBa": lambda: pil("RGBA").convert("RGBa"),
    "PIL CMYK": lambda: pil("CMYK"),
    "PIL from a file": lambda: as_file(pil("RGB"), "PNG"),
    "PIL with a palette": lambda: pil("RGB").quantize(256),
    "PIL with a palette and alpha": lambda: as_file(pil("RGBA").quantize(), "PNG"),
    "frame": lambda: Frame(index=0, name="x", decoded=RGB),
}  # fmt: skip
GREY_FORMS: dict[str, Callable[[], Any]] = {
    "(H, W)": lambda: LEVELS,
    "(H, W, 1)": lambda: LEVELS[..., None],
    "tensor (H, W)": lambda: tensor(LEVELS),
    "tensor (1, H, W)": lambda: tensor(LEVELS)[None],
    "PIL L": lambda: Image.fromarray(LEVELS),
    "PIL LA": lambda: Image.fromarray(LEVELS).convert("LA"),
    "PIL La": lambda: Image.fromarray(LEVELS).convert("LA").convert("La"),
    "PIL I": lambda: Image.fromarray(LEVELS).convert("I"),
    "PIL I of 16 bits": lambda: Image.fromarray(LEVELS.astype(np.int32) * 257),
    "PIL F": lambda: Image.fromarray(LEVELS).convert("F"),
    "PIL F to 1": lambda: Image.fromarray(LEVELS.astype(np.float32) / 255),
    "PIL F of 16 bits": lambda: Image.fromarray(LEVELS.astype(np.float32) * 257),
    "PIL I;16": deep,
    "16-bit PNG": lambda: as_file(deep(), "PNG"),
    "16-bit TIFF": lambda: as_file(deep(), "TIFF"),
}


class TestPictures:
    @pytest.mark.parametrize("form", RGB_FORMS)
    def test_every_form_of_an_rgb_picture_gives_its_pixels(self, model: Segmenter, form: str) -> None:
        found = model(RGB_FORMS[form]()).frame.rgb
        assert found.shape == RGB.shape and found.dtype == np.uint8
        assert np.abs(found.astype(int) - RGB).max() <= (6 if "palette" in form else 0)

    @pytest.mark.parametrize("form", GREY_FORMS)
    def test_every_form_of_a_grey_picture_gives_its_levels(self, model: Segmenter, form: str) -> None:
        assert np.array_equal(model(GREY_FORMS[form]()).frame.rgb, np.dstack([LEVELS] * 3))

    @pytest.mark.parametrize("make", [lambda: pil("YCbCr"), lambda: pil("HSV"), lab], ids=["YCbCr", "HSV", "LAB"])
    def test_other_colour_spaces_come_back_to_a_few_levels(
        self, model: Segmenter, make: Callable[[], Image.Image]
    ) -> None:
        assert np.abs(model(make()).frame.rgb.astype(int) - RGB).mean() < 3

    def test_a_picture_of_one_bit(self, model: Segmenter) -> None:
        assert set(np.unique(model(pil("1")).frame.rgb)) == {0, 255}

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_pil_image_is_turned_as_its_exif_says(self, model: Segmenter, orientation: int) -> None:
        stored = as_file(Image.fromarray(as_stored(RGB, orientation)), "PNG", exif=exif(orientation))
        assert np.array_equal(model(stored).frame.rgb, RGB)

    @pytest.mark.parametrize("kind", [str, Path, os.PathLike])
    def test_a_path_is_read_as_the_commands_read_it(self, model: Segmenter, tmp_path: Path, kind: type) -> None:
        path = make_photo(tmp_path / "photo.png", as_stored(RGB, 6))
        found = model(str(path) if kind is str else path)
        assert (found.frame.name, found.frame.size) == ("photo", (120, 90))

    def test_a_list_is_one_batch_in_its_order_and_of_any_sizes(self, model: Segmenter, tmp_path: Path) -> None:
        path = make_photo(tmp_path / "photo.png", RGB)
        found = model([RGB, RGB[:50, :70], path, Image.fromarray(LEVELS)])
        assert [each.class_map.shape for each in found] == [(90, 120), (50, 70), (90, 120), (90, 120)]
        assert [each.frame.name for each in found] == ["image_000000", "image_000001", "photo", "image_000003"]
        assert np.array_equal(found[1].class_map, model(RGB[:50, :70]).class_map)
        assert (model([]), len(model((RGB,)))) == ([], 1)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            (lambda: None, "got NoneType"),
            (lambda: 3, "got int"),
            (lambda: b"\xff\xd8", "got bytes"),
            (lambda: [[RGB]], "image 0 of the list: .*got list"),
            (lambda: (each for each in [RGB]), "got generator"),
            (lambda: RGB > 3, r"got bool \(90, 120, 3\)"),
            (lambda: RGB.astype(np.uint16), r"got uint16 .*>> 8"),
            (lambda: RGB.astype(np.int64), "got int64"),
            (lambda: RGB.astype(complex), "got complex128"),
            (lambda: RGB.astype(object), "got object"),
            (lambda: RGB.astype(np.float32), "from 0 to 235: divide by 255"),
            (lambda: np.full((4, 4, 3), np.nan), "from nan to nan"),
            (lambda: np.full((4, 4, 3), np.inf), "from inf to inf"),
            (lambda: RGB / 255 - 0.5, "from -0.5"),
            (lambda: RGB.transpose(2, 0, 1), r"got uint8 \(3, 90, 120\); channels go last"),
            (lambda: RGB[..., :2], r"got uint8 \(90, 120, 2\)"),
            (lambda: np.zeros((9, 9, 5), np.uint8), r"got uint8 \(9, 9, 5\)"),
            (lambda: RGB[:0], "no pixels"),
            (lambda: RGB[:, :0], "no pixels"),
            (lambda: RGB[..., :0], "no pixels"),
            (lambda: RGB[None], "a batch is a list"),
            (lambda: np.zeros(9, np.uint8), r"got uint8 \(9,\)"),
            (lambda: tensor()[None], "uint8 tensor .* a batch is a list"),
            (lambda: tensor().long(), "got int64 tensor"),
            (lambda: tensor() > 3, "got bool tensor"),
            (lambda: tensor().float(), "divide by 255"),
            (lambda: torch.zeros(3, 0, 4), "no pixels"),
            (lambda: torch.zeros(3, 4, 4, device="meta"), "meta"),
            (lambda: torch.zeros(4, 4).to_sparse(), "float32 tensor"),
            (lambda: Image.new("RGB", (0, 3)), "PIL image of 0x3"),
            (lambda: Image.fromarray(np.full((4, 4), -1, np.int32)), "mode I holds values from 0 to 65535"),
            (lambda: "samples", "is a folder.*segment"),
            (lambda: "samples/*.jpg", "is several photos.*segment"),
            (lambda: "samples/clip.mp4", "is a video.*segment"),
            (lambda: Path("samples/clip.mp4"), "is a video.*segment"),
            (lambda: "rtsp://user:secret@host/stream", "is live.*segment"),
        ],
        ids=lambda each: each if isinstance(each, str) else "made",
    )
    def test_what_is_no_picture_is_refused_in_one_line(
        self, model: Segmenter, monkeypatch: pytest.MonkeyPatch, given: Callable[[], Any], says: str
    ) -> None:
        monkeypatch.chdir(Path(__file__).parents[1])
        with pytest.raises(UsageError, match=says) as refused:
            model(given())
        assert "\n" not in str(refused.value) and "secret" not in str(refused.value)

    @pytest.mark.parametrize("name", ["a" * 5000, "a\0b"], ids=["too long", "with a zero"])
    def test_what_can_be_no_name_is_an_input_error(self, model: Segmenter, name: str) -> None:
        with pytest.raises(InputError, match=r"^a"):
            model(name)
        with pytest.raises(InputError, match=r"^a"):
            list(segment(name, model=model))

    def test_an_empty_name_is_not_the_current_folder(
        self, model: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of a variable that is not set: all photos that lie there were read."""
        make_photo(tmp_path / "a.jpg", picture(1))
        monkeypatch.chdir(tmp_path)
        for call in (lambda: model(""), lambda: list(segment("", model=model))):
            with pytest.raises(InputError, match="an empty name is no input"):
                call()
        with pytest.raises(UsageError, match="no model ''"):
            Segmenter("")

    def test_a_damaged_picture_is_used_and_warned_of(self, model: Segmenter) -> None:
        damaged = Frame(index=0, name="x", decoded=RGB, damaged=Damaged("x.jpg", "its end is missing"))
        with pytest.warns(UserWarning, match=r"damaged x\.jpg: its end is missing"):
            assert model(damaged).class_map.shape == (90, 120)
        with pytest.warns(UserWarning, match=r"damaged x\.jpg: its end is missing"):
            assert len(list(segment([damaged], model=model))) == 1
        with pytest.warns(UserWarning, match=r"skipped x\.jpg"):
            assert not list(segment([damaged], model=model, strict=True))

    def test_a_photo_that_cannot_be_read_is_an_input_error(self, model: Segmenter, tmp_path: Path) -> None:
        path = make_photo(tmp_path / "photo.jpg", RGB)
        path.write_bytes(path.read_bytes()[:200])
        for given, says in ((path, "photo.jpg: .*cut short"), (tmp_path / "none.jpg", "no such file")):
            with pytest.raises(InputError, match=says):
                model(given)
        with pytest.raises(InputError, match=r"PIL image .*cannot be read"):
            model(Image.open(io.BytesIO(make_photo(tmp_path / "two.png", RGB).read_bytes()[:200])))


class TestSegmenter:
    def test_whole_numbers_may_be_numpys(self, colour_torchscript: Path) -> None:
        two = np.int64(2)
        with Segmenter(colour_torchscript, batch_size=two, ranks=two, shape=(two * 48, two * 32)) as model:  # type: ignore[arg-type]
            found = list(segment([RGB, RGB], model=model, steady=two - 1, every=two))  # type: ignore[arg-type]
            assert len(found) == 2 and type(model.engine.batch_size) is int

    def test_a_torch_device(self, colour_torchscript: Path) -> None:
        for device in (torch.device("cpu"), torch.device("cpu", 0)):
            assert Segmenter(colour_torchscript, device=device).engine.device == "cpu"

    @pytest.mark.parametrize(
        "settings",
        [
            {"model": 3},
            {"model": None},
            {"device": 0},
            {"device": None},
            {"device": torch.device("meta")},
            {"precision": None},
            {"precision": torch.float16},
            {"fit": 1},
            {"shape": 256},
            {"shape": (256,)},
            {"shape": ("256", 192)},
            {"shape": (256.0, 192)},
            {"shape": (0, 192)},
            {"batch_size": "8"},
            {"batch_size": 0},
            {"batch_size": 2.0},
            {"batch_size": True},
            {"alpha_of": 2},
            {"options": {"device": "cpu"}},
            {"warn": "loudly"},
            {"note": True},
        ],
        ids=str,
    )
    def test_a_setting_that_cannot_be_is_refused(self, colour_torchscript: Path, settings: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            Segmenter(**{"model": colour_torchscript, "device": "cpu", **settings})

    @pytest.mark.parametrize("settings", [{"shape": (128, 96)}, {"as_is": True}, {"pull": True}], ids=str)
    def test_settings_of_opening_beside_an_open_model(self, colour_torchscript: Path, settings: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=next(iter(settings))):
            Segmenter(open_model(colour_torchscript), device="cpu", **settings)

    def test_the_shape_that_an_open_model_has_is_no_contradiction(self, colour_torchscript: Path) -> None:
        assert Segmenter(open_model(colour_torchscript), device="cpu", shape=(256, 192))(RGB).labels
        with pytest.raises(UsageError, match="shape"):  # which keeps the picture's aspect
            Segmenter(open_model("builtin"), device="cpu", shape=(352, 288))

    def test_close_ends_it_and_its_threads(self, colour_torchscript: Path) -> None:
        before = set(threading.enumerate())
        with Segmenter(colour_torchscript, device="cpu") as mine:
            mine(RGB)
        mine.close()
        assert not set(threading.enumerate()) - before
        for call in (lambda: mine(RGB), lambda: list(segment([RGB], model=mine))):
            with pytest.raises(UsageError, match="is closed"):
                call()
        assert mine([]) == []

    def test_it_may_be_closed_while_others_use_it(self, colour_torchscript: Path) -> None:
        mine = Segmenter(colour_torchscript, device="cpu")
        outcomes: list[object] = []

        def use() -> None:
            try:
                while True:
                    mine(RGB)
            except UsageError as error:
                outcomes.append(error)

        users = [threading.Thread(target=use, daemon=True) for _ in range(3)]
        for user in users:
            user.start()
        mine.close()
        for user in users:
            user.join(WAIT)
        assert len(outcomes) == 3


class TestSegment:
    def test_an_iterable_of_pictures(self, model: Segmenter, tmp_path: Path) -> None:
        photo = make_photo(tmp_path / "photo.png", RGB)
        given = [RGB, photo, Image.fromarray(RGB), tensor(), tmp_path / "none.png", RGB[:40]]
        skipped: list[Skipped] = []
        for source in (given, tuple(given), iter(given), (each for each in given)):
            found = list(segment(source, model=model, on_skip=skipped.append))  # type: ignore[arg-type]
            assert [each.frame.index for each in found] == [0, 1, 2, 3, 4]
            assert [each.frame.size for each in found] == [(90, 120)] * 4 + [(40, 120)]
        assert [each.name for each in skipped] == [str(tmp_path / "none.png")] * 4

    def test_what_has_numbered_items_alone_is_gone_through(self, model: Segmenter) -> None:
        class Reader:
            """As torchcodec's VideoDecoder and torch's Dataset: no `__iter__`, but `for` takes it."""

            def __len__(self) -> int:
                return 3

            def __getitem__(self, index: int) -> np.ndarray[Any, Any]:
                return [RGB, RGB[:40], RGB[:50]][index]

        found = list(segment(Reader(), model=model))  # type: ignore[arg-type]
        assert [each.frame.size for each in found] == [(90, 120), (40, 120), (50, 120)]

    @pytest.mark.parametrize("column", [np.array, lambda paths: pytest.importorskip("pandas").Series(paths)])
    def test_a_column_of_paths_is_gone_through(
        self, model: Segmenter, tmp_path: Path, column: Callable[[list[str]], Any]
    ) -> None:
        photos = [str(make_photo(tmp_path / name, RGB)) for name in ("a.png", "b.png")]
        assert [each.frame.name for each in segment(column(photos), model=model)] == ["a", "b"]

    @pytest.mark.parametrize(
        "kind",
        [
            {},
            {"vfr": True, "rotation": 90},
            {"rotation": 270, "mirrored": True},
            {
                "pix_fmt": "yuv420p10le",
                "codec": "libx265",
                "colours": {"color_trc": 18, "color_primaries": 9, "colorspace": 9},
            },
        ],
        ids=["plain", "turned", "mirrored", "HLG"],
    )
    def test_frames_that_pyav_decoded_are_those_of_the_file(
        self, model: Segmenter, tmp_path: Path, kind: dict[str, Any]
    ) -> None:
        path = make_video(tmp_path / "clip.mp4", size=(64, 96), frames=5, **kind)
        with av.open(str(path)) as container:
            for found, expected in zip(
                segment(container.decode(video=0), model=model), segment(path, model=model), strict=True
            ):
                assert np.array_equal(found.frame.rgb, expected.frame.rgb)
                assert np.array_equal(found.class_map, expected.class_map)
                assert (found.frame.time, found.frame.duration) == (expected.frame.time, expected.frame.duration)
                assert found.frame.colour == expected.frame.colour

    @pytest.mark.parametrize("form", ["array", "tensor, channels first", "PIL", "frame"])
    def test_a_single_picture(self, model: Segmenter, form: str) -> None:
        [found] = segment(RGB_FORMS[form](), model=model)
        assert np.array_equal(found.frame.rgb, RGB)

    def test_an_iterator_may_fill_the_same_array_again(self, model: Segmenter) -> None:
        def pictures() -> Iterator[np.ndarray[Any, Any]]:
            array = np.empty((32, 60, 3), np.uint8)
            for level in range(0, 200, 10):
                array[:] = level
                yield array

        assert [int(each.frame.rgb[0, 0, 0]) for each in segment(pictures(), model=model)] == list(range(0, 200, 10))

    def test_what_an_iterator_raises_comes_after_its_results(self, model: Segmenter) -> None:
        def pictures() -> Iterator[np.ndarray[Any, Any]]:
            yield from [RGB] * 3
            raise KeyError("mine")

        found = segment(pictures(), model=model)
        assert [next(found).frame.index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError, match="mine"):
            next(found)

    def test_what_is_no_picture_in_an_iterable_is_named_by_its_place(self, model: Segmenter) -> None:
        with pytest.raises(UsageError, match=r"image_000001: .*got NoneType"):
            list(segment([RGB, None], model=model))  # type: ignore[list-item]

    def test_an_endless_iterator_may_be_left(self, model: Segmenter) -> None:
        before = set(threading.enumerate())
        for found in segment(itertools.repeat(RGB), model=model):
            if found.frame.index == 3:
                break
        del found
        gc.collect()
        assert not [each for each in set(threading.enumerate()) - before if each.name in ("source", "engine")]

    def test_a_model_of_its_own_is_closed_at_the_end(self, colour_torchscript: Path) -> None:
        before = set(threading.enumerate())
        assert len(list(segment([RGB], model=colour_torchscript, device="cpu"))) == 1
        assert not set(threading.enumerate()) - before

    @pytest.mark.parametrize(
        "settings",
        [{"device": "cpu"}, {"precision": "auto"}, {"shape": None}, {"pull": False}, {"batch_size": 2}],
        ids=str,
    )
    def test_settings_beside_a_segmenter_are_refused(self, model: Segmenter, settings: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=next(iter(settings))):
            segment([RGB], model=model, **settings)

    @pytest.mark.parametrize(
        ("source", "settings", "says"),
        [
            ([RGB], {"devise": "cpu"}, "no setting is called 'devise'"),
            (None, {}, "got NoneType"),
            (0, {"timeout": 0}, "timeout is 0"),
            (0, {"timeout": "5"}, "timeout is '5'"),
            (0, {"reconnect": "often"}, "reconnect is 'often'"),
            (0, {"max_pixels": "many"}, "max_pixels is 'many'"),
            ("samples/clip.mp4", {"max_pixels": 0}, "max_pixels is 0"),
            ("samples/astronaut.jpg", {"max_pixels": "many"}, "max_pixels is 'many'"),
            ([RGB], {"on_skip": "warn"}, "on_skip is 'warn'"),
            ([RGB], {"on_damage": 3}, "on_damage is 3"),
        ],
        ids=str,
    )
    def test_what_cannot_be_is_refused_when_it_is_called(
        self, source: Any, settings: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(UsageError, match=says):
            segment(source, **settings)

    @pytest.mark.parametrize("settings", [{"reconnect": "no"}, {"timeout": 3}], ids=str)
    def test_settings_of_a_live_source_beside_an_open_source(self, model: Segmenter, settings: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=next(iter(settings))):
            segment(Pan(), model=model, **settings)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Something that takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.filterwarnings("ignore:.*(lost|reconnecting)")
class TestLiveSources:
    @pytest.mark.parametrize("source", ["/dev/video987", "rtsp://127.0.0.1:9/x", "lavfi:nonsense"])
    @pytest.mark.parametrize("settings", [{}, {"reconnect": "no"}, {"reconnect": "forever", "timeout": 1.5}], ids=str)
    def test_one_that_never_opens_raises(self, model: Segmenter, source: str, settings: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            list(segment(source, model=model, **settings))

    def test_one_that_says_nothing_raises_at_its_time(self, model: Segmenter, silent_port: int) -> None:
        with pytest.raises(InputError, match="no picture for 1 s"):
            list(segment(f"tcp://127.0.0.1:{silent_port}", model=model, timeout=1))

    def test_one_that_fails_at_first_is_tried_again_within_the_time(self, model: Segmenter) -> None:
        clip = (Path(__file__).parents[1] / "samples" / "clip.mp4").read_bytes()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(clip)}\r\n\r\n".encode()

        def serve() -> None:
            with contextlib.suppress(OSError):  # until it is closed
                for number in itertools.count():
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(4096)
                        if number:  # the first gets no answer
                            connection.sendall(head + clip)

        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=serve, daemon=True).start()
            address = f"http://127.0.0.1:{server.getsockname()[1]}/stream"
            found = segment(address, model=model, timeout=4 * WAIT)
            assert next(found).frame.index == 0
            found.close()  # type: ignore[attr-defined]


class TestResult:
    def test_masks_by_names_and_ids_one_by_one_or_in_lists(self, result: Result) -> None:
        [one, two] = [label.id for label in result.labels][:2]
        name = result.classes.names[one]
        expected = np.isin(result.class_map, [one, two])
        for asked in ([one, two], [[one, two]], [name.lower(), two], [[name], (two,)], [{one, two}]):
            assert np.array_equal(result.mask(*asked), expected)
        assert np.array_equal(result.mask(), result.class_map > 0)
        assert not result.mask([]).any()
        for wrong in ("nose", 99, -1, None, 2.5):
            with pytest.raises(UsageError, match="no class"):
                result.mask(wrong)  # type: ignore[arg-type]

    def test_polygons_and_run_lengths_give_the_masks_back(self, result: Result) -> None:
        rings, lengths = result.polygons(), result.rle()
        assert list(rings) == list(lengths) == [label.name for label in result.labels]
        for name in rings:
            mask = np.zeros(result.class_map.shape, np.uint8)
            cv2.drawContours(mask, rings[name], -1, 1, cv2.FILLED)
            assert np.array_equal(mask, result.mask(name))
            assert np.array_equal(coco.decode(lengths[name]), result.mask(name))  # type: ignore[arg-type]

    def test_polygons_and_run_lengths_of_a_class_that_is_not_there(self, result: Result) -> None:
        gone = next(name for index, name in enumerate(result.classes.names) if not (result.class_map == index).any())
        assert result.polygons(gone.lower()) == {gone: []}
        assert not coco.decode(result.rle([gone])[gone]).any()  # type: ignore[arg-type]

    @pytest.mark.parametrize("regions", ["polygons", "rle", "none"])
    def test_the_dict_is_what_the_json_holds(self, result: Result, tmp_path: Path, regions: Any) -> None:
        result.save(tmp_path, save="json", overlay="none", regions=regions, title="résumé")
        [path] = tmp_path.iterdir()
        assert json.loads(path.read_text("utf-8")) == result.to_dict(regions=regions, title="résumé")
        assert result.to_dict()["model"] == result.model == "colour"

    def test_the_dict_of_some_classes(self, result: Result) -> None:
        name = result.labels[0].name
        record = result.to_dict(classes=[name])
        assert [each["name"] for each in record["labels"] + record["regions"]] == [name, name]
        with pytest.raises(UsageError, match="dots"):
            result.to_dict(regions="dots")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("choices", "written"),
        [
            ({}, {"a.png", "a.npy", "a_seg.npy", "a.json"}),
            ({"save": "classes"}, {"a.png", "a_seg.npy"}),
            ({"save": {"json", "foreground"}, "overlay": "none"}, {"a.json", "a.npy"}),
            ({"save": [], "save_format": "jpg"}, {"a.jpg"}),
            ({"save": "none", "side_by_side": True, "save_format": "bmp"}, {"a.bmp"}),
        ],
        ids=lambda each: " ".join(sorted(each)),
    )
    def test_saves_what_is_chosen(
        self, result: Result, tmp_path: Path, choices: dict[str, Any], written: set[str]
    ) -> None:
        result.save(tmp_path / "new", "a", **choices)
        assert {path.name for path in (tmp_path / "new").iterdir()} == written

    def test_saves_some_classes_alone(self, result: Result, tmp_path: Path) -> None:
        name = result.labels[0].name
        result.save(tmp_path, "sub/a", classes=[name])
        assert np.array_equal(np.load(tmp_path / "sub" / "a.npy"), result.mask(name))
        overlay = cv2.imread(str(tmp_path / "sub" / "a.png"))[:, :, ::-1]
        assert np.array_equal(overlay, result.overlay(classes=[name]))

    @pytest.mark.parametrize(
        "choices",
        [
            {"save": "masks"},
            {"save": "none", "overlay": "none"},
            {"overlay": "video"},
            {"save_format": "gif"},
            {"opacity": 2},
            {"opacity": True},
            {"opacity": "0.5"},
            {"opacity": None},
            {"classes": ["nose"]},
            {"regions": "dots"},
            {"save": None},
            {"save": [1]},
            {"overlay": ["frames"]},
            {"title": 3},
        ],
        ids=str,
    )
    def test_a_choice_that_there_is_not(self, result: Result, tmp_path: Path, choices: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            result.save(tmp_path, "a", **choices)
        assert not list(tmp_path.iterdir())

    def test_a_name_that_is_no_text_is_refused(self, result: Result, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="got 3"):
            result.save(tmp_path, 3)  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("folder", [None, 3, b"results"])
    def test_a_folder_that_is_no_path_is_refused(self, result: Result, folder: Any) -> None:
        with pytest.raises(UsageError, match="the folder is"):
            result.save(folder, "a")

    def test_a_folder_that_no_path_can_be_is_told_in_one_line(self, result: Result, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="null"):
            result.save(f"{tmp_path}/a\0b", "a")

    def test_a_name_outside_the_folder_is_refused(self, result: Result, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"\.\."):
            result.save(tmp_path, "../a")

    def test_supervision_gets_boxes_masks_and_names(self, result: Result, model: Segmenter) -> None:
        found = result.to_supervision()
        assert list(found.class_id) == [label.id for label in result.labels]  # type: ignore[arg-type]
        assert list(found.data["class_name"]) == [label.name for label in result.labels]
        for index, (x0, y0, x1, y1) in zip(found.class_id, found.xyxy.astype(int), strict=True):  # type: ignore[arg-type]
            mask = result.mask(int(index))
            assert mask[y0:y1, x0:x1].sum() == mask.sum() and mask[y0].any() and mask[:, x1 - 1].any()
        assert np.array_equal(found.mask.any(0), result.mask())  # type: ignore[union-attr]
        nobody = Result(frame=result.frame, class_map=np.zeros_like(result.class_map), classes=result.classes)
        assert len(nobody.to_supervision()) == 0

    def test_without_supervision_it_says_what_to_install(self, result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "supervision", None)
        with pytest.raises(UsageError, match=r"pip install .*supervision"):
            result.to_supervision()

    @pytest.mark.parametrize("opacity", [0, 1, np.float32(0.5), np.int64(1)], ids=repr)
    def test_opacity_may_be_any_number(self, result: Result, opacity: float) -> None:
        assert np.array_equal(result.overlay(opacity), result.overlay(float(opacity)))

    def test_reprs_hold_no_picture(self, result: Result, model: Segmenter) -> None:
        assert repr(model) == "<Segmenter 'colour' on cpu>"
        assert repr(result.frame).startswith("Frame(index=0, name='image'") and "array" not in repr(result.frame)

    def test_its_repr_is_short_and_tells_size_and_classes(self, result: Result) -> None:
        said = repr(result)
        assert "120x90" in said and all(label.name in said for label in result.labels) and len(said) < 1000

    def test_a_notebook_shows_the_overlay(self, result: Result) -> None:
        shown = cv2.imdecode(np.frombuffer(result._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(shown[:, :, ::-1], result.overlay())
        tall = Result(
            frame=Frame(index=0, name="tall", decoded=np.zeros((3000, 2, 3), np.uint8)),
            class_map=np.zeros((3000, 2), np.uint8),
            classes=result.classes,
        )
        assert cv2.imdecode(np.frombuffer(tall._repr_png_(), np.uint8), cv2.IMREAD_COLOR).shape == (1280, 1, 3)


class Pan(Source):
    info = SourceInfo(name="pan", kind="photos", frame_count=3)

    def frames(self) -> Iterator[Frame | Skipped]:
        for index in range(3):
            yield Frame(index=index, name=f"pan_{index}", decoded=RGB[:, 20 * index :][:, :60])


class Names(Sink):
    ordered = True

    def __init__(self, fail_at: int | None = None) -> None:
        self.names: list[str] = []
        self.fail_at = fail_at

    def write(self, result: sapiens_stream.Segmentation) -> None:
        if result.frame.index == self.fail_at:
            raise ZeroDivisionError("mine")
        self.names.append(result.frame.name)


class TestSourcesAndSinksOfOnesOwn:
    def test_they_need_no_more_than_this(self, model: Segmenter) -> None:
        sink = Names()
        Run(Pan(), model.engine, [sink]).execute(check=True)
        assert sink.names == ["pan_0", "pan_1", "pan_2"]
        assert [each.frame.size for each in segment(Pan(), model=model)] == [(90, 60)] * 3

    def test_what_a_sink_raises_is_kept_and_with_check_raised(self, model: Segmenter, tmp_path: Path) -> None:
        run = Run(Pan(), model.engine, [Names(fail_at=1)])
        run.execute()
        assert isinstance(run.error, ZeroDivisionError) and run.status == "failed"
        record = tmp_path / "run.json"
        with pytest.raises(ZeroDivisionError, match="mine"):
            Run(Pan(), model.engine, [Names(fail_at=1)], record_path=record).execute(check=True)
        assert json.loads(record.read_text())["status"] == "failed"

    def test_outputs_take_plain_words_and_paths(self) -> None:
        asked = Outputs(save="labels, json", overlay_file="talk.mp4")  # type: ignore[arg-type]
        assert asked == Outputs(save=frozenset({"json", "labels"}), overlay_file=Path("talk.mp4"))

    @pytest.mark.parametrize("what", [None, 1.5, b"clip.mp4", ["clip.mp4"]], ids=repr)
    def test_what_is_no_source_is_named(self, what: Any) -> None:
        with pytest.raises(UsageError, match=f"got {type(what).__name__}"):
            open_source(what)

    @pytest.mark.parametrize("taken", [0, 1])
    @pytest.mark.parametrize("leave", [lambda results: results.close(), id], ids=["closed", "forgotten"])
    def test_a_source_is_closed_with_its_results_however_few_were_taken(
        self, leave: Callable[[Any], Any], taken: int, model: Segmenter
    ) -> None:
        closed: list[bool] = []
        source = Pan()
        source.close = lambda: closed.append(True)  # type: ignore[method-assign]
        results = segment(source, model=model)
        assert len(list(itertools.islice(results, taken))) == taken
        leave(results)
        gc.disable()
        try:
            del results
            assert closed
        finally:
            gc.enable()


class TestPackage:
    def test_its_public_names(self) -> None:
        names = dir(sapiens_stream)
        assert names == sorted(sapiens_stream.__all__) and all(hasattr(sapiens_stream, name) for name in names)
        assert {"Segmenter", "segment", "Result", "Source", "Sink", "__version__"} <= set(names)
        assert sapiens_stream.__version__ == version("sapiens-stream")
        with pytest.raises(AttributeError, match="nothing"):
            _ = sapiens_stream.nothing

    def test_it_brings_its_types(self) -> None:
        assert files("sapiens_stream").joinpath("py.typed").is_file()

    @pytest.mark.parametrize("name", ["sapiens-0.3b", "sapiens2-5b"])
    def test_a_model_that_is_not_there_names_the_argument_of_python(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(UsageError, match="pull=True") as refused:
            Segmenter(name)
        assert "--pull" not in str(refused.value) and "--pull" in refused.value.on_command_line

    def test_a_file_as_a_camera_names_the_argument_of_python(self, tmp_path: Path) -> None:
        from sapiens_stream.sources import Live

        with pytest.raises(UsageError, match="realtime=True"):
            Live(make_video(tmp_path / "clip.mp4", frames=2))
