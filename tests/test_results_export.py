"""Exports of written results, each read back by another reader; what comes out is what the class maps say."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sapiens_stream import LabelVideo, UsageError
from sapiens_stream.classes import SAPIENS, SAPIENS2, numbered
from sapiens_stream.results.export.export import export
from sapiens_stream.results.export.outlines import outlines
from sapiens_stream.results.export.registry import named
from sapiens_stream.results.export.target import Choices
from sapiens_stream.results.mapping import read_mapping, shipped
from sapiens_stream.results.stored import StoredClip, StoredFrame, stored_clips
from sapiens_stream.sinks.instances import find_instances
from sapiens_stream.sinks.person_maps import PersonVideoSink
from tests.busy_disk import keep_open_files
from tests.hostile import broadcast_with_losses
from tests.media import make_photo, make_video, picture
from tests.program import WAIT, record_of
from tests.test_label_video import write as write_label_video
from tests.test_sinks import random_map

SIZE = (61, 83)
CLUSTER = bytes.fromhex("1f43b675")  # how a frame begins in Matroska


def some_maps(count=4, size=SIZE, classes=28):
    """Patches, holes and pieces that touch by a corner, all kinds of outlines there are; one map is empty."""
    rng = np.random.default_rng(7)
    found = [random_map(rng, size, classes, grain) for grain in (1, 6, 20)]
    ringed = np.zeros(size, np.uint8)
    cv2.circle(ringed, (40, 30), 25, 2, 5)
    cv2.circle(ringed, (40, 30), 10, 3, -1)
    ringed[28:33, 38:43] = 0
    return [*found, ringed, np.zeros(size, np.uint8)][-count:]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with the label video of a run, and no record."""
    folder = tmp_path_factory.mktemp("run")
    write_label_video(folder / "clip_labels.mkv", some_maps(5))
    return folder


def frames_of(folder):
    with LabelVideo(folder / "clip_labels.mkv") as video:
        return list(video)


def coco_of(path):
    found = COCO(str(path))
    json.loads(path.read_text())
    return found


def decoded(coco, annotation):
    return coco.annToMask(annotation).astype(bool)


# COCO


@pytest.mark.parametrize("regions", ["rle", "polygons"])
def test_coco_gives_back_every_mask_area_and_box(regions, run, program, tmp_path):
    assert program("results", "export", run, "--to", "coco", "-o", tmp_path, "--regions", regions).code == 0
    coco = coco_of(tmp_path / "clip_coco/annotations.json")
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == list(SAPIENS.names[1:])
    assert [tuple(each["color"]) for each in coco.loadCats(coco.getCatIds())] == list(SAPIENS.colours[1:])
    assert coco.getImgIds() == [1, 2, 3, 4, 5]
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    for number, class_map in enumerate(frames_of(run), 1):
        [image] = coco.loadImgs(number)
        assert (image["height"], image["width"], image["file_name"]) == (*SIZE, f"clip_{number - 1:06d}.jpg")
        assert image["time"] == pytest.approx((number - 1) / 25)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=number))
        assert [each["category_id"] for each in annotations] == list(np.unique(class_map[class_map > 0]))
        for annotation in annotations:
            mask = class_map == annotation["category_id"]
            np.testing.assert_array_equal(decoded(coco, annotation), mask)
            assert annotation["area"] == mask.sum()
            assert annotation["bbox"] == coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, np.uint8))).tolist()


def some_people(class_map):
    """Two people beside each other, and pixels that are nobody's."""
    people = np.zeros(class_map.shape, np.uint16)
    people[:, :30], people[10:, 45:] = 3, 700
    return people


def exported(frames, kind, folder, classes=SAPIENS, **choices):
    """An export of these frames."""

    class Clip(StoredClip):
        count = None

        def frames(self, on_skip):
            return iter(frames)

    clip = Clip(path=folder / "x", root=folder, stem="clip", classes=classes, video=None, past=None)
    return export(clip, named(kind), folder, choices=Choices(**choices), on_skip=pytest.fail).place


