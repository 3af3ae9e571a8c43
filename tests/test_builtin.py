"""The built-in model: what ships, what it finds, and that its recipe runs."""

import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.quality import labelled, measure, predicted
from sapiens_stream import Segmenter
from sapiens_stream.classes import SAPIENS
from sapiens_stream.errors import ModelError
from sapiens_stream.frame import Frame
from sapiens_stream.models.builtin import load_builtin
from sapiens_stream.models.catalogue import BUILTIN_WEIGHTS
from sapiens_stream.training.evaluate import HEAD, Agreement
from sapiens_stream.training.labels import PARSING
from tests.recipe import ASSETS, require_renderer

PHOTO = Path(__file__).parent / "data" / "golden" / "astronaut.png"
MAX_BYTES = 10_000_000
ID = {name: index for index, name in enumerate(SAPIENS.names)}


def class_map(photo, shape=None):
    """(H, W) of a photo, by a plain bilinear enlargement of the logits."""
    model = load_builtin(shape=shape)
    run = model.place(torch.device("cpu"), torch.float32)
    stretched = cv2.resize(photo, (model.input.width, model.input.height))
    pixels = (torch.from_numpy(stretched).float() - torch.tensor(model.input.mean)) / torch.tensor(model.input.std)
    with torch.inference_mode():
        logits = run(pixels.permute(2, 0, 1)[None])
    assert logits.shape == (1, len(SAPIENS), *model.logits_size)
    full = torch.nn.functional.interpolate(logits, size=photo.shape[:2], mode="bilinear")
    return full[0].argmax(0).numpy()


@pytest.fixture(scope="module")
def astronaut():
    return cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)


def test_the_weights_fit_into_the_wheel():
    assert BUILTIN_WEIGHTS.stat().st_size <= MAX_BYTES


def test_it_loads_in_well_under_a_second():
    load_builtin()
    start = time.process_time()
    load_builtin()
    assert time.process_time() - start < 1.0


def test_missing_or_foreign_weights_are_the_users_to_read(tmp_path):
    foreign = tmp_path / "weights.safetensors"
    foreign.write_bytes(b"not a tensor in sight")
    for path in (tmp_path / "none.safetensors", foreign):
        with pytest.raises(ModelError, match=path.name):
            load_builtin(weights=path)


