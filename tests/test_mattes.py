"""Mattes: what is opaque, exact where exactness is promised, and read back by readers that are not ours."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import OpenEXR
import PIL.Image
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.colour.meaning import BT2020, PQ, Colour
from sapiens_stream.colour.planes import planes_of
from sapiens_stream.containers import ebml
from sapiens_stream.containers.elements import ElementFile
from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.sinks import Outputs
from sapiens_stream.sinks.mattes.edges import MatteMaker
from sapiens_stream.soft import AlphaPlane, Extent
from sapiens_stream.sources import Video
from tests import hdr
from tests.media import frame_times, make_photo, make_video, number_of, picture
from tests.program import Program, record_of

SMALL = ("--shape", 96, 96)
FACE, HAIR = SAPIENS.ids(["face_neck", "hair"])
INFO = SourceInfo(name="clip.mp4", kind="video", frame_count=3, size=(45, 61), frame_rate=Fraction(25))
VIDEOS = ["prores4444", "qtrle", "png", "vp9", "ffv1"]
UInt8Array = npt.NDArray[np.uint8]


def class_map_of(index: int, size: tuple[int, int]) -> UInt8Array:
    """A face with hair around, which moves."""
    class_map = np.zeros(size, np.uint8)
    height, width = size
    cv2.circle(class_map, (width // 3 + index, height // 2), height // 3, int(HAIR), -1)
    cv2.circle(class_map, (width // 3 + index, height // 2), height // 5, int(FACE), -1)
    return class_map


def alpha_of(class_map: UInt8Array, classes: frozenset[int]) -> AlphaPlane:
    """As a model at half the resolution might have it: soft."""
    mask = np.isin(class_map, list(classes)).astype(np.float32)
    height, width = (max(1, side // 2) for side in class_map.shape)
    soft = cv2.GaussianBlur(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), (0, 0), 1.2)
    extent = Extent(class_map.shape, (0, 0, *class_map.shape), (0.0, 0.0, float(height), float(width)))
    return AlphaPlane(np.rint(soft * 65535).astype(np.uint16), extent, classes)


def result_of(frame: Frame, classes: frozenset[int] = frozenset(range(1, 28))) -> Segmentation:
    class_map = class_map_of(frame.index, frame.size)
    return Segmentation(frame=frame, class_map=class_map, classes=SAPIENS, alpha=alpha_of(class_map, classes))


def pictures(count: int = 3, size: tuple[int, int] = (45, 61)) -> Iterator[Frame]:
    for index in range(count):
        rgb = np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
        yield Frame(
            index=index, name=f"clip/{index:06d}", decoded=rgb, pts=index, time_base=Fraction(1, 25), duration=1
        )


def write(
    folder: Path, matte: str, results: list[Segmentation], source: SourceInfo = INFO, **choices: Any
) -> list[Path]:
    """The files that come of it."""
    outputs = Outputs(**{"overlay": "none", "save": frozenset(), "matte": matte, **choices})
    [sink] = outputs.sinks(folder, "clip", source, SAPIENS, pytest.fail)
    for each in results:
        sink.write(each)
    sink.close()
    return sorted(path for path in folder.rglob("*") if path.is_file())


def decoded(path: Path, format: str, decoder: str | None = None) -> list[npt.NDArray[Any]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return [frame.to_ndarray(format=format) for frame in container.decode(stream)]
        context = av.CodecContext.create(decoder, "r")
        frames = [frame for packet in container.demux(stream) for frame in context.decode(packet)]
        return [frame.to_ndarray(format=format) for frame in frames]


def planes(path: Path, decoder: str | None = None) -> list[list[npt.NDArray[Any]]]:
    """Of each frame its planes as they are stored."""
    from sapiens_stream.sinks.mattes.frames import _arrays

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = av.CodecContext.create(decoder, "r") if decoder else None
        frames = (
            container.decode(stream)
            if context is None
            else (frame for packet in container.demux(stream) for frame in context.decode(packet))
        )
        return [[each.copy() for each in _arrays(frame)] for frame in frames]


class TestExact:
    """Of hard edges each file has the class map's mask, to the bit."""

    @pytest.mark.parametrize("only", [None, (int(HAIR),), (0, int(FACE))])
    @pytest.mark.parametrize("kind, ending, order", [("qtrle", ".mov", "argb"), ("png", ".mov", "rgba")])
    def test_videos_of_the_picture(
        self, kind: str, ending: str, order: str, only: tuple[int, ...] | None, tmp_path: Path
    ) -> None:
        results = [result_of(each) for each in pictures()]
        [path] = write(tmp_path, kind, results, edge="hard", only=only)
        assert path.name == f"clip_matte_{kind}{ending}"
        for rgba, result in zip(decoded(path, "rgba"), results, strict=True):
            wanted = result.class_map > 0 if only is None else np.isin(result.class_map, only)
            assert np.array_equal(rgba[..., 3], wanted * 255)
            assert np.array_equal(rgba[..., :3], result.frame.rgb)

    @pytest.mark.parametrize("kind", ["ffv1", "png", "qtrle"])
    def test_videos_of_the_matte_alone(self, kind: str, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures()]
        [path] = write(tmp_path, kind, results, edge="hard", matte_only=True)
        # PNG of soft edges has 16 bits; hard edges need no more than 8.
        found = (
            [rgb[..., 1] for rgb in decoded(path, "rgb24")] if kind == "qtrle" else [grey for [grey] in planes(path)]
        )
        for grey, result in zip(found, results, strict=True):
            assert np.array_equal(grey, (result.class_map > 0) * np.uint8(255))

    @pytest.mark.parametrize("size", [(64, 1), (1, 64), (1, 1)])
    def test_a_matte_of_one_column_or_line(self, size: tuple[int, int], tmp_path: Path) -> None:
        """FFV1 by itself divides one column into no slices, and does not open."""
        results = [result_of(each) for each in pictures(2, size)]
        [path] = write(tmp_path, "ffv1", results, edge="hard")
        for [grey], result in zip(planes(path), results, strict=True):
            assert np.array_equal(grey, (result.class_map > 0) * np.uint8(255))

    @pytest.mark.parametrize("kind", ["png8", "png16"])
    @pytest.mark.parametrize("alone", [False, True])
    def test_numbered_png(self, kind: str, alone: bool, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures()]
        paths = write(tmp_path, kind, results, edge="hard", matte_only=alone, start_number=1001)
        names = [path.relative_to(tmp_path).as_posix() for path in paths]
        assert names == [f"clip_matte/clip_matte.{number:06d}.png" for number in (1001, 1002, 1003)]
        most = 255 if kind == "png8" else 65535
        for path, result in zip(paths, results, strict=True):
            read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert read.dtype == (np.uint8 if kind == "png8" else np.uint16)
            alpha = read if alone else read[..., 3]
            assert np.array_equal(alpha, (result.class_map > 0) * most)
            if not alone:
                assert np.array_equal(read[..., 2::-1], result.frame.rgb.astype(int) * (most // 255))

    def test_openexr(self, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures(2)]
        paths = write(tmp_path, "exr", results, edge="hard")
        assert paths[0].name == "clip_matte.000000.exr"
        for path, result in zip(paths, results, strict=True):
            file = OpenEXR.File(str(path), separate_channels=True)
            channels = file.channels()
            assert set(channels) == {"R", "G", "B", "A"}
            assert np.array_equal(channels["A"].pixels, (result.class_map > 0).astype(np.float32))
            assert channels["R"].pixels.dtype == np.float32
            linear = (result.frame.rgb / 255) ** 2.4
            assert np.abs(channels["G"].pixels - linear[..., 1]).max() < 1e-5
            assert file.header()["alpha"] == "straight" and "straight" in file.header()["comments"]

    def test_openexr_of_the_matte_alone(self, tmp_path: Path) -> None:
        [result] = [result_of(each) for each in pictures(1)]
        [path] = write(tmp_path, "exr", [result], matte_only=True, edge="soft")
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
        assert set(channels) == {"A"}
        assert result.alpha is not None
        assert np.array_equal(channels["A"].pixels, result.alpha.full())


class TestNearlyExact:
    def test_prores_has_sixteen_bits_of_alpha(self, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures(size=(64, 96))]
        source = replace(INFO, size=(64, 96))
        [path] = write(tmp_path, "prores4444", results, source, edge="soft")
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert (context.name, context.pix_fmt, context.profile) == ("prores", "yuva444p12le", "4444") or (
                context.name == "prores" and context.pix_fmt.startswith("yuva444p")
            )
        for (*_, alpha), result in zip(planes(path), results, strict=True):
            assert result.alpha is not None
            most = 1023 if alpha.max() <= 1023 else 4095
            assert np.abs(alpha / most - result.alpha.full()).max() < 1.5 / 1023

    def test_vp9_by_its_own_decoder(self, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures(size=(64, 96))]
        [path] = write(tmp_path, "vp9", results, replace(INFO, size=(64, 96)), edge="hard")
        assert path.suffix == ".webm"
        with av.open(str(path)) as container:
            assert container.streams.video[0].metadata["ALPHA_MODE"] == "1"
        found = planes(path, "libvpx-vp9")
        assert len(found) == 3 and all(len(each) == 4 for each in found)
        for (*_, alpha), result in zip(found, results, strict=True):
            wanted = (result.class_map > 0) * 255.0
            assert np.abs(alpha - wanted).mean() < 12
            assert ((alpha > 127) == (wanted > 127)).mean() > 0.98

    def test_ffv1_of_soft_edges_has_sixteen_bits(self, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures()]
        [path] = write(tmp_path, "ffv1", results, edge="soft")
        for [grey], result in zip(planes(path), results, strict=True):
            assert result.alpha is not None and grey.dtype == np.uint16
            assert np.array_equal(grey, np.rint(result.alpha.full() * 65535))

    @pytest.mark.parametrize("premultiplied", [False, True])
    @pytest.mark.parametrize("kind", ["prores4444", "vp9"])
    def test_a_picture_of_full_range_keeps_its_colours(self, kind: str, premultiplied: bool, tmp_path: Path) -> None:
        rgb = np.full((64, 96, 3), (250, 30, 90), np.uint8)
        full = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p", dst_color_range=2)
        full.color_range = 2
        [frame] = pictures(1, size=(64, 96))
        result = result_of(replace(frame, decoded=full))
        size = replace(INFO, size=(64, 96))
        [path] = write(tmp_path, kind, [result], size, edge="hard", premultiplied=premultiplied)
        [shown] = decoded(path, "rgb24", "libvpx-vp9" if kind == "vp9" else None)
        inside = cv2.erode((result.class_map > 0).astype(np.uint8), np.ones((9, 9))) > 0
        assert np.abs(shown[inside].astype(int) - (250, 30, 90)).mean() < 5

    @pytest.mark.parametrize("kind", ["prores4444", "vp9"])
    def test_a_matte_alone_is_a_grey_picture(self, kind: str, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures(size=(64, 96))]
        [path] = write(tmp_path, kind, results, replace(INFO, size=(64, 96)), edge="hard", matte_only=True)
        for grey, result in zip(decoded(path, "gray"), results, strict=True):
            assert np.abs(grey.astype(float) - (result.class_map > 0) * 255.0).mean() < 14


class TestPremultiplied:
    @pytest.mark.parametrize("kind", ["qtrle", "png", "png8", "png16", "exr", "prores4444", "vp9"])
    def test_what_is_clear_is_black(self, kind: str, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures(1, size=(64, 96))]
        [path] = write(tmp_path, kind, results, replace(INFO, size=(64, 96)), edge="hard", premultiplied=True)
        if path.suffix == ".exr":
            file = OpenEXR.File(str(path), separate_channels=True)
            assert file.header()["alpha"] == "premultiplied"
            rgb = np.dstack([file.channels()[name].pixels for name in "RGB"]) ** (1 / 2.4) * 255
        elif path.suffix == ".png":
            read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            rgb = read[..., 2::-1] / (257 if kind == "png16" else 1)
        else:
            [rgb] = decoded(path, "rgb24", "libvpx-vp9" if kind == "vp9" else None)
        clear = cv2.dilate((results[0].class_map > 0).astype(np.uint8), np.ones((5, 5))) == 0
        tolerance = 8 if kind in ("prores4444", "vp9") else 0.01
        assert rgb[clear].mean() < tolerance
        assert np.abs(rgb[~clear].mean() - results[0].frame.rgb[~clear].mean()) < 40

    @pytest.mark.parametrize(
        "kind, choices", [("ffv1", {}), ("png", {"matte_only": True}), ("exr", {"matte_only": True})]
    )
    def test_there_is_none_of_a_matte_alone(self, kind: str, choices: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="matte alone"):
            write(tmp_path, kind, [], premultiplied=True, **choices)

    @pytest.mark.parametrize(
        "option", [{"matte_only": True}, {"premultiplied": True}, {"edge": "soft"}, {"start_number": 7}], ids=str
    )
    def test_it_is_of_a_matte(self, option: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match="is of a matte, and none is asked for"):
            Outputs(**option)

    @pytest.mark.parametrize("premultiplied, word", [(False, "straight"), (True, "premultiplied")])
    @pytest.mark.parametrize("kind", ["prores4444", "qtrle", "vp9", "png8"])
    def test_the_file_says_which(self, kind: str, premultiplied: bool, word: str, tmp_path: Path) -> None:
        results = [result_of(each) for each in pictures(1)]
        [path] = write(tmp_path, kind, results, premultiplied=premultiplied, only=(int(HAIR),), edge="hard")
        if kind == "png8":
            with PIL.Image.open(path) as image:
                said = image.text["Comment"]  # type: ignore[attr-defined]
        else:
            with av.open(str(path)) as container:
                said = {key.lower(): value for key, value in container.metadata.items()}["comment"]
        assert f"{word} alpha" in said and "Hair" in said and "hard" in said


class TestEdges:
    def test_refined_edges_follow_the_picture(self) -> None:
        rgb = np.full((240, 240, 3), 40, np.uint8)
        cv2.circle(rgb, (120, 120), 70, (200, 160, 120), -1)
        truth = (rgb[..., 0] > 100).astype(np.float32)
        frame = Frame(index=0, name="a", decoded=rgb)
        class_map = np.zeros((240, 240), np.uint8)
        cv2.circle(class_map, (123, 118), 70, int(FACE), -1)  # a little off
        alpha = alpha_of(class_map, frozenset(range(1, 28)))
        errors = {}
        for edge in ("hard", "soft", "refined"):
            result = Segmentation(frame=frame, class_map=class_map, classes=SAPIENS, alpha=alpha)
            errors[edge] = float(np.abs(MatteMaker(edge=edge)(result) - truth).sum())
        assert errors["refined"] < 0.5 * errors["hard"]

    def test_without_probabilities_the_class_map_is_refined(self) -> None:
        [frame] = pictures(1)
        result = replace(result_of(frame), alpha=None)
        refined = MatteMaker(edge="refined")(result)
        assert refined.dtype == np.float32 and refined.min() >= 0 and refined.max() <= 1

    def test_what_the_model_is_sure_of_stays(self) -> None:
        """A person in stripes before black: the picture's edges lie across the matte's."""
        rgb = np.zeros((120, 160, 3), np.uint8)
        rgb[:, 40:120][::4] = 255
        class_map = np.zeros((120, 160), np.uint8)
        class_map[:, 40:120] = FACE
        alpha = AlphaPlane(
            np.where(class_map > 0, 65535, 0).astype(np.uint16),
            Extent((120, 160), (0, 0, 120, 160), (0.0, 0.0, 120.0, 160.0)),
            frozenset({FACE}),
        )
        frame = Frame(index=0, name="stripes", decoded=rgb)
        result = Segmentation(frame=frame, class_map=class_map, classes=SAPIENS, alpha=alpha)
        assert np.array_equal(MatteMaker((FACE,), "refined")(result), class_map > 0)
        coarse = MatteMaker((FACE,), "refined")(replace(result, alpha=None))
        assert np.array_equal(coarse[:, 60:100], np.ones((120, 40))) and not coarse[:, :20].any()

    def test_soft_needs_probabilities(self) -> None:
        [frame] = pictures(1)
        with pytest.raises(OutputError, match="no probabilities"):
            MatteMaker(edge="soft")(replace(result_of(frame), alpha=None))

    def test_probabilities_of_other_classes_are_not_taken(self) -> None:
        [frame] = pictures(1)
        result = result_of(frame, frozenset({int(HAIR)}))
        with pytest.raises(OutputError):
            MatteMaker((int(FACE),), "soft")(result)
        assert MatteMaker((int(HAIR),), "soft")(result).max() > 0.5

    def test_an_unknown_edge_is_named(self) -> None:
        with pytest.raises(UsageError, match="edge is 'sharp'; there are hard, soft, refined"):
            MatteMaker(edge="sharp")  # type: ignore[arg-type]

    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (300, 2)])
    def test_of_any_size(self, size: tuple[int, int]) -> None:
        rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        class_map = np.ones(size, np.uint8)
        result = Segmentation(frame=Frame(index=0, name="a", decoded=rgb), class_map=class_map, classes=SAPIENS)
        assert np.allclose(MatteMaker(edge="refined")(result), 1, atol=1e-3)


