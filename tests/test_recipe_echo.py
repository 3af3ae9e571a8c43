"""The recipe where pictures are used several times: what is varied in them, and that all of them come."""

import time
from collections import Counter
from itertools import count, islice
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training import vary
from sapiens_stream.training.batches import TRIES, drawn
from sapiens_stream.training.echo import Echo
from sapiens_stream.training.joints import JOINTS
from sapiens_stream.training.labels import IGNORE
from sapiens_stream.training.vary import disagreement, moved, seen_again, varied, with_guests
from tests.recipe import small_plan

ID = {name: index for index, name in enumerate(SAPIENS.names)}
CPU = torch.device("cpu")
COLOURS = {"Left_Hand": 250.0, "Right_Hand": 120.0, "Background": 20.0}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def scene(count=16, height=96, width=64):
    """A left hand above, a right hand below to the right, each in a grey of its own."""
    targets = torch.zeros(count, height // 2, width // 2, dtype=torch.uint8)
    targets[:, 8:20, 8:24] = ID["Left_Hand"]
    targets[:, 24:40, 14:28] = ID["Right_Hand"]
    return painted(targets), with_joints(targets)


def with_joints(targets):
    """(N, 3, H, W): a left wrist's code throughout the left hand, a right one's in the right one; no moments."""
    joints = torch.zeros_like(targets)
    for name, joint in (("Left_Hand", "wrist.L"), ("Right_Hand", "wrist.R")):
        joints[targets == ID[name]] = JOINTS.index(joint) + 1
    return torch.stack([targets, joints, torch.zeros_like(targets)], 1)


def painted(targets):
    """(N, 3, H, W): the grey of each target's name."""
    table = torch.zeros(256)
    for name, grey in COLOURS.items():
        table[ID[name]] = grey
    return table[targets.long()].repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].repeat(1, 3, 1, 1)


def swapped(targets):
    left, right = ID["Left_Hand"], ID["Right_Hand"]
    found = targets.clone()
    found[targets == left], found[targets == right] = right, left
    return found


