"""Cryptomatte, read back by OpenEXR and by the rules of its specification (Psyop, 1.2)."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest

from sapiens_stream.classes import SAPIENS
from sapiens_stream.frame import Frame, Person, Segmentation, SourceInfo
from sapiens_stream.sinks import Outputs
from sapiens_stream.sinks.cryptomatte.coverage import RANKS, coverage_of
from sapiens_stream.sinks.cryptomatte.names import attributes_of, hash_of, id_of
from sapiens_stream.soft import Extent, RankedPlanes
from tests.media import make_photo, make_video, picture
from tests.program import Program

SMALL = ("--shape", 96, 96)
SIZE = (48, 64)
FACE, HAIR, TORSO = SAPIENS.ids(["face_neck", "hair", "torso"])
INFO = SourceInfo(name="clip.mp4", kind="video", frame_count=2, size=SIZE)

Found = dict[str, npt.NDArray[np.float32]]


def result_of(index: int = 0, *, soft: bool = False, people: bool = False) -> Segmentation:
    class_map = np.zeros(SIZE, np.uint8)
    class_map[8:40, 8:24], class_map[8:20, 40:56], class_map[20:40, 40:56] = FACE, HAIR, FACE
    frame = Frame(index=index, name=f"clip/{index:06d}", decoded=np.zeros((*SIZE, 3), np.uint8))
    ranked = None
    if soft:
        ids = np.stack([np.full((24, 32), each, np.uint8) for each in (FACE, 0, HAIR, TORSO)])
        values = np.stack([np.full((24, 32), round(65535 * each), np.uint16) for each in (0.5, 0.3, 0.2, 0.001)])
        ranked = RankedPlanes(ids, values, Extent(SIZE, (0, 0, *SIZE), (0.0, 0.0, 24.0, 32.0)))
    made = Segmentation(frame=frame, class_map=class_map, classes=SAPIENS, ranked=ranked)
    if people:
        person_map = np.zeros(SIZE, np.uint16)
        person_map[8:40, 8:24], person_map[8:40, 40:56] = 3, 7
        both = tuple(Person(id=each, bbox=(0, 0, 1, 1), score=1.0, labels=()) for each in (3, 7))
        made = replace(made, people=both, person_map=person_map)
    return made


def write(folder: Path, *results: Segmentation, **choices: Any) -> list[Path]:
    outputs = Outputs(overlay="none", save=frozenset({"cryptomatte"}), **choices)
    [sink] = outputs.sinks(folder, "clip", INFO, SAPIENS, pytest.fail)
    for each in results:
        sink.write(each)
    sink.close()
    return sorted(folder.rglob("*.exr"))


def layer(path: Path, name: str) -> tuple[dict[str, int], Found]:
    """A layer as a compositor reads it: the manifest, and for each name its coverage, summed over the ranks."""
    file = OpenEXR.File(str(path), separate_channels=True)
    header, channels = file.header(), file.channels()
    [key] = [key.removesuffix("/name") for key, value in header.items() if key.endswith("/name") and value == name]
    assert key == f"cryptomatte/{struct.unpack('<I', struct.pack('<f', id_of(name)))[0]:08x}"[:19]
    assert header[f"{key}/hash"] == "MurmurHash3_32" and header[f"{key}/conversion"] == "uint32_to_float32"
    manifest = {each: int(text, 16) for each, text in json.loads(header[f"{key}/manifest"]).items()}
    levels = sorted({each.split(".")[0] for each in channels if each.startswith(name)})
    assert levels == [f"{name}{level:02d}" for level in range(3)]
    covered: Found = {each: np.zeros(SIZE, np.float32) for each in manifest}
    last = np.ones(SIZE, np.float32)
    for level in levels:
        for id_channel, share_channel in ("RG", "BA"):
            ids, shares = (channels[f"{level}.{each}"].pixels for each in (id_channel, share_channel))
            assert ids.dtype == shares.dtype == np.float32
            assert (shares <= last).all() and ((ids != 0) == (shares > 0)).all()
            last = shares
            bits = np.ascontiguousarray(ids).view(np.uint32)
            assert set(np.unique(bits)) <= {0, *manifest.values()}
            for each, number in manifest.items():
                covered[each] += np.where(bits == number, shares, 0)
    return manifest, covered


class TestNames:
    @pytest.mark.parametrize(
        "name, expected",
        [
            # The object names of Psyop's sample, as its manifest has them.
            ("bunny", 0x13851A76),
            ("default", 0x42C9679F),
            # Published test values of MurmurHash3_x86_32 with seed 0.
            ("hello", 0x248BFA47),
            ("The quick brown fox jumps over the lazy dog", 0x2E4FF723),
        ],
    )
    def test_hashes_are_the_published_ones(self, name: str, expected: int) -> None:
        assert hash_of(name) == expected

    def test_the_name_of_nothing_is_made_a_normal_number(self) -> None:
        assert hash_of("") == 1 << 23

    def test_every_id_is_a_normal_float(self) -> None:
        import mmh3

        turned = 0
        for index in range(4000):
            name = f"part{index}"
            value = id_of(name)
            exponent = hash_of(name) >> 23 & 255
            assert 0 < exponent < 255 and np.isfinite(value) and abs(value) >= np.finfo(np.float32).tiny
            plain = mmh3.hash(name.encode(), 0, signed=False)
            if plain >> 23 & 255 in (0, 255):
                turned += 1
                assert hash_of(name) == plain ^ 1 << 23
            else:
                assert hash_of(name) == plain
        assert turned > 5

    def test_a_name_is_hashed_as_utf8(self) -> None:
        attributes = attributes_of("CryptoParts", ["Größe"])
        [manifest] = [value for key, value in attributes.items() if key.endswith("manifest")]
        assert json.loads(manifest) == {"Größe": f"{hash_of('Größe'):08x}"}


class TestFiles:
    def test_hard_coverage_is_the_class_map(self, tmp_path: Path) -> None:
        result = result_of()
        [path] = write(tmp_path, result)
        assert path.relative_to(tmp_path).as_posix() == "clip_cryptomatte/clip_cryptomatte.000000.exr"
        manifest, covered = layer(path, "CryptoParts")
        assert list(manifest) == list(SAPIENS.names[1:])
        for class_id, name in enumerate(SAPIENS.names):
            if class_id:
                assert np.array_equal(covered[name], (result.class_map == class_id).astype(np.float32)), name

    def test_soft_coverage_is_the_probability(self, tmp_path: Path) -> None:
        [path] = write(tmp_path, result_of(soft=True))
        _, covered = layer(path, "CryptoParts")
        assert np.allclose(covered["Face_Neck"], 0.5) and np.allclose(covered["Hair"], 0.2, atol=1 / 512)
        assert not covered["Torso"].any()  # below what can be seen

    @pytest.mark.parametrize("soft", [False, True])
    def test_people_have_a_layer_of_their_own(self, soft: bool, tmp_path: Path) -> None:
        result = result_of(soft=soft, people=True)
        [path] = write(tmp_path, result)
        manifest, covered = layer(path, "CryptoPeople")
        assert {"person_3/Face_Neck", "person_7/Face_Neck", "person_7/Hair"} <= set(manifest)
        _, parts = layer(path, "CryptoParts")
        own = covered["person_3/Face_Neck"]
        assert np.array_equal(own[8:40, 8:24], parts["Face_Neck"][8:40, 8:24]) and not own[:, 40:].any()
        whole = covered["person_3/Face_Neck"] + covered["person_7/Face_Neck"]
        assert np.allclose(whole, parts["Face_Neck"])

    def test_channels_and_compression_are_the_same_in_all_frames(self, tmp_path: Path) -> None:
        empty = replace(result_of(1, people=True), people=(), person_map=np.zeros(SIZE, np.uint16))
        empty = replace(empty, class_map=np.zeros(SIZE, np.uint8))
        files = [
            OpenEXR.File(str(path), separate_channels=True) for path in write(tmp_path, result_of(people=True), empty)
        ]
        assert len(files) == 2
        assert files[0].channels().keys() == files[1].channels().keys() and len(files[0].channels()) == 24
        assert {file.header()["compression"] for file in files} == {OpenEXR.ZIP_COMPRESSION}

    def test_chosen_classes_alone(self, tmp_path: Path) -> None:
        [path] = write(tmp_path, result_of(), only=(int(HAIR),), start_number=1001)
        assert path.name == "clip_cryptomatte.001001.exr"
        manifest, covered = layer(path, "CryptoParts")
        assert list(manifest) == ["Hair"] and covered["Hair"].sum() == 12 * 16

    def test_more_classes_than_ranks_keep_the_largest(self) -> None:
        ids = np.arange(1, 9, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
        shares = np.array([9, 8, 7, 6, 5, 4, 3, 2])[:, None, None] * np.ones((1, 2, 2)) / 45 * 65535
        ranked = RankedPlanes(ids, shares.astype(np.uint16), Extent(SIZE, (0, 0, *SIZE), (0.0, 0.0, 2.0, 2.0)))
        found = coverage_of(replace(result_of(), ranked=ranked))
        assert found.classes[:, 5, 5].tolist() == [1, 2, 3, 4, 5, 6]
        assert np.allclose(found.shares[:, 5, 5], np.arange(9, 3, -1) / 45, atol=1 / 511)
        assert len(found.classes) == RANKS

    def test_all_that_covers_a_pixel_is_no_more_than_the_pixel(self) -> None:
        ids = np.arange(1, 5, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
        shares = np.array([254, 0.9, 0.8, 0.7])[:, None, None] * np.ones((1, 2, 2)) / 256 * 65535
        ranked = RankedPlanes(ids, shares.astype(np.uint16), Extent(SIZE, (0, 0, *SIZE), (0.0, 0.0, 2.0, 2.0)))
        found = coverage_of(replace(result_of(), ranked=ranked))
        assert (found.shares.sum(0) <= 1).all()
        assert found.classes[:, 5, 5].tolist() == [
            1,
            2,
            3,
            0,
            0,
            0,
        ]  # in 256ths 254 and three of 1, for which two are left


class TestCommands:
    def test_a_video_has_probabilities_and_a_render_has_none(self, program: Program, tmp_path: Path) -> None:
        clip = make_video(tmp_path / "clip.mp4", frames=2, size=SIZE)
        out = tmp_path / "out"
        outcome = program("video", clip, "-o", out, "--overlay", "none", "--save", "labels,cryptomatte", *SMALL)
        assert outcome.code == 0, outcome
        layer(out / "clip_cryptomatte" / "clip_cryptomatte.000001.exr", "CryptoParts")
        outcome = program("results", "render", out, "--overlay", "none", "--save", "cryptomatte")
        assert outcome.code == 0, outcome
        layer(out / "rendered" / "clip_cryptomatte" / "clip_cryptomatte.000000.exr", "CryptoParts")

    def test_a_photo(self, tmp_path: Path) -> None:
        from sapiens_stream import Segmenter

        with Segmenter("builtin", device="cpu", ranks=7, shape=(96, 96)) as model:
            result = model(make_photo(tmp_path / "a.jpg", picture(3, SIZE)))
        result.save(tmp_path, "a", overlay="none", save="cryptomatte")
        layer(tmp_path / "a_cryptomatte.exr", "CryptoParts")
