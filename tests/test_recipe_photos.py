"""The recipe's photographs with clothing labels: what their labels mean, and how they are trained on and measured."""

import json
import math
import sys

import cv2
import numpy as np
import pytest
import torch

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.evaluate import Agreement
from sapiens_stream.training.labels import CLOTHING, IGNORE, PARSING, Labels
from sapiens_stream.training.loss import GUESSED, loss_of
from sapiens_stream.training.photos import (
    StreetPhotos,
    clothing_labels,
    main,
    photo_ids,
    targets_of,
    without_person,
    without_rims,
)
from sapiens_stream.training.targets import ALLOWED, GUESS, LEFT_RIGHT, wide_target

ID = {name: index for index, name in enumerate(SAPIENS.names)}
NAMES = ["null", "skin", "hair", "dress", "shoes", "bag"]


SHOES = "Left_Shoe", "Right_Shoe"
SKIN = CLOTHING["skin"]


def allowed(*names):
    return frozenset(ID[name] for name in names)


def other_side(name):
    return {"Left": "Right", "Right": "Left"}.get(side := name.split("_")[0], side) + name.removeprefix(side)


class TestLabels:
    def test_every_clothing_label_is_read(self, shared):
        names = json.loads((shared / "photos_clothing" / "labels.json").read_text())
        assert len(names) == 59 and set(CLOTHING) <= set(names)

    @pytest.mark.parametrize(
        ("labels", "name", "meant"),
        [
            (Labels.of(NAMES, CLOTHING), "null", {"Background"}),
            (Labels.of(NAMES, CLOTHING), "dress", {"Upper_Clothing", "Lower_Clothing"}),
            (Labels.of(NAMES, CLOTHING), "shoes", {"Left_Shoe", "Right_Shoe"}),
            (Labels.of(NAMES, CLOTHING), "bag", set()),
            (PARSING, "left arm", {"Left_Upper_Arm", "Left_Lower_Arm", "Left_Hand"}),
            (PARSING, "right shoe", {"Right_Shoe"}),
            (PARSING, "scarf", set()),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_label_means_a_set_of_classes(self, labels, name, meant):
        found = labels.sets[labels.names.index(name)]
        assert {SAPIENS.names[index] for index in np.flatnonzero(found)} == meant


class TestTargets:
    def test_the_classes_are_targets_of_themselves(self):
        assert (ALLOWED[: len(SAPIENS)] == np.eye(len(SAPIENS), dtype=bool)).all()
        assert ALLOWED[IGNORE].all() and not GUESS[: len(SAPIENS)].any()

    @pytest.mark.parametrize("names", [n for n in CLOTHING.values() if len(n) > 1], ids=lambda n: f"{n[0]}-{len(n)}")
    def test_each_set_has_a_target_with_every_guess(self, names):
        for guess in ((), *({name, other_side(name)} for name in names)):
            target = wide_target(allowed(*names), allowed(*guess))
            assert len(SAPIENS) <= target < IGNORE
            assert set(np.flatnonzero(ALLOWED[target])) == allowed(*names)
            said = allowed(*guess) if set(guess) != set(names) else set()
            assert set(np.flatnonzero(GUESS[target])) == said

    def test_no_guess_and_no_set_tells_a_side(self):
        for sets in (ALLOWED[len(SAPIENS) :], GUESS):
            for held in sets:
                names = {SAPIENS.names[index] for index in np.flatnonzero(held)}
                assert names == {other_side(name) for name in names}

    @pytest.mark.parametrize(
        ("target", "mirrored"),
        [
            (ID["Left_Hand"], ID["Right_Hand"]),
            (ID["Hair"], ID["Hair"]),
            (IGNORE, IGNORE),
            (wide_target(allowed(*SHOES)), wide_target(allowed(*SHOES))),
        ],
    )
    def test_a_mirrored_picture_has_its_sides_mirrored(self, target, mirrored):
        assert LEFT_RIGHT[target] == mirrored
        assert (LEFT_RIGHT[LEFT_RIGHT] == np.arange(256)).all()


class TestLoss:
    @staticmethod
    def loss(target, chances, weights=None):
        """Of one pixel with chances by class name, the rest shared by all others; without the Dice part."""
        rest = (1 - sum(chances.values())) / (len(SAPIENS) - len(chances))
        logits = torch.tensor([chances.get(name, rest) for name in SAPIENS.names]).log()[None, :, None, None]
        return float(
            loss_of(logits, torch.tensor([[[target]]]), torch.ones(len(SAPIENS)) if weights is None else weights)
        )

    def test_any_class_of_a_set_is_right(self):
        shoes = wide_target(allowed(*SHOES))
        for left in (0.1, 0.4, 0.7):
            found = self.loss(shoes, {"Left_Shoe": left, "Right_Shoe": 0.8 - left})
            assert found == pytest.approx(-math.log(0.8), abs=1e-5)

    def test_a_guess_counts_within_its_set_whatever_its_side(self):
        hand = wide_target(allowed(*SKIN), allowed("Left_Hand", "Right_Hand"))
        for left in (0.0, 0.05, 0.2):
            others = {name: 0.6 / (len(SKIN) - 2) for name in SKIN if not name.endswith("_Hand")}
            found = self.loss(hand, {"Left_Hand": left, "Right_Hand": 0.2 - left, **others})
            assert found == pytest.approx(-math.log(0.8) - GUESSED * math.log(0.25), abs=1e-4)

    @pytest.mark.parametrize("guess", [(), ("Left_Hand", "Right_Hand")])
    def test_rare_classes_are_not_taught_away_where_a_set_is_given(self, guess):
        rare, chances = torch.ones(len(SAPIENS)), {"Left_Hand": 0.3, "Upper_Clothing": 0.5}
        rare[ID["Left_Hand"]], rare[ID["Upper_Clothing"]] = 4, 0.5
        target = wide_target(allowed(*SKIN), allowed(*guess))
        assert self.loss(target, chances, rare) == pytest.approx(self.loss(target, chances), abs=1e-6)

    def test_the_chances_that_cost_least_are_the_true_ones_however_classes_are_weighed(self):
        weights = torch.ones(len(SAPIENS))
        weights[ID["Hair"]], weights[ID["Torso"]] = 4, 0.5
        targets = torch.tensor([[[ID["Hair"]] + [ID["Torso"]] * 3]])  # a pixel in four is hair
        logits = torch.full((len(SAPIENS),), -14.0)
        logits[ID["Hair"]], logits[ID["Torso"]] = math.log(0.25), math.log(0.75)
        logits.requires_grad_()
        loss_of(logits[None, :, None, None].expand(-1, -1, 1, 4), targets, weights).backward()
        assert logits.grad.abs().max() < 1e-4

    def test_an_ignored_pixel_costs_nothing(self):
        assert self.loss(IGNORE, {"Hair": 0.3}) == 0

    def test_a_known_pixel_costs_its_cross_entropy(self):
        assert self.loss(ID["Hair"], {"Hair": 0.3}) == pytest.approx(-math.log(0.3), abs=1e-5)


class TestPreparing:
    def test_rims_are_ignored(self):
        label = np.zeros((20, 20), np.uint8)
        label[:, 10:] = 3
        kept = without_rims(label)
        assert (kept[:, :8] == 0).all() and (kept[:, 12:] == 3).all() and (kept[:, 8:12] == IGNORE).all()

    @pytest.fixture
    def scene(self):
        """A person in a dress, whose left shoe and hand are found, and somebody beside them without a label."""
        label, labels = np.zeros((120, 160), np.uint8), Labels.of(NAMES, CLOTHING)
        label[10:70, 20:60], label[70:80, 20:60], label[80:100, 20:60], label[30:50, 60:80] = 3, 1, 4, 5
        chances = torch.full((len(SAPIENS), 120, 160), 0.001)
        chances[0] = 0.5
        chances[ID["Left_Shoe"], 80:100, 40:60] = 0.9
        chances[ID["Left_Hand"], 70:80, 40:60], chances[ID["Right_Hand"], 70:80, 40:60] = 0.6, 0.3
        chances[:, 10:100, 110:150] = 0.001
        chances[ID["Upper_Clothing"], 40:100, 110:150] = 0.9
        chances[ID["Hair"], 10:40, 110:150] = 0.9
        return label, labels, chances

    def test_targets_are_what_the_label_allows_and_the_part_that_is_found_in_it(self, scene):
        label, labels, chances = scene
        targets = targets_of(label, labels, chances)
        assert targets[90, 25] == wide_target(allowed(*SHOES))
        assert targets[75, 25] == wide_target(allowed(*SKIN))
        assert targets[75, 50] == wide_target(allowed(*SKIN), allowed("Left_Hand", "Right_Hand"))
        assert targets[40, 30] == wide_target(allowed("Upper_Clothing", "Lower_Clothing"))
        assert targets[40, 70] == IGNORE  # the bag
        assert targets[110, 80] == 0

    def test_the_side_that_the_present_weights_find_is_not_learned(self, scene):
        label, labels, chances = scene
        targets = targets_of(label, labels, chances)
        left = torch.tensor([0.95 if name == "Left_Shoe" else 0.05 / (len(SAPIENS) - 1) for name in SAPIENS.names])
        mirrored = left[LEFT_RIGHT[: len(SAPIENS)].astype(np.int64)]
        target = torch.tensor([[[int(targets[90, 50])]]])
        as_found, other = (
            float(loss_of(each.log()[None, :, None, None], target, torch.ones(len(SAPIENS))))
            for each in (left, mirrored)
        )
        assert as_found == pytest.approx(other, abs=1e-6)

    def test_passers_by_are_not_called_background(self, scene):
        label, labels, chances = scene
        assert (targets_of(label, labels, chances)[15:95, 115:145] == IGNORE).all()
        chances[ID["Hair"]] = 0.001  # without a head it may be a thing
        assert (targets_of(label, labels, chances)[50:95, 115:145] == 0).all()

    def test_a_street_keeps_nothing_of_the_person(self):
        image = np.full((120, 90, 3), 100, np.uint8)
        person = np.zeros((120, 90), bool)
        person[20:100, 30:60] = True
        image[person] = (250, 0, 0)
        assert np.abs(without_person(image, person).astype(int) - 100).max() < 12


class TestStreetPhotos:
    """Twenty photos: a red person before grey, whose left hand is known; in one nobody is labelled."""

    @pytest.fixture
    def photos(self, tmp_path):
        image, label = np.full((240, 160, 3), 90, np.uint8), np.zeros((240, 160), np.uint8)
        label[30:180, 50:110], label[180:220, 50:110] = 3, 4
        image[label > 0] = (0, 0, 230)
        targets = np.where(label == 3, ID["Upper_Clothing"], 0).astype(np.uint8)
        targets[180:220, 80:110], targets[180:220, 50:80] = ID["Left_Hand"], ID["Right_Hand"]
        (tmp_path / "targets").mkdir()
        (tmp_path / "labels.json").write_text(json.dumps(NAMES))
        for index in range(20):
            cv2.imwrite(str(tmp_path / f"{index:04d}.jpg"), image)
            cv2.imwrite(str(tmp_path / f"{index:04d}.png"), label if index else label * 0)
            if index:
                cv2.imwrite(str(tmp_path / "targets" / f"{index:04d}.png"), targets)
        return StreetPhotos(tmp_path, tmp_path / "targets")

    def test_one_in_ten_is_never_trained_on(self, photos):
        held = photo_ids(photos.folder, held_out=True)
        assert held == ["0009", "0019"]
        assert not set(held) & set(photos.ids) and len(photos) == 17

    def test_a_photo_in_which_nobody_is_labelled_is_not_prepared(self, photos, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "argv", ["photos", "--photos", str(photos.folder), "--out", str(tmp_path / "new")])
        main()
        prepared = sorted(path.stem for path in (tmp_path / "new").glob("*.png"))
        assert prepared == photos.ids and "0000" not in prepared

    def test_a_cutout_is_the_person_alone(self, photos):
        cutout = photos.cutout(np.random.default_rng(0))
        assert cutout.label.shape == cutout.rgba.shape[:2] and cutout.cut == (False,) * 4
        assert abs(cutout.label.shape[0] - 190) < 4 and abs(cutout.label.shape[1] - 60) < 4
        assert (cutout.rgba[5:-5, 5:-5, 3] == 255).all() and (cutout.rgba[5:-5, 5:-5, 0] > 200).all()
        assert (cutout.rgba[..., :3].max(-1) <= cutout.rgba[..., 3].astype(int) + 1).all()  # premultiplied

    def test_targets_lie_where_the_piece_shows_them(self, photos):
        rng, mirrored = np.random.default_rng(0), 0
        for _ in range(20):
            piece, targets = photos.crop(192, 128, rng)
            assert piece.shape == (192, 128, 3) and targets.shape == (96, 64)
            red = cv2.resize(piece[..., 0], (64, 96), interpolation=cv2.INTER_AREA) > 160
            known = targets != IGNORE
            assert ((targets > 0) == red)[known].mean() > 0.97
            left, right = (np.flatnonzero((targets == ID[f"{side}_Hand"]).any(0)) for side in ("Left", "Right"))
            if len(left) and len(right):
                assert right.mean() < left.mean()  # as in the file; mirrored, the names change too
                mirrored += 1
        assert mirrored

    def test_composites_of_them_are_trained_on(self, photos, tmp_path):
        from sapiens_stream.training.backgrounds import Backgrounds
        from sapiens_stream.training.compose import Composer
        from sapiens_stream.training.joints import JOINTS
        from sapiens_stream.training.shards import Cutouts, write_shard

        rgba, label = np.full((1, 128, 96, 4), 255, np.uint8), np.full((1, 128, 96), ID["Hair"], np.uint8)
        write_shard(tmp_path / "cutouts", "0000", rgba, label, np.zeros((len(rgba), len(JOINTS), 3), np.float32))
        backgrounds = Backgrounds((*photos.backgrounds(), np.zeros((200, 200, 3), np.uint8)), ())
        composer = Composer(Cutouts([tmp_path / "cutouts"], held_out=False), backgrounds, 1, photos)
        seen = [np.unique(composer.draw(160, 128, 0.5)[1][0]) for _ in range(40)]
        assert any(ID["Hair"] in each for each in seen) and any(ID["Upper_Clothing"] in each for each in seen)
        assert all(np.isin(each, [*range(len(SAPIENS)), IGNORE]).all() for each in seen)

    @pytest.mark.parametrize("name", ["photos", "photographed"])
    def test_as_many_as_the_plan_says(self, photos, tmp_path, monkeypatch, name):
        import sys

        from sapiens_stream.training.backgrounds import Backgrounds
        from sapiens_stream.training.compose import Composer, Shares
        from sapiens_stream.training.joints import JOINTS
        from sapiens_stream.training.plan import read_plan
        from sapiens_stream.training.shards import Cutouts, write_shard

        rgba, label = np.full((1, 128, 96, 4), 255, np.uint8), np.full((1, 128, 96), ID["Hair"], np.uint8)
        write_shard(tmp_path / "cutouts", "0000", rgba, label, np.zeros((len(rgba), len(JOINTS), 3), np.float32))
        cutouts, nobody = Cutouts([tmp_path / "cutouts"], held_out=False), np.zeros((200, 200, 3), np.uint8)
        clothed = []
        for share in ("0", "1"):
            shares = {"photos": "0", "photographed": "0", "rows": "0.7", name: share}
            told = ["train", "--cutouts", "c", "--backgrounds", "b", "--out", "o"]
            told += [part for each, value in shares.items() for part in (f"--share-{each}", value)]
            monkeypatch.setattr(sys, "argv", told)
            read = read_plan(None).shares
            assert read == Shares(**{each: float(value) for each, value in shares.items()})
            composer = Composer(cutouts, Backgrounds((nobody,), ()), 1, photos, read)
            clothed.append(sum(ID["Upper_Clothing"] in composer.draw(160, 128, 0.0)[1][0] for _ in range(12)))
        assert clothed[0] == 0 and clothed[1] > 6

    @pytest.mark.usefixtures("one_thread")
    def test_trains_on_them_and_keeps_the_batch_norms_statistics(self, photos, tmp_path, capsys, monkeypatch):
        from safetensors.torch import load_file

        from sapiens_stream.models.catalogue import BUILTIN_WEIGHTS
        from sapiens_stream.training import measured as recipe
        from sapiens_stream.training.joints import JOINTS
        from sapiens_stream.training.plan import Plan
        from sapiens_stream.training.shards import write_shard
        from sapiens_stream.training.train import train

        monkeypatch.setattr(recipe, "HELD_OUT_PICTURES", 2)
        rgba, label = np.full((60, 96, 64, 4), 255, np.uint8), np.full((60, 96, 64), ID["Hair"], np.uint8)
        write_shard(tmp_path / "cutouts", "0000", rgba, label, np.zeros((len(rgba), len(JOINTS), 3), np.float32))
        (tmp_path / "backgrounds").mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "backgrounds" / "noise.png"), noise)
        plan = Plan(
            cutouts=(tmp_path / "cutouts",),
            backgrounds=(tmp_path / "backgrounds",),
            photos=(photos.folder, photos.targets),
            out=tmp_path / "run",
            start=BUILTIN_WEIGHTS,
            seconds=1,
            sides=(96, 96),
            batch=4,
            rate=1e-3,
            mixed=False,
            steady=True,
            levels=(0.0, 1.0),
            workers=0,
            seed=0,
        )
        train(plan)
        before, after = load_file(BUILTIN_WEIGHTS), load_file(tmp_path / "run" / "weights.safetensors")
        statistics = [name for name in before if "running" in name]
        assert statistics and all(torch.equal(before[name], after[name]) for name in statistics)
        assert not torch.equal(before["head.weight"], after["head.weight"])
        assert "photographs: foreground" in capsys.readouterr().out