def test_pixels_that_are_no_squares_are_seen_as_they_are_meant(astronaut):
    """Of anamorphic plates, or 1440 columns for 1920: people are as wide to the network as to whoever looks."""
    height, width = astronaut.shape[:2]
    narrow = cv2.resize(astronaut, (width // 2, height), interpolation=cv2.INTER_AREA)
    frames = [Frame(index=0, name="a", decoded=narrow, sample_aspect_ratio=ratio) for ratio in (None, Fraction(2))]
    with Segmenter("builtin", device="cpu") as model:
        wanted = cv2.resize(model(astronaut).class_map, (width // 2, height), interpolation=cv2.INTER_NEAREST)
        as_stored, as_meant = ((model(frame).class_map == wanted).mean() for frame in frames)
    assert as_meant > 0.95 and as_meant > as_stored + 0.01, (as_stored, as_meant)


@pytest.mark.parametrize("shape", [None, (320, 240), (224, 320)], ids=str)
def test_it_finds_the_person_at_any_input_size(astronaut, shape):
    found = class_map(astronaut, shape)
    height, width = found.shape
    assert 0.2 < (found > 0).mean() < 0.8  # a part of her bulky orange suit is missed
    face = astronaut_face(found)
    assert face[0] < 0.5 * height and abs(face[1] - 0.45 * width) < 0.2 * width


def test_it_is_as_good_on_labelled_photos_as_its_card_says(shared):
    agreement = measure(Segmenter("builtin", device="cpu"), shared / "labelled")
    assert agreement.foreground > 0.95
    assert agreement.mean > 0.72
    assert agreement.merged(HEAD) > 0.88
    assert agreement.swapped < 0.008
    least = {"Left_Hand": 0.93, "Right_Hand": 0.71, "Left_Shoe": 0.54, "Right_Shoe": 0.8}
    assert {name: found for name, found in agreement.by_class.items() if found < least.get(name, 0)} == {}


def test_it_is_as_good_on_groups_as_its_card_says(shared):
    pictures = labelled(shared / "labelled_groups")
    agreement = Agreement.of(predicted(Segmenter("builtin", device="cpu"), pictures), PARSING)
    assert agreement.foreground > 0.78
    assert agreement.right_set > 0.88
    assert agreement.swapped < 0.09


def astronaut_face(found):
    """Row and column of the middle of what is called face."""
    rows, columns = np.nonzero(found == ID["Face_Neck"])
    assert len(rows) > 0.01 * found.size
    return np.median(rows), np.median(columns)


def test_a_wall_is_nobody():
    wall = np.full((240, 320, 3), 170, np.uint8)
    assert (class_map(wall) > 0).mean() < 0.05


def test_folded_batch_norms_change_nothing():
    from safetensors.torch import load_file

    from sapiens_stream.models.builtin.network import BodyPartNet, fold_batch_norm

    network = BodyPartNet(len(SAPIENS)).eval()
    network.load_state_dict(load_file(BUILTIN_WEIGHTS))
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(pixels)
        after = fold_batch_norm(network)(pixels)
    assert (before - after).abs().max() < 1e-3 * before.abs().max()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_those_who_only_run_it_import_nothing_of_the_recipe():
    import subprocess
    import sys

    code = (
        "import sys; from sapiens_stream.models.builtin import load_builtin; load_builtin();"
        "extras = ('sapiens_stream.training', 'anny', 'moderngl', 'scipy', 'timm');"
        "print([name for name in sys.modules if name.startswith(extras)])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


class TestComposer:
    """Composites of two blocks, a person's left hand beside their right."""

    @pytest.fixture
    def composer(self, tmp_path):
        from sapiens_stream.training.backgrounds import Backgrounds
        from sapiens_stream.training.compose import Composer
        from sapiens_stream.training.joints import JOINTS
        from sapiens_stream.training.shards import Cutouts, write_shard

        rgba, label = np.zeros((2, 128, 96, 4), np.uint8), np.zeros((2, 128, 96), np.uint8)
        rgba[:, 20:110, 10:90] = 255
        label[:, 20:110, 10:50], label[:, 20:110, 50:90] = ID["Left_Hand"], ID["Right_Hand"]
        joints = np.zeros((2, len(JOINTS), 3), np.float32)
        joints[:, JOINTS.index("wrist.L")] = 30 / 96, 65 / 128, 6 / 128
        joints[:, JOINTS.index("wrist.R")] = 70 / 96, 65 / 128, 6 / 128
        write_shard(tmp_path, "0000", rgba, label, joints)
        black = np.zeros((200, 200, 3), np.uint8)
        composer = Composer(Cutouts([tmp_path], held_out=False), Backgrounds((black,), ()), seed=1)
        composer.scenery.draw = lambda height, width, level: np.zeros((height, width, 3), np.float32)
        return composer

    def test_labels_lie_where_the_people_are(self, composer):
        overlaps = []
        for _ in range(30):
            image, (label, _) = composer.draw(160, 128, 0.0)
            assert image.shape == (160, 128, 3) and label.shape == (80, 64)
            person, grey = label > 0, cv2.resize(image, (64, 80), interpolation=cv2.INTER_AREA).mean(-1)
            if person.any() and not person.all():
                bright = grey > (grey[person].mean() + grey[~person].mean()) / 2
                overlaps.append((bright & person).sum() / (bright | person).sum())
        assert len(overlaps) > 20
        assert np.median(overlaps) > 0.97

    def test_a_mirrored_person_has_their_sides_swapped(self, composer):
        both = 0
        for _ in range(30):
            _, (label, _) = composer.draw(160, 128, 0.0)
            left, right = (np.nonzero(label == ID[name])[1] for name in ("Left_Hand", "Right_Hand"))
            if len(left) > 50 and len(right) > 50 and np.unique(label[:, -1]).tolist() == [0]:
                both += 1
                assert left.mean() < right.mean()
        assert both > 5

    def test_a_thick_garment_covers_clothes_and_spares_hands(self, composer):
        from sapiens_stream.training.joints import JOINTS
        from sapiens_stream.training.outfits import UPPER
        from sapiens_stream.training.shards import Cutout

        rgba, ids = np.full((60, 40, 4), 255, np.uint8), np.full((60, 40), ID["Left_Hand"], np.uint8)
        ids[20:40, 10:30] = UPPER
        rgba[:10], ids[:10] = 0, 0
        joints = np.tile(np.array([0.75, 0.5, 0.1], np.float32), (len(JOINTS), 1))
        found = composer.outfits.wrap(Cutout(rgba, ids, (False,) * 4, joints))
        worn, labels = found.rgba, found.label
        margin = (labels.shape[0] - 60) // 2
        places = found.joints * (*labels.shape[::-1], labels.shape[0])
        np.testing.assert_allclose(places, np.tile([30 + margin, 30 + margin, 6], (len(JOINTS), 1)), rtol=1e-5)
        inner = labels[margin : margin + 60, margin : margin + 40]
        assert margin > 0 and worn.shape == (*labels.shape, 4)
        assert (inner[20:40, 10:30] == UPPER).all()
        assert (inner[10:20] == ID["Left_Hand"]).all()
        assert (worn[..., :3].max(-1) <= worn[..., 3].astype(int) + 1).all()  # premultiplied

    def test_nearer_people_hide_farther_ones(self, composer, monkeypatch):
        from sapiens_stream.training.compose import Shares, _Place
        from sapiens_stream.training.shards import Cutout

        def person(part):
            return Cutout(np.full((80, 80, 4), 255, np.uint8), np.full((80, 80), ID[part], np.uint8), (False,) * 4)

        near, far = person("Left_Hand"), person("Right_Hand")
        places = {id(near): _Place(64, 80, 90, 90, 0.0), id(far): _Place(64, 80, 60, 60, 0.0)}
        monkeypatch.setattr(composer, "_place", lambda cutout, *_: places[id(cutout)])
        monkeypatch.setattr(composer, "_occlude", lambda *_: None)
        composer.shares = Shares(rows=0)
        seen = 0
        for _ in range(40):
            order = iter([near, far, near, far])
            monkeypatch.setattr(composer, "_dressed", lambda later, order=order: next(order))
            _, (label, _) = composer.draw(160, 128, 1.0)
            if (label > 0).any():
                seen += 1
                assert label[40, 32] == ID["Left_Hand"]
        assert seen > 30

    def test_people_stand_in_rows_and_nobody_lies_on_their_table(self, composer):
        from sapiens_stream.training.compose import Shares

        composer.shares = Shares(rows=1)
        shares, tables = [], 0
        for _ in range(30):
            canvas, label = np.zeros((160, 192, 3), np.float32), np.zeros((2, 80, 96), np.uint8)
            composer._row(canvas, label, later=False)
            shares.append((label[0].max(0) > 0).mean())
            before = label.copy()
            composer._table(canvas, label)
            tables += bool((before[:, 60:] > 0).any() and not (label[:, 77:] > 0).any())
            assert set(np.unique(label[0])) <= {0, ID["Left_Hand"], ID["Right_Hand"]}
        assert np.median(shares) > 0.6  # of the picture's columns somebody stands in
        assert tables > 10
        assert composer.draw(160, 192, 1.0)[1].shape == (2, 80, 96)

    def test_a_cast_shadow_lies_on_the_floor_before_the_feet(self, composer):
        canvas, alpha = np.full((160, 128, 3), 200, np.float32), np.zeros((60, 30), np.float32)
        alpha[5:50, 10:20] = 1
        composer._cast(canvas, alpha, 50, 40)
        darker = canvas[..., 0] < 199
        assert darker[89 + 3 :].any()  # below the feet, which are in row 40 + 49
        assert not darker[: 89 - 20].any()


class TestScenery:
    """What stands behind and before the people."""

    @pytest.fixture
    def scenery(self, tmp_path):
        from sapiens_stream.training.backgrounds import Scenery, load_backgrounds

        photo = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
        disc = np.zeros((64, 48, 4), np.uint8)
        cv2.ellipse(disc, (24, 32), (16, 24), 0, 0, 360, (10, 20, 250, 255), -1)
        opaque = np.dstack([photo, np.full((700, 700), 255, np.uint8)])
        for name, image in (("a/b/photo.png", photo), ("a/b/disc.png", disc), ("c/d/opaque.png", opaque)):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
        return Scenery(load_backgrounds([tmp_path]), np.random.default_rng(1))

    def test_a_png_with_clear_corners_is_an_object(self, scenery):
        assert len(scenery.backgrounds.photos) == 2
        [found] = scenery.backgrounds.objects
        assert found.shape == (49, 33, 4)  # what is opaque
        assert found[24, 16].tolist() == [250, 20, 10, 255]

    def test_an_objects_mask_is_where_it_is_seen(self, scenery):
        for _ in range(10):
            canvas = np.full((96, 96, 3), 100, np.float32)
            mask = scenery.object(canvas, 0.2, 0.5)
            changed = np.abs(canvas - 100).max(-1) > 8
            assert (changed == (mask > 64))[(mask == 0) | (mask == 255)].all()

    def test_dark_pictures_are_exposed_as_a_camera_would(self, monkeypatch):
        from sapiens_stream.training import camera

        dark = np.full((64, 64, 3), 20, np.float32)
        means = {}
        for share in (0.0, 1.0):
            monkeypatch.setattr(camera, "METERED", share)
            rng = np.random.default_rng(0)
            means[share] = np.mean([camera.shoot(dark, 0.0, rng).mean() for _ in range(20)])
        assert means[0.0] < 40 and means[1.0] > 60


class TestRecipe:
    """Renders a handful and trains a few steps on them."""

    @pytest.fixture(scope="class")
    @classmethod
    def cutouts(cls, tmp_path_factory):
        require_renderer()
        from sapiens_stream.training.render import render
        from sapiens_stream.training.shards import write_shard

        rgba, label, joints = map(np.stack, zip(*render(ASSETS, 9, seed=4), strict=True))
        folder = tmp_path_factory.mktemp("cutouts")
        write_shard(folder, "0000", *(np.concatenate([each] * 7) for each in (rgba, label, joints)))
        return folder, rgba, label, joints

    def test_renders_people_with_the_classes_of_their_pixels(self, cutouts):
        _, rgba, label, _ = cutouts
        assert rgba.shape == (9, 256, 192, 4) and label.shape == (9, 256, 192)
        inside = rgba[..., 3] > 250
        assert 0.03 < inside.mean() < 0.8
        assert (label[rgba[..., 3] == 0] == 0).all()
        assert (label[inside] > 0).mean() > 0.85  # the rest is what they hold
        assert set(np.unique(label)) <= set(range(len(SAPIENS)))
        assert {ID["Face_Neck"], ID["Hair"], ID["Upper_Clothing"], ID["Lower_Clothing"]} <= set(np.unique(label))
        assert (rgba[..., :3].max(-1) <= rgba[..., 3].astype(int) + 1).all()  # premultiplied

    def test_joints_lie_where_their_limbs_are(self, cutouts):
        from sapiens_stream.training.joints import BONES, JOINTS

        _, rgba, label, joints = cutouts
        assert joints.shape == (9, len(JOINTS), 3)
        near, far = [], []
        for picture, classes, places in zip(rgba, label, joints, strict=True):
            for (x, y, radius), name in zip(places, JOINTS, strict=True):
                column, row = int(x * 192), int(y * 256)
                if not (0 <= column < 192 and 0 <= row < 256 and picture[row, column, 3] > 250):
                    continue
                reach = max(2, int(radius * 256))
                around = classes[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
                part = {"wrist": "Hand", "foot": "Foot"}.get(name.split(".")[0], "")
                sides = ("Left_", "Right_") if name.endswith("L") else ("Right_", "Left_")
                if part:
                    own, other = (
                        (
                            np.isin(
                                around, [ID[side + each] for each in (part, "Shoe", "Sock", "Lower_Arm", "Lower_Leg")]
                            )
                        )
                        for side in sides
                    )
                    near.append(own.any())
                    far.append(other.any() and not own.any())
        assert len(BONES) * 2 == len(JOINTS) and len(near) > 12
        assert np.mean(near) > 0.6 and np.mean(far) < 0.2

    def test_trains_a_few_steps_and_resumes(self, cutouts, tmp_path):
        from dataclasses import replace

        from sapiens_stream.training.plan import Plan
        from sapiens_stream.training.train import train

        folder, *_ = cutouts
        photos = tmp_path / "photos"
        photos.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
        cv2.imwrite(str(photos / "noise.png"), noise)
        plan = Plan(
            cutouts=(folder,),
            backgrounds=(photos,),
            out=tmp_path / "run",
            start=BUILTIN_WEIGHTS,
            seconds=3,
            sides=(96, 128),
            batch=2,
            rate=1e-4,
            mixed=False,
            levels=(0.0, 1.0),
            workers=0,
            seed=0,
        )
        train(plan)
        written = tmp_path / "run" / "weights.safetensors"
        assert written.stat().st_size <= MAX_BYTES
        load_builtin(weights=written)
        steps = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["steps"]
        assert steps > 0
        train(replace(plan, seconds=5, mixed=True))
        assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["steps"] > steps


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        *[(shape, False) for shape in (None, (288, 352), (256, 256), (512, 512))],
        *[(shape, True) for shape in ((1024, 768), (1024, 1024), (64, 64))],
    ],
)
def test_a_shape_that_it_was_not_made_for_is_told_once(shape: tuple[int, int] | None, said: bool) -> None:
    sentences: list[str] = []
    Segmenter("builtin", device="cpu", shape=shape, warn=sentences.append)
    assert len(sentences) == said
    if shape is not None and said:
        assert f"{shape[0]}x{shape[1]}" in sentences[0] and "--shape" in sentences[0]


class TestContext:
    """The blocks that see far."""

    @pytest.fixture
    def network(self):
        from sapiens_stream.models.builtin.network import BodyPartNet

        return BodyPartNet(len(SAPIENS)).eval()

    @pytest.fixture
    def pixels(self):
        return torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))

    def test_they_begin_by_changing_nothing(self, network, pixels):
        with torch.inference_mode():
            found = network(pixels)
            network.context = torch.nn.Sequential()
            assert torch.equal(found, network(pixels))

    def test_they_are_in_the_graph(self, network, pixels):
        from safetensors.torch import load_file

        from sapiens_stream.models.builtin.graph import onnx_graph
        from sapiens_stream.models.builtin.network import fold_batch_norm

        runtime = pytest.importorskip("onnxruntime")
        network.load_state_dict(load_file(BUILTIN_WEIGHTS))
        session = runtime.InferenceSession(onnx_graph(fold_batch_norm(network)))
        with torch.inference_mode():
            expected = network(pixels).numpy()
            network.context = torch.nn.Sequential()
            without = network(pixels).numpy()
        assert np.abs(expected - without).max() > 0.1
        assert np.abs(session.run(None, {"pixels": pixels.numpy()})[0] - expected).max() < 1e-3
