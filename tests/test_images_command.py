"""`sapiens-stream images` on real files: the original's results, the contract of its files, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sapiens_stream.classes import SAPIENS
from tests.media import make_photo, picture
from tests.program import Program

DATA = Path(__file__).parent / "data"
ASTRONAUT = DATA / "golden" / "astronaut.png"


def seg(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}_seg.npy", allow_pickle=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a.jpg, b.png and sub/a.JPG, of different sizes."""
    folder = tmp_path / "photos"
    make_photo(folder / "a.jpg", picture(1, (120, 90)))
    make_photo(folder / "b.png", picture(2, (64, 100)))
    make_photo(folder / "sub" / "a.JPG", picture(3, (90, 90)))
    return folder


class TestTheOriginalsResults:
    @pytest.mark.parametrize("name", ["astronaut", "astronaut_crop", "astronaut_wide"])
    def test_public_photos(self, program: Program, tmp_path: Path, goliath: Path, name: str) -> None:
        """The stored maps come from another torch on another machine: its rounding may turn a few pixels in a tie."""
        [path] = [path for path in (DATA / "golden").glob(f"{name}.*") if path.stem == name]
        outcome = program("images", goliath, "--input", path, "--output_root", tmp_path, "--decoder", "opencv")
        assert outcome.code == 0, outcome.stderr
        expected = cv2.imread(str(DATA / "golden" / f"{name}_seg.png"), cv2.IMREAD_UNCHANGED)
        assert np.count_nonzero(seg(tmp_path, name) != expected) <= 3

    @pytest.mark.parametrize(
        "name", ["coco_241", "coco_328", "coco_428", "coco_488", "coco_544", "coco_564", "reel_4k_10", "reel_4k_80"]
    )
    def test_golden_photos(self, program: Program, tmp_path: Path, goliath: Path, shared: Path, name: str) -> None:
        """JPEG through OpenCV is the original's to the pixel (4K: 20 of 8.3 million may fall to a tie's other side);
        through PyAV, whose chroma upsampling differs, at least 99 %."""
        photo = shared / "golden" / "input" / f"{name}.jpg"
        expected = cv2.imread(str(shared / "golden" / "expected" / f"{name}_seg.png"), cv2.IMREAD_UNCHANGED)
        for decoder, most in (("opencv", 20 if "4k" in name else 3), ("pyav", expected.size // 100)):
            outcome = program(
                "images", goliath, "--input", photo, "--output_root", tmp_path / decoder, "--decoder", decoder
            )
            assert outcome.code == 0, outcome.stderr
            assert np.count_nonzero(seg(tmp_path / decoder, name) != expected) <= most

    @pytest.mark.parametrize(
        ("photo", "expected"),
        [("input/coco_428.jpg", "expected/coco_428"), ("input/coco_564.jpg", "expected/coco_564")],
    )
    def test_side_by_side_picture_to_the_bit(
        self, program: Program, tmp_path: Path, goliath: Path, shared: Path, photo: str, expected: str
    ) -> None:
        path = shared / "golden" / photo
        arguments = ("--input", path, "--output_root", tmp_path, "--decoder", "opencv", "--side-by-side")
        assert program("images", goliath, *arguments).code == 0
        picture = cv2.imread(str(tmp_path / f"{path.stem}.png"))
        original = cv2.imread(str(shared / "golden" / f"{expected}_side_by_side.png"))
        same_class = seg(tmp_path, path.stem) == cv2.imread(str(shared / "golden" / f"{expected}_seg.png"), 0)
        assert np.count_nonzero(~same_class) <= 3
        both = np.hstack([np.ones_like(same_class), same_class])
        assert picture.shape == original.shape and (picture == original)[both].all()

    def test_public_side_by_side_picture_to_the_bit(self, program: Program, tmp_path: Path, goliath: Path) -> None:
        arguments = ("--input", ASTRONAUT, "--output_root", tmp_path, "--side-by-side")
        assert program("images", goliath, *arguments).code == 0
        expected = cv2.imread(str(DATA / "golden" / "astronaut_side_by_side.png"))
        assert (cv2.imread(str(tmp_path / "astronaut.png")) == expected).all()


class TestFiles:
    def test_every_photo_gets_its_four_files_below_its_own_folder(
        self, program: Program, photos: Path, colour_torchscript: Path
    ) -> None:
        outcome = program("images", colour_torchscript, "--input", photos, "--recursive")
        assert outcome.code == 0, outcome.stderr
        root = photos / "output"
        written = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        names = ("a", "b", "sub/a")
        suffixes = (".png", ".npy", "_seg.npy", ".json")
        assert written == {name + suffix for name in names for suffix in suffixes} | {"photos_run.json", "run.jsonl"}
        for name, size in zip(names, [(120, 90), (64, 100), (90, 90)], strict=True):
            classes, mask = seg(root, name), np.load(root / f"{name}.npy")
            assert classes.shape == size and classes.dtype == np.uint8
            assert mask.dtype == bool and (mask == (classes > 0)).all()
            assert cv2.imread(str(root / f"{name}.png")).shape == (*size, 3)
            found = json.loads((root / f"{name}.json").read_text())
            assert (found["name"], found["height"], found["width"]) == (name, *size)
            assert {label["id"]: label["pixels"] for label in found["labels"]} == {
                int(label): int((classes == label).sum()) for label in np.unique(classes) if label
            }

    def test_a_second_run_does_not_take_its_own_results_for_photos(
        self, program: Program, photos: Path, colour_torchscript: Path
    ) -> None:
        for _ in range(2):
            outcome = program("images", colour_torchscript, "--input", photos, "--recursive", "--json")
            assert json.loads(outcome.stdout)["frames"]["written"] == 3

    def test_a_list_keeps_apart_equal_names_of_different_folders(
        self, program: Program, photos: Path, colour_torchscript: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "list.txt").write_text(f"{photos / 'a.jpg'}\n\nphotos/sub/a.JPG\n")
        outcome = program(
            "images", colour_torchscript, "--input", tmp_path / "list.txt", "--output-root", tmp_path / "out"
        )
        assert outcome.code == 0, outcome.stderr
        assert seg(tmp_path / "out", "a").shape == (120, 90) and seg(tmp_path / "out", "sub/a").shape == (90, 90)

    def test_only_the_classes_asked_for_are_painted_and_written(
        self, program: Program, tmp_path: Path, goliath: Path
    ) -> None:
        every, some = tmp_path / "every", tmp_path / "some"
        program("images", goliath, "--input", ASTRONAUT, "--output_root", every)
        whole = seg(every, "astronaut")
        kept, dropped = (int(label) for label in np.argsort(-np.bincount(whole[whole > 0].ravel()))[:2])
        arguments = ("--classes", f"{SAPIENS.names[kept].lower()}", "--keep-background")
        assert program("images", goliath, "--input", ASTRONAUT, "--output_root", some, *arguments).code == 0
        assert (seg(some, "astronaut") == np.where(whole == kept, kept, 0)).all()
        assert [label["id"] for label in json.loads((some / "astronaut.json").read_text())["labels"]] == [kept]
        photo, overlay = cv2.imread(str(ASTRONAUT)), cv2.imread(str(some / "astronaut.png"))
        assert (photo == overlay)[whole == dropped].all() and not (photo == overlay)[whole == kept].all()

    def test_formats_and_batches(self, program: Program, photos: Path, tmp_path: Path, goliath: Path) -> None:
        one, three = tmp_path / "one", tmp_path / "three"
        arguments = ("images", goliath, "--input", photos, "--recursive", "--shape", 256, 192, "--save_format", "bmp")
        assert program(*arguments, "--batch_size", 1, "--output_root", one).code == 0
        assert program(*arguments, "--batch_size", 3, "--output_root", three, "--num_workers", 1).code == 0
        for name in ("a", "b", "sub/a"):
            assert (seg(one, name) == seg(three, name)).mean() > 0.999
            assert cv2.imread(str(one / f"{name}.bmp")) is not None


def spoiled(folder: Path, kind: str) -> Path:
    """A photo that is none, in a folder of good ones."""
    good = (folder / "a.jpg").read_bytes()
    png = (folder / "b.png").read_bytes()
    name, content = {
        "text": ("bad.jpg", b"this is no picture"),
        "truncated JPEG": ("bad.jpg", good[: len(good) // 2]),
        "truncated PNG": ("bad.png", png[: len(png) // 2]),
        "zero bytes": ("bad.png", b""),
        "folder": ("bad.jpg", None),
        "same results": ("a.png", png),
        "same class map": ("a_seg.jpg", good),
    }[kind]
    if content is None:
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(content)
    return folder / name


class TestBadInput:
    @pytest.mark.parametrize(
        "kind",
        ["text", "truncated JPEG", "truncated PNG", "zero bytes", "folder", "same results", "same class map"],
    )
    def test_a_bad_photo_is_named_and_the_good_ones_are_done(
        self, program: Program, photos: Path, goliath: Path, kind: str
    ) -> None:
        bad = spoiled(photos, kind)
        outcome = program("images", goliath, "--input", photos, "--shape", 256, 192)
        assert outcome.code == 3
        assert len(outcome.complaints) == 1 and bad.name in outcome.complaints[0], outcome.stderr
        assert (photos / "output" / "b_seg.npy").exists() and (photos / "output" / "a_seg.npy").exists()
        assert not (photos / "output" / "bad.json").exists()
        record = json.loads((photos / "output" / "photos_run.json").read_text())
        assert record["frames"]["skipped"] == 1 and bad.name in record["skipped"][0]["name"]

    def test_a_list_with_missing_files(self, program: Program, photos: Path, tmp_path: Path, goliath: Path) -> None:
        (tmp_path / "list.txt").write_text(f"{photos / 'a.jpg'}\n{photos / 'gone.jpg'}\n")
        outcome = program("images", goliath, "--input", tmp_path / "list.txt", "--shape", 256, 192)
        assert outcome.code == 3 and (tmp_path / "output" / "a_seg.npy").exists()
        assert len(outcome.complaints) == 1 and "gone.jpg" in outcome.complaints[0]

    def test_nothing_but_bad_photos_is_a_failure(self, program: Program, tmp_path: Path, goliath: Path) -> None:
        (tmp_path / "bad.jpg").write_bytes(b"")
        assert program("images", goliath, "--input", tmp_path).code == 1

    def test_photos_are_never_written_over(self, program: Program, photos: Path, tmp_path: Path, goliath: Path) -> None:
        before = (photos / "b.png").read_bytes()
        (tmp_path / "list.txt").write_text(f"{photos / 'a.jpg'}\n{photos / 'b.png'}\n")
        for given, code in ((photos, 2), (photos / "b.png", 2), (photos / "*.*", 2), (tmp_path / "list.txt", 1)):
            outcome = program("images", goliath, "--input", given, "--output_root", photos, "--shape", 256, 192)
            assert outcome.code == code and outcome.complaints
            assert (photos / "b.png").read_bytes() == before

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("--input", "{tmp}/missing"), 1, ["missing", "no such file or folder"]),
            (("--input", "{tmp}/empty"), 1, ["empty", "no photos"]),
            (("--input", "{tmp}/missing/*.jpg"), 1, ["*.jpg", "matches no photos"]),
            ((), 2, ["--input"]),
            (("--input", "{photos}", "--nonsense"), 2, ["--nonsense"]),
            (("--input", "{photos}", "--opacity", "1.5"), 2, ["--opacity", "'1.5' should be less than or equal to 1"]),
            (("--input", "{photos}", "--opacity", "half"), 2, ["--opacity", "'half' is not a number"]),
            (("--input", "{photos}", "--shape", "64", "4.5"), 2, ["--shape", "'4.5' is not a whole number"]),
            (("--input", "{photos}", "--precision", "fp8"), 2, ["--precision': 'fp8' is not one of 'auto', 'fp32'"]),
            (("--input", "{photos}", "--batch_size", "0"), 2, ["--batch_size", "1 or more"]),
            (("--input", "{photos}", "--save_format", "gif"), 2, ["gif", "png"]),
            (("--input", "{photos}", "--shape", "1024"), 2, ["--shape"]),
            (("--input", "{photos}", "--shape", "0", "192"), 2, ["shape", "0x192"]),
            (("--input", "{photos}", "--fp16", "--precision", "bf16"), 2, ["--fp16", "bf16"]),
            (("--input", "{photos}", "--classes", "nose"), 2, ["nose", "Face_Neck"]),
            (("--input", "{photos}", "--device", "tpu"), 2, ["tpu", "cuda"]),
            (("--input", "{photos}", "--device", "cuda:77"), 1, ["cuda:77"]),
            (("--input", "{photos}", "--output_root", "{photos}/a.jpg"), 1, ["a.jpg"]),
            (("--input", "{photos}", "--output_root", "{photos}/a.jpg/below"), 1, ["a.jpg"]),
        ],
    )
    def test_one_line_says_what_is_wrong(
        self,
        program: Program,
        photos: Path,
        tmp_path: Path,
        goliath: Path,
        arguments: tuple[str, ...],
        code: int,
        says: list[str],
    ) -> None:
        (tmp_path / "empty").mkdir()
        outcome = program("images", goliath, *(each.format(tmp=tmp_path, photos=photos) for each in arguments))
        assert outcome.code == code, outcome.stderr
        assert len(outcome.complaints) == 1, outcome.stderr
        assert all(word in outcome.complaints[0] for word in says), outcome.complaints

    @pytest.mark.parametrize(
        ("model", "code", "says"),
        [
            ("sapiens-9b", 2, ["sapiens-9b", "builtin", "sapiens-1b"]),
            ("{tmp}/missing.pt2", 1, ["missing.pt2", "no such file"]),
            ("{tmp}/text.pt2", 1, ["text.pt2", "not a checkpoint"]),
            ("{tmp}/empty.pt2", 1, ["empty.pt2", "empty"]),
            ("{tmp}/cut.pt2", 1, ["cut.pt2", "cut short"]),
            ("{tmp}", 1, ["folder"]),
        ],
    )
    def test_one_line_says_what_is_wrong_with_the_model(
        self, program: Program, photos: Path, tmp_path: Path, goliath: Path, model: str, code: int, says: list[str]
    ) -> None:
        (tmp_path / "text.pt2").write_text("hello")
        (tmp_path / "empty.pt2").touch()
        (tmp_path / "cut.pt2").write_bytes(goliath.read_bytes()[:100_000])
        outcome = program("images", model.format(tmp=tmp_path), "--input", photos)
        assert outcome.code == code and len(outcome.complaints) == 1, outcome.stderr
        assert all(word in outcome.complaints[0] for word in says), outcome.complaints

    def test_a_checkpoint_of_another_shape_says_what_it_wants(
        self, program: Program, photos: Path, colour_export: Path
    ) -> None:
        outcome = program("images", colour_export, "--input", photos, "--shape", 512, 512)
        assert outcome.code == 1 and len(outcome.complaints) == 1
        assert "256x192" in outcome.complaints[0] and "512x512" in outcome.complaints[0]
