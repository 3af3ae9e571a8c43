"""Every sink: files whole or not at all, inside their folder; and what each writes, read back by another reader."""

import errno
import json
import os
import stat
import sys
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sapiens_stream.classes import SAPIENS, numbered
from sapiens_stream.colouring import Colouring
from sapiens_stream.errors import OutputError, UsageError
from sapiens_stream.frame import Frame, Segmentation, SourceInfo
from sapiens_stream.labels import Extents
from sapiens_stream.painting import Painter
from sapiens_stream.sinks.contact_sheet import ContactSheet
from sapiens_stream.sinks.files import aside, path_below, written_aside
from sapiens_stream.sinks.json_file import JsonSink
from sapiens_stream.sinks.json_lines import JsonLines
from sapiens_stream.sinks.label_video import LabelVideoSink
from sapiens_stream.sinks.masks import MaskSink
from sapiens_stream.sinks.pictures import PictureSink
from sapiens_stream.sinks.regions import polygons, run_lengths
from sapiens_stream.sinks.statistics_files import StatisticsCsv
from sapiens_stream.sinks.video.overlay import OverlayVideo

DATA = Path(__file__).parent / "data" / "golden"


def random_map(rng, size, classes, grain):
    """Class ids in patches of about `grain` pixels."""
    height, width = size
    coarse = rng.integers(0, classes, (height // grain + 1, width // grain + 1)).astype(np.uint8)
    return np.ascontiguousarray(coarse.repeat(grain, 0).repeat(grain, 1)[:height, :width])


def result(name="photo", *, size=(60, 80), class_map=None, index=0, classes=SAPIENS, **time):
    rng = np.random.default_rng(index)
    if class_map is None:
        class_map = random_map(rng, size, 28, 6)
    rgb = rng.integers(0, 256, (*class_map.shape, 3), np.uint8)
    frame = Frame(index=index, name=name, decoded=rgb, **time)
    return Segmentation(frame=frame, class_map=class_map, classes=classes, model="sapiens-1b")


PER_FRAME = {
    "png": (lambda root: PictureSink(root, Painter(SAPIENS)), [".png"]),
    "jpg": (lambda root: PictureSink(root, Painter(SAPIENS), save_format="jpg"), [".jpg"]),
    "bmp": (lambda root: PictureSink(root, Painter(SAPIENS), save_format="bmp", side_by_side=True), [".bmp"]),
    "masks": (lambda root: MaskSink(root, foreground=True, classes=True), [".npy", "_seg.npy"]),
    "json": (lambda root: JsonSink(root, title="result"), [".json"]),
}


def overlay_video(root):
    return OverlayVideo(root / "clip_overlay.mp4", SourceInfo(name="clip", kind="live"), Painter(SAPIENS), warn=print)


def label_video(root):
    return LabelVideoSink(root / "clip_labels.mkv", SourceInfo(name="clip", kind="live"), warn=print)


def json_lines(root):
    return JsonLines(root / "clip.jsonl", title="result")


def statistics(root):
    return StatisticsCsv(root / "clip_statistics.csv")


SPANNING = {"video": overlay_video, "labels": label_video, "lines": json_lines, "statistics": statistics}
EVERY = {**{name: make for name, (make, _) in PER_FRAME.items()}, **SPANNING}

every_sink = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())
every_frame_sink = pytest.mark.parametrize("make, suffixes", PER_FRAME.values(), ids=PER_FRAME.keys())


@every_sink
def test_closing_again_or_without_a_result_is_harmless(make, tmp_path):
    empty = make(tmp_path / "empty")
    empty.close()
    empty.close()
    assert not (tmp_path / "empty").exists()
    sink = make(tmp_path / "full")
    sink.write(result())
    sink.close()
    before = {path: path.read_bytes() for path in (tmp_path / "full").rglob("*")}
    sink.close()
    assert {path: path.read_bytes() for path in (tmp_path / "full").rglob("*")} == before
    assert all(path.is_file() for path in sink.written)


@every_sink
@pytest.mark.parametrize("obstacle", ["file", "proc"])
def test_a_folder_that_cannot_be_written_is_named_with_the_cause(make, obstacle, tmp_path):
    if obstacle == "file":
        (tmp_path / "taken").write_text("a file where a folder should be")
        root = tmp_path / "taken"
    else:
        root = Path("/proc/results")
        if not Path("/proc/self").exists():
            pytest.skip("no /proc here")
    sink = make(root)
    with pytest.raises(OutputError, match=rf"{root}.*(Not a directory|File exists|No such file)") as raised:
        sink.write(result())
    assert "\n" not in str(raised.value)
    sink.close()


@every_sink
def test_a_full_disk_is_named_and_leaves_no_half_file(make, small_disk):
    (small_disk / "filler").write_bytes(bytes(1_048_576 - 16_384))
    sink = make(small_disk)
    with pytest.raises(OutputError, match=rf"{small_disk}.*No space left"):
        for index in range(100):
            sink.write(result(size=(240, 320), index=index, pts=index, time_base=Fraction(1, 25)))
    with pytest.raises(OutputError, match="No space left") if sink.ordered else nullcontext():
        sink.close()
    assert [path.name for path in small_disk.iterdir() if path.suffix not in (".mp4", ".mkv", ".jsonl", ".csv")] == [
        "filler"
    ]


@every_sink
def test_a_result_replaces_an_older_one_and_a_link_is_not_followed(make, tmp_path):
    make_again = make(tmp_path / "out")
    make_again.write(result())
    make_again.close()
    [*files] = (tmp_path / "out").iterdir()
    precious = tmp_path / "precious"
    precious.write_bytes(b"old")
    for path in files:
        path.unlink()
        path.symlink_to(precious)
    sink = make(tmp_path / "out")
    sink.write(result())
    sink.close()
    assert precious.read_bytes() == b"old"
    assert sorted((tmp_path / "out").iterdir()) == sorted(files)
    assert all(stat.S_ISREG(path.lstat().st_mode) and path.stat().st_size > 10 for path in files)


@every_frame_sink
@pytest.mark.parametrize("name", ["photo", "sub/deep/photo", "a.b.c", "Фото 写真", "clip/000012"])
def test_each_frame_has_its_files_below_the_folder(make, suffixes, name, tmp_path):
    sink = make(tmp_path)
    sink.write(result(name))
    sink.close()
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {name + suffix for suffix in suffixes}
    assert sink.written == []


@every_frame_sink
@pytest.mark.parametrize("name", ["../photo", "a/../../photo", "/photo", "link/photo", "link/new/photo", "", "a\0b"])
def test_no_name_leads_out_of_the_folder(make, suffixes, name, tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "link").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="root"):
        make(root).write(result(name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "link", "root"]


def test_a_link_within_the_folder_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with written_aside(path_below(tmp_path, "link/photo", ".txt")) as file:
        file.write(b"here")
    assert (tmp_path / "real" / "photo.txt").read_bytes() == b"here"


def test_a_file_is_aside_until_it_is_whole_and_gone_if_it_never_is(tmp_path):
    path = tmp_path / "sub" / "a.json"
    with written_aside(path) as file:
        file.write(b"1")
        assert [each.name for each in path.parent.iterdir()] == [".a.part.json"]
    assert path.read_bytes() == b"1"
    with pytest.raises(RuntimeError, match="halfway"), written_aside(path) as file:
        file.write(b"2")
        raise RuntimeError("halfway")
    assert path.read_bytes() == b"1"
    assert [each.name for each in path.parent.iterdir()] == ["a.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="its PermissionError tells of a file that is open")
@pytest.mark.parametrize("refusal", [errno.EEXIST, errno.EPERM, errno.EACCES])
def test_a_disk_that_renames_nothing_over_a_file_takes_results_again(refusal, tmp_path, monkeypatch):
    rename = Path.replace

    def replace(self, target):
        if os.path.lexists(target):
            raise OSError(refusal, os.strerror(refusal))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    for text in (b"first", b"second"):
        with written_aside(tmp_path / "a.txt") as file:
            file.write(text)
        assert (tmp_path / "a.txt").read_bytes() == text
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_run_left_is_written_over(tmp_path):
    path = tmp_path / "a.json"
    aside(path).write_bytes(b"half of a lo")
    with written_aside(path) as file:
        file.write(b"whole")
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_masks_are_arrays_of_ids_and_of_bools(tmp_path):
    written = result()
    MaskSink(tmp_path, foreground=True, classes=True, only=None).write(written)
    ids, foreground = np.load(tmp_path / "photo_seg.npy"), np.load(tmp_path / "photo.npy")
    assert ids.dtype == np.uint8 and np.array_equal(ids, written.class_map)
    assert foreground.dtype == bool and np.array_equal(foreground, written.class_map > 0)


def test_masks_of_some_classes_have_the_others_as_background(tmp_path):
    written = result()
    MaskSink(tmp_path, foreground=True, classes=True, only=(2, 5)).write(written)
    wanted = np.isin(written.class_map, (2, 5))
    assert np.array_equal(np.load(tmp_path / "photo_seg.npy"), np.where(wanted, written.class_map, 0))
    assert np.array_equal(np.load(tmp_path / "photo.npy"), wanted)


@pytest.mark.parametrize("foreground, classes, files", [(True, False, ["photo.npy"]), (False, True, ["photo_seg.npy"])])
def test_only_the_masks_asked_for_are_written(foreground, classes, files, tmp_path):
    MaskSink(tmp_path, foreground=foreground, classes=classes).write(result())
    assert [path.name for path in tmp_path.iterdir()] == files


@pytest.mark.parametrize("save_format, exact", [("png", True), ("bmp", True), ("jpg", False)])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_pictures_hold_the_painted_frame(save_format, exact, side_by_side, tmp_path):
    written = result(class_map=random_map(np.random.default_rng(0), (64, 48), 28, 16))
    painter = Painter(SAPIENS, opacity=0.4, keep_background=True)
    PictureSink(tmp_path, painter, save_format=save_format, side_by_side=side_by_side).write(written)
    want = painter.paint(written.frame.rgb, written.class_map)
    if side_by_side:
        want = np.hstack([written.frame.rgb, want])
    got = cv2.imread(str(tmp_path / f"photo.{save_format}"))[:, :, ::-1]
    assert got.shape == want.shape
    if exact:
        assert np.array_equal(got, want)
    assert abs(got.astype(float).mean() - want.mean()) < 1


def test_the_legend_of_a_contact_sheet_names_no_class_that_is_not_painted(tmp_path):
    class_map = np.zeros((60, 80), np.uint8)
    class_map[:20], class_map[20:40] = 2, 12
    sheets = {}
    for name, found in {"some": class_map, "alone": np.where(class_map == 12, 0, class_map).astype(np.uint8)}.items():
        sink = ContactSheet(tmp_path / f"{name}.png", Painter(SAPIENS, only=(2, 3)), 1, Colouring(only=(2, 3)))
        sink.write(result(class_map=found))
        sink.close()
        sheets[name] = (tmp_path / f"{name}.png").read_bytes()
    assert sheets["some"] == sheets["alone"]


def golden_pairs():
    """Photos of which the original program's class map and picture are at hand."""
    shared = Path(__file__).parents[2] / "shared" / "golden"
    yield "astronaut", DATA / "astronaut.png", DATA
    for name in ("coco_428", "coco_564"):
        yield name, shared / "input" / f"{name}.jpg", shared / "expected"


@pytest.mark.parametrize(
    "name, photo, expected", list(golden_pairs()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_side_by_side_is_the_original_picture_to_the_bit(name, photo, expected, tmp_path):
    if not photo.exists():
        pytest.skip(f"{photo} is not here")
    rgb = np.ascontiguousarray(cv2.imread(str(photo))[:, :, ::-1])
    class_map = cv2.imread(str(expected / f"{name}_seg.png"), cv2.IMREAD_UNCHANGED)
    written = Segmentation(frame=Frame(index=0, name=name, decoded=rgb), class_map=class_map, classes=SAPIENS)
    PictureSink(tmp_path, Painter(SAPIENS, opacity=0.5), side_by_side=True).write(written)
    got = cv2.imread(str(tmp_path / f"{name}.png"))
    assert np.array_equal(got, cv2.imread(str(expected / f"{name}_side_by_side.png")))


def test_an_unknown_picture_format_or_kind_of_regions_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"gif.*png, jpg, bmp"):
        PictureSink(tmp_path, Painter(SAPIENS), save_format="gif")
    with pytest.raises(UsageError, match=r"dots.*polygons, rle, none"):
        JsonSink(tmp_path, title="", regions="dots")


def written_json(tmp_path, written, **settings):
    JsonSink(tmp_path, **{"title": "result", **settings}).write(written)
    return json.loads((tmp_path / f"{written.frame.name}.json").read_text("utf-8"))


def test_json_of_a_video_frame(tmp_path):
    class_map = np.zeros((10, 20), np.uint8)
    class_map[2:5, 3:9] = 2
    class_map[9, 19] = 27
    written = result("clip/000012", class_map=class_map, index=12, pts=12, time_base=Fraction(1, 25))
    record = written_json(tmp_path, written)
    assert list(record.items()) == [
        ("schema", "sapiens-stream/1"),
        ("title", "result"),
        ("name", "clip/000012"),
        ("width", 20),
        ("height", 10),
        ("frame", 12),
        ("time", 0.48),
        ("model", "sapiens-1b"),
        (
            "labels",
            [
                {"id": 2, "name": "Face_Neck", "pixels": 18, "fraction": 0.09, "bbox": [3, 2, 6, 3]},
                {"id": 27, "name": "Tongue", "pixels": 1, "fraction": 0.005, "bbox": [19, 9, 1, 1]},
            ],
        ),
        (
            "regions",
            [
                {"id": 2, "name": "Face_Neck", "polygons": [[[3, 2], [3, 4], [8, 4], [8, 2]]]},
                {"id": 27, "name": "Tongue", "polygons": [[[19, 9]]]},
            ],
        ),
    ]
    assert [list(label) for label in record["labels"]] == [["id", "name", "pixels", "fraction", "bbox"]] * 2


def test_json_of_a_photo_without_anybody(tmp_path):
    record = written_json(tmp_path, result("sub/photo", class_map=np.zeros((8, 9), np.uint8), index=3))
    assert (record["frame"], record["time"], record["labels"], record["regions"]) == (3, None, [], [])


def test_json_of_some_classes_or_without_regions(tmp_path):
    record = written_json(tmp_path, result(), only=(2, 5))
    assert [label["id"] for label in record["labels"]] == [2, 5]
    assert [region["id"] for region in record["regions"]] == [2, 5]
    assert "regions" not in written_json(tmp_path, result(), regions="none")


@pytest.mark.parametrize("grain", [1, 5])
def test_json_regions_give_the_masks_back(tmp_path, grain):
    rng = np.random.default_rng(grain)
    written = result(class_map=random_map(rng, (50, 70), 6, grain))
    for region in written_json(tmp_path, written)["regions"]:
        assert np.array_equal(filled(region["polygons"], (50, 70)), written.class_map == region["id"])
    for region in written_json(tmp_path, written, regions="rle")["regions"]:
        assert region["rle"]["size"] == [50, 70]
        assert np.array_equal(coco.decode(region["rle"]), written.class_map == region["id"])


@pytest.mark.skipif(os.name != "posix", reason="names of files are text here")
def test_json_of_a_file_whose_name_is_not_text(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    JsonSink(tmp_path, title="résumé").write(result(name))
    record = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
    assert (record["name"], record["title"]) == (name, "résumé")


def filled(rings, size):
    mask = np.zeros(size, np.uint8)
    cv2.drawContours(mask, [np.array(ring, np.int32) for ring in rings], -1, 1, cv2.FILLED)
    return mask > 0


def noise(density, size=(23, 31), seed=0):
    return (np.random.default_rng(seed).random(size) < density).astype(np.uint8)


def rings_within_rings(size=41):
    y, x = np.indices((size, size))
    return (np.maximum(abs(y - size // 2), abs(x - size // 2)) // 2 % 2).astype(np.uint8)


MASKS = {
    **{f"noise {density}": noise(density) for density in (0.02, 0.2, 0.5, 0.8, 0.98)},
    "one pixel": np.pad(np.ones((1, 1), np.uint8), 3),
    "nothing but one pixel": np.ones((1, 1), np.uint8),
    "one row": np.array([[1, 0, 1, 1, 0, 1]], np.uint8),
    "one column": np.array([[1, 0, 1, 1, 0, 1]], np.uint8).T,
    "everything": np.ones((5, 7), np.uint8),
    "frame around nothing": np.pad(np.zeros((5, 7), np.uint8), 1, constant_values=1),
    "hole of one pixel": 1 - np.pad(np.ones((1, 1), np.uint8), 3),
    "hole at a corner": 1 - np.eye(6, dtype=np.uint8),
    "chessboard": (np.indices((9, 8)).sum(0) % 2).astype(np.uint8),
    "holes in holes": rings_within_rings(),
    "thin diagonal": np.eye(12, dtype=np.uint8),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_polygons_filled_at_once_give_the_mask_back(mask):
    class_map = mask * np.uint8(7)
    rings = polygons(class_map, Extents(class_map), [7])
    assert np.array_equal(filled(rings[7], mask.shape), mask > 0)


def test_polygons_of_many_small_random_masks_are_exact():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        class_map = rng.integers(0, rng.integers(2, 5), rng.integers(1, 12, 2)).astype(np.uint8)
        for index, rings in polygons(class_map, Extents(class_map), range(1, 6)).items():
            assert np.array_equal(filled(rings, class_map.shape), class_map == index), class_map


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_run_lengths_are_those_of_pycocotools(mask):
    for class_id, counts in run_lengths(mask).items():
        assert counts == coco.encode(np.asfortranarray(mask == class_id))["counts"].decode()


def test_run_lengths_of_every_class_at_once():
    rng = np.random.default_rng(0)
    for size, classes, grain in [((301, 211), 256, 3), ((3, 1000), 5, 1), ((1000, 3), 5, 1), ((700, 900), 3, 350)]:
        class_map = random_map(rng, size, classes, grain)
        found = run_lengths(class_map)
        assert sorted(found) == np.unique(class_map).tolist()
        for class_id, counts in found.items():
            assert counts == coco.encode(np.asfortranarray(class_map == class_id))["counts"].decode()


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (33, 47), (240, 320)])
@pytest.mark.parametrize("classes", [2, 28, 256])
def test_labels_count_and_box_what_is_there(size, classes):
    class_map = random_map(np.random.default_rng(0), size, classes, 2)
    labels = result(class_map=class_map, classes=numbered(256)).labels
    assert [label.id for label in labels] == [each for each in np.unique(class_map) if each]
    for label in labels:
        rows, columns = np.nonzero(class_map == label.id)
        assert label.name == f"Class_{label.id}"
        assert label.pixels == len(rows) and label.fraction == len(rows) / class_map.size
        assert label.bbox == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_labels_count_exactly_beyond_what_float32_holds():
    class_map = np.ones((4097, 4099), np.uint8)
    class_map[0, 0] = 0
    [label] = result_without_pixels(class_map).labels
    assert label.pixels == 4097 * 4099 - 1


def result_without_pixels(class_map):
    rgb = np.broadcast_to(class_map[..., None], (*class_map.shape, 3))
    return Segmentation(frame=Frame(index=0, name="a", decoded=rgb), class_map=class_map, classes=SAPIENS)