class TestVideos:
    """Times, sound, colours and rotation are kept as in overlays."""

    def _written(self, clip: Path, folder: Path, kind: str, **choices: Any) -> Path:
        with Video(clip) as source:
            outputs = Outputs(overlay="none", save=frozenset(), matte=kind, **choices)
            [sink] = outputs.sinks(folder, clip.stem, source.info, SAPIENS, lambda sentence: None)
            for frame in source.frames():
                assert isinstance(frame, Frame)
                sink.write(result_of(frame))
            sink.close()
            return sink.written[0]

    @pytest.mark.parametrize("kind", VIDEOS)
    def test_variable_times_and_sound(self, kind: str, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=8, vfr=True, audio="aac", size=(64, 96))
        path = self._written(clip, tmp_path, kind, edge="hard")
        with av.open(str(path)) as container:
            assert len(container.streams.audio) == 1
            times = [frame.time for frame in container.decode(video=0)]
        expected = [float(each) for each in frame_times(8, vfr=True)]
        assert np.allclose(times, expected, atol=0.0011 if kind in ("vp9", "ffv1") else 1e-4)

    @pytest.mark.parametrize("kind", [*VIDEOS, "exr"])
    @pytest.mark.parametrize("rotation, expected", [(0, Fraction(2)), (90, Fraction(1, 2))])
    def test_pixels_keep_their_shape(self, kind: str, rotation: int, expected: Fraction, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=2, size=(64, 96), sar=Fraction(2), rotation=rotation)
        if kind == "exr":
            with Video(clip) as source:
                results = [result_of(frame) for frame in source.frames() if isinstance(frame, Frame)]
                write(tmp_path, kind, results, source.info)
                write(tmp_path, "none", results, source.info, save=frozenset({"cryptomatte"}))
            files = list(tmp_path.rglob("*.exr"))
            assert len(files) == 4
            assert {OpenEXR.File(str(file)).header()["pixelAspectRatio"] for file in files} == {float(expected)}
        else:
            with av.open(str(self._written(clip, tmp_path, kind))) as container:
                assert container.streams.video[0].sample_aspect_ratio == expected

    @pytest.mark.parametrize("kind, checksums", [("ffv1", 2), ("vp9", 0)])  # WebM has none
    def test_a_head_that_tells_the_shape_of_pixels_is_whole(self, kind: str, checksums: int, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=9, size=(64, 96), sar=Fraction(16, 11), audio="aac")
        path = self._written(clip, tmp_path, kind)
        with path.open("rb") as opened:
            file = ElementFile(opened)
            segment = file.header(file.header(0).end or 0)
            head = next(file.children(segment.content, file.size))
            assert head.number == ebml.SEEK_HEAD
            for seek in file.within(head):
                if seek.number == ebml.SEEK:
                    wanted, place = file.within(seek)
                    assert file.header(segment.content + file.number(place)).number == file.number(wanted)
            for part in file.children(segment.content, file.size):
                first, *rest = file.within(part) if part.number in (ebml.SEEK_HEAD, ebml.TRACKS) else [part]
                if first.number == ebml.CRC32:
                    content = file.read(rest[0].at, (part.end or 0) - rest[0].at)
                    assert file.content(first) == zlib.crc32(content).to_bytes(4, "little")
                    checksums -= 1
        assert not checksums
        with av.open(str(path)) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(140, 96)
            assert [frame.pts for frame in container.decode(video=0)] == [40 * index for index in range(9)]

    @pytest.mark.parametrize("kind", VIDEOS)
    @pytest.mark.parametrize("rotation", [0, 90])
    def test_odd_sizes_and_rotation(self, kind: str, rotation: int, tmp_path: Path) -> None:
        clip = make_video(
            tmp_path / "clip.mkv", codec="ffv1", pix_fmt="yuv444p", frames=2, size=(75, 61), rotation=rotation
        )
        with Video(clip) as source:
            size = source.info.size
        path = self._written(clip, tmp_path, kind, edge="hard")
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        assert {(frame.height, frame.width) for frame in frames} == {size}

    @pytest.mark.parametrize("form", ["yuv420p", "nv12", "yuv420p10le", "yuvj422p"])
    @pytest.mark.parametrize("kind", ["prores4444", "qtrle", "png", "png8", "png16", "exr"])
    def test_chroma_is_interpolated(self, kind: str, form: str, tmp_path: Path) -> None:
        ramp = np.broadcast_to(np.linspace(0, 255, 48, dtype=np.float32).astype(np.uint8), (48, 48))
        rgb = np.dstack([ramp, np.full_like(ramp, 90), 255 - ramp])  # whose chroma changes with each pixel
        whole = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv444p")
        found = []
        for each in (whole, whole.reformat(format=form, interpolation="AREA")):
            frame = Frame(index=0, name="clip/000000", decoded=each, pts=0, time_base=Fraction(1, 25), duration=1)
            folder = tmp_path / each.format.name
            [path] = write(folder, kind, [result_of(frame)], replace(INFO, size=(48, 48)), edge="hard")
            if kind == "exr":
                channels = OpenEXR.File(str(path), separate_channels=True).channels()
                linear = np.dstack([channels[name].pixels for name in "RGB"])
                found.append(255 * linear ** (1 / 2.2))
            else:
                found.append(decoded(path, "rgb24")[0].astype(np.float32))
        # The same chroma for two pixels would be off by a whole step of the ramp, 5.
        assert np.abs(found[1] - found[0])[:, 4:-4].max() < 4

    @pytest.mark.parametrize("kind", ["qtrle", "png", "prores4444"])
    def test_pictures_are_upright(self, kind: str, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3, size=(96, 160), rotation=90)
        path = self._written(clip, tmp_path, kind, edge="hard")
        assert [number_of(rgb) for rgb in decoded(path, "rgb24")] == [0, 1, 2]

    def test_prores_keeps_hdr(self, tmp_path: Path) -> None:
        colour = Colour(matrix=BT2020, primaries=BT2020, transfer=PQ, bits=10, peak=1000)
        frames = [hdr.shot(picture(index, (64, 96)), colour) for index in range(2)]
        clip = hdr.write(tmp_path / "clip.mkv", frames)
        path = self._written(clip, tmp_path, "prores4444", edge="hard")
        with av.open(str(path)) as container:
            found = list(container.decode(video=0))
        assert {(each.colorspace, each.color_primaries, each.color_trc) for each in found} == {(9, 9, 16)}
        scale = 1 if found[0].format.components[0].bits == 10 else 4
        luma = planes(path)[0][0] / scale
        with av.open(str(clip)) as container:
            original = planes_of(next(container.decode(video=0))).y.copy()
        assert np.abs(luma - original).mean() < 4

    def test_png_of_a_deep_source_has_sixteen_bits(self, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mkv", codec="ffv1", pix_fmt="yuv444p10le", frames=2, size=(64, 96))
        path = self._written(clip, tmp_path, "png", edge="hard")
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.pix_fmt == "rgba64be"

    @pytest.mark.parametrize("kind", ["prores4444", "qtrle", "png"])
    @pytest.mark.parametrize("rate, said", [(25, "01:02:03:04"), (120, "01:02:03:004")])
    def test_the_time_code_goes_along(self, rate: int, said: str, kind: str, tmp_path: Path) -> None:
        clip = tmp_path / "clip.mov"
        with av.open(str(clip), "w") as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.metadata["timecode"] = said
            for index in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index, (64, 96)), "rgb24")))
            container.mux(stream.encode(None))
        path = self._written(clip, tmp_path / "out", kind, edge="hard")
        with av.open(str(path)) as container:
            assert container.streams.video[0].metadata.get("timecode") == said
            assert len(container.streams.data) == 1

    def test_a_run_that_breaks_leaves_what_can_be_read(self, tmp_path: Path) -> None:
        outputs = Outputs(overlay="none", save=frozenset(), matte="qtrle", edge="hard")
        [sink] = outputs.sinks(tmp_path, "clip", INFO, SAPIENS, pytest.fail)
        for each in pictures(5):
            sink.write(result_of(each))
        growing = [path for path in tmp_path.iterdir() if ".part" in path.name]
        assert len(growing) == 1
        sink.close()
        assert [path.name for path in tmp_path.iterdir()] == ["clip_matte_qtrle.mov"]
        assert len(decoded(sink.written[0], "rgba")) == 5