@pytest.mark.parametrize("regions", ["rle", "polygons"])
def test_coco_tells_people_apart_where_their_map_is_kept(regions, tmp_path):
    maps = some_maps(5)
    frames = [
        StoredFrame(index=index, name=f"clip/{index:06d}", class_map=each, person_map=some_people(each))
        for index, each in enumerate(maps)
    ]
    coco = coco_of(exported(frames, "coco", tmp_path, regions=regions) / "annotations.json")
    for number, class_map in enumerate(maps, 1):
        people = some_people(class_map)
        left = class_map.copy()
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=number)):
            mask = (class_map == annotation["category_id"]) & (people == annotation.get("person", 0))
            np.testing.assert_array_equal(decoded(coco, annotation), mask)
            assert annotation["area"] == mask.sum()
            left[mask] = 0
        assert not left.any()


def test_many_people_are_told_apart():
    people = np.arange(4 * 300, dtype=np.uint16).reshape(4, 300) // 4
    found = find_instances(np.full(people.shape, 5, np.uint8), people, SAPIENS)
    assert len(found) == 300 and {each.label.pixels for each in found} == {4}


def test_outlines_give_any_mask_back():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(side) for side in rng.integers(1, 24, 2))
        mask = rng.random((height, width)) < rng.choice([0.2, 0.5, 0.8, 0.95, 1])
        rings = [ring.ravel().tolist() for ring in outlines(mask)]
        if mask.any():
            [back] = [coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, height, width)))]
            np.testing.assert_array_equal(back, mask)
        else:
            assert not rings