class TestMoved:
    def test_targets_move_with_their_pixels(self):
        pixels, targets = scene(64)
        seen, both = moved(pixels, targets)
        found = both[:, 0]
        assert torch.equal(with_joints(found), both)  # mirrored, a left wrist is a right one
        small = torch.nn.functional.avg_pool2d(seen[:, :1], 2)[:, 0]
        wrong = 0
        for image, label in zip(small, found, strict=True):
            # The sides of a mirrored picture are swapped: its upper hand is a right one.
            rows = {name: torch.nonzero(label == ID[name])[:, 0].float().mean() for name in ("Left_Hand", "Right_Hand")}
            mirrored = bool(rows["Left_Hand"] > rows["Right_Hand"])
            label = swapped(label) if mirrored else label
            wrong += float(((painted(label[None])[0, 0, ::2, ::2] - image).abs() > 60).float().mean()) / len(small)
        assert wrong < 0.06  # edges, half a pixel aside

    def test_half_are_mirrored_with_their_sides(self):
        _, found = moved(*scene(200))
        upper = [set(label[: label.shape[0] // 2].unique().tolist()) for label in found[:, 0]]
        mirrored = sum(ID["Right_Hand"] in each and ID["Left_Hand"] not in each for each in upper)
        assert 40 < mirrored < 140

    def test_some_are_as_sharp_as_they_were(self, monkeypatch):
        monkeypatch.setattr(vary, "UNMOVED", 1.0)
        pixels, targets = scene()
        seen, found = moved(pixels, targets)
        for image, label, before, codes in zip(seen, found[:, 0], pixels, targets[:, 0], strict=True):
            flipped = not torch.equal(label, codes)
            expected = (before.flip(2), swapped(codes).flip(1)) if flipped else (before, codes)
            assert torch.allclose(image, expected[0], atol=0.1) and torch.equal(label, expected[1])

    def test_nothing_from_beyond_the_picture_is_shown(self):
        inside = with_joints(torch.full((64, 48, 40), ID["Hair"], dtype=torch.uint8))
        edge = torch.zeros(64, 3, 96, 80)
        edge[:, :, 1:-1, 1:-1] = 100
        seen, found = moved(edge, inside)
        assert (found[:, 0] == ID["Hair"]).all()
        assert (seen > 50).float().mean() > 0.93


class TestGuests:
    def test_they_stand_before_the_host_with_their_classes(self, monkeypatch):
        monkeypatch.setattr(vary, "GUESTS", 1.0)
        pixels, targets = scene(32)
        empty = torch.arange(32) // 2 % 2 == 0  # every other two
        pixels[empty], targets[empty] = COLOURS["Background"], 0
        seen, both = with_guests(pixels, targets)
        found = both[:, 0]
        assert torch.equal(with_joints(found), both)
        came = [bool(label.any()) for label in found[empty]]
        assert sum(came) > 8
        agree = (painted(found)[:, 0, ::2, ::2] - torch.nn.functional.avg_pool2d(seen[:, :1], 2)[:, 0]).abs() < 60
        assert agree.float().mean() > 0.97

    def test_what_is_ignored_of_them_is_ignored_here(self, monkeypatch):
        monkeypatch.setattr(vary, "GUESTS", 1.0)
        targets = torch.zeros(8, 48, 32, dtype=torch.uint8)
        targets[:, 10:20, 14:18] = IGNORE
        pixels = torch.full((8, 3, 96, 64), 50.0)
        seen, found = with_guests(pixels, with_joints(targets))
        assert torch.equal(seen, pixels) and (found[:, 0] == IGNORE).any()

    def test_what_is_ignored_between_their_parts_comes_with_them(self, monkeypatch):
        monkeypatch.setattr(vary, "GUESTS", 1.0)
        targets = torch.zeros(4, 48, 32, dtype=torch.uint8)
        targets[:2, 10:30, 4:24], targets[:2, 19:21, 4:24] = ID["Hair"], IGNORE
        pixels = torch.zeros(4, 3, 96, 64)
        pixels[:2] = 200
        seen, found = with_guests(pixels, with_joints(targets))
        came = (found[2, 0] == IGNORE).repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert came.any() and seen[2, 0][came].median() == 200

    def test_crowds_stay_at_home(self, monkeypatch):
        monkeypatch.setattr(vary, "GUESTS", 1.0)
        pixels, targets = torch.rand(4, 3, 64, 64) * 255, torch.full((4, 32, 32), ID["Hair"], dtype=torch.uint8)
        targets[:2] = 0
        assert torch.equal(with_guests(pixels, with_joints(targets))[1], with_joints(targets))


class TestVaried:
    def test_it_keeps_shapes_and_kinds(self):
        pixels, targets = scene()
        seen, found = varied(pixels.permute(0, 2, 3, 1).to(torch.uint8), targets)
        assert seen.shape == pixels.shape and found.shape == targets.shape and found.dtype == torch.uint8
        assert seen.min() >= 0 and seen.max() <= 255
        assert set(found.unique().tolist()) <= set(targets.unique().tolist())

    def test_what_moved_alike_agrees(self):
        logits = torch.randn(3, len(SAPIENS), 60, 60)
        for _ in range(5):
            _, (down, across) = seen_again(torch.zeros(3, 3, 120, 120))
            after = logits.roll((down // 2, across // 2), (2, 3))
            assert disagreement(logits, after, (down, across)) == pytest.approx(0, abs=1e-6)
        assert disagreement(logits, logits.flip(3), (0, 0)) > 0.1

    def test_the_next_frame_is_nearly_the_same(self):
        pixels, _ = scene()
        again, (down, across) = seen_again(pixels)
        assert (again - pixels.roll((down, across), (2, 3))).abs().mean() < 12


def numbered(start, count=4, height=8):
    """Pictures whose first pixel tells them apart."""
    images = torch.zeros(count, height, 8, 3, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(start, start + count)
    return images, torch.zeros(count, height // 2, 4, dtype=torch.uint8)


class Endless(IterableDataset):
    """Pieces without end, for other processes."""

    def __iter__(self):
        return map(numbered, count())


class TestEcho:
    def test_where_composing_is_slow_each_picture_is_used_as_often_as_is_said(self):
        pieces = [numbered(start) for start in range(0, 48, 4)]  # no more than are held
        batches = islice(Echo(pieces, 8, 3, CPU), 48 * 3 // 8)
        seen = Counter(int(image[0, 0, 0]) for images, _ in batches for image in images)
        assert len(seen) > 35 and sum(seen.values()) == 48 * 3

    def test_where_it_is_fast_new_pictures_replace_the_old(self):
        drawn = 0

        def composed():
            for piece in range(600):
                while piece > 8 * drawn + 12 and drawn < 60:
                    time.sleep(0.001)
                yield numbered(4 * piece % 240)

        echo, seen = Echo(composed(), 8, 50, CPU), set()
        for images, _ in islice(echo, 60):
            seen |= {int(image[0, 0, 0]) for image in images}
            drawn += 1
            while echo._arrived.empty():
                time.sleep(0.001)
        assert len(seen) > 60  # of the first ones held there are 48

    def test_the_processes_that_compose_end_with_it(self):
        batches = iter(Echo(DataLoader(Endless(), batch_size=None, num_workers=1), 4, 2, CPU))
        for _ in range(3):
            next(batches)
        children = set(active_children())
        assert children
        batches.close()
        assert not children & set(active_children())

    def test_a_batch_has_one_shape(self):
        pieces = [numbered(0, height=8 * (1 + k % 3)) for k in range(30)]
        shapes = {
            (tuple(images.shape), tuple(targets.shape)) for images, targets in islice(Echo(pieces, 8, 2, CPU), 25)
        }
        assert shapes == {((8, 8 * k, 8, 3), (8, 4 * k, 4)) for k in (1, 2, 3)}

    def test_a_worker_that_dies_is_followed_by_another(self, capsys):
        class Mortal:
            begun = 0

            def __iter__(self):
                self.begun += 1
                yield numbered(self.begun)
                raise RuntimeError("worker 3 was killed")

        pieces = Mortal()
        assert len(list(islice(Echo(pieces, 4, 1, CPU), 30))) == 30
        assert pieces.begun == 5 and "worker 3 was killed" in capsys.readouterr().out

    def test_nothing_at_all_is_an_error(self):
        with pytest.raises(RuntimeError, match="nothing was composed"):
            next(iter(Echo([], 4, 1, CPU)))


class TestDrawn:
    class Composer:
        def __init__(self, failures):
            self.left = failures

        def draw(self, height, width, level):
            self.left -= 1
            if self.left >= 0:
                raise ValueError("a picture of nobody")
            return np.zeros((height, width, 3), np.uint8), np.zeros((height // 2, width // 2), np.uint8)

    def test_a_picture_that_fails_is_replaced(self, capsys):
        assert drawn(self.Composer(3).draw, 64, 32, 0.5)[0].shape == (64, 32, 3)
        assert capsys.readouterr().out.count("a picture of nobody") == 3

    def test_a_fault_of_all_pictures_is_raised(self):
        with pytest.raises(ValueError, match="a picture of nobody"):
            drawn(self.Composer(TRIES).draw, 64, 32, 0.5)


@pytest.mark.parametrize(
    ("echo", "shapes"), [(2, range(3, 4)), (0, range(4, 100))], ids=["varied there", "as composed"]
)
def test_pictures_varied_on_a_device_have_three_shapes_to_the_end(tmp_path, monkeypatch, echo, shapes):
    import cv2

    from sapiens_stream.training import batches
    from sapiens_stream.training.shards import write_shard

    monkeypatch.setattr(batches, "PIECE", 1)
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "wall.png"), noise)
    rgba, label = np.full((2, 64, 48, 4), 255, np.uint8), np.full((2, 64, 48), 1, np.uint8)
    write_shard(tmp_path, "0000", rgba, label, np.zeros((2, len(JOINTS), 3), np.float32))
    plan = small_plan(tmp_path, sides=(96, 160), batch=1, echo=echo)
    progress = torch.tensor(0.0)
    pieces, seen = iter(batches.Composites(plan, progress)), set()
    for progress_now in (0.0, 0.4, 0.7, 1.0):
        progress.fill_(progress_now)
        seen |= {next(pieces)[0].shape[1:3] for _ in range(8)}
    assert len(seen) in shapes


def test_weights_that_are_no_numbers_do_not_replace_those_that_are(tmp_path):
    from sapiens_stream.models.catalogue import BUILTIN_WEIGHTS
    from sapiens_stream.training.train import Training

    plan = small_plan(tmp_path, start=BUILTIN_WEIGHTS, sides=(64, 64), levels=(0, 1), echo=2, agree=0.5)
    training = Training(plan)
    images, targets = (
        torch.randint(256, (4, 96, 96, 3), dtype=torch.uint8),
        torch.zeros(4, 3, 48, 48, dtype=torch.uint8),
    )
    before = training.network.head.weight.detach().clone()
    loss = training.step(images, targets, torch.ones(len(SAPIENS)))
    assert loss.isfinite() and not torch.equal(before, training.network.head.weight)
    assert not torch.equal(before, training.average.head.weight)
    training.save()
    saved = (tmp_path / "weights.safetensors").read_bytes()
    with torch.no_grad():
        training.network.head.bias[0] = float("nan")
    with pytest.raises(ArithmeticError, match="lower rate"):
        training.save()
    assert (tmp_path / "weights.safetensors").read_bytes() == saved