class TestCommands:
    def test_a_video(self, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3, size=(64, 96))
        out = tmp_path / "out"
        outcome = program(
            "video", clip, "-o", out, "--overlay", "none", "--save", "labels", "--matte", "ffv1", "--edge", "soft",
            "--classes", "hair,face_neck", *SMALL,
        )  # fmt: skip
        assert outcome.code == 0, outcome
        record = record_of(out)
        assert record["settings"]["matte"] == "ffv1" and record["settings"]["edge"] == "soft"
        assert str(out / "clip_matte_ffv1.mkv") in record["outputs"]
        [first, *_] = planes(out / "clip_matte_ffv1.mkv")
        assert first[0].dtype == np.uint16

    def test_a_numbered_sequence_is_listed_and_made_anew(self, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3, size=(64, 96))
        out = tmp_path / "out"
        arguments = ("video", clip, "-o", out, "--overlay", "none", "--save", "labels", "--matte", "png8", *SMALL)
        assert program(*arguments, "--start-number", 1001).code == 0
        names = sorted(path.name for path in (out / "clip_matte").iterdir())
        assert names == [f"clip_matte.{number:06d}.png" for number in (1001, 1002, 1003)]
        files = record_of(out)["files"]
        assert files["endings"][".png"]["count"] == 3
        assert program(*arguments, "--start-number", 1, "--overwrite").code == 0
        assert sorted(path.name for path in (out / "clip_matte").iterdir()) == [
            f"clip_matte.{number:06d}.png" for number in (1, 2, 3)
        ]
        outcome = program(*arguments, "--start-number", 1, "--resume")
        assert outcome.code == 0, outcome

    def test_a_sequence_that_would_run_out_of_numbers_is_refused(self, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3, size=(64, 96))
        arguments = ("video", clip, "--overlay", "none", "--save", "none", "--matte", "png8", *SMALL)
        outcome = program(*arguments, "-o", tmp_path / "beyond", "--start-number", 999998)
        assert outcome.code == 2 and "--start-number 999997 at most" in outcome.stderr, outcome
        assert not (tmp_path / "beyond").exists()
        assert program(*arguments, "-o", tmp_path / "out", "--start-number", 999997).code == 0

    def test_photos(self, program: Program, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        make_photo(tmp_path / "in" / "a.jpg", picture(3, (64, 96)))
        outcome = program(
            "images", "builtin", "--input", tmp_path / "in", "-o", tmp_path / "out", "--matte", "png", *SMALL
        )
        assert outcome.code == 0, outcome
        read = cv2.imread(str(tmp_path / "out" / "a_matte.png"), cv2.IMREAD_UNCHANGED)
        assert read.shape == (64, 96, 4)
        again = program(
            "images",
            "builtin",
            "--input",
            tmp_path / "in",
            "-o",
            tmp_path / "out",
            "--matte",
            "png",
            "--resume",
            *SMALL,
        )
        assert again.code == 0, again

    def test_of_photos_there_is_no_video(self, program: Program, tmp_path: Path) -> None:
        make_photo(tmp_path / "a.jpg", picture(3, (64, 96)))
        outcome = program("images", "builtin", "--input", tmp_path, "--matte", "qtrle")
        assert outcome.code == 2
        assert "matte is 'qtrle'; there are png8, png16, exr, or none" in outcome.stderr

    def test_resuming_gives_the_same(self, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=4, size=(64, 96))
        arguments = (
            "video",
            clip,
            "--overlay",
            "none",
            "--save",
            "labels",
            "--matte",
            "ffv1",
            "--edge",
            "soft",
            *SMALL,
        )
        assert program(*arguments, "-o", tmp_path / "whole").code == 0
        assert program(*arguments, "-o", tmp_path / "out").code == 0
        (tmp_path / "out" / "clip_matte_ffv1.mkv").unlink()
        assert program(*arguments, "-o", tmp_path / "out", "--resume").code == 0
        one, two = (planes(tmp_path / each / "clip_matte_ffv1.mkv") for each in ("whole", "out"))
        assert all(np.array_equal(a[0], b[0]) for a, b in zip(one, two, strict=True))

    def test_made_from_written_class_maps(self, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3, size=(64, 96))
        out = tmp_path / "out"
        assert program("video", clip, "-o", out, "--overlay", "none", "--save", "labels", *SMALL).code == 0
        render = ("results", "render", out, "--overlay", "none", "--save", "none")
        outcome = program(*render, "--matte", "png", "--edge", "hard")
        assert outcome.code == 0, outcome
        assert len(decoded(out / "rendered" / "clip_matte_png.mov", "rgba")) == 3
        soft = program(*render, "--matte", "png", "--edge", "soft", "--overwrite")
        assert soft.code == 2 and "class maps hold no probabilities" in soft.stderr

    def test_a_wrong_kind_is_named(self, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=3, size=(64, 96))
        outcome = program("video", clip, "-o", tmp_path / "out", "--matte", "gif")
        assert outcome.code == 2 and "matte is 'gif'; there are prores4444" in outcome.stderr


def test_a_png_of_every_form_is_read_by_others() -> None:
    from sapiens_stream.sinks.png import encode_png

    rng = np.random.default_rng(0)
    for dtype, most in ((np.uint8, 256), (np.uint16, 65536)):
        for shape in ((5, 7), (5, 7, 3), (5, 7, 4), (1, 1), (1, 1, 4)):
            array = rng.integers(0, most, shape).astype(dtype)
            data = encode_png(array, text={"Comment": "straight"})
            read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if array.ndim == 3:
                read = cv2.cvtColor(read, cv2.COLOR_BGRA2RGBA if shape[2] == 4 else cv2.COLOR_BGR2RGB)
            assert read.dtype == dtype and np.array_equal(read, array)
            with PIL.Image.open(io.BytesIO(data)) as image:
                assert image.text == {"Comment": "straight"}  # type: ignore[attr-defined]
