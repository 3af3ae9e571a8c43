"""The recipe's moments: people as in the next frame, who stay two by two, and of whom the same must be said."""

from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training import vary
from sapiens_stream.training.backgrounds import Backgrounds
from sapiens_stream.training.batches import Composites
from sapiens_stream.training.compose import Composer, Shares
from sapiens_stream.training.echo import Echo
from sapiens_stream.training.joints import JOINTS
from sapiens_stream.training.shards import LATER, Cutouts, write_shard
from sapiens_stream.training.vary import unsteadiness, varied
from tests.recipe import ASSETS, require_renderer, small_plan

HAIR = SAPIENS.names.index("Hair")
CLOTHES = [SAPIENS.names.index(f"{part}_Clothing") for part in ("Upper", "Lower")]
LEFT, RIGHT = (SAPIENS.names.index(f"{side}_Hand") for side in ("Left", "Right"))
STEP = 6


def people(folder, *, later=True):
    """Two cut-outs of a block of hair with a left hand, and the same six columns further on."""
    for name, shift in ((folder, 0), (folder / LATER, STEP))[: 1 + later]:
        rgba, label = np.zeros((2, 128, 96, 4), np.uint8), np.zeros((2, 128, 96), np.uint8)
        rgba[:, 20:110, 20 + shift : 70 + shift] = 255
        label[:, 20:110, 20 + shift : 70 + shift], label[:, 60:80, 20 + shift : 40 + shift] = HAIR, LEFT
        write_shard(name, "0000", rgba, label, np.zeros((2, len(JOINTS), 3), np.float32))
    return folder


class TestCutouts:
    def test_both_moments_are_cut_to_one_box(self, tmp_path):
        cutout = Cutouts([people(tmp_path)], held_out=False)[0]
        assert cutout.label.shape == cutout.later.label.shape == (90, 50 + STEP)
        np.testing.assert_array_equal(cutout.label[:, :-STEP], cutout.later.label[:, STEP:])
        np.testing.assert_array_equal(cutout.rgba[:, :-STEP], cutout.later.rgba[:, STEP:])

    def test_a_mirror_shows_both(self, tmp_path):
        cutout = Cutouts([people(tmp_path)], held_out=False)[0]
        mirrored = cutout.mirrored()
        assert RIGHT in mirrored.label and RIGHT in mirrored.later.label and LEFT not in mirrored.later.label
        np.testing.assert_array_equal(mirrored.label[:, STEP:], mirrored.later.label[:, :-STEP])

    def test_who_was_rendered_once_has_no_later(self, tmp_path):
        cutout = Cutouts([people(tmp_path, later=False)], held_out=False)[0]
        assert cutout.later is None and cutout.mirrored().later is None and cutout.label.shape == (90, 50)


def composer(folder, **shares):
    wall = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    return Composer(Cutouts([folder], held_out=False), Backgrounds((wall,), ()), 3, shares=Shares(**shares))


class TestComposed:
    def test_people_move_and_the_picture_stays(self, tmp_path):
        found = composer(people(tmp_path))
        moved, kept = 0, []
        for _ in range(30):
            (image, (first, _)), (later, (second, _)) = found.moments(160, 128, 0.4)
            nobody = cv2.resize(((first == 0) & (second == 0)).astype(np.uint8), (128, 160)) > 0
            nobody = cv2.erode(nobody.astype(np.uint8), np.ones((25, 25))) > 0  # shadows and edges aside
            moved += not np.array_equal(first, second)
            if nobody.any():
                kept.append(float(np.abs(image[nobody].astype(int) - later[nobody]).mean()))
            assert np.isclose((first > 0).mean(), (second > 0).mean(), atol=0.15)
        assert moved > 20 and len(kept) > 10 and np.median(kept) < 3

    def test_what_is_drawn_does_not_depend_on_what_is_seen(self, tmp_path):
        """Else the background, the camera or others would be other ones a moment later."""
        shape = (2, 128, 96)
        for folder, seen in ((tmp_path, 1.0), (tmp_path / LATER, 0.0)):  # of whom nothing is left
            rgba, label = np.full((*shape, 4), 255 * seen, np.uint8), np.full(shape, CLOTHES[0] * seen, np.uint8)
            label[:, 64:] = CLOTHES[1] * seen
            write_shard(folder, "0000", rgba, label, np.zeros((2, len(JOINTS), 3), np.float32))
        found = composer(tmp_path, rows=0.3)
        for _ in range(60):
            begun = found.rng.bit_generator.state
            found.draw(96, 96, 1.0)
            ended, found.rng.bit_generator.state = found.rng.bit_generator.state, begun
            found.draw(96, 96, 1.0, later=True)
            assert found.rng.bit_generator.state == ended

    def test_who_has_no_later_stands_still(self, tmp_path):
        (image, label), (again, same) = composer(people(tmp_path, later=False)).moments(160, 128, 0.5)
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(label, same)


def batches(tmp_path, share, echo=0, batch=6):
    cv2.imwrite(str(tmp_path / "wall.png"), np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8))
    plan = small_plan(people(tmp_path), batch=batch, echo=echo, shares=Shares(moments=share))
    return Composites(plan, torch.tensor(0.0))