def test_memory_stays_flat(tmp_path):
    """A thousand times the frames take no more memory than some buffers."""
    script = (
        "import sys, tracemalloc, numpy as np\n"
        "from pathlib import Path\n"
        "from tests.test_results_export import exported\n"
        "from sapiens_stream.results.stored import StoredFrame\n"
        "def frames(count):\n"
        "    part = np.zeros((8, 8), np.uint8); part[2:5, 2:5] = 3\n"
        "    for i in range(count):\n"
        "        yield StoredFrame(index=i, name=f'clip/{i:06d}', class_map=part)\n"
        "for count in (20, 8000):\n"
        "    tracemalloc.start()\n"
        "    exported(frames(count), 'coco', Path(sys.argv[1]) / str(count))\n"
        "    print(tracemalloc.get_traced_memory()[1]); tracemalloc.stop()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many < few + 500_000


# Where it goes


def test_a_disk_that_removes_no_open_file_takes_coco(tmp_path, monkeypatch):
    keep_open_files(monkeypatch)
    frame = StoredFrame(index=0, name="clip/000000", class_map=some_maps(1)[0])
    assert exported([frame], "coco", tmp_path) == tmp_path / "clip_coco"
    assert [each.name for each in (tmp_path / "clip_coco").iterdir()] == ["annotations.json"]


def test_an_export_that_is_there_is_kept_unless_it_is_to_be_replaced(run, program, tmp_path):
    command = ("results", "export", run, "--to", "coco", "-o", tmp_path)
    assert program(*command).code == 0
    (tmp_path / "clip_coco/mine.txt").write_text("mine")
    outcome = program(*command)
    assert outcome.code == 2 and "clip_coco is there already; --overwrite replaces it" in outcome.stderr
    assert (tmp_path / "clip_coco/mine.txt").exists()
    assert program(*command, "--overwrite").code == 0
    assert [path.name for path in (tmp_path / "clip_coco").iterdir()] == ["annotations.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["clip_coco"]


def test_nothing_is_left_where_an_export_breaks_off(tmp_path):
    def frames():
        yield StoredFrame(index=0, name="clip/000000", class_map=some_maps()[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exported(frames(), "coco", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_frame_is_named_and_left_out(run, program, tmp_path):
    content = bytearray((run / "clip_labels.mkv").read_bytes())
    content[content.index(CLUSTER) + 200] ^= 0xFF
    (tmp_path / "clip_labels.mkv").write_bytes(content)
    outcome = program("results", "export", tmp_path, "--to", "coco")
    assert outcome.code == 3 and len(outcome.complaints) == 1 and "skipped clip/000" in outcome.stderr
    assert len(coco_of(tmp_path / "clip_coco/annotations.json").imgs) == 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=6, vfr=True)


@pytest.mark.parametrize("store", ["labels", "classes"])
def test_pictures_are_written_where_they_are_asked_for(store, clip, program, tmp_path):
    out = tmp_path / "out"
    assert program("video", clip, "-o", out, "--shape", 96, 96, "--save", store, "-q", "--overlay", "none").code == 0
    outcome = program("results", "export", out, "--to", "coco", "--images", "png")
    assert outcome.code == 0, outcome
    coco = coco_of(out / "clip_coco/annotations.json")
    for number, image in coco.imgs.items():
        shown = cv2.imread(str(out / "clip_coco/images" / image["file_name"]))
        assert shown.shape[:2] == (image["height"], image["width"])
        assert image["frame"] == number - 1


def test_a_shard_has_its_own_photos_alone(program, tmp_path):
    for number in range(6):
        make_photo(tmp_path / "photos" / f"{number}.jpg", picture(number, (60, 80)))
    out = tmp_path / "out"
    for shard in ("0/2", "1/2"):
        assert (
            program("images", "--input", tmp_path / "photos", "-o", out, "--shard", shard, "--shape", 96, 96).code == 0
        )
    assert program("results", "export", out, "--to", "coco", "--images", "jpg").code == 0
    exported = [json.loads(path.read_text())["images"] for path in sorted(out.glob("*_coco/annotations.json"))]
    assert [len(images) for images in exported] == [len(list(each.iterdir())) for each in sorted(out.glob("*/images"))]
    assert sorted(image["file_name"] for images in exported for image in images) == [f"{n}.jpg" for n in range(6)]
    outcome = program("results", "render", out, "--json")
    assert outcome.code == 0
    rendered = [json.loads(line)["frames"]["written"] for line in outcome.stdout.splitlines()]
    assert len(rendered) == 2 and sum(rendered) == 6


def test_a_name_that_just_fits_does_so_while_it_is_written(tmp_path):
    write_label_video(tmp_path / f"{'x' * 240}_labels.mkv", some_maps(2))
    [clip] = stored_clips(tmp_path)
    done = export(clip, named("labelstudio"), tmp_path / "out", on_skip=pytest.fail)
    assert done.place.name == f"{'x' * 240}_labelstudio"


def test_photos_keep_their_names(program, tmp_path):
    folder = tmp_path / "photos"
    for number in range(3):
        path = folder / ("sub" if number else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(number, (60 + number, 80)))
    out = tmp_path / "out"
    assert program("images", "--input", folder, "-o", out, "--recursive", "--shape", 96, 96).code == 0
    outcome = program("results", "export", out, "--to", "coco")
    assert outcome.code == 0, outcome
    [where] = out.glob("*_coco/annotations.json")
    images = json.loads(where.read_text())["images"]
    assert [image["file_name"] for image in images] == ["0.png", "sub/1.png", "sub/2.png"]
    assert [image["height"] for image in images] == [60, 61, 62]


def test_the_run_s_own_class_maps_are_not_replaced(clip, program, tmp_path):
    command = ("video", clip, "-o", tmp_path, "--shape", 96, 96, "--save", "classes", "-q", "--overlay", "none")
    assert program(*command).code == 0
    before = (tmp_path / "clip/000003_seg.npy").read_bytes()
    outcome = program("results", "export", tmp_path, "--to", "npy", "--mapping", "lip")
    assert outcome.code == 2 and "choose another (-o)" in outcome.stderr
    assert (tmp_path / "clip/000003_seg.npy").read_bytes() == before
    assert record_of(tmp_path)["status"] == "complete"


# Mappings

MANY = pytest.mark.parametrize("classes", [SAPIENS, SAPIENS2], ids=["28", "29"])
SIZES = {"lip": 20, "cihp": 20, "atr": 18, "pascal": 7}


def test_the_mappings_in_the_package():
    assert shipped() == sorted(SIZES)


@MANY
@pytest.mark.parametrize("name", SIZES)
def test_a_mapping_of_the_package_has_a_place_for_all_but_what_it_says(name, classes):
    mapping = read_mapping(name, classes)
    assert len(mapping.classes) == SIZES[name]
    assert set(mapping.left_out) <= {"Apparel", "Torso"}
    assert mapping.table[0] == 0 and not mapping.table[len(classes) :].any()


PLACES = {
    "lip": {"Hair": 2, "Eyeglass": 4, "Upper_Clothing": 5, "Left_Hand": 14, "Right_Foot": 17, "Tongue": 13},
    "cihp": {"Torso": 10, "Right_Sock": 8, "Left_Shoe": 18, "Lower_Clothing": 9},
    "atr": {"Left_Shoe": 9, "Right_Sock": 13, "Right_Hand": 15, "Face_Neck": 11},
    "pascal": {"Hair": 1, "Upper_Clothing": 2, "Left_Hand": 4, "Lower_Clothing": 5, "Right_Shoe": 6},
}


@pytest.mark.parametrize("name", PLACES)
def test_classes_are_where_the_data_set_has_them(name):
    mapping = read_mapping(name, SAPIENS2)
    assert {part: mapping.table[SAPIENS2.names.index(part)] for part in PLACES[name]} == PLACES[name]


OWN = """
[[classes]]
name = "nobody"
[[classes]]
name = "top"
from = ["hair", "Face-Neck", 4]
colour = "#0a0b0c"
[[classes]]
name = "bag"
[[classes]]
name = "glasses"
from = ["Eyeglass"]
"""


def test_a_mapping_of_one_s_own(run, program, tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    outcome = program("results", "export", run, "--to", "png", "--mapping", tmp_path / "own.toml", "-o", tmp_path)
    assert outcome.code == 0, outcome
    assert "background, as" in outcome.stderr and "Torso" in outcome.stderr and "Hair" not in outcome.stderr
    shown = cv2.imread(str(tmp_path / "clip/000001_seg.png"))[..., ::-1]
    there = np.isin(frames_of(run)[1], SAPIENS.ids(["hair", "face_neck", 4]))
    np.testing.assert_array_equal((shown == (10, 11, 12)).all(axis=2), there)
    assert read_mapping(str(tmp_path / "own.toml"), SAPIENS2).never == ("bag",)
    assert read_mapping(str(tmp_path / "own.toml"), SAPIENS).never == ("bag", "glasses")


def wrong(text):
    return OWN.replace(*text)


WRONG_MAPPINGS = {
    "an unknown class": (OWN.replace('"hair"', '"Hare"'), "top: no class 'Hare' in Sapiens"),
    "an id that there is not": (OWN.replace("4]", "40]"), "top: no class '40'"),
    "an id of thousands of digits": (OWN.replace("4]", f"'{'4' * 5000}']"), "top: no class '444"),
    "a class twice": (OWN.replace('"Eyeglass"', '"hair"'), "Hair is in both top and glasses"),
    "a name twice": (OWN.replace('"bag"', '"top"'), "class 2 has no name of its own"),
    "no name": (OWN.replace('name = "bag"', ""), "class 2 has no name"),
    "a colour": (OWN.replace("#0a0b0c", "red"), "the colour 'red' is not as in #ff0000"),
    "a long colour": (OWN.replace("#0a0b0c", "f" * 9000), f"the colour '{'f' * 40}' is not as in #ff0000"),
    "a name that a terminal obeys": (OWN.replace('"bag"', r'"\u001b[2J"'), "is called '\\x1b[2J'; a name is printable"),
    "a name without an end": (OWN.replace('"bag"', f'"{"b" * 101}"'), f"is called '{'b' * 40}'; a name is printable"),
    "a key of many parts": ("a." * 1000 + "b = 1\n" + OWN, "a key of hundreds of parts"),
    "a word": (OWN.replace("colour", "color"), "top has 'color'"),
    "from is no list": (OWN.replace('["Eyeglass"]', '"Eyeglass"'), "from is a list"),
    "no classes": ("title = 'x'", "it has no [[classes]]"),
    "the background alone": ('[[classes]]\nname = "none"\nfrom = ["hair"]', "it has no [[classes]], 2 to 256"),
    "a word at the top": ("x = 1\n" + OWN, "it has 'x'"),
    "no TOML": ("[[", "--mapping"),
    "no text": ("\0\1", "--mapping"),
}


@pytest.mark.parametrize("content, words", WRONG_MAPPINGS.values(), ids=WRONG_MAPPINGS.keys())
def test_what_is_wrong_with_a_mapping_is_told_in_a_line(content, words, run, program, tmp_path):
    (tmp_path / "own.toml").write_text(content)
    outcome = program("results", "export", run, "--to", "coco", "--mapping", tmp_path / "own.toml", "-o", tmp_path)
    assert (outcome.code, len(outcome.complaints)) == (2, 1)
    assert words in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["own.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such file")
def test_of_a_mapping_without_an_end_no_more_is_read_than_one_takes():
    with pytest.raises(UsageError, match="no mapping has more than"):
        read_mapping("/dev/zero", SAPIENS)


def test_a_mapping_that_is_not_there(run, program, tmp_path):
    outcome = program("results", "export", run, "--to", "coco", "--mapping", "lup", "-o", tmp_path)
    assert outcome.code == 2 and "in the package are atr, cihp, lip, pascal" in outcome.stderr


def test_a_mapping_for_other_classes():
    with pytest.raises(UsageError, match="it takes from none of 28 numbered classes: Background, Class_1"):
        read_mapping("lip", numbered(28))


@pytest.mark.parametrize("kind", ["npy", "png", "coco", "palette", "labelstudio"])
def test_every_format_takes_a_mapping(kind, run, tmp_path):
    [clip] = stored_clips(run)
    mapping = read_mapping("pascal", SAPIENS)
    outcome = export(clip, named(kind), tmp_path, mapping=mapping, on_skip=pytest.fail)
    if kind == "npy":
        np.testing.assert_array_equal(np.load(tmp_path / "clip/000000_seg.npy"), mapping.table[frames_of(run)[0]])
    if kind == "coco":
        names = [each["name"] for each in coco_of(outcome.place / "annotations.json").cats.values()]
        assert names == list(mapping.classes.names[1:])


# Who is who


def write_people(folder, kept):
    """Maps of people of the run, as --save people keeps them."""
    from tests.test_label_video import INFO
    from tests.test_sinks import result

    maps = [some_people(each) for each in some_maps(5)]
    if kept == "video":
        write_label_video(folder / "clip_labels.mkv", some_maps(5))
        sink = PersonVideoSink(folder / "clip_people.mkv", INFO)
        for index, (class_map, person_map) in enumerate(zip(some_maps(5), maps, strict=True)):
            found = result(class_map=class_map, index=index, pts=index, time_base=Fraction(1, 25))
            sink.write(replace(found, person_map=person_map, people=()))
        sink.close()
    else:
        for index, (class_map, person_map) in enumerate(zip(some_maps(5), maps, strict=True)):
            (folder / "clip").mkdir(exist_ok=True)
            np.save(folder / f"clip/{index:06d}_seg.npy", class_map)
            np.save(folder / f"clip/{index:06d}_people.npy", person_map)
        endings = {"_seg.npy": {"count": 5, "bytes": 0}, "_people.npy": {"count": 5, "bytes": 0}}
        files = {"names": [["clip/000000", "clip/000004"]], "endings": endings}
        record = {"schema": "sapiens-stream-run/1", "model": {"classes": "Sapiens"}, "files": files}
        fingerprint = {"input": {"path": "clip.mp4", "sample": "x"}}
        (folder / "clip_run.json").write_text(json.dumps({**record, "input": "clip.mp4", "fingerprint": fingerprint}))
    return maps


def test_frames_that_a_run_left_out_have_no_other_s_number(program, colour_torchscript, tmp_path):
    path = broadcast_with_losses(tmp_path / "clip.ts")
    options = ("-m", colour_torchscript, "--shape", 64, 64, "--overlay", "none", "--save", "labels,classes", "--strict")
    assert program("video", path, *options, "-o", tmp_path / "out").code == 3
    assert program("results", "export", tmp_path / "out", "--to", "npy", "-o", tmp_path / "npy").code == 0
    ours, theirs = (
        {each.name: each.read_bytes() for each in (tmp_path / folder).rglob("*_seg.npy")} for folder in ("npy", "out")
    )
    assert len(theirs) == 59 and "000048_seg.npy" not in theirs and ours == theirs


def test_nor_has_anybody_in_them(tmp_path):
    maps = write_people(tmp_path, "video")
    single = {"clip_labels.mkv": 0, "clip_people.mkv": 0}
    files = {"names": [["clip/000000", "clip/000001"], ["clip/000004", "clip/000005"]], "endings": {}, "single": single}
    record = {"schema": "sapiens-stream-run/1", "model": {"classes": "Sapiens"}, "files": files}
    (tmp_path / "clip_run.json").write_text(json.dumps({**record, "input": "clip.mp4"}))
    [clip] = stored_clips(tmp_path)
    found = list(clip.frames(pytest.fail))
    assert [each.name for each in found] == [f"clip/{number:06d}" for number in (0, 1, 4, 5, 6)]
    assert all(np.array_equal(each.person_map, there) for each, there in zip(found, maps, strict=True))


@pytest.mark.parametrize("kept", ["video", "files"])
def test_people_that_a_run_kept_apart_are_instances_of_their_own(kept, program, tmp_path):
    people = write_people(tmp_path, kept)
    assert program("results", "export", tmp_path, "--to", "coco").code == 0
    coco = coco_of(tmp_path / "clip_coco/annotations.json")
    for number, (class_map, person_map) in enumerate(zip(some_maps(5), people, strict=True), 1):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=number))
        found = {(each.get("person", 0), each["category_id"]): each["area"] for each in annotations}
        keys, counts = np.unique(
            np.stack([person_map[class_map > 0], class_map[class_map > 0]]), axis=1, return_counts=True
        )
        assert found == {(int(p), int(c)): int(n) for p, c, n in zip(*keys, counts, strict=True)}


@pytest.mark.parametrize("kept", ["video", "files"])
def test_a_damaged_map_of_people_is_named_and_its_frame_kept(kept, program, tmp_path):
    write_people(tmp_path, kept)
    path = tmp_path / ("clip_people.mkv" if kept == "video" else "clip/000000_people.npy")
    content = bytearray(path.read_bytes())
    content[content.index(CLUSTER) + 200 if kept == "video" else 0] ^= 0xFF
    path.write_bytes(content)
    outcome = program("results", "export", tmp_path, "--to", "coco")
    assert outcome.code == 3 and re.search(r"skipped clip/00000[01]: its people are not told apart", outcome.stderr)
    assert len(coco_of(tmp_path / "clip_coco/annotations.json").imgs) == 5
