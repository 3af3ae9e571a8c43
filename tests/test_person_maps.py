"""Maps of people: exact whatever the ids, in every command, and kept where results are made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sapiens_stream import InputError, LabelVideo, PersonVideo, Run, Segmenter, UsageError
from sapiens_stream.frame import IdArray, SourceInfo, UInt8Array
from sapiens_stream.sinks import Outputs
from sapiens_stream.sinks.person_maps import PersonMapSink, PersonVideoSink
from sapiens_stream.sources import Video
from tests.program import record_of
from tests.test_label_video import maps, write
from tests.test_sinks import result

SAMPLES = Path(__file__).parents[1] / "samples"
INFO = SourceInfo(name="clip.mp4", kind="video", frame_rate=Fraction(25))
SMALL = ("--shape", 96, 160, "--overlay", "none", "--quiet")


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few frames of the sample's people, small, without loss."""
    return sample(tmp_path_factory.mktemp("street") / "street.mkv", frames=4)


def sample(path: Path, frames: int) -> Path:
    with av.open(SAMPLES / "people.mp4") as container, av.open(path, "w") as out:
        stream = out.add_stream("ffv1", rate=25, width=320, height=180, pix_fmt="yuv420p")
        for index, frame in zip(range(frames), container.decode(video=0), strict=False):
            small = frame.reformat(320, 180, "yuv420p")
            small.pts, small.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(small))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people of them, where a detector would have them."""
    path = tmp_path_factory.mktemp("boxes") / "boxes.jsonl"
    lines = ({"frame": index, "boxes": [[26, 37, 45, 113, 0.9], [174, 48, 36, 104, 0.75]]} for index in range(12))
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def assert_belongs(person_map: IdArray, class_map: UInt8Array, share: float = 0.99) -> None:
    """What is anybody belongs to somebody, but for specks, and for people whom no box is around."""
    assert not person_map[class_map == 0].any()
    assert (person_map > 0).sum() > share * (class_map > 0).sum() > 0


def numbered(size: tuple[int, int], *ids: int) -> Iterator[IdArray]:
    """Maps with stripes of these ids, other ones in each."""
    for index in range(4):
        stripes = np.array(ids, np.uint16)[(np.arange(size[1]) // 3 + index) % len(ids)]
        yield np.broadcast_to(stripes, size).copy()


@pytest.mark.parametrize("ids", [(0, 1, 2), (0, 255, 256, 257, 513), (0, 65535, 1, 40000)], ids=str)
@pytest.mark.parametrize("size", [(48, 64), (61, 83), (1, 1)], ids=str)
def test_ids_come_back_to_the_bit(ids: tuple[int, ...], size: tuple[int, int], tmp_path: Path) -> None:
    video, files = PersonVideoSink(tmp_path / "clip_people.mkv", INFO), PersonMapSink(tmp_path)
    written = list(numbered(size, *ids))
    for index, person_map in enumerate(written):
        class_map = (person_map > 0).astype(np.uint8)
        own = result(f"clip/{index}", class_map=class_map, index=index, pts=index, time_base=Fraction(1, 25))
        for sink in (video, files):
            sink.write(replace(own, person_map=person_map, people=(), boxes=()))
    video.close()
    with PersonVideo(tmp_path / "clip_people.mkv") as read:
        np.testing.assert_array_equal(np.stack(list(read)), np.stack(written))
        assert read[0].dtype == np.uint16 and list(read.times) == [Fraction(index, 25) for index in range(4)]
    for name, person_map in zip(sorted(tmp_path.rglob("*_people.npy")), written, strict=True):
        np.testing.assert_array_equal(np.load(name), person_map)
    with av.open(tmp_path / "clip_people.mkv") as container:  # and by whoever plays videos
        np.testing.assert_array_equal([frame.to_ndarray() for frame in container.decode(video=0)], written)


def test_classes_and_people_are_not_taken_for_each_other(tmp_path: Path) -> None:
    write(tmp_path / "labels.mkv", maps(2, (8, 8), "people"))
    sink = PersonVideoSink(tmp_path / "people.mkv", INFO)
    own = result(size=(48, 64), pts=0, time_base=Fraction(1, 25))
    sink.write(replace(own, person_map=np.ones((48, 64), np.uint16), boxes=()))
    sink.close()
    with pytest.raises(InputError, match=r"people\.mkv: it is not a label video: it holds people"):
        LabelVideo(tmp_path / "people.mkv")
    with pytest.raises(InputError, match=r"labels\.mkv: it is not a person video: it holds classes"):
        PersonVideo(tmp_path / "labels.mkv")


def test_a_video_has_its_people_as_files_and_as_a_video(
    street: Path, boxes: Path, program: Any, tmp_path: Path
) -> None:
    outcome = program("video", street, "-o", tmp_path, *SMALL, "--boxes", boxes, "--save", "people,json,labels,classes")
    assert outcome.code == 0, outcome
    with PersonVideo(tmp_path / "street_people.mkv") as people, LabelVideo(tmp_path / "street_labels.mkv") as labels:
        assert people.fingerprint == labels.fingerprint and list(people.times) == list(labels.times)
        for index, (person_map, class_map) in enumerate(zip(people, labels, strict=True)):
            frame = tmp_path / "street" / f"{index:06d}"
            np.testing.assert_array_equal(np.load(f"{frame}_people.npy"), person_map)
            assert_belongs(person_map, class_map, 0.7)
            found = json.loads(frame.with_suffix(".json").read_text())["people"]
            assert [each["id"] for each in found] == list(np.unique(person_map)[1:]) == [1, 2]
            for each in found:
                assert sum(label["pixels"] for label in each["labels"]) == (person_map == each["id"]).sum()
    files = record_of(tmp_path, "street")["files"]
    assert "street_people.mkv" in files["single"] and files["endings"]["_people.npy"]["count"] == 4


@pytest.mark.parametrize(("frame", "left", "used"), [(3, 26, 1), (3, -40, 1), (3, -46, 0), (3, 2600, 0), (77, 26, 0)])
def test_boxes_of_no_frame_are_told_of(
    frame: int, left: int, used: int, street: Path, program: Any, tmp_path: Path
) -> None:
    (tmp_path / "boxes.jsonl").write_text(json.dumps({"frame": frame, "boxes": [[left, 37, 45, 113], [1e5, 3, 4, 4]]}))
    options = [each for each in SMALL if each != "--quiet"]
    outcome = program("video", street, "-o", tmp_path, *options, "--boxes", tmp_path / "boxes.jsonl", "--save", "jsonl")
    assert outcome.code == 0
    assert ("boxes.jsonl has no boxes in any frame" in outcome.stderr) == (not used)
    assert record_of(tmp_path, "street")["boxes"]["frames"] == used


def test_the_frames_that_had_boxes_are_each_clips_own(street: Path, program: Any, tmp_path: Path) -> None:
    (tmp_path / "boxes.jsonl").write_text(json.dumps({"name": "street/000003", "boxes": [[26, 37, 45, 113]]}))
    shutil.copy(street, tmp_path / "other.mkv")
    given = (street, tmp_path / "other.mkv", "-o", tmp_path / "out", *(each for each in SMALL if each != "--quiet"))
    outcome = program("video", *given, "--boxes", tmp_path / "boxes.jsonl", "--save", "jsonl")
    assert outcome.code == 0
    frames = [record_of(tmp_path / "out", name)["boxes"]["frames"] for name in ("street", "other")]
    assert frames == [1, 0] and outcome.stderr.count("other.mkv: nobody was looked for") == 1


def test_classes_that_are_left_out_are_nobodys(street: Path, boxes: Path, program: Any, tmp_path: Path) -> None:
    options = ("--save", "people,classes", "--classes", "lower_clothing")
    assert program("video", street, "-o", tmp_path, *SMALL, "--boxes", boxes, *options).code == 0
    for path in sorted((tmp_path / "street").glob("*_people.npy")):
        class_map = np.load(str(path).replace("_people", "_seg"))
        assert class_map.any()
        assert_belongs(np.load(path), class_map, 0.7)


def test_a_broken_run_goes_on_to_what_a_whole_one_writes(boxes: Path, tmp_path: Path) -> None:
    """Every file of it, to the byte."""
    frames = 36  # those of the first second are named together
    clip = sample(tmp_path / "street.mkv", frames)

    def run(root: Path, stop: int | None = None) -> Run:
        outputs = Outputs(overlay="none", save=frozenset({"people", "json", "labels"}))
        seen = count(1)
        with Video(clip) as source:
            sinks = outputs.sinks(root, "street", source.info, model.model.classes, lambda sentence: None)
            run = Run(source, model.engine, sinks, record_path=root / "street_run.json", resume=root.exists())
            run.execute(lambda statistics: run.stop() if next(seen) == stop else None)
        return run

    with Segmenter("builtin", device="cpu", shape=(96, 160), boxes=boxes, warn=lambda sentence: None) as model:
        assert run(tmp_path / "broken", stop=2).status == "interrupted"
        assert 0 < len(list((tmp_path / "broken" / "street").glob("*_people.npy"))) < frames
        assert run(tmp_path / "broken").status == "complete"
        assert run(tmp_path / "whole").status == "complete"
        assert run(tmp_path / "whole").passed_over
        (tmp_path / "whole" / "street_people.mkv").unlink()
        assert not run(tmp_path / "whole").passed_over
    names = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert len(names) == frames * 2 + 3
    for name in names:
        if name.name != "street_run.json":
            assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


MADE_OF = {
    "its JSON": ("people,json,labels", True),
    "lines of JSON": ("people,jsonl,labels", True),
    "JSON alone": ("json,classes", True),
    "its maps alone": ("people,labels", False),
}


@pytest.mark.parametrize("save, scored", MADE_OF.values(), ids=MADE_OF.keys())
def test_people_and_what_was_carried_are_kept_where_results_are_made_again(
    save: str, scored: bool, street: Path, boxes: Path, program: Any, tmp_path: Path
) -> None:
    out, again = tmp_path / "out", tmp_path / "out" / "rendered" / "street"
    assert program("video", street, "-o", out, *SMALL, "--boxes", boxes, "--every", 2, "--save", save).code == 0
    kept = "people" in save
    again_saved = "json,people" if kept else "json"
    assert program("results", "render", out, "--overlay", "none", "--save", again_saved).code == 0
    if not kept:
        outcome = program("results", "render", out, "--overlay", "none", "--save", "people")
        assert outcome.code == 1 and "the run kept no maps of people" in outcome.stderr
    rendered = [json.loads(path.read_text()) for path in sorted(again.glob("*.json"))]
    assert len(rendered) == 4
    for index, record in enumerate(rendered):
        assert [person["id"] for person in record["people"]] == [1, 2]
        assert all(("score" in person) == scored for person in record["people"])
        if (first := out / "street" / f"{index:06d}.json").exists():
            assert record == json.loads(first.read_text())
        if (maps := out / "street" / f"{index:06d}_people.npy").exists():
            np.testing.assert_array_equal(np.load(again / maps.name), np.load(maps))
    assert any("carried" in record for record in rendered) == scored


WITHOUT = {
    "video": ("video", SAMPLES / "clip.mp4"),
    "images": ("images", "builtin", SAMPLES / "astronaut.jpg"),
    "live": ("live", "lavfi:testsrc2", "--no-window"),
}


@pytest.mark.parametrize("words", WITHOUT.values(), ids=WITHOUT.keys())
def test_people_are_saved_only_where_they_are_looked_for(words: tuple[Any, ...], program: Any) -> None:
    outcome = program(*words, "--save", "people")
    assert outcome.code == 2
    assert "--save people, but people are not looked for" in outcome.stderr


def test_a_photo_has_its_people_too(program: Any, tmp_path: Path) -> None:
    photo, options = SAMPLES / "astronaut.jpg", ("--people", "builtin", "--save", "people,classes")
    assert program("images", "builtin", photo, "-o", tmp_path, "--shape", 96, 96, "--quiet", *options).code == 0
    person_map = np.load(tmp_path / "astronaut_people.npy")
    assert_belongs(person_map, np.load(tmp_path / "astronaut_seg.npy"))
    assert set(np.unique(person_map)) == {0, 1}
    assert not list(tmp_path.glob("*.mkv"))


def test_a_result_saves_its_people(tmp_path: Path) -> None:
    with Segmenter("builtin", device="cpu", shape=(96, 96), warn=lambda sentence: None) as model:
        alone = model(SAMPLES / "astronaut.jpg")
    with pytest.raises(UsageError, match="people were not looked for"):
        alone.save(tmp_path, save="people", overlay="none")
    with Segmenter("builtin", device="cpu", shape=(96, 96), people="builtin", warn=lambda sentence: None) as model:
        found = model(SAMPLES / "astronaut.jpg")
        found.save(tmp_path, save="people", overlay="none")
    assert [path.name for path in tmp_path.iterdir()] == ["astronaut_people.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "astronaut_people.npy"), found.person_map)