class TestTwos:
    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_a_batch_says_which_two_are_a_moment_apart(self, tmp_path, share):
        images, targets = next(iter(batches(tmp_path, share)))
        assert images.shape[0] == 6 and targets.shape[1] == 3 and (targets[:, 2] == share).all()
        apart = [(images[k].int() - images[k + 1].int()).abs().float().mean() for k in range(5)]
        assert bool(max(apart[::2]) < 0.5 * min(apart[1::2])) is bool(share)

    def test_an_odd_batch_has_one_alone(self, tmp_path):
        images, targets = next(iter(batches(tmp_path, 1.0, batch=3)))
        assert len(images) == len(targets) == 3

    def test_they_stay_together_where_pictures_are_used_again(self):
        def pieces():
            for start in range(0, 200, 4):
                images = torch.arange(start, start + 4, dtype=torch.uint8)[:, None, None, None].expand(4, 8, 8, 3)
                yield images.contiguous(), torch.zeros(4, 3, 4, 4, dtype=torch.uint8)

        for images, _ in islice(Echo(pieces(), 6, 3, torch.device("cpu")), 60):
            numbers = images[:, 0, 0, 0].int()
            assert torch.equal(numbers[1::2], numbers[::2] + 1) and (numbers[::2] % 2 == 0).all()

    def test_what_is_varied_moves_both_alike(self, monkeypatch):
        monkeypatch.setattr(vary, "GUESTS", 0.7)
        torch.manual_seed(1)
        monkeypatch.setattr(vary, "shot", lambda pixels: pixels)  # light is each picture's own
        targets = torch.zeros(8, 3, 48, 40, dtype=torch.uint8)
        for number in range(8):
            targets[number, 0, 10:30, 4 + number // 2 * 2 : 14] = HAIR
        targets[:4, 2] = 1
        images = (torch.rand(4, 96, 80, 3) * 255).to(torch.uint8).repeat_interleave(2, 0)
        before = targets.clone()
        seen, found = varied(images, targets)
        assert torch.equal(seen[::2], seen[1::2]) and torch.equal(found[::2], found[1::2])
        assert not torch.equal(found, before) and set(found[:, 2].unique().tolist()) == {0, 1}


class TestUnsteadiness:
    def two(self):
        """Logits of two moments, and labels that are right for both."""
        logits = torch.randn(2, len(SAPIENS), 6, 5, generator=torch.Generator().manual_seed(0))
        targets = torch.zeros(2, 3, 6, 5, dtype=torch.uint8)
        targets[:, 0, :3], targets[:, 2] = HAIR, 1
        return logits, targets

    def test_what_is_said_alike_costs_nothing(self):
        logits, targets = self.two()
        logits[1] = logits[0]
        assert float(unsteadiness(logits, targets)) == pytest.approx(0, abs=1e-6)

    def test_only_where_the_same_is_right_and_a_moment_lies_between(self):
        logits, targets = self.two()
        whole = float(unsteadiness(logits, targets))
        assert whole > 0.1
        targets[1, 0, :3] = LEFT
        logits[1, :, 3:] = logits[0, :, 3:]
        assert float(unsteadiness(logits, targets)) == pytest.approx(0, abs=1e-6)
        logits, targets = self.two()
        targets[0, 2] = 0
        assert float(unsteadiness(logits, targets)) == 0

    def test_a_mean_over_the_pixels_that_count(self):
        logits, targets = self.two()
        targets[1, 0, 3:] = LEFT
        first, second = (each[:, :3].log_softmax(0) for each in logits)
        expected = ((first.exp() - second.exp()) * (first - second)).sum(0).mean() / 2
        assert float(unsteadiness(logits, targets)) == pytest.approx(float(expected), rel=1e-5)

    def test_strangers_beside_them_do_not_count(self):
        logits, targets = self.two()
        alone = float(unsteadiness(logits, targets))
        more = torch.cat([logits, torch.randn(3, *logits.shape[1:])])
        others = torch.zeros(3, *targets.shape[1:], dtype=torch.uint8)
        assert float(unsteadiness(more, torch.cat([targets, others]))) == pytest.approx(alone, rel=1e-5)

    def test_a_step_of_training_counts_it(self, tmp_path):
        from sapiens_stream.models.catalogue import BUILTIN_WEIGHTS
        from sapiens_stream.training.train import Training

        plan = batches(tmp_path, 1.0).plan
        torch.manual_seed(0)
        images = torch.randint(256, (2, 96, 96, 3), dtype=torch.uint8)
        targets, losses = torch.zeros(2, 3, 48, 48, dtype=torch.uint8), []
        for moments in (0, 1):
            targets[:, 2] = moments
            training = Training(replace(plan, start=BUILTIN_WEIGHTS, agree=3.0, steady=True))
            torch.manual_seed(5)
            losses.append(float(training.step(images, targets, torch.ones(len(SAPIENS)))))
        assert losses[1] > losses[0] + 1e-4


class TestRendered:
    def test_people_keep_their_clothes_and_move_a_little(self, tmp_path):
        require_renderer()
        from sapiens_stream.training.render import render

        alone = list(render(ASSETS, 4, seed=4))
        both = list(render(ASSETS, 4, seed=4, moments=True))
        assert len(both) == 8
        for expected, now in zip(alone, both[::2], strict=True):
            for one, other in zip(expected, now, strict=True):
                np.testing.assert_array_equal(one, other)
        kept = []
        for (rgba, label, joints), (later, then, gone) in zip(both[::2], both[1::2], strict=True):
            assert not np.array_equal(rgba, later)
            inside = (label > 0) & (then > 0)
            kept.append((label == then)[inside].mean())
            assert np.abs(rgba[inside][:, :3].mean(0) - later[inside][:, :3].mean(0)).max() < 40
            shown = (joints[:, 2] > 0) & (gone[:, 2] > 0)
            assert 0 < np.abs(joints[shown, :2] - gone[shown, :2]).max() < 0.5
        assert 0.8 < np.mean(kept) < 1
