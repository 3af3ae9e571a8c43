"""The recipe's joints: where they are seen, how they follow their person into a picture, and what learns them."""

import numpy as np
import pytest
import torch

from sapiens_stream.classes import SAPIENS
from sapiens_stream.training.joints import (
    BONES,
    JOINTS,
    MIRRORED,
    NO_JOINT,
    RADIUS,
    UNKNOWN,
    JointFinder,
    joint_plane,
    joints_within,
    mirrored_joints,
    seen_joints,
    unknown_joints,
)

LEFT, RIGHT = JOINTS.index("wrist.L"), JOINTS.index("wrist.R")


def nobody():
    return np.zeros((len(JOINTS), 3), np.float32)


def to_pixels(height, width):
    return np.array([[width, 0, 0], [0, height, 0]], np.float64)


class TestSeen:
    def test_a_joint_is_where_the_camera_sees_it(self):
        # 2 m before the origin and 1 m above, it looks along y: 90 degrees high, half as wide.
        camera = np.array([[2.0, 0, 0, 0], [0, 0, 1, -1], [0, 0, 0, 0], [0, 1, 0, 2]])
        heads = {name: np.array([0.0, 0.0, 1.0]) for name in JOINTS}
        heads["wrist.L"] = np.array([0.5, 0.0, 2.0])  # where 4 m high and 2 m wide are seen
        heads["wrist.R"] = np.array([0.0, -3.0, 1.0])
        found = seen_joints(heads, camera)
        np.testing.assert_allclose(found[0], (0.5, 0.5, RADIUS / 4), atol=1e-6)
        np.testing.assert_allclose(found[LEFT], (0.75, 0.25, RADIUS / 4), atol=1e-6)
        assert found[RIGHT, 2] == 0  # behind the camera

    def test_a_mirror_swaps_sides(self):
        joints = nobody()
        joints[LEFT] = 0.2, 0.4, 0.1
        found = mirrored_joints(joints)
        np.testing.assert_allclose(found[RIGHT], (0.8, 0.4, 0.1), rtol=1e-6)
        assert MIRRORED[LEFT + 1] == RIGHT + 1 and MIRRORED[RIGHT + 1] == LEFT + 1
        assert MIRRORED[NO_JOINT] == NO_JOINT and MIRRORED[UNKNOWN] == UNKNOWN
        assert sorted(MIRRORED.tolist()) == list(range(256))
        np.testing.assert_allclose(mirrored_joints(found)[LEFT], joints[LEFT], rtol=1e-6)

    def test_a_box_of_the_picture_keeps_their_place(self):
        joints = nobody()
        joints[LEFT] = 0.5, 0.25, 0.05  # column 50, row 50 and radius 10 of 200 rows and 100 columns
        found = joints_within(joints, (200, 100), (40, 140, 30, 80))
        np.testing.assert_allclose(found[LEFT], (0.4, 0.1, 0.1), rtol=1e-6)
        np.testing.assert_allclose(joints_within(found, (100, 50), (-40, 160, -30, 70))[LEFT], joints[LEFT], rtol=1e-6)


class TestPlane:
    def test_discs_lie_at_their_joints_the_nearer_before_the_farther(self):
        joints = nobody()
        joints[LEFT], joints[RIGHT] = (0.5, 0.5, 0.1), (0.5, 0.55, 0.2)
        plane = joint_plane(joints, to_pixels(100, 80), 100, (100, 80))
        assert plane[55, 40] == RIGHT + 1 and plane[48, 40] == RIGHT + 1 and plane[55, 62] == NO_JOINT
        assert set(np.unique(plane)) == {NO_JOINT, RIGHT + 1}
        joints[RIGHT, 2] = 0.05
        plane = joint_plane(joints, to_pixels(100, 80), 100, (100, 80))
        assert plane[45, 40] == LEFT + 1 and plane[55, 40] == LEFT + 1
        assert np.count_nonzero(plane == LEFT + 1) == pytest.approx(np.pi * 100, rel=0.15)

    def test_who_is_far_away_still_has_joints(self):
        joints = nobody()
        joints[LEFT] = 0.5, 0.5, 0.02
        assert np.count_nonzero(joint_plane(joints, to_pixels(20, 20), 20, (20, 20)) == LEFT + 1) == 5

    def test_what_is_behind_the_camera_or_beyond_the_picture_is_not_drawn(self):
        joints = nobody()
        joints[LEFT] = 1e6, -1e6, 0.1
        assert not joint_plane(joints, to_pixels(50, 50), 50, (50, 50)).any()

    def test_of_photographed_people_nothing_is_known(self):
        assert (joint_plane(None, to_pixels(9, 9), 9, (9, 9)) == UNKNOWN).all()
        targets = np.array([[0, 1, 255]], np.uint8)
        assert unknown_joints(targets).tolist() == [[NO_JOINT, UNKNOWN, UNKNOWN]]


