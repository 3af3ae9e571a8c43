"""Exports that labelling programs and trainers read, read back by the libraries of those formats."""

import dataclasses
import json
from functools import partial
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from sapiens_stream.classes import SAPIENS, ClassSet
from sapiens_stream.errors import OutputError
from sapiens_stream.results.export.label_studio import encode_rle
from sapiens_stream.results.export.registry import FORMATS, named, taking
from sapiens_stream.results.export.target import Choices, Target
from sapiens_stream.results.export.voc import object_palette
from sapiens_stream.results.stored import StoredFrame
from tests.test_results_export import SIZE, exported, some_maps, some_people

MAPS = some_maps(5)
FEWER = MAPS[1:]  # without noise, of which libraries make an outline a pixel


def frames(maps=FEWER, people=False):
    """Frames with a picture each."""
    rng = np.random.default_rng(0)
    return [
        StoredFrame(
            index=index,
            name=f"clip/{index:06d}",
            class_map=each,
            person_map=some_people(each) if people else None,
            picture=rng.integers(0, 256, (*each.shape, 3), np.uint8),
        )
        for index, each in enumerate(maps)
    ]


def parts(class_map, person_map=None):
    """Each instance as (person, class): mask."""
    people = np.zeros(class_map.shape, np.uint16) if person_map is None else person_map
    keys = {(int(p), int(c)) for p, c in zip(people.ravel(), class_map.ravel(), strict=True) if c}
    return {(p, c): (class_map == c) & (people == p) for p, c in keys}


@pytest.fixture
def supervision():
    return pytest.importorskip("supervision", "0.31", reason="the extra export is not installed")


@pytest.fixture
def datumaro():
    return pytest.importorskip("datumaro", reason="datumaro is not installed: pip install --no-deps datumaro")


# Palette