class TestAgreement:
    """Of labels that are sets."""

    @pytest.mark.parametrize(
        ("label", "found", "right_set", "foreground", "shoes"),
        [
            (["shoes", "shoes"], ["Left_Shoe", "Right_Shoe"], 1.0, 1.0, 1.0),
            (["shoes", "dress"], ["Left_Shoe", "Background"], 0.5, 0.5, 1.0),
            (["null", "dress"], ["Left_Shoe", "Lower_Clothing"], 1.0, 0.5, 0.0),
            (["bag", "dress"], ["Left_Shoe", "Upper_Clothing"], 1.0, 1.0, 0.0),
        ],
        ids=["either", "missed", "false", "ignored"],
    )
    def test_figures(self, label, found, right_set, foreground, shoes):
        labels = Labels.of(NAMES, CLOTHING)
        pair = np.array([NAMES.index(n) for n in label], np.uint8), np.array([ID[n] for n in found], np.uint8)
        agreement = Agreement.of([pair], labels)
        assert agreement.right_set == right_set and agreement.foreground == foreground
        assert agreement.merged(["Left_Shoe", "Right_Shoe"]) == shoes
        assert math.isnan(agreement.swapped)

    def test_the_share_of_right_classes_is_told_by_set(self):
        names = ["null", "coat", "jacket", "shoes", "bag"]
        labels = Labels.of(names, CLOTHING)
        label = np.array([0, 1, 2, 2, 3, 3, 4], np.uint8)
        found = ["Hair", "Upper_Clothing", "Upper_Clothing", "Hair", "Left_Shoe", "Right_Shoe", "Hair"]
        agreement = Agreement.of([(label, np.array([ID[name] for name in found], np.uint8))], labels)
        assert agreement.right_by_set == {"Upper_Clothing": pytest.approx(2 / 3), "shoes": 1.0}

    @pytest.mark.parametrize(
        ("label", "found", "swapped"),
        [
            (["left arm", "right leg"], ["Left_Hand", "Right_Foot"], 0.0),
            (["left arm", "right leg"], ["Right_Hand", "Right_Foot"], 0.5),
            (["left arm", "right shoe"], ["Right_Lower_Leg", "Left_Sock"], 1.0),
            (["left arm", "right leg"], ["Left_Hand", "Lower_Clothing"], 0.0),
        ],
    )
    def test_swapped_sides(self, label, found, swapped):
        rows = [PARSING.names.index(name) for name in label]
        pair = np.array(rows, np.uint8), np.array([ID[name] for name in found], np.uint8)
        assert Agreement.of([pair], PARSING).swapped == swapped

    def test_the_labels_of_a_folder_are_read(self, tmp_path):
        (tmp_path / "labels.json").write_text(json.dumps(NAMES))
        assert clothing_labels(tmp_path).names == tuple(NAMES)