class TestComposed:
    def test_joints_follow_their_person(self, tmp_path):
        """A left wrist in a left hand, a right one in a right hand: wherever they stand, mirrored or not."""
        from sapiens_stream.training.backgrounds import Backgrounds
        from sapiens_stream.training.compose import Composer
        from sapiens_stream.training.shards import Cutouts, write_shard

        hands = [SAPIENS.names.index(name) for name in ("Left_Hand", "Right_Hand")]
        rgba, label, joints = np.full((2, 128, 96, 4), 255, np.uint8), np.zeros((2, 128, 96), np.uint8), nobody()
        label[:, :, :48], label[:, :, 48:] = hands
        joints[LEFT], joints[RIGHT] = (24 / 96, 0.6, 0.06), (72 / 96, 0.6, 0.06)
        write_shard(tmp_path, "0000", rgba, label, np.stack([joints, joints]))
        black = np.zeros((200, 200, 3), np.uint8)
        composer = Composer(Cutouts([tmp_path], held_out=False), Backgrounds((black,), ()), seed=3)
        seen = {LEFT: 0, RIGHT: 0}
        for _ in range(40):
            _, (targets, found) = composer.draw(160, 128, 0.5)
            for joint, hand in zip((LEFT, RIGHT), hands, strict=True):
                here = found == joint + 1
                if np.count_nonzero(here) > 8:
                    seen[joint] += 1
                    assert (targets[here] == hand).mean() > 0.9  # a thick garment may cover it, a bit
            assert set(np.unique(found)) <= {NO_JOINT, LEFT + 1, RIGHT + 1}
        assert min(seen.values()) > 15


class TestFinder:
    def test_it_learns_where_joints_are_and_moves_the_layer_that_it_listens_to(self):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(1, 8, 3, padding=1)
        finder = JointFinder(layer, 8)
        pixels = torch.zeros(2, 1, 16, 16)
        codes = torch.zeros(2, 32, 32, dtype=torch.uint8)
        pixels[:, :, 4:8, 4:8], codes[:, 8:16, 8:16] = 1, LEFT + 1
        pixels[:, :, 10:12, 10:12], codes[:, 20:24, 20:24] = -1, RIGHT + 1
        optimiser, losses = torch.optim.Adam([*layer.parameters(), *finder.parameters()], 0.05), []
        before = layer.weight.detach().clone()
        for _ in range(60):
            layer(pixels)
            loss = finder.loss(codes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[0] > 1.5 and losses[-1] < 0.3
        assert not torch.equal(before, layer.weight)

    def test_what_is_not_known_costs_nothing(self):
        layer = torch.nn.Identity()
        finder = JointFinder(layer, 4)
        features = torch.randn(3, 4, 8, 8, requires_grad=True)
        codes = torch.full((2, 16, 16), UNKNOWN, dtype=torch.uint8)
        layer(features)
        loss = finder.loss(codes)
        loss.backward()
        assert float(loss.detach()) == 0 and not features.grad.any()
        codes[0, :4, :4] = LEFT + 1
        layer(features)
        finder.loss(codes).backward()
        assert features.grad[0, :, :2, :2].any()
        assert not features.grad[0, :, 2:].any() and not features.grad[1:].any()  # the third picture has no codes

    def test_bones_have_both_sides(self):
        assert len(JOINTS) == 2 * len(BONES) == len(set(JOINTS))
        assert all(
            left.removesuffix("L") == right.removesuffix("R")
            for left, right in zip(JOINTS[:6], JOINTS[6:], strict=True)
        )