def test_palette_pictures_hold_ids_in_the_classes_colours(tmp_path):
    place = exported(frames(MAPS), "palette", tmp_path, images="png")
    assert place.joinpath("names.txt").read_text().split() == [f"clip_{index:06d}" for index in range(5)]
    for index, class_map in enumerate(MAPS):
        with Image.open(place / f"masks/clip_{index:06d}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), class_map)
            np.testing.assert_array_equal(np.array(image.convert("RGB")), SAPIENS.palette[class_map])
        with Image.open(place / f"images/clip_{index:06d}.png") as image:
            np.testing.assert_array_equal(np.array(image), frames(MAPS)[index].picture)


LAYOUTS = {
    "lip": ("TrainVal_parsing_annotations/train_segmentations", "TrainVal_images/train_images"),
    "cihp": ("Category_ids", "Images"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_are_those_of_the_data_set(layout, tmp_path):
    place = exported(frames(people=True), "palette", tmp_path, images="jpg", layout=layout)
    masks, images = LAYOUTS[layout]
    names = (place / "train_id.txt").read_text().split()
    assert [(place / masks / f"{name}.png").is_file() for name in names] == [True] * 4
    assert [(place / images / f"{name}.jpg").is_file() for name in names] == [True] * 4


def test_people_are_numbered_in_each_picture(tmp_path):
    place = exported(frames(people=True), "palette", tmp_path, layout="cihp")
    for index, class_map in enumerate(FEWER):
        read = {
            kind: np.array(Image.open(place / f"{kind}_ids/clip_{index:06d}.png")) for kind in ("Human", "Instance")
        }
        wanted = parts(class_map, some_people(class_map))
        known = sorted({person for person, _ in wanted} - {0})
        instances = []
        for (person, _), mask in wanted.items():
            assert set(np.unique(read["Human"][mask])) == {known.index(person) + 1 if person else 0}
            instances += [int(number) for number in np.unique(read["Instance"][mask]) if number]
        assert sorted(instances) == list(range(1, len(instances) + 1))


# YOLO, LabelMe


@pytest.mark.parametrize("kind", ["yolo", "labelme"])
def test_pieces_that_touch_by_a_corner_have_outlines(kind, supervision, tmp_path):
    """Of holes in such a mask supervision knows no way out."""
    ring = np.ones((12, 12), bool)
    ring[2:10, 2:10] = False
    corner = np.zeros((30, 40), np.uint8)
    corner[:12, :12] = np.where(ring, 2, 0)
    corner[12:24, 12:24] = np.where(ring, 2, 0)
    place = exported(frames([corner, MAPS[0]]), kind, tmp_path)
    written = (place / ("labels/clip_000000.txt" if kind == "yolo" else "clip_000000.json")).read_text()
    if kind == "yolo":
        polygons = [np.array(line.split()[1:], float).reshape(-1, 2) * (40, 30) for line in written.splitlines()]
    else:
        polygons = [shape["points"] for shape in json.loads(written)["shapes"]]
    again = np.zeros_like(corner)
    for polygon in polygons:
        cv2.fillPoly(again, [np.rint(polygon).astype(np.int32)], 2)
    np.testing.assert_array_equal(again, corner)


SPECKS = np.zeros((40, 50), np.uint8)
SPECKS[2, 3] = SPECKS[36, 47] = 4  # far apart
SPECKS[10, 5:20] = SPECKS[20:30, 8] = 5
SPECKS[range(30, 36), range(20, 26)] = 6
cv2.circle(SPECKS, (32, 20), 8, 7, 3)
SPECKS[20, 32] = SPECKS[23, 30:33] = 7  # within its hole
FILLING = {"cut off": np.floor, "rounded": np.round}


@pytest.mark.parametrize("filling", FILLING)
@pytest.mark.parametrize("class_map", [SPECKS, *MAPS], ids=lambda each: f"{len(np.unique(each))} classes")
@pytest.mark.parametrize("kind", ["yolo", "labelme"])
def test_polygons_fill_to_the_class_map_pixels_and_lines_alone_too(kind, class_map, filling, supervision, tmp_path):
    """Ultralytics cuts coordinates off, supervision rounds; the former refuses pictures with boxes among polygons."""
    place = exported(frames([class_map]), kind, tmp_path)
    height, width = class_map.shape
    if kind == "yolo":
        lines = (line.split() for line in (place / "labels/clip_000000.txt").read_text().splitlines())
        rings = [(int(line[0]) + 1, np.array(line[1:], float).reshape(-1, 2) * (width, height)) for line in lines]
    else:
        shapes = json.loads((place / "clip_000000.json").read_text())["shapes"]
        assert {shape["shape_type"] for shape in shapes} <= {"polygon"}
        rings = [(SAPIENS.names.index(shape["label"]), np.array(shape["points"])) for shape in shapes]
    again = np.zeros_like(class_map)
    for class_id, ring in rings:
        assert len(ring) >= 3
        cv2.fillPoly(again, [FILLING[filling](ring).astype(np.int32)], class_id)
    np.testing.assert_array_equal(again, class_map)


def assert_detections(read, image_names):
    # Where pieces touch by a corner supervision's reader joins them.
    for index, class_map in enumerate(FEWER):
        [detections] = [found for path, _, found in read if path.endswith(image_names(index))]
        again = np.zeros(SIZE, np.uint8)
        if not len(detections):
            assert not class_map.any()
            continue
        for mask, class_id in zip(detections.mask, detections.class_id, strict=True):
            again[mask] = class_id + 1
        wrong = np.mean(again != class_map)
        assert wrong < 0.04, f"{wrong:.2%} of the pixels differ"


def test_yolo_gives_back_the_class_map(supervision, tmp_path):
    place = exported(frames(), "yolo", tmp_path, images="png")
    read = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(place / "images"),
        annotations_directory_path=str(place / "labels"),
        data_yaml_path=str(place / "data.yaml"),
        force_masks=True,
    )
    assert read.classes == list(SAPIENS.names[1:])
    assert_detections(list(read), lambda index: f"clip_{index:06d}.png")
    yaml = pytest.importorskip("yaml")  # which supervision needs
    table = yaml.safe_load((place / "data.yaml").read_text())
    assert table["nc"] == len(table["names"]) == len(SAPIENS) - 1
    assert all((place / table[part]).is_dir() for part in ("train", "val"))


def test_labelme_gives_back_the_class_map(supervision, tmp_path):
    place = exported(frames(people=True), "labelme", tmp_path, images="png")
    record = json.loads((place / "clip_000000.json").read_text())
    assert {shape["group_id"] for shape in record["shapes"]} == {None, 3, 700}
    assert (record["imagePath"], record["imageHeight"], record["imageWidth"]) == ("clip_000000.png", *SIZE)
    read = supervision.DetectionDataset.from_labelme(
        images_directory_path=str(place), annotations_directory_path=str(place)
    )
    ids = [SAPIENS.names.index(name) - 1 for name in read.classes]
    found = []
    for path, image, detections in read:
        detections.class_id = np.array([ids[each] for each in detections.class_id])
        found.append((path, image, detections))
    assert_detections(found, lambda index: f"clip_{index:06d}.png")


def test_a_result_s_detections_are_its_instances(supervision):
    from sapiens_stream.result import result_of
    from tests.test_sinks import result

    for class_map in FEWER:
        people = some_people(class_map)
        for person_map in (None, people):
            given = dataclasses.replace(result(class_map=class_map), person_map=person_map)
            found = result_of(given).to_supervision()
            wanted = parts(class_map, person_map)
            assert len(found) == len(wanted)
            assert (found.tracker_id is None) == (person_map is None or not wanted)
            for number in range(len(found)):
                person = 0 if person_map is None else int(found.tracker_id[number])
                np.testing.assert_array_equal(found.mask[number], wanted[person, int(found.class_id[number])])
                assert found.data["class_name"][number] == SAPIENS[int(found.class_id[number])]
                np.testing.assert_array_equal(
                    found.xyxy[number], supervision.mask_to_xyxy(found.mask[number][None])[0] + (0, 0, 1, 1)
                )


# CVAT, Pascal VOC


def test_cvat_gives_back_each_mask(datumaro, tmp_path):
    place = exported(frames(people=True), "cvat", tmp_path, images="png")
    read = datumaro.Dataset.import_from(str(place), "cvat")
    items = {item.id: item for item in read}
    labels = [label.name for label in read.categories()[datumaro.AnnotationType.label].items]
    for index, class_map in enumerate(FEWER):
        item = items[f"clip_{index:06d}"]
        assert item.attributes["frame"] == index and item.media.size == SIZE
        found = {
            (int(mask.attributes.get("person", 0)), SAPIENS.names.index(labels[mask.label])): mask.image
            for mask in item.annotations
        }
        wanted = parts(class_map, some_people(class_map))
        assert set(found) == set(wanted)
        for key, mask in found.items():
            np.testing.assert_array_equal(mask, wanted[key])


def test_cvat_has_the_names_of_photos_that_are_not_written(datumaro, tmp_path):
    target = Target(
        folder=tmp_path,
        stem="clip",
        classes=SAPIENS,
        choices=Choices(),
        picture_name=lambda frame: f"{frame.name}.{'PNG' if frame.index else 'webp'}",
    )
    photos = [StoredFrame(index=index, name=f"photo {index}", class_map=MAPS[0]) for index in range(2)]
    named("cvat").write(photos, target)
    root = ElementTree.parse(tmp_path / "train.xml")
    assert [image.get("name") for image in root.iter("image")] == ["photo 0.webp", "photo 1.PNG"]


@pytest.mark.parametrize("people", [False, True])
def test_voc_holds_ids_in_the_classes_colours(people, tmp_path):
    """As palette PNG, which is what torchvision and mmsegmentation take for ids; and of frames without anybody too."""
    place = exported(frames(people=people), "voc", tmp_path, images="jpg")
    listed = (place / "ImageSets/Segmentation/train.txt").read_text().splitlines()
    assert listed == [f"clip_{index:06d}" for index in range(len(FEWER))]
    colours = SAPIENS.palette.copy()
    colours[0] = 0
    for name, class_map in zip(listed, FEWER, strict=True):
        assert (place / f"JPEGImages/{name}.jpg").is_file()
        with Image.open(place / f"SegmentationClass/{name}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), class_map)
            np.testing.assert_array_equal(np.array(image.convert("RGB")), colours[class_map])
        with Image.open(place / f"SegmentationObject/{name}.png") as image:
            assert image.mode == "P"
            numbers = np.array(image)
        wanted = parts(class_map, some_people(class_map) if people else None)
        assert [set(np.unique(numbers[mask])) for mask in wanted.values()] == [
            {numbers[mask][0]} for mask in wanted.values()
        ]
        assert sorted(np.unique(numbers[class_map > 0])) == list(range(1, len(wanted) + 1))
        assert not numbers[class_map == 0].any()


def test_objects_have_the_colours_of_voc():
    assert object_palette()[[0, 1, 2, 3, 8, 15, 20, 255]].tolist() == [
        *([0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]),
        *([64, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]),
    ]


def test_datumaro_reads_voc(datumaro, tmp_path):
    named = dataclasses.replace(SAPIENS, names=("Background", "upper: left", *SAPIENS.names[2:]))
    place = exported(frames(), "voc", tmp_path, classes=named, images="jpg")
    read = datumaro.Dataset.import_from(str(place), "voc_segmentation")
    labels = [label.name for label in read.categories()[datumaro.AnnotationType.label].items]
    assert labels[:28] == ["Background", "upper_ left", *SAPIENS.names[2:]]
    assert len(read) == len(FEWER)
    for item in read:
        class_map = FEWER[int(item.id[-6:])]
        again = np.zeros(SIZE, np.uint8)
        for mask in item.annotations:
            again[mask.image.astype(bool)] = mask.label
        np.testing.assert_array_equal(again, class_map)


# Label Studio


def decoder():
    for module in ("label_studio_sdk.converter.brush", "label_studio_converter.brush"):
        try:
            return __import__(module, fromlist=["decode_rle"]).decode_rle
        except ImportError:
            continue
    pytest.skip("neither label-studio-sdk nor label-studio-converter is installed")


RUNS = {
    "empty": np.zeros((5, 7), bool),
    "full": np.ones((5, 7), bool),
    "one": np.ones((1, 1), bool),
    "noise": np.random.default_rng(1).random((40, 30)) < 0.5,
    "longer than a run may be": np.arange(300 * 200).reshape(300, 200) > 20_000,
    "a run of the longest length": np.arange(2 * 16384).reshape(2, 16384) < 16384,
    "of each length": np.concatenate([np.full(n, n % 2) for n in range(1, 80)]).astype(bool)[None],
}


@pytest.mark.parametrize("mask", RUNS.values(), ids=RUNS.keys())
def test_label_studio_reads_the_masks(mask):
    back = decoder()(encode_rle(mask).tolist()).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(back, mask[..., None].repeat(4, axis=2) * 255)


def test_label_studio_has_a_task_a_frame(tmp_path):
    decode = decoder()
    place = exported(frames(people=True), "labelstudio", tmp_path)
    tasks = json.loads((place / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [f"clip_{index:06d}.jpg" for index in range(4)]
    results = tasks[1]["predictions"][0]["result"]
    assert len({result["id"] for result in results}) == len(results)
    for result in results[:3]:
        [name] = result["value"]["brushlabels"]
        mask = decode(result["value"]["rle"]).reshape(*SIZE, 4)[..., 3] > 0
        person = int(result["meta"]["text"][0].split()[1]) if "meta" in result else 0
        wanted = (FEWER[1] == SAPIENS.names.index(name)) & (some_people(FEWER[1]) == person)
        np.testing.assert_array_equal(mask, wanted)
    assert all(f'<Label value="{name}"' in (place / "config.xml").read_text() for name in SAPIENS.names[1:])


# All of them

WORDS = [each.word for each in FORMATS]
NEEDS = {"yolo": "supervision", "labelme": "supervision", "cvat": "datumaro"}


@pytest.mark.parametrize("kind", NEEDS)
def test_a_missing_library_is_named_in_a_line(kind, program, monkeypatch, tmp_path):
    from tests.test_label_video import write

    write(tmp_path / "clip_labels.mkv", FEWER)
    for module in ("supervision", "supervision.dataset.formats.yolo", "supervision.dataset.formats.labelme"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    monkeypatch.setitem(__import__("sys").modules, "datumaro.plugins.data_formats.cvat.exporter", None)
    outcome = program("results", "export", tmp_path, "--to", kind)
    assert (outcome.code, len(outcome.complaints)) == (2, 1)
    assert f"--to {kind} needs the extra export: " in outcome.stderr
    assert ("--no-deps 'datumaro" in outcome.stderr) == (NEEDS[kind] == "datumaro")
    assert [path.name for path in tmp_path.iterdir()] == ["clip_labels.mkv"]


@pytest.mark.parametrize("kind", WORDS)
def test_names_that_are_no_text_are_written_as_they_can_be(kind, tmp_path):
    """A byte of a file's name, or a class of a label video that anybody wrote."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    classes = ClassSet("odd", ("Background", "\udcff & <b>", *SAPIENS.names[2:]), SAPIENS.colours)
    odd = [StoredFrame(index=0, name="caf\udce9", class_map=FEWER[2])]
    exported(odd, kind, tmp_path, classes=classes)


@pytest.mark.parametrize(
    ("kind", "listed", "folder"),
    [("palette", "names.txt", "masks"), ("voc", "ImageSets/Segmentation/train.txt", "SegmentationClass")],
)
def test_a_name_with_line_ends_is_one_line_of_the_list(kind, listed, folder, tmp_path):
    odd = [StoredFrame(index=0, name="new\nline\r", class_map=FEWER[2])]
    place = exported(odd, kind, tmp_path)
    [name] = (place / listed).read_text().splitlines()
    assert (place / folder / f"{name}.png").is_file()


@pytest.mark.parametrize("kind", WORDS)
def test_names_that_lead_out_are_refused(kind, tmp_path):
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    bad = [StoredFrame(index=0, name="../../escaped", class_map=FEWER[0], picture=np.zeros((*SIZE, 3), np.uint8))]
    write = partial(exported, bad, kind, tmp_path / "out", images="png")
    if kind in ("coco", "labelstudio"):
        write = partial(exported, bad, kind, tmp_path / "out", images="jpg")
    with pytest.raises(OutputError):
        write()
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    ("kind", "option", "said"),
    [
        ("yolo", ("--regions", "rle"), "--regions is for --to coco; yolo takes none"),
        ("coco", ("--layout", "lip"), "--layout is for --to palette; coco takes none"),
        ("npy", ("--images", "jpg"), "--images is for --to palette|coco|"),
    ],
)
def test_what_a_format_has_no_use_for_is_refused(kind, option, said, program, tmp_path):
    outcome = program("results", "export", tmp_path, "--to", kind, *option)
    assert (outcome.code, len(outcome.complaints)) == (2, 1) and said in outcome.stderr


def test_a_row_says_which_choices_it_takes():
    names = {field.name for field in dataclasses.fields(Choices)}
    assert all(set(each.takes) <= names for each in FORMATS)
    for name in names:
        assert taking(name), f"--{name} is of no format"
